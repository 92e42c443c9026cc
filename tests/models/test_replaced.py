"""Model files that are damaged, changed or replaced: what `fit` has checked is what is used."""

import gc
import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from skgeo_embed import (
    ClimplicitEncoder,
    GPS2VecEncoder,
    ImageGeolocator,
    RANGEEncoder,
    SatCLIPEncoder,
    SatCLIPImageEncoder,
)
from skgeo_embed._errors import ModelFormatError
from skgeo_embed.models import lightning_file, loaded, model_file, opening
from skgeo_embed.models.folder import read_config, write_folder
from skgeo_embed.models.registry import BUNDLED, WEIGHTS_FOLDER
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.vision.small_cnn import SmallConvNet
from tests.content import small_tower
from tests.satclip_checkpoint import checkpoint, to_bytes, without_vision
from tests.third_party_recipe import climplicit, range_database, write_zone

SMALL = climplicit(hidden=8, out=4, n_layers=2)
PLACES = np.array([[7.8, 36.8], [-3.0, 40.0], [3.3, 36.7]])


@pytest.fixture
def folder(tmp_path, small_location):
    """A folder with both towers."""
    torch.manual_seed(0)
    tower, location = SmallConvNet(3, 8), small_location
    weights = {
        **{f"location.{key}": value for key, value in location.state_dict().items()},
        **{f"image.{key}": value for key, value in tower.state_dict().items()},
        "logit_scale": torch.tensor(2.6),
    }
    described = {"location": location.config, "image": tower.config, "default_layer": "hidden"}
    write_folder(tmp_path / "model", described, weights, "card")
    return tmp_path / "model"


def change_config(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


# --- damage that leaves a file as it should be


@pytest.mark.parametrize("opened", [SatCLIPEncoder, SatCLIPImageEncoder, ImageGeolocator])
def test_one_bit_of_the_weights(folder, opened):
    opened(folder).fit()
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-50] ^= 2  # of the last tensor
    weights.write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"model\.safetensors is not what was written"):
        opened(folder).fit()


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["location"].pop("harmonics_calculation"),
        lambda config: config["location"].pop("legendre_polys") and None,
        lambda config: config["location"].update(w0=29.0),
        lambda config: config["location"].update(hidden_scale=0.5),
        lambda config: config.pop("default_layer"),
        lambda config: config.update(default_layer="embedding"),
    ],
    ids=range(6),
)
def test_a_description_that_lost_or_changed_an_entry(folder, change):
    change_config(folder, change)
    with pytest.raises(ModelFormatError, match=r"config\.json is not what was written|tensors"):
        SatCLIPEncoder(folder).fit()


@pytest.mark.parametrize(("name", "key"), [("earth-l20", "w0"), ("bluemarble-l20", "hidden_scale")])
def test_a_bundled_description_that_lost_an_entry(tmp_path, name, key):
    """They opened with the default of the entry, which is 30 where the model has 1."""
    folder = shutil.copytree(WEIGHTS_FOLDER / BUNDLED[name], tmp_path / "copy")
    change_config(folder, lambda config: config["location"].pop(key))
    with pytest.raises(ModelFormatError, match=r"copy/config\.json is not what was written"):
        SatCLIPEncoder(folder).fit()


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_folders_have_digests(name):
    config = read_config(WEIGHTS_FOLDER / BUNDLED[name])
    assert config["sha256"].keys() == {"weights", "description"}


def test_what_is_no_description_may_change(folder):
    change_config(folder, lambda config: config.update(licence="MIT", name="other", more=1))
    assert SatCLIPEncoder(folder).fit().encoder_info_["licence"] == "MIT"


def test_folders_without_digests_open_as_before(folder):
    expected = SatCLIPEncoder(folder).fit_transform(PLACES)
    change_config(folder, lambda config: config.pop("sha256"))
    np.testing.assert_array_equal(SatCLIPEncoder(folder).fit_transform(PLACES), expected)
    for wrong in (5, [], {}, {"weights": 3}, "x"):
        change_config(folder, lambda config, wrong=wrong: config.update(sha256=wrong))
        with pytest.raises(ModelFormatError, match="is not what was written"):
            SatCLIPEncoder(folder).fit()


def test_one_bit_of_torchs_files(tmp_path):
    """Their zip has check sums, which torch compares with nothing."""
    content = bytearray(to_bytes(checkpoint("resnet18_l10", keep=without_vision)))
    value = checkpoint("resnet18_l10", keep=without_vision)["state_dict"][
        "model.nnet.last_layer.weight"
    ]
    place = bytes(content).index(value.numpy().tobytes())
    content[place + 5] ^= 1
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"a\.ckpt.*does not match its checksum"):
        SatCLIPEncoder(tmp_path / "a.ckpt").fit()
    torch.save(SMALL, tmp_path / "b.pt")
    ClimplicitEncoder(tmp_path / "b.pt").fit()
    content = bytearray((tmp_path / "b.pt").read_bytes())
    value = SMALL["location_encoder.last_layer.weight"]
    content[bytes(content).index(value.numpy().tobytes()) + 5] ^= 1
    (tmp_path / "b.pt").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"b\.pt.*does not match its checksum"):
        ClimplicitEncoder(tmp_path / "b.pt").fit()


# --- files that are replaced


def test_a_folder_that_is_cut_after_fit(folder):
    """Weights lay in a map of the file: other values, or SIGBUS."""
    encoder = SatCLIPEncoder(folder).fit()
    images = SatCLIPImageEncoder(folder).fit()
    geolocator = ImageGeolocator(folder, n_candidates=20).fit()
    pixels = np.random.RandomState(0).rand(2, 3, 8, 8).astype(np.float32)
    expected = [encoder.transform(PLACES), images.transform(pixels), geolocator.predict(pixels)]
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(os.urandom(5000))
        file.truncate(100)
    state = [encoder.transform(PLACES), images.transform(pixels), geolocator.predict(pixels)]
    for found, before in zip(state, expected, strict=True):
        np.testing.assert_array_equal(found, before)
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(PLACES), expected[0])


def replacing(monkeypatch, module, name, replace):
    """Replace a file when it has been hashed, before it is read."""
    original = getattr(module, name)

    def and_then(*arguments, **options):
        monkeypatch.undo()
        replace()
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, and_then)


def test_a_folder_that_is_replaced_between_hash_and_reading(folder, monkeypatch):
    other = {key: value + 1 for key, value in load_file(folder / "model.safetensors").items()}
    loaded._opened.clear()  # an engine of the process would be used, and no file read
    gc.collect()
    replacing(
        monkeypatch,
        opening,
        "load_encoder",
        lambda: save_file(other, folder / "model.safetensors"),
    )
    with pytest.raises(ModelFormatError, match="replaced or changed while it was read"):
        SatCLIPEncoder(folder).fit()


def test_a_checkpoint_that_is_replaced_between_hash_and_reading(tmp_path, monkeypatch):
    content = checkpoint("resnet18_l10", keep=without_vision)
    path = tmp_path / "a.ckpt"
    path.write_bytes(to_bytes(content))
    content["state_dict"]["model.nnet.last_layer.bias"] += 1
    other = to_bytes(content)
    replacing(monkeypatch, lightning_file, "read_checkpoint", lambda: path.write_bytes(other))
    with pytest.raises(ModelFormatError, match=r"a\.ckpt was replaced or changed"):
        SatCLIPEncoder(path).fit()


def test_a_file_that_is_touched_is_the_same(folder, monkeypatch):
    replacing(
        monkeypatch,
        opening,
        "load_encoder",
        lambda: os.utime(folder / "model.safetensors", (5, 5)),
    )
    assert SatCLIPEncoder(folder).fit_transform(PLACES).shape == (3, 16)


def test_a_third_partys_file_that_is_replaced(tmp_path, monkeypatch):
    from skgeo_embed.models.third_party import model, range_

    save_file(SMALL, tmp_path / "a.safetensors")
    other = {key: value + 1 for key, value in SMALL.items()}
    replacing(
        monkeypatch, model, "_read_tower", lambda: save_file(other, tmp_path / "a.safetensors")
    )
    with pytest.raises(ModelFormatError, match=r"a\.safetensors was replaced or changed"):
        ClimplicitEncoder(tmp_path / "a.safetensors").fit()
    path = range_database(tmp_path / "db.npz", n=20, k=256, d=12)
    replacing(monkeypatch, range_, "_read_arrays", lambda: range_database(path, n=21, k=256, d=12))
    keys = SatCLIPEncoder("bluemarble-l10", layer="embedding")
    with pytest.raises(ModelFormatError, match=r"db\.npz was replaced or changed"):
        RANGEEncoder(path, location_encoder=keys).fit()


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("change", ["replaced", "of the same time", "gone"])
def test_zones_that_are_replaced_after_fit(tmp_path, pickled, change):
    """They are read when a place lies in them; a pickle reads them by their names."""
    write_zone(tmp_path / "model_31 N.h5", "visual")
    path = tmp_path / "model_32 N.h5"
    write_zone(path, "visual")
    encoder = GPS2VecEncoder(tmp_path).fit()
    first = encoder.transform([[3.0, 4.0]])
    if pickled:
        encoder = pickle.loads(pickle.dumps(encoder))
    whole, time = path.read_bytes(), path.stat().st_mtime_ns
    path.unlink()
    if change == "replaced":
        write_zone(path, "visual")
        os.utime(path, (5, 5))
    if change == "of the same time":  # as archives keep it; files of zones have one size
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        os.utime(path, ns=(time, time))
    with pytest.raises(ModelFormatError, match=r"model_32 N\.h5 is no longer the file"):
        encoder.transform([[9.0, 4.0]])
    np.testing.assert_array_equal(encoder.transform([[3.0, 4.0]]), first)


def test_a_pickle_by_name_whose_description_has_changed(tmp_path, monkeypatch):
    """The weights are the same and were all that was compared."""
    shutil.copytree(WEIGHTS_FOLDER / BUNDLED["bluemarble-l20"], tmp_path / "bundled")
    monkeypatch.setitem(opening.BUNDLED, "bundled-here", "bundled")
    monkeypatch.setattr(opening, "WEIGHTS_FOLDER", tmp_path)
    encoder = SatCLIPEncoder("bundled-here").fit()
    pickled = pickle.dumps(encoder)
    np.testing.assert_array_equal(
        pickle.loads(pickled).transform(PLACES), encoder.transform(PLACES)
    )

    def other(config):
        config["location"]["hidden_scale"] = 3.0
        del config["sha256"]

    change_config(tmp_path / "bundled", other)
    with pytest.raises(ModelFormatError, match="the description of the encoder"):
        pickle.loads(pickled)


def test_content_of_the_same_layers_and_other_columns(tmp_path):
    """One file of weights under two descriptions had one engine, and so one set of columns."""
    first = SatCLIPEncoder(small_tower()).fit().save_pretrained(tmp_path / "first")
    second = shutil.copytree(first, tmp_path / "second")

    def fewer(config):
        config["content"]["layers"][0]["deviations_km"] = []
        del config["sha256"]

    change_config(second, fewer)
    both = SatCLIPEncoder(first, layer="content").fit()
    one = SatCLIPEncoder(second, layer="content").fit()
    assert both.transform(PLACES).shape == (3, 2)
    assert one.transform(PLACES).shape == (3, 1)


# --- finite weights whose products are not


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("network", ["mlp", "fcnet"])
def test_weights_that_overflow(tmp_path, dtype, network):
    location = LocationEncoder(4, 8, 16, network=network)
    large = {key: (value * 1e20).to(dtype) for key, value in location.state_dict().items()}
    weights = {f"location.{key}": value for key, value in large.items()}
    write_folder(tmp_path / "large", {"location": location.config}, weights, "card")
    with pytest.raises(ModelFormatError, match=r"large: its weights are finite numbers, but so"):
        SatCLIPEncoder(tmp_path / "large").fit()


def test_a_hidden_scale_that_overflows(tmp_path, small_location):
    weights = {
        f"location.{key}": value * 1e15 for key, value in small_location.state_dict().items()
    }
    config = {**small_location.config, "hidden_scale": 1e39}
    write_folder(tmp_path / "large", {"location": config}, weights, "card")
    with pytest.raises(ModelFormatError, match="large"):
        SatCLIPEncoder(tmp_path / "large", layer="hidden").fit()


def test_a_third_partys_weights_that_overflow(tmp_path):
    large = {key: value * 1e25 for key, value in SMALL.items()}
    save_file(large, tmp_path / "c.safetensors")
    with pytest.raises(ModelFormatError, match=r"c\.safetensors: its weights are finite"):
        ClimplicitEncoder(tmp_path / "c.safetensors").fit()


def test_an_image_tower_that_overflows(folder):
    weights = load_file(folder / "model.safetensors")
    weights = {key: value * 1e20 if "image" in key else value for key, value in weights.items()}
    save_file(weights, folder / "model.safetensors")
    change_config(folder, lambda config: config.pop("sha256"))
    with pytest.raises(ModelFormatError, match=r"model: its weights are finite"):
        SatCLIPImageEncoder(folder).fit()


def test_a_zone_that_overflows(tmp_path):
    import h5py

    write_zone(tmp_path / "model_31 N.h5", "visual")
    with h5py.File(tmp_path / "model_31 N.h5", "r+") as file:

        def enlarge(name, values):
            if isinstance(values, h5py.Dataset):
                values[...] = values[...] * 1e20

        file.visititems(enlarge)
    with pytest.raises(ModelFormatError, match=r"model_31 N\.h5.*finite numbers, but so large"):
        GPS2VecEncoder(tmp_path).fit().transform([[3.0, 4.0]])


def test_an_origin_without_a_path():
    with pytest.raises(ValueError, match="a module in memory, which has no path"):
        _ = model_file.Origin("module", "Net", None, "").file
