"""Odd folders of a model: what is damaged names the folder, what is harmless opens the same."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from skgeo_embed import SatCLIPEncoder
from tests.odd_inputs.checking import BAD_FILE, by_name, check, check_file, entries, quietly
from tests.odd_inputs.encoders import PLACES

pytestmark = pytest.mark.slow


def write_model(source, target, config=None, weights=None):
    """Copy a model, but for the bytes that are given, and without the digests of the whole."""
    target.mkdir()
    if config is None:
        config = json.dumps(_described(source)).encode()
    if weights is None:
        weights = (source / "model.safetensors").read_bytes()
    for name, content in (("config.json", config), ("model.safetensors", weights)):
        (target / name).write_bytes(content)
    return target


def _described(source):
    config = json.loads((source / "config.json").read_text())
    return {key: value for key, value in config.items() if key != "sha256"}


def write_config(source, target, key, value):
    """Copy a model with one entry of its description changed, or of a part of it: "part.entry"."""
    config = _described(source)
    part, _, entry = key.rpartition(".")
    (config[part] if part else config)[entry] = value
    return write_model(source, target, json.dumps(config).encode())


def write_weights(source, target, change):
    """Copy a model with its tensors changed."""
    weights = load_file(source / "model.safetensors")
    change(weights)
    target = write_model(source, target)
    save_file(weights, target / "model.safetensors")
    return target


def encode(path):
    return SatCLIPEncoder(path).fit().transform(PLACES)


def test_the_folder_as_it_is(small_model):
    folder, features = small_model
    check(lambda: encode(folder), lambda: features)


BAD_CONFIG = {  # what the description says, against tensors that say otherwise
    "location.num_hidden_layers": (
        1_000_000, 10**400, -1, 0, 1, "2", 2.5, None, True, [2], {}, np.inf, np.nan),
    "location.legendre_polys": (
        5, 0, -4, 10**9, 10**400, "4", None, 4.5, True, [4], {}, np.nan),
    "location.embed_dim": (10**12, 0, -5, "5", None, 5.5, [5]),
    "location.hidden_dim": (10**12, 0, "6", None),
    "location.network": ("mlp", "linear", "nope", 5, None, ["siren"], {}),
    "location.harmonics_calculation": ("nope", 5, None, ["analytic"]),
    "location.harmonics": ("nope", 5, None, ["exact"], {}),
    "location.positional_encoding": ("nope", "wrap", "grid", 5, None, []),
    "location.hidden_scale": (np.nan, np.inf, 1e39, None, [1.0]),
    "location.unknown": (1,),
    "location.self": (1,),
    "location": (None, [], "x", {}),
    "default_layer": ("x", 5, None, [], {}, "auto"),
    "format_version": ("1", 2, 10**400, None, 1.5, [], np.nan),
    "library": ("other", None, 5),
    "name": (5, {}, []),
    "licence": (5, {}, []),
    "trained_on": (5, {}, []),
    "image": (5, "x", [1]),
}  # fmt: skip
ODD_CONFIG = {  # what changes no number: opened all the same, or refused
    "training": ({"x": np.nan},),
    "unknown": (1,),
    "format_version": (True, 0, -1),
    "name": ("../../etc/passwd", ""),
    "licence": ("x" * 10_000,),
    "location.dropout": ("x", 5.0, np.nan, 0.9),
    "location.hidden_scale": (0.0, "1", True),
    "location.n_frequencies": ("x",),
    "location.spectral_decay": (3.0,),
}


@entries(BAD_CONFIG)
def test_descriptions_that_are_wrong(small_model, tmp_path, key, value):
    path = write_config(small_model[0], tmp_path / "changed", key, value)
    check_file(path, lambda: encode(path))


@entries(ODD_CONFIG)
def test_descriptions_that_are_odd(small_model, tmp_path, key, value):
    path = write_config(small_model[0], tmp_path / "changed", key, value)
    check(lambda: encode(path), lambda: small_model[1], (path.name,), kinds=BAD_FILE)


BAD_CONFIG_BYTES = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"5",
    "null": b"null",
    "a long number": b'{"format_version": ' + b"1" * 5000 + b"}",
    "nested": b"[" * 200_000,
    "nested rightly": b'{"location": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "UTF-16": '{"library": "skgeo_embed"}'.encode("utf-16"),
    "no UTF-8": b'{"library": "\xff"}',
    "binary": bytes(range(256)),
    "huge": b" " * 2**21,
}


@by_name("content", BAD_CONFIG_BYTES)
def test_descriptions_that_cannot_be_read(small_model, tmp_path, content):
    path = write_model(small_model[0], tmp_path / "changed", content)
    check_file(path, lambda: encode(path), "config.json")


def fill(value):
    """Put a value in the place of the first number."""

    def change(weights):
        next(iter(weights.values())).view(-1)[0] = value

    return change


def replace(make, only=None):
    """Replace all tensors, or those whose name contains `only`."""

    def change(weights):
        for key, value in list(weights.items()):
            if only is None or only in key:
                weights[key] = make(value).contiguous()

    return change


BAD_WEIGHTS = {
    "NaN": fill(np.nan),
    "infinity": fill(np.inf),
    "-infinity": fill(-np.inf),
    "1e300 in double precision": replace(lambda t: torch.full(t.shape, 1e300, dtype=torch.double)),
    "3e38": replace(lambda t: torch.full_like(t, 3e38)),
    "a missing tensor": lambda w: w.pop("location.nnet.last_layer.bias"),
    "no last layer": lambda w: w.pop("location.nnet.last_layer.weight"),
    "a tensor too many": lambda w: w.update({"location.more": torch.zeros(2)}),
    "a layer too many": lambda w: w.update({"location.nnet.layers.7.weight": torch.zeros(6, 6)}),
    "transposed": replace(lambda t: t.T if t.ndim == 2 else t),
    "no dimension": replace(lambda t: t.sum()),
    "no first dimension": replace(lambda t: t.sum(), "layers.0.weight"),
    "no row": replace(lambda t: t[:0]),
    "three dimensions": replace(lambda t: t[None]),
    "integers": replace(lambda t: t.mul(9).int()),
    "bytes": replace(lambda t: t.mul(9).byte()),
    "booleans": replace(lambda t: t > 0),
    "complex": replace(lambda t: t + 1j),
    "another prefix": lambda w: [w.update({f"x.{key}": w.pop(key)}) for key in list(w)],
    "nothing": lambda w: w.clear(),
}

GOOD_WEIGHTS = {
    "float64": replace(lambda t: t.double()),
    "one tensor float64": replace(lambda t: t.double(), "last_layer"),
    "float8": replace(lambda t: t.to(torch.float8_e4m3fn)),
    "an image tower besides": lambda w: w.update({"image.x": torch.zeros(2)}),
}


@by_name("change", BAD_WEIGHTS)
def test_weights_that_are_wrong(small_model, tmp_path, change):
    path = quietly(lambda: write_weights(small_model[0], tmp_path / "changed", change))
    check_file(path, lambda: encode(path))


@by_name("change", GOOD_WEIGHTS)
def test_weights_that_are_odd(small_model, tmp_path, change):
    path = quietly(lambda: write_weights(small_model[0], tmp_path / "changed", change))
    check(lambda: encode(path), lambda: small_model[1], (path.name,), kinds=BAD_FILE)


BAD_FILES = {  # what becomes of the bytes of model.safetensors
    "empty": lambda whole: b"",
    "cut in the header": lambda whole: whole[:20],
    "cut": lambda whole: whole[:-10],
    "header longer than the file": lambda whole: b"\xff" * 8 + whole[8:],
    "header no JSON": lambda whole: whole[:8] + b"x" * (len(whole) - 8),
    "text": lambda whole: b"hello",
    "too long": lambda whole: whole + b"\0" * 10,
    "a pickle": lambda whole: pickle.dumps({"x": 1}),
}


@by_name("change", BAD_FILES)
def test_files_of_weights_that_cannot_be_read(small_model, tmp_path, change):
    whole = (small_model[0] / "model.safetensors").read_bytes()
    path = write_model(small_model[0], tmp_path / "changed", weights=change(whole))
    check_file(path, lambda: encode(path), "model.safetensors")
