"""Content columns in damaged and hostile folders: one error that names the folder, soon."""

import json
import time

import numpy as np
import pytest
import torch

from skgeo_embed import SatCLIPEncoder
from skgeo_embed._errors import ModelFormatError
from skgeo_embed.models.folder import write_folder
from tests.content import RAIN, small_tower


@pytest.fixture
def folder(tmp_path):
    """A function that writes a folder with content, some of it changed."""

    def write(described=None, **changed):
        tower = small_tower()
        content = tower.posenc.grid.content
        weights = {f"location.{key}": value for key, value in tower.state_dict().items()}
        layers = {f"content.{key}": value for key, value in content.state_dict().items()}
        layers |= {f"content.{key}": value for key, value in changed.items()}
        weights |= {key: value for key, value in layers.items() if value is not None}
        config = {"location": tower.config, "licence": "MIT"}
        config["content"] = content.description() if described is None else described
        write_folder(tmp_path / "rainy", config, weights, "card")
        return tmp_path / "rainy"

    return write


def opened(path):
    return SatCLIPEncoder(path, layer="content").fit()


def test_the_sound_folder_opens(folder):
    encoder = opened(folder())
    assert encoder.transform([[3.0, 4.0]]).shape == (1, 2)
    assert encoder.encoder_info_["units"] == {"rain": "mm"}
    assert SatCLIPEncoder(folder()).fit().transform([[3.0, 4.0]]).shape == (1, 8)


@pytest.mark.parametrize(
    "change",
    [
        {"codes_rain": torch.zeros(64, 127, 1, dtype=torch.int8)},
        {"codes_rain": torch.zeros(32, 64, 1, dtype=torch.int8)},
        {"codes_rain": torch.zeros(64, 128, 1)},
        {"codes_rain": torch.zeros(64, 128, 1, dtype=torch.uint8)},
        {"codes_rain": torch.zeros(64, 128, 1, dtype=torch.int64)},
        {"codes_rain": None},
        {"meaning_rain": None},
        {"meaning_rain": torch.zeros(255)},
        {"meaning_rain": torch.zeros(256, dtype=torch.int32)},
        {"meaning_rain": torch.zeros(256, dtype=torch.float64)},
        {"meaning_rain": torch.full((256,), np.nan)},
        {"meaning_rain": torch.full((256,), np.inf)},
        {"meaning_rain": torch.full((256,), 1e25)},
        {"codes_snow": torch.zeros(64, 128, 1, dtype=torch.int8)},
    ],
    ids=range(14),
)
def test_layers_of_another_kind(folder, change):
    path = folder(**change)
    with pytest.raises(ModelFormatError, match="rainy"):
        opened(path)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 10**12},
        {"height": 10**30},
        {"height": -64},
        {"height": 0},
        {"height": "64"},
        {"height": 65},
        {"height": None},
        {"name": "a.b"},
        {"name": 3},
        {"name": None},
        {"unit": 3},
        {"logarithm": 1},
        {"means_km": []},  # with a deviation that needs none
        {"means_km": [313.0] * 20_000},
        {"means_km": [400.0]},
        {"means_km": [1e300]},
        {"means_km": [-313.0]},
        {"means_km": [None]},
        {"means_km": 313.0},
        {"deviations_km": [626.0, 625.0]},
        {"unknown": 1},
    ],
    ids=lambda change: str(change)[:30],
)
def test_descriptions_that_cannot_be(folder, change):
    path = folder({"layers": [{**RAIN, **change}], "contrasts": {}})
    started = time.process_time()
    if change == {"means_km": []}:
        assert list(opened(path).get_feature_names_out()) == ["rain_std_625km"]
        return
    with pytest.raises(ModelFormatError, match=r"content columns in .*rainy cannot be opened"):
        opened(path)
    assert time.process_time() - started < 5


def without(key):
    return {name: value for name, value in RAIN.items() if name != key}


@pytest.mark.parametrize(
    "described",
    [
        {"layers": []},
        {"layers": {}},
        {"layers": 3},
        {"layers": "rain"},
        {"layers": [3]},
        {"layers": [None]},
        {"contrasts": {}},
        {"layers": [RAIN], "more": 1},
        {"layers": [RAIN, RAIN]},
        {"layers": [RAIN] * 5000},
        {"layers": [without("name")]},
        {"layers": [without("means_km")]},
        {"layers": [RAIN], "contrasts": [1]},
        {"layers": [RAIN], "contrasts": {"wet": ["rain", "snow"]}},
        {"layers": [RAIN], "contrasts": {"wet": ["snow", "rain"]}},
        {"layers": [RAIN], "contrasts": {"wet": ["rain"]}},
        {"layers": [RAIN], "contrasts": {"wet": [["rain"], "rain"]}},
        {"layers": [RAIN], "contrasts": {"wet": None}},
        {"layers": [RAIN], "contrasts": {"rain": ["rain", "rain"]}},
    ],
    ids=lambda described: str(described)[:30],
)
def test_contents_that_cannot_be(folder, described):
    path = folder(described)
    started = time.process_time()
    with pytest.raises(ModelFormatError, match="rainy"):
        opened(path)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("content", [[1], "rain", 7, True])
def test_a_content_that_is_no_description(folder, content):
    path = folder()
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "content": content}))
    with pytest.raises(ModelFormatError, match=r"config\.json: content is .* a description"):
        opened(path)


def test_logarithms_of_values_below_zero(folder):
    described = {"layers": [{**RAIN, "logarithm": True}]}
    path = folder(described, meaning_rain=torch.linspace(-5, 5, 256))
    with pytest.raises(ModelFormatError, match="negative values, which have no logarithm"):
        opened(path)


def test_damaged_content_does_no_harm_to_other_layers(folder):
    path = folder(codes_rain=None)
    assert SatCLIPEncoder(path).fit().transform([[3.0, 4.0]]).shape == (1, 8)
    with pytest.raises(ModelFormatError):
        opened(path)


def test_what_is_missing_is_named(folder):
    with pytest.raises(ModelFormatError, match="no 'means_km'"):
        opened(folder({"layers": [without("means_km")]}))
    with pytest.raises(ModelFormatError, match="codes_rain"):
        opened(folder(codes_rain=None))
    path = folder()
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "content": None}))
    with pytest.raises(ValueError, match="'rainy' has none"):
        opened(path)
