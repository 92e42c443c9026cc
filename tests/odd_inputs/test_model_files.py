"""Odd files of every encoder that opens one: damaged, of other shapes, or no model at all."""

import io
import pickle
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from skgeo_embed import CSPEncoder, GeoCLIPEncoder, SatCLIPEncoder, SatCLIPImageEncoder
from skgeo_embed.nn.location import LocationEncoder
from tests.odd_inputs.checking import BAD_FILE, by_name, check, check_file, entries
from tests.odd_inputs.encoders import OF_ONE_FILE, PLACES, SPACE2VEC, features, geoclip_weights
from tests.odd_inputs.test_model_folders import write_model

pytestmark = pytest.mark.slow


def write_torch(path, content):
    torch.save(content, path)
    return path


def checkpoint(**changes):
    """Make a small SatCLIP checkpoint."""
    torch.manual_seed(0)
    module = LocationEncoder(4, 5, 6).eval()
    state = {f"model.location.{key}": value for key, value in module.state_dict().items()}
    hyper = {"le_type": "sphericalharmonics", "legendre_polys": 4, "embed_dim": 5}
    return {"state_dict": state, "hyper_parameters": hyper, **changes}


def encode(kind, path):
    encoder, options = KINDS[kind][0], KINDS[kind][4]
    return encoder(path, **options).fit_transform(PLACES)


def csp_content():
    return torch.load(SPACE2VEC, map_location="cpu", weights_only=True)


FIRST_OF_CSP = next(key for key in csp_content()["state_dict"] if "ffn.layers.0.linear.w" in key)
CLIMPLICIT, SINR, TTE, MIND = (
    OF_ONE_FILE[f"{name}Encoder"] for name in ("Climplicit", "SINR", "TTE", "MIND")
)
KINDS = {  # class, suffix, content, its first weight, and what the encoder is made with
    "SatCLIP": (SatCLIPEncoder, ".ckpt", checkpoint, "model.location.nnet.layers.0.weight", {}),
    "CSP": (CSPEncoder, ".pth.tar", csp_content, FIRST_OF_CSP, {}),
    "Climplicit": (
        CLIMPLICIT[0], ".pth", CLIMPLICIT[1], "location_encoder.layers.0.weight", CLIMPLICIT[2],
    ),
    "SINR": (SINR[0], ".pth", SINR[1], "feats.0.weight", {}),
    "TTE": (TTE[0], ".pth", TTE[1], "location._directions", {}),
    "MIND": (MIND[0], ".pth", MIND[1], "first.linear.weight", {}),
    "GeoCLIP": (GeoCLIPEncoder, ".pth", geoclip_weights, "LocEnc0.capsule.0.b", {}),
    "GeoCLIP's head": (GeoCLIPEncoder, ".pth", geoclip_weights, "LocEnc0.head.0.weight", {}),
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", KINDS)


def write_changed(folder, kind, change):
    """Write a file of this kind whose tensors `change` has changed, given the first one's name."""
    _, suffix, make, first, _ = KINDS[kind]
    content = dict(make())
    change(content.get("state_dict", content), first)
    return write_torch(folder / f"changed{suffix}", content)


# --- tensors


BAD_TENSORS = {  # what becomes of the first weight of a file
    "NaN": lambda t: t * np.nan,
    "infinity": lambda t: t * np.inf,
    "1e300": lambda t: torch.full(t.shape, 1e300, dtype=torch.double),
    "no dimension": lambda t: t.sum(),
    "one dimension": lambda t: t.flatten(),
    "three dimensions": lambda t: t[None],
    "transposed": lambda t: t.T.contiguous(),
    "one row less": lambda t: t[1:],
    "one column more": lambda t: torch.cat([t, t[:, :1]], dim=1),
    "no rows": lambda t: t[:0],
    "complex": lambda t: t + 1j,
    "integers": lambda t: t.int(),
    "booleans": lambda t: t > 0,
    "sparse": lambda t: t.to_sparse(),
    "text": lambda t: "x",
    "None": lambda t: None,
    "4 TB of one number": lambda t: torch.zeros(1).expand(2**20, 2**20),
}


@every_kind
@by_name("make", BAD_TENSORS)
def test_first_weight(kind, make, tmp_path):
    def change(tensors, first):
        tensors[first] = make(tensors[first])

    path = write_changed(tmp_path, kind, change)
    check_file(path, lambda: encode(kind, path))


def last_bias(content):
    keys = [key for key in content if key.endswith("bias")]
    return [key for key in keys if "chelsa" not in key and "img_to" not in key][-1]


BAD_CONTENTS = {  # what becomes of a file's content, given the name of its first weight
    "first weight missing": lambda content, first: content.pop(first),
    "no tensors": lambda content, first: content.clear(),
    "a tensor more": lambda content, first: content.update(
        {f"{first.rpartition('.')[0]}.x": torch.zeros(2)}
    ),
    "an integer key": lambda content, first: content.update({5: torch.zeros(2)}),
    "keys of another model": lambda content, first: [
        content.update({f"x.{key}": content.pop(key)}) for key in list(content)
    ],
    "the last bias of another length": lambda content, first: content.update(
        {last_bias(content): torch.zeros(3)}
    ),
}


@every_kind
@by_name("change", BAD_CONTENTS)
def test_contents(kind, change, tmp_path):
    path = write_changed(tmp_path, kind, change)
    check_file(path, lambda: encode(kind, path))


BAD_GEOCLIP = {  # tensors in the place of others
    "frequencies of three": {"LocEnc0.capsule.0.b": torch.zeros(6, 3)},
    "another shape": {"LocEnc1.capsule.1.weight": torch.zeros(10, 13)},
    "another head": {"LocEnc1.head.0.weight": torch.zeros(8, 10)},
    "another key": {"x": torch.zeros(2)},
    "one capsule more by name": {"LocEnc7.x": torch.zeros(2)},
}


@by_name("changes", BAD_GEOCLIP)
def test_tensors_of_geoclip(changes, tmp_path):
    path = write_changed(tmp_path, "GeoCLIP", lambda tensors, first: tensors.update(changes))
    check_file(path, lambda: encode("GeoCLIP", path))


# --- what a file says of its tensors


BAD_CHECKPOINTS = {  # entries in the place of others
    "integer keys": {"state_dict": {1: torch.zeros(2)}},
    "keys None": {"state_dict": {None: torch.zeros(2)}},
    "no tensors": {"state_dict": {"model.location.nnet.layers.0.weight": "x"}},
    "nested": {"state_dict": {"model": {"location": {}}}},
    "state_dict a list": {"state_dict": [1]},
    "one dimension": {"state_dict": {"model.location.nnet.layers.0.weight": torch.zeros(16)}},
    "hyper_parameters a list": {"hyper_parameters": [1]},
    "hyper_parameters a text": {"hyper_parameters": "x"},
    "hyper_parameters disagree": {"hyper_parameters": {"legendre_polys": 5}},
    "le_type unknown": {"hyper_parameters": {"le_type": "nope"}},
    "le_type a number": {"hyper_parameters": {"le_type": 5}},
    "le_type None": {"hyper_parameters": {"le_type": None}},
    "harmonics unknown": {"hyper_parameters": {"harmonics_calculation": "x"}},
    "harmonics a list": {"hyper_parameters": {"harmonics_calculation": [1]}},
    "min_radius 0": {"hyper_parameters": {"le_type": "grid", "min_radius": 0}},
}


@by_name("changes", BAD_CHECKPOINTS)
def test_checkpoints(changes, tmp_path):
    path = write_torch(tmp_path / "bad.ckpt", checkpoint(**changes))
    check_file(path, lambda: encode("SatCLIP", path))


@pytest.mark.parametrize("shape", [(6, 15), (6, 0)], ids=str)
def test_first_weights_of_no_square(shape, tmp_path):
    """Harmonics have a square number of columns."""
    path = write_changed(
        tmp_path, "SatCLIP", lambda tensors, first: tensors.update({first: torch.zeros(shape)})
    )
    check_file(path, lambda: encode("SatCLIP", path))


@pytest.mark.parametrize(
    "content", [[1, 2], torch.zeros(3), {"x": 1}], ids=lambda c: type(c).__name__
)
def test_no_state_dict(content, tmp_path):
    path = write_torch(tmp_path / "bad.ckpt", content)
    check_file(path, lambda: encode("SatCLIP", path))


def test_a_checkpoint_named_like_a_published_one(tmp_path):
    path = write_torch(tmp_path / "satclip-vit16-l40.ckpt", checkpoint())
    check(lambda: encode("SatCLIP", path), words=("named like",), kinds=BAD_FILE)


BAD_CSP = {  # parameters in the file
    "frequency_num": ("16", 17, 0, -1, 16.5, None, [], 10**9),
    "min_radius": (0, -1, np.nan, np.inf, "1", None, 1e-320),
    "max_radius": (0, -1, np.nan, np.inf, "360", None, []),
    "spa_f_act": ("nope", 5, None, []),
    "spa_enc_type": ("rbf", 5, None, []),
    "freq_init": ("random", 5, None, []),
}


@entries(BAD_CSP)
def test_parameters_of_csp(key, value, tmp_path):
    content = csp_content()
    content["params"][key] = value
    path = write_torch(tmp_path / "csp.pth.tar", content)
    check_file(path, lambda: encode("CSP", path))


BAD_CONFIGS = {  # of GeoCLIP
    "another type": b'{"model_type": "x"}', "a list": b"[]", "a text": b'"x"', "no JSON": b"{",
    "nested": b"[" * 100_000, "empty": b"",
}  # fmt: skip


@by_name("config", BAD_CONFIGS)
def test_descriptions_of_geoclip(config, small_model, tmp_path):
    path = write_model(small_model[0], tmp_path / "geoclip", config)
    check_file(path, lambda: GeoCLIPEncoder(path).fit())


# --- files that are no model, and files that are right


def to_bytes(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def other_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/hello.txt", "hello")
    return buffer.getvalue()


def flipped(content, first, step=1):
    """Turn the bits of every `step`-th byte."""
    damaged = bytearray(content)
    for position in range(first, len(damaged), step):
        damaged[position] ^= 0xFF
    return bytes(damaged)


WHOLE = to_bytes(checkpoint())
NO_CHECKPOINTS = {  # contents of files that no encoder can open
    "empty": b"",
    "text": b"hello",
    "web page": b"<!DOCTYPE html><html></html>",
    "git-lfs pointer": b"version https://git-lfs.github.com/x",
    "numpy file": b"\x93NUMPY\x01\0v\0",
    "HDF5": b"\x89HDF\r\n\x1a\n" + b"\0" * 100,
    "pickle": pickle.dumps({"state_dict": {}}),
    "pickle protocol 0": pickle.dumps([1, 2], 0),
    "pickle cut": pickle.dumps(list(range(99)))[:20],
    "another zip": other_zip(),
    "zip cut": WHOLE[: len(WHOLE) // 2],
    "zip cut at its end": WHOLE[:-5],
    "zip with bits turned": flipped(WHOLE, 60, 97),
    "zip with its directory turned": flipped(WHOLE, len(WHOLE) - 60),
    "half a zip after text": b"x" * 50 + b"PK\x05\x06" + b"\0" * 18,
}
OPENERS = {
    "SatCLIPEncoder": (SatCLIPEncoder, ".ckpt"),
    "SatCLIPImageEncoder": (SatCLIPImageEncoder, ".ckpt"),
    "CSPEncoder": (CSPEncoder, ".pth.tar"),
    **{f"{name}, {suffix}": (partial(encoder, **options), suffix)
       for name, (encoder, _, options) in OF_ONE_FILE.items()
       for suffix in (".pth", ".safetensors")},
}  # fmt: skip


@by_name("encoder, suffix", OPENERS)
@by_name("content", NO_CHECKPOINTS)
def test_files_that_are_no_model(encoder, suffix, content, tmp_path):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    check_file(path, lambda: encoder(path).fit())


class Payload:
    """Writes to a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


@by_name("encoder, suffix", {name: row for name, row in OPENERS.items() if ".saf" not in name})
def test_code_in_a_pickle_does_not_run(encoder, suffix, tmp_path):
    path, mark = tmp_path / "code.pth", tmp_path / "the-code-ran"
    write_torch(path, {"state_dict": Payload(mark), "params": Payload(mark)})
    check_file(path, lambda: encoder(path).fit())
    assert not mark.exists()


@pytest.mark.parametrize("encoder", OF_ONE_FILE)
def test_an_empty_folder(encoder, tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    check_file(path, lambda: OF_ONE_FILE[encoder][0](path, **OF_ONE_FILE[encoder][2]).fit())


@pytest.mark.parametrize("encoder", OF_ONE_FILE)
@pytest.mark.parametrize(("suffix", "save"), [(".pth", torch.save), (".safetensors", save_file)])
def test_files_that_are_right(encoder, suffix, save, tmp_path):
    kind, weights, options = OF_ONE_FILE[encoder]
    path = tmp_path / f"good{suffix}"
    save(weights(), path)
    check(lambda: kind(path, **options).fit_transform(PLACES), lambda: features(encoder, PLACES))


def test_a_small_checkpoint(small_model, tmp_path):
    path = write_torch(tmp_path / "good.ckpt", checkpoint())
    check(lambda: encode("SatCLIP", path), lambda: small_model[1])
