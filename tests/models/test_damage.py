"""Damaged and hostile model files: one error that names the file, soon and without running code."""

import json
import time
import zipfile

import h5py
import numpy as np
import pytest
import torch

from skgeo_embed import (
    CSPEncoder,
    GeoCLIPEncoder,
    GPS2VecEncoder,
    ImageGeolocator,
    SatCLIPEncoder,
    SatCLIPImageEncoder,
)
from skgeo_embed._errors import ModelFormatError, ModelNotFoundError
from skgeo_embed.models.folder import write_folder
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.vision.small_cnn import SmallConvNet
from tests.satclip_checkpoint import checkpoint, to_bytes, without_vision
from tests.third_party_recipe import SPACE2VEC, geoclip_weights, write_zone


@pytest.fixture
def folder(tmp_path, small_location):
    """A folder with both towers, and a function that changes it."""
    torch.manual_seed(0)
    tower = SmallConvNet(3, 8)
    path = tmp_path / "model"

    def write(weights=None, **config):
        state = {
            **{f"location.{k}": v for k, v in small_location.state_dict().items()},
            **{f"image.{k}": v for k, v in tower.state_dict().items()},
            "logit_scale": torch.tensor(2.6),
        }
        described = {"location": small_location.config, "image": tower.config, "licence": "MIT"}
        write_folder(path, {**described, **config}, {**state, **(weights or {})}, "card")
        return path

    return write


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_folders_with_weights_that_are_no_numbers(folder, value):
    bad = torch.full((8,), value)
    with pytest.raises(ModelFormatError, match=r"model: 8 of 8 numbers of 'nnet.last_layer.bias'"):
        SatCLIPEncoder(folder({"location.nnet.last_layer.bias": bad})).fit()
    with pytest.raises(ModelFormatError, match="NaN or infinite"):
        SatCLIPImageEncoder(folder({"image.head.bias": bad})).fit()
    with pytest.raises(ModelFormatError, match="'logit_scale' are NaN"):
        ImageGeolocator(folder({"logit_scale": torch.tensor(value)}), n_candidates=5).fit()


def test_hidden_scale_that_is_no_number(folder, small_location):
    described = {**small_location.config, "hidden_scale": float("nan")}
    with pytest.raises(ModelFormatError, match="hidden_scale"):
        SatCLIPEncoder(folder(location=described)).fit()


def test_other_formats_with_weights_that_are_no_numbers(tmp_path):
    content = checkpoint("resnet18_l10", keep=without_vision)
    content["state_dict"]["model.nnet.last_layer.bias"][3] = torch.nan
    (tmp_path / "a.ckpt").write_bytes(to_bytes(content))
    with pytest.raises(ModelFormatError, match=r"a\.ckpt: 1 of 256 numbers"):
        SatCLIPEncoder(tmp_path / "a.ckpt").fit()
    weights = geoclip_weights()
    weights["LocEnc1.head.0.bias"][0] = torch.inf
    torch.save(weights, tmp_path / "geoclip.pth")
    with pytest.raises(ModelFormatError, match=r"geoclip\.pth: 1 of"):
        GeoCLIPEncoder(tmp_path / "geoclip.pth").fit()
    state = torch.load(SPACE2VEC, weights_only=True, map_location="cpu")
    next(v for v in state["state_dict"].values() if v.ndim == 2)[0, 0] = torch.nan
    torch.save(state, tmp_path / "csp.pth.tar")
    with pytest.raises(ModelFormatError, match=r"csp\.pth\.tar: 1 of"):
        CSPEncoder(tmp_path / "csp.pth.tar").fit()


def test_modules_with_weights_that_are_no_numbers(small_location):
    with torch.no_grad():
        small_location.nnet.last_layer.bias[0] = torch.nan
    with pytest.raises(ModelFormatError, match="LocationEncoder: 1 of 8 numbers"):
        SatCLIPEncoder(small_location).fit()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"default_layer": "x"}, r"config\.json: default_layer is 'x', expected one of"),
        ({"licence": 7}, "licence is 7, expected text"),
        ({"image": [1]}, "image is"),
    ],
)
def test_configs_are_checked(folder, change, message):
    with pytest.raises(ModelFormatError, match=message):
        SatCLIPEncoder(folder(**change)).fit()


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 1_000_000},
        {"legendre_polys": 1_000_000},
        {"hidden_dim": 10**9},
        {"embed_dim": "many"},
        {"positional_encoding": "grid", "n_frequencies": 10**12},
        {"network": "mlp"},
        {"network": ["siren"]},
        {"unknown": 1},
    ],
)
def test_sizes_are_compared_before_anything_is_built(folder, small_location, change):
    path = folder(location={**small_location.config, **change})
    started = time.process_time()
    with pytest.raises(ModelFormatError, match="model"):
        SatCLIPEncoder(path).fit()
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "change",
    [
        {"widths": [1] * 10**6},
        {"architecture": "clip_vit", "depth": 10**7, "image_size": 8, "patch_size": 4},
        {"architecture": "clip_resnet", "depths": [10**7, 1, 1, 1]},
        {"architecture": "nonsense"},
        {"widths": 3},
    ],
)
def test_image_towers_are_compared_before_they_are_built(folder, change):
    path = folder(image={"architecture": "small_cnn", "in_channels": 3, "embed_dim": 8, **change})
    started = time.process_time()
    with pytest.raises(ModelFormatError):
        SatCLIPImageEncoder(path).fit()
    assert time.process_time() - started < 5


def test_deep_configs(folder):
    path = folder()
    deep = "[" * 100_000 + "]" * 100_000
    (path / "config.json").write_text('{"library": "skgeo_embed", "x": ' + deep + "}")
    with pytest.raises(ModelFormatError, match=r"config\.json cannot be opened as JSON"):
        SatCLIPEncoder(path).fit()


def _zip_of(entries):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)

    return write


def _tensors(content):
    return lambda path: torch.save(content, path)


def _cut(path):
    whole = to_bytes(checkpoint("resnet18_l10", keep=without_vision))
    path.write_bytes(whole[: len(whole) * 2 // 3])


def _bent(path):
    whole = bytearray(to_bytes(checkpoint("resnet18_l10", keep=without_vision)))
    whole[-400:-200] = b"\xff" * 200
    path.write_bytes(bytes(whole))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x80\x04garbage."),
        _zip_of({}),
        _zip_of({"archive/data.pkl": b"\x80\x02}q\x00."}),
        _cut,
        _bent,
        _tensors([1, 2]),
        _tensors({"state_dict": [1]}),
        _tensors({"state_dict": {}}),
        _tensors({"state_dict": {1: torch.zeros(2)}}),
        _tensors({"state_dict": {"nnet.layers.0.weight": torch.tensor(1.0)}}),
        _tensors({"state_dict": {"nnet.last_layer.weight": torch.tensor(1.0)}}),
        _tensors(
            {
                "state_dict": {
                    "nnet.last_layer.weight": torch.tensor(1.0),
                    "nnet.layers.0.weight": torch.tensor(1.0),
                }
            }
        ),
        _tensors({"state_dict": {"nnet.weight": torch.zeros(2, 7)}, "hyper_parameters": 5}),
        _tensors(
            {"state_dict": {"nnet.features.0.weight": torch.zeros(2, 4), "nnet.features.x": 1}}
        ),
    ],
    ids=range(15),
)
@pytest.mark.parametrize("kind", [SatCLIPEncoder, CSPEncoder, GeoCLIPEncoder])
def test_damaged_checkpoints_are_one_error(tmp_path, write, kind):
    path = tmp_path / "damaged.ckpt"
    write(path)
    with pytest.raises(ModelFormatError, match=r"damaged\.ckpt"):
        kind(path).fit()
    if kind is SatCLIPEncoder:
        with pytest.raises(ModelFormatError, match=r"damaged\.ckpt"):
            SatCLIPImageEncoder(path).fit()
        with pytest.raises(ModelFormatError, match=r"damaged\.ckpt"):
            ImageGeolocator(path, n_candidates=5).fit()


def test_zones_of_other_shapes(tmp_path):
    path = tmp_path / "model_48 N.h5"
    for change in ("inputs", "bias", "missing"):
        write_zone(path, "visual")
        with h5py.File(path, "r+") as file:
            layer = file["layer2"]
            names = [n.decode() if isinstance(n, bytes) else n for n in layer.attrs["weight_names"]]
            if change == "missing":
                layer.attrs["weight_names"] = []
                continue
            name = next(n for n in names if ("kernel" if change == "inputs" else "bias") in n)
            values = layer[name][()]
            del layer[name]
            layer[name] = values[:3]
    for _ in ("the last change", "a layer that is missing"):
        with pytest.raises(
            ModelFormatError, match=r"model_48 N\.h5 cannot be opened as a GPS2Vec zone"
        ):
            GPS2VecEncoder(tmp_path).fit().transform([[103.76, 1.32]])
        write_zone(path, "visual")
        with h5py.File(path, "r+") as file:
            del file["layer3"]


@pytest.mark.parametrize("kind", ["visual", "tag"])
def test_zones_of_another_kind_or_width(tmp_path, kind):
    """An error about the shapes of two arrays, which named no file."""
    path = tmp_path / "model_48 N.h5"
    write_zone(path, kind)
    with h5py.File(path, "r+") as file:
        name = "scene" if kind == "visual" else "tag"
        layer = file[name]
        for weight in list(layer.attrs["weight_names"]):
            key = weight.decode() if isinstance(weight, bytes) else weight
            values = layer[key][..., :100]
            del layer[key]
            layer[key] = values
    with pytest.raises(ModelFormatError, match=rf"48 N\.h5.*{name} has 100 columns, and \d+ are"):
        GPS2VecEncoder(tmp_path, kind=kind).fit().transform([[103.76, 1.32]])


def _elsewhere(kind, file, name, other, values):
    """Let a name of a zone file lead to another file, or to another name."""
    if kind == "external link":
        file[name] = h5py.ExternalLink(other, name)
    elif kind == "soft link":
        file["elsewhere"] = values
        file[name] = h5py.SoftLink("/elsewhere")
    elif kind == "raw storage":
        raw = f"{other}.raw"
        values.tofile(raw)
        pieces = [(raw, 0, values.nbytes)]
        file.create_dataset(name, values.shape, values.dtype, external=pieces)
    else:
        layout = h5py.VirtualLayout(values.shape, values.dtype)
        layout[...] = h5py.VirtualSource(other, name, values.shape)
        file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("kind", ["external link", "soft link", "raw storage", "virtual"])
@pytest.mark.parametrize("nested", [False, True])
def test_zones_hold_their_own_values(tmp_path, kind, nested):
    path, other = tmp_path / "model_48 N.h5", tmp_path / "other.h5"
    write_zone(path, "visual", nested=nested)
    write_zone(other, "visual", nested=nested)
    names = []
    with h5py.File(path) as file:
        file.visit(names.append)
        arrays = [name for name in names if isinstance(file[name], h5py.Dataset)]
        groups = [name for name in names if any(a.startswith(f"{name}/") for a in arrays)]
    for name in [*arrays[:2], *(groups[:1] if kind == "external link" else [])]:
        write_zone(path, "visual", nested=nested)
        with h5py.File(path, "r+") as file:
            values = None if name in groups else file[name][()]
            del file[name]
            _elsewhere(kind, file, name, str(other), values)
        with pytest.raises(ModelFormatError) as caught:
            GPS2VecEncoder(tmp_path).fit().transform([[103.76, 1.32]])
        told = str(caught.value)
        assert "model_48 N.h5 cannot be opened as a GPS2Vec zone file" in told
        assert name.rpartition("/")[2] in told
        assert "/elsewhere" in told if kind == "soft link" else "other.h5" in told


def test_csp_parameters_of_another_model(tmp_path):
    content = torch.load(SPACE2VEC, weights_only=True, map_location="cpu")
    for key, value in (("frequency_num", 10**6), ("min_radius", "small"), ("spa_f_act", "x")):
        changed = {**content, "params": {**content["params"], key: value}}
        torch.save(changed, tmp_path / "csp.pth.tar")
        with pytest.raises(ModelFormatError, match=r"csp\.pth\.tar"):
            CSPEncoder(tmp_path / "csp.pth.tar").fit()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a" * 5000, "a\0b", "", "~no-such-user/x", "//"]
)
@pytest.mark.parametrize("kind", [SatCLIPEncoder, SatCLIPImageEncoder, GeoCLIPEncoder])
def test_names_that_are_no_models(name, kind):
    with pytest.raises((ModelNotFoundError, ModelFormatError)):
        kind(name, local_files_only=True).fit()


def test_foreign_geoclip_folders(tmp_path):
    for text in ("[]", '{"model_type": 3}', "{"):
        (tmp_path / "config.json").write_text(text)
        (tmp_path / "model.safetensors").write_bytes(b"x")
        with pytest.raises(ModelFormatError, match=r"config\.json"):
            GeoCLIPEncoder(tmp_path).fit()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "geoclip-location-encoder"}))
    with pytest.raises(ModelFormatError, match=r"model\.safetensors is not a complete"):
        GeoCLIPEncoder(tmp_path).fit()


def test_the_sound_folder_opens(folder):
    assert SatCLIPEncoder(folder()).fit().transform([[1, 2]]).shape == (1, 8)
    assert SatCLIPImageEncoder(folder()).fit().transform(np.zeros((2, 3, 8, 8))).shape == (2, 8)
    with torch.device("cpu"):
        assert LocationEncoder(4).config["legendre_polys"] == 4
