import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from skgeo_embed import SatCLIPEncoder, SatCLIPImageEncoder
from skgeo_embed._errors import ModelFormatError
from skgeo_embed.models.lightning_file import read_checkpoint, read_tensors
from skgeo_embed.nn.encodings import KINDS
from skgeo_embed.nn.location import LocationEncoder
from tests.peak_memory import PEAK_MIB
from tests.recipe import checkpoints_json
from tests.satclip_checkpoint import checkpoint, to_bytes, without_vision


def saved(path, *args, **kwargs):
    path.write_bytes(to_bytes(checkpoint(*args, keep=without_vision, **kwargs)))
    return path


@pytest.fixture(scope="module")
def points(checkpoint_reference):
    return checkpoint_reference["points_lonlat"]


@pytest.mark.parametrize("variant", ["resnet18_l10", "resnet50_l10", "vit16_l10", "readme_vit"])
def test_l10_against_the_original(tmp_path, checkpoint_reference, points, variant):
    encoder = SatCLIPEncoder(saved(tmp_path / "own.ckpt", variant), dtype="float64").fit(points)
    np.testing.assert_allclose(
        encoder.transform(points), checkpoint_reference[f"{variant}__location"], rtol=0, atol=1e-9
    )
    assert encoder.encoder_info_["source"] == "checkpoint"
    assert encoder.encoder_info_["harmonics"] == "exact"
    assert encoder.encoder_info_["hidden_dim"] in (256, 512)


@pytest.mark.parametrize("variant", ["resnet18_l40", "resnet50_l40", "vit16_l40"])
def test_l40_against_the_original(tmp_path, checkpoint_reference, points, variant):
    original = checkpoint_reference[f"{variant}__location"]
    name = f"satclip-{variant.replace('_', '-')}.ckpt"
    published = SatCLIPEncoder(saved(tmp_path / name, variant), dtype="float64").fit(points)
    assert published.encoder_info_["harmonics"] == "published"
    assert published.encoder_info_["licence"] == "MIT"
    assert abs(published.transform(points) - original).max() < 2e-3
    exact = SatCLIPEncoder(tmp_path / name, dtype="float64", harmonics="exact").fit(points)
    np.testing.assert_allclose(
        exact.transform(points),
        checkpoint_reference[f"{variant}__location_exact_sh"],
        rtol=0,
        atol=1e-10,
    )
    assert abs(exact.transform(points) - original).max() > 2e-2  # what the mode is for
    with pytest.warns(UserWarning, match="harmonics='published'"):
        self_trained = SatCLIPEncoder(saved(tmp_path / "mine.ckpt", variant)).fit()
    assert self_trained.encoder_info_["harmonics"] == "exact"


@pytest.mark.parametrize("name", ["satclip-resnet18-l40 (1).ckpt", "SatCLIP_ResNet18_L40.pt"])
def test_renamed_downloads_are_recognised(tmp_path, name):
    encoder = SatCLIPEncoder(saved(tmp_path / name, "resnet18_l40")).fit()
    assert encoder.encoder_info_["harmonics"] == "published"


def test_a_name_that_cannot_be(tmp_path):
    path = saved(tmp_path / "satclip-resnet18-l40.ckpt", "resnet18_l10")
    with pytest.raises(ModelFormatError, match="whose L is 40, but holds an encoder with L = 10"):
        SatCLIPEncoder(path).fit()
    with pytest.raises(ModelFormatError, match="uses 'discretized' ones"):
        SatCLIPEncoder(
            saved(tmp_path / "own.ckpt", "resnet18_l10", harmonics_calculation="discretized"),
            harmonics="published",
        ).fit()


def test_hyper_parameters_as_an_object(tmp_path):
    import argparse

    content = checkpoint("resnet18_l10", keep=without_vision)
    content["hyper_parameters"] = argparse.Namespace(**content["hyper_parameters"])
    (tmp_path / "own.ckpt").write_bytes(to_bytes(content))
    encoder = SatCLIPEncoder(tmp_path / "own.ckpt", allow_pickle=True).fit()
    assert encoder.encoder_info_["legendre_polys"] == 10


@pytest.mark.parametrize(
    "change",
    [
        {"eval_downstream": None, "air_temp_data_path": None, "election_data_path": None},
        {"harmonics_calculation": None, "pe_type": None, "le_type": None},
        {"_instantiator": "lightning.pytorch.cli.instantiate_module"},
        {"vision_layers": "something new"},
    ],
)
def test_hyper_parameters_of_every_age(tmp_path, checkpoint_reference, points, change):
    encoder = SatCLIPEncoder(
        saved(tmp_path / "own.ckpt", "resnet18_l10", **change), dtype="float64"
    ).fit()
    np.testing.assert_allclose(
        encoder.transform(points), checkpoint_reference["resnet18_l10__location"], atol=1e-9
    )


@pytest.mark.parametrize("prefix", ["model.nnet.", "model.location.nnet."])
def test_one_copy_of_the_network_is_enough(tmp_path, checkpoint_reference, points, prefix):
    content = checkpoint("resnet18_l10", keep=lambda key: key.startswith(prefix))
    content["hyper_parameters"] = {}
    (tmp_path / "own.ckpt").write_bytes(to_bytes(content))
    encoder = SatCLIPEncoder(tmp_path / "own.ckpt", dtype="float64").fit()
    np.testing.assert_allclose(
        encoder.transform(points), checkpoint_reference["resnet18_l10__location"], atol=1e-9
    )


@pytest.mark.parametrize("name", ["linear", "mlp", "mlp3", "fcnet", "siren", "siren3"])
def test_every_network(tmp_path, checkpoint_reference, points, name):
    from tests.recipe import state_dict

    spec = checkpoints_json()["location_nets"][name]
    hyper = {
        "le_type": "wrap",
        "pe_type": spec["pe_type"],
        "embed_dim": 8,
        "capacity": 16,
        "num_hidden_layers": spec["num_hidden_layers"],
        "legendre_polys": 10,
    }
    state = state_dict(spec["state_dict"], spec["aliases"])
    (tmp_path / "own.ckpt").write_bytes(to_bytes({"state_dict": state, "hyper_parameters": hyper}))
    encoder = SatCLIPEncoder(tmp_path / "own.ckpt", dtype="float64").fit()
    expected = checkpoint_reference[f"wrap_{name}__location"]
    # both sides of the antimeridian are one place here, which wrap does not mind
    np.testing.assert_allclose(encoder.transform(points), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("calculation", ["analytic", "closed-form", "discretized"])
def test_every_encoding(tmp_path, points, kind, calculation):
    if kind != "sphericalharmonics" and calculation != "analytic":
        return
    torch.manual_seed(0)
    module = LocationEncoder(
        5, 8, 16, harmonics_calculation=calculation, positional_encoding=kind, n_frequencies=4
    ).double()
    hyper = {
        "le_type": kind,
        "pe_type": "siren",
        "harmonics_calculation": calculation,
        "frequency_num": 4,
        "min_radius": 1,
        "max_radius": 360,
        "legendre_polys": 5,
    }
    state = {f"model.location.{key}": value for key, value in module.state_dict().items()}
    (tmp_path / "own.ckpt").write_bytes(to_bytes({"state_dict": state, "hyper_parameters": hyper}))
    encoder = SatCLIPEncoder(tmp_path / "own.ckpt", dtype="float64").fit()
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(points[:20]))
    np.testing.assert_allclose(encoder.transform(points[:20]), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"legendre_polys": 20}, "legendre_polys=20, the tensors 10"),
        ({"embed_dim": 128}, "embed_dim=128, the tensors 256"),
        ({"capacity": 100}, "capacity=100, the tensors 512"),
        ({"num_hidden_layers": 3}, "num_hidden_layers=3, the tensors 2"),
        ({"pe_type": "fcnet"}, "pe_type='fcnet', the tensors 'siren'"),
    ],
)
def test_disagreement_is_told(tmp_path, change, expected):
    with pytest.raises(ModelFormatError, match=expected):
        SatCLIPEncoder(saved(tmp_path / "own.ckpt", "resnet18_l10", **change)).fit()


class Hostile:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_hostile_checkpoint_executes_nothing(tmp_path):
    content = checkpoint("resnet18_l10", keep=without_vision)
    content["callbacks"] = {"harmless": Hostile(tmp_path / "owned")}
    path = tmp_path / "hostile.ckpt"
    path.write_bytes(to_bytes(content))
    with pytest.raises(ModelFormatError, match=r"(?s)was not opened.*mkdir.*allow_pickle=True"):
        SatCLIPEncoder(path).fit()
    with pytest.raises(ModelFormatError, match="was not opened"):
        SatCLIPImageEncoder(path).fit()
    assert not (tmp_path / "owned").exists()
    SatCLIPEncoder(path, allow_pickle=True).fit()
    assert (tmp_path / "owned").exists()


def test_old_torch_format(tmp_path, checkpoint_reference, points):
    content = checkpoint("resnet18_l10", keep=without_vision)
    path = tmp_path / "old.ckpt"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    encoder = SatCLIPEncoder(path, dtype="float64").fit()
    np.testing.assert_allclose(
        encoder.transform(points), checkpoint_reference["resnet18_l10__location"], atol=1e-9
    )


def test_damaged_and_foreign_files(tmp_path):
    path = saved(tmp_path / "own.ckpt", "resnet18_l10")
    path.write_bytes(path.read_bytes()[:100_000])
    for content, said in (
        (path.read_bytes(), "incomplete zip file"),
        (b"", "it is empty"),
        (b"<html>Sign in</html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git-lfs pointer"),
        (b"lon,lat", "it begins with b'lon,lat'"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelFormatError, match=rf"is not a torch checkpoint: .*{said}"):
            SatCLIPEncoder(path).fit()
    path.write_bytes(to_bytes([1, 2]))
    with pytest.raises(ModelFormatError, match="no state_dict"):
        SatCLIPEncoder(path).fit()
    path.write_bytes(to_bytes({"state_dict": {"head.weight": torch.zeros(2)}}))
    with pytest.raises(ModelFormatError, match=r"no location network.*head\.weight"):
        SatCLIPEncoder(path).fit()
    path.write_bytes(to_bytes({"state_dict": {"model.nnet.odd": torch.zeros(2)}}))
    with pytest.raises(ModelFormatError, match="unknown location network"):
        SatCLIPEncoder(path).fit()
    wrong = {"model.nnet.weight": torch.zeros(4, 7), "model.nnet.bias": torch.zeros(4)}
    path.write_bytes(to_bytes({"state_dict": wrong}))
    with pytest.raises(ModelFormatError, match="7 columns, not a square number"):
        SatCLIPEncoder(path).fit()


def test_file_may_go_away_after_fit(tmp_path, points):
    path = saved(tmp_path / "own.ckpt", "resnet18_l10")
    encoder = SatCLIPEncoder(path).fit()
    before = encoder.transform(points)
    path.unlink()
    np.testing.assert_array_equal(encoder.transform(points), before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(encoder)).transform(points), before)


def test_image_tower_of_a_file(tmp_path, checkpoint_reference):
    path = tmp_path / "own.ckpt"
    path.write_bytes(to_bytes(checkpoint("clip_resnet")))
    images = np.random.RandomState(0).rand(2, 12, 64, 64).astype(np.float32)
    encoder = SatCLIPImageEncoder(path).fit(images)
    np.testing.assert_allclose(
        encoder.transform(images), checkpoint_reference["clip_resnet__image"], rtol=0, atol=1e-4
    )
    location_only = saved(tmp_path / "location.ckpt", "resnet18_l10")
    with pytest.raises(ModelFormatError, match="holds no image tower"):
        SatCLIPImageEncoder(location_only).fit()
    path.write_bytes(to_bytes(checkpoint("clip_resnet", vision_layers="new_tower")))
    with pytest.raises(ModelFormatError, match="vision_layers='new_tower' must be one of"):
        SatCLIPImageEncoder(path).fit()


def test_vision_tower_is_neither_built_nor_read(tmp_path):
    """Peak memory of opening the location tower stays far below the file's size."""
    content = checkpoint("resnet18_l10", keep=without_vision)
    content["state_dict"]["model.visual.ballast"] = torch.zeros(100 * 2**20, dtype=torch.uint8)
    path = tmp_path / "large.ckpt"
    path.write_bytes(to_bytes(content))
    code = (
        "from skgeo_embed import SatCLIPEncoder;"
        "SatCLIPEncoder('bluemarble-l10').fit([[1, 2]]);"  # what opening imports
        f"{PEAK_MIB};"
        "before = peak();"
        f"SatCLIPEncoder({str(path)!r}).fit([[1, 2]]);"
        "print(peak() - before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) < 40


@pytest.mark.parametrize("lost", ["frequency_num", "min_radius", "max_radius"])
def test_a_checkpoint_that_lost_how_it_encodes(tmp_path, lost):
    """It opened with the original's default: other numbers, without a word."""
    location = LocationEncoder(5, 8, 16, positional_encoding="grid", n_frequencies=16)
    hyper = {"le_type": "grid", "frequency_num": 16, "min_radius": 0.1, "max_radius": 360}
    state = {f"model.location.{k}": v for k, v in location.state_dict().items() if "nnet" in k}
    path = tmp_path / "own.ckpt"
    path.write_bytes(to_bytes({"state_dict": state, "hyper_parameters": hyper}))
    SatCLIPEncoder(path).fit()
    del hyper[lost]
    path.write_bytes(to_bytes({"state_dict": state, "hyper_parameters": hyper}))
    with pytest.raises(ModelFormatError, match=rf"own\.ckpt: the hyper.* and not {lost}, without"):
        SatCLIPEncoder(path).fit()


@pytest.mark.parametrize(
    "raised",
    [UnboundLocalError("x"), NameError("x"), MemoryError(), AssertionError(), SystemError()],
)
@pytest.mark.parametrize("read", [read_checkpoint, read_tensors])
def test_whatever_torch_raises_of_a_damaged_file(tmp_path, monkeypatch, raised, read):
    """Among it was UnboundLocalError, which no user could take for a damaged file."""

    def fail(*_, **__):
        raise raised

    torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(ModelFormatError, match=r"a\.ckpt "):
        read(tmp_path / "a.ckpt")
