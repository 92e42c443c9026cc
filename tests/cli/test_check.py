"""`skgeo-embed check` passes on right weights, and fails where anything about them is wrong."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from skgeo_embed.cli import main
from skgeo_embed.models import fingerprints
from skgeo_embed.models.registry import FINGERPRINTS, SATCLIP_CHECKPOINTS, THIRD_PARTY
from skgeo_embed.nn.harmonics import SphericalHarmonics
from tests.hub_server import Repository
from tests.satclip_checkpoint import checkpoint, to_bytes, without_vision
from tests.third_party_recipe import SPACE2VEC, XYZ

NAME = "satclip-vit16-l40"
ROW = SATCLIP_CHECKPOINTS[NAME]
# of the network below; computed in this file with scipy's harmonics and numpy (`similarities`), but
# for the last: at 5,000 km it is 0.2071 without the rounding error that L = 40 was trained with
STATED = [1.0000, 0.9999, 0.9996, 0.9894, 0.9586, 0.3736, 0.1831, 0.2069]
KILOMETRES = [1, 5, 10, 50, 100, 500, 1000, 5000]
SAN_FRANCISCO = [-122.4194, 37.7749]


@pytest.fixture(scope="module")
def content():
    """A file with the printed names and sizes."""
    made = checkpoint("vit16_l40", keep=without_vision)
    made["state_dict"]["model.logit_scale"] = torch.tensor(2.936)
    return made


@pytest.fixture
def known(tmp_path, monkeypatch):
    """The package's numbers, those of the network replaced by the ones that are stated here."""
    numbers = json.loads(FINGERPRINTS.read_text())
    numbers[NAME]["similarity"]["mean"] = STATED
    path = tmp_path / "fingerprints.json"

    def write(size):
        numbers[NAME]["bytes"] = size
        path.write_text(json.dumps(numbers))
        monkeypatch.setattr(fingerprints, "FINGERPRINTS", path)

    fingerprints._read.cache_clear()
    yield write
    fingerprints._read.cache_clear()


def similarities(state):
    """The fingerprint of a file, without the library."""
    w = {key.removeprefix("model.nnet."): value.numpy() for key, value in state.items()}
    lon0, lat0 = np.deg2rad(SAN_FRANCISCO)
    bearings, angles = 2 * np.pi * np.arange(8) / 8, np.array(KILOMETRES)[:, None] / 6371
    lat = np.arcsin(
        np.sin(lat0) * np.cos(angles) + np.cos(lat0) * np.sin(angles) * np.cos(bearings)
    )
    lon = lon0 + np.arctan2(
        np.sin(bearings) * np.sin(angles) * np.cos(lat0),
        np.cos(angles) - np.sin(lat0) * np.sin(lat),
    )
    lon, lat = np.append(lon0, lon), np.append(lat0, lat)
    columns = []
    for degree in range(40):
        for order in range(-degree, degree + 1):
            y = sph_harm_y(degree, abs(order), lat + np.pi / 2, lon + np.pi)
            part = y.real if order >= 0 else y.imag
            columns.append(part * (np.pi if order == 0 else np.sqrt(2) * (-1) ** order))
    x = np.column_stack(columns)
    x = np.sin(30 * (x @ w["layers.0.weight"].T + w["layers.0.bias"]))
    x = np.sin(x @ w["layers.1.weight"].T + w["layers.1.bias"])
    x = x @ w["last_layer.weight"].T + w["last_layer.bias"]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return (x[1:] @ x[0]).reshape(8, 8).mean(axis=1)


def test_the_stated_numbers_are_right(content):
    expected = [*STATED[:-1], 0.2071]
    np.testing.assert_allclose(similarities(content["state_dict"]), expected, rtol=0, atol=5.1e-5)


def publish(hub, known, content):
    file = to_bytes(content)
    hub.repositories[ROW.repository] = Repository({ROW.file: file})
    known(len(file))


def test_right_weights_pass(hub, known, content, capsys):
    publish(hub, known, content)
    assert main(["check", NAME]) == 0
    out = capsys.readouterr().out
    assert "all 24 numbers agree" in out
    assert "commit " + "a" * 40 in out
    assert "similarity at 500 km, float32" in out
    assert "FAIL" not in out


def changed(content, **tensors):
    return {**content, "state_dict": {**content["state_dict"], **tensors}}


def both(content, change):
    """Change the first layer's weight in both copies that a file holds."""
    keys = [f"{copy}layers.0.weight" for copy in ("model.nnet.", "model.location.nnet.")]
    return changed(content, **{key: change(content["state_dict"][key]) for key in keys})


def orders_reversed(weight):
    """Swap orders m and -m in each degree."""
    return torch.cat([part.flip(1) for part in weight.split([2 * n + 1 for n in range(40)], 1)], 1)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda c: both(c, orders_reversed), "similarity at 500 km"),
        (lambda c: both(c, lambda w: w.float()), "model.location.nnet.layers.0.weight"),
        (lambda c: both(c, lambda w: w.bfloat16().double()), "similarity at"),
        (lambda c: changed(c, **{"model.logit_scale": torch.tensor(2.6)}), "model.logit_scale"),
    ],
    ids=["order", "single", "half", "temperature"],
)  # fmt: skip
def test_wrong_weights_fail(hub, known, content, capsys, damage, what):
    publish(hub, known, damage(content))
    assert main(["check", NAME]) == 1
    said = capsys.readouterr()
    assert any("FAIL" in line and what in line for line in said.out.splitlines())
    assert "numbers differ from those of the published weights" in said.err


def of_zero_order(features):
    features[:, [degree * degree + degree for degree in range(40)]] /= np.pi
    return features


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda lonlat: lonlat.half().double(), lambda features: features),
        (lambda lonlat: lonlat, orders_reversed),
        (lambda lonlat: lonlat, of_zero_order),
        (lambda lonlat: lonlat.flip(1), lambda features: features),
    ],
    ids=["precision", "order", "harmonics", "latitude first"],
)
def test_a_program_that_reads_right_weights_wrongly_fails(
    hub, known, content, capsys, monkeypatch, before, after
):
    publish(hub, known, content)
    right = SphericalHarmonics.forward
    monkeypatch.setattr(
        SphericalHarmonics,
        "forward",
        lambda self, lonlat, *args, **options: after(right(self, before(lonlat), *args, **options)),
    )
    assert main(["check", NAME]) == 1
    assert "FAIL similarity at" in capsys.readouterr().out


def test_harmonics_without_the_published_rounding_fail(hub, known, content, capsys, monkeypatch):
    publish(hub, known, content)
    monkeypatch.setitem(SATCLIP_CHECKPOINTS, NAME, replace(ROW, harmonics="exact"))
    assert main(["check", NAME]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "FAIL" in line]
    assert [line.split(",")[0] for line in lines] == ["  FAIL similarity at 5000 km"] * 2


def test_another_size_fails(hub, known, content, capsys):
    publish(hub, known, content)
    known(120_982_795)
    assert main(["check", NAME]) == 1
    assert "expected 120982795" in capsys.readouterr().out


def test_a_file_of_torchspatial_is_known_by_its_hash(capsys):
    assert main(["check", str(SPACE2VEC)]) == 0
    assert "all 13 numbers agree" in capsys.readouterr().out
    assert main(["check", str(XYZ)]) == 1  # without its optimiser it is another file
    assert "differs from every published file" in capsys.readouterr().err


def test_a_file_that_was_damaged_is_told_by_its_hash(tmp_path, capsys):
    file = tmp_path / "model_fmow_xyz_inception_v3.pth.tar"
    file.write_bytes(b"damaged")
    assert main(["check", str(file)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    found = hashlib.sha256(b"damaged").hexdigest()
    assert f"its sha256 is {found}. If it should be one of them, it is damaged" in said


def test_wrong_features_fail(capsys, monkeypatch):
    numbers = json.loads(FINGERPRINTS.read_text())
    numbers["torchspatial-yfcc_space2vec-grid"]["features"]["values"][2][3] += 1e-3
    monkeypatch.setattr(fingerprints, "_read", lambda path: numbers)
    assert main(["check", str(SPACE2VEC)]) == 1
    out = capsys.readouterr().out
    assert out.count("FAIL features at -133.28, 14.19") == 2


def test_names_without_known_numbers_list_those_with():
    known = json.loads(FINGERPRINTS.read_text())
    assert set(known) <= set(SATCLIP_CHECKPOINTS) | set(THIRD_PARTY)
    for name, entry in known.items():
        assert entry["source"], name
    published = known[NAME]["similarity"]["mean"]
    assert published == [1.0, 0.9997, 0.9988, 0.9711, 0.9002, 0.3035, 0.0806, 0.079]


@pytest.mark.parametrize(
    ("name", "said"),
    [("sinr", "known for 'sinr'. They are known for satclip-vit16-l10"),
     ("torchspatial-yfcc_rff", "torchspatial-yfcc_rff has no address; clone github.com"),
     ("no-such-model", "no published numbers are known")],
)  # fmt: skip
def test_what_cannot_be_checked_says_why(name, said, capsys):
    assert main(["check", name]) == 1
    assert said in capsys.readouterr().err
