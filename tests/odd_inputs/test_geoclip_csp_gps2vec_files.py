"""Odd files of GeoCLIP, CSP and GPS2Vec, each in a layout of its own."""

import h5py
import numpy as np
import pytest
import torch

from skgeo_embed import CSPEncoder, GeoCLIPEncoder, GPS2VecEncoder
from tests.odd_inputs.bad_files import write_torch
from tests.odd_inputs.checking import by_name, check_file
from tests.odd_inputs.encoders import PLACES, SPACE2VEC, geoclip_weights, write_zone
from tests.odd_inputs.test_model_folders import write_model

pytestmark = pytest.mark.slow
B0, HEAD = "LocEnc0.capsule.0.b", "LocEnc0.head.0.weight"
BAD_GEOCLIP = {  # tensors that change; None leaves one out
    "NaN": {B0: torch.full((6, 2), np.nan)},
    "infinity": {HEAD: torch.full((7, 10), np.inf)},
    "1e300": {HEAD: torch.full((7, 10), 1e300, dtype=torch.double)},
    "no dimension": {HEAD: torch.tensor(1.0)},
    "no dimension in the frequencies": {B0: torch.tensor(1.0)},
    "frequencies of three": {B0: torch.zeros(6, 3)},
    "no frequencies": {B0: torch.zeros(0, 2)},
    "missing": {B0: None},
    "another shape": {"LocEnc1.capsule.1.weight": torch.zeros(10, 13)},
    "another head": {"LocEnc1.head.0.weight": torch.zeros(8, 10)},
    "texts": {HEAD: "x"},
    "integers": {HEAD: torch.ones(7, 10, dtype=torch.int)},
    "complex": {HEAD: torch.ones(7, 10) + 1j},
    "sparse": {HEAD: torch.ones(7, 10).to_sparse()},
    "another key": {"x": torch.zeros(2)},
    "one capsule more by name": {"LocEnc7.x": torch.zeros(2)},
    "an integer key": {5: torch.zeros(2)},
}


@by_name("changes", BAD_GEOCLIP)
def test_geoclip_weights(changes, tmp_path):
    content = {**geoclip_weights(), **changes}
    content = {key: value for key, value in content.items() if value is not None}
    path = write_torch(tmp_path / "geoclip.pth", content)
    check_file(path, lambda: GeoCLIPEncoder(path).fit_transform(PLACES))


BAD_CONFIGS = {
    "another type": b'{"model_type": "x"}', "a list": b"[]", "a text": b'"x"', "no JSON": b"{",
    "nested": b"[" * 100_000, "empty": b"",
}  # fmt: skip


@by_name("config", BAD_CONFIGS)
def test_geoclip_configs(config, small_model, tmp_path):
    path = write_model(small_model[0], tmp_path / "geoclip", config)
    check_file(path, lambda: GeoCLIPEncoder(path).fit())


# --- CSP


BAD_CSP = {  # parameters in the file
    "frequency_num": ("16", 17, 0, -1, 16.5, None, [], 10**9),
    "min_radius": (0, -1, np.nan, np.inf, "1", None, 1e-320),
    "max_radius": (0, -1, np.nan, np.inf, "360", None, []),
    "spa_f_act": ("nope", 5, None, []),
    "spa_enc_type": ("rbf", 5, None, []),
    "freq_init": ("random", 5, None, []),
}


def write_csp(path, params=None, change=None):
    content = torch.load(SPACE2VEC, map_location="cpu", weights_only=True)
    content["params"].update(params or {})
    if change:
        state = content["state_dict"]
        first = next(key for key in state if key.endswith("ffn.layers.0.linear.weight"))
        state[first] = change(state[first])
    return write_torch(path, content)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param(key, value, id=f"{key}={value!r}")
        for key, values in BAD_CSP.items()
        for value in values
    ],
)
def test_csp_parameters(key, value, tmp_path):
    path = write_csp(tmp_path / "csp.pth.tar", {key: value})
    check_file(path, lambda: CSPEncoder(path).fit_transform(PLACES))


BAD_FIRST_LAYERS = {
    "NaN": lambda t: t * np.nan,
    "no dimension": lambda t: t.sum(),
    "transposed": lambda t: t.T.contiguous(),
    "three dimensions": lambda t: t[None],
    "text": lambda t: "x",
    "None": lambda t: None,
    "complex": lambda t: t + 1j,
    "1e300": lambda t: torch.full(t.shape, 1e300, dtype=torch.double),
}


@by_name("change", BAD_FIRST_LAYERS)
def test_csp_first_layer(change, tmp_path):
    path = write_csp(tmp_path / "csp.pth.tar", change=change)
    check_file(path, lambda: CSPEncoder(path).fit_transform(PLACES))


# --- zones of GPS2Vec


def set_kernel(layer, **dataset):
    def change(file):
        name = f"{layer}/{layer}/kernel:0"
        del file[name]
        file.create_dataset(name, **dataset)

    return change


def set_link(link):
    def change(file):
        del file["layer1"]
        file["layer1"] = link

    return change


BAD_ZONES = {
    "no dimension": set_kernel("layer1", data=1.0),
    "one dimension": set_kernel("layer1", data=np.zeros(400, "f4")),
    "three dimensions": set_kernel("layer1", data=np.zeros((1, 400, 8), "f4")),
    "other inputs": set_kernel("layer1", data=np.zeros((399, 8), "f4")),
    "other outputs": set_kernel("object", data=np.zeros((8, 999), "f4")),
    "texts": set_kernel("layer2", data=np.array([[b"x"] * 8] * 8)),
    "references": set_kernel("layer2", shape=(8, 8), dtype=h5py.ref_dtype),
    "structures": set_kernel("layer2", data=np.zeros((8, 8), "f4,f4")),
    "complex": set_kernel("layer2", data=np.zeros((8, 8), "c8")),
    "NaN": set_kernel("layer2", data=np.full((8, 8), np.nan)),
    "1e300": set_kernel("layer2", data=np.full((8, 8), 1e300)),
    "16 TB that are not there": set_kernel(
        "layer1", shape=(400, 10**10), dtype="f4", chunks=(1, 1000)
    ),
    "another file's bytes": set_kernel(
        "layer2", shape=(8, 8), dtype="f4", external=[("/etc/passwd", 0, 256)]
    ),
    "no layer": lambda file: file.pop("layer3"),
    "no names": lambda file: file["layer1"].attrs.pop("weight_names"),
    "names of numbers": lambda file: file["layer1"].attrs.update({"weight_names": [1, 2]}),
    "a name alone": lambda file: file["layer1"].attrs.update({"weight_names": "kernel"}),
    "a layer that is a table": lambda file: (file.pop("layer1"), file.update({"layer1": [1.0]})),
    "a link to nothing": set_link(h5py.SoftLink("/nothing")),
    "a link to itself": set_link(h5py.SoftLink("/layer1")),
    "a link to another file": set_link(h5py.ExternalLink("../zones/model_31 N.h5", "/layer1")),
    "model_weights a table": lambda file: file.update({"model_weights": [1.0]}),
}


@by_name("change", BAD_ZONES)
def test_zones(change, tmp_path):
    path = write_zone(tmp_path / "model_31 N.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    check_file(path, lambda: GPS2VecEncoder(tmp_path).fit_transform(PLACES))
