"""Content columns of a user's own layers: what they say, what is refused, what keeps them."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skgeo_embed import Recipe, SatCLIPEncoder, SatCLIPPretrainer
from skgeo_embed.datasets import land_mask
from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.pretraining.content import content_grid, earth_grid, grids
from skgeo_embed.pretraining.content.columns import content_layers, earth_content
from tests.boxes import read_boxes

INLAND = np.array([[25.0, 0.0], [65.0, 50.0], [-100.0, 45.0], [120.0, 66.0], [133.0, -24.0]])


def smooth(height, low, high):
    """A layer that varies over continents, (height, 2 height)."""
    lat = np.deg2rad(90 - (np.arange(height) + 0.5) * 180 / height)[:, None]
    lon = np.deg2rad(-180 + (np.arange(2 * height) + 0.5) * 180 / height)
    share = (2 + np.sin(3 * lon) * np.cos(lat) + np.cos(5 * lat)) / 4
    return low + (high - low) * share


def columns_of(content, points):
    with torch.no_grad():
        values = content(torch.as_tensor(points, dtype=torch.float64)).numpy()
    return dict(zip(content.column_names(), values.T, strict=True))


@pytest.mark.parametrize(
    ("picture", "tolerance"),
    [
        (smooth(496, 0, 255).astype(np.uint8), 1e-3),  # bytes of this size are kept as they are
        (smooth(992, 0, 255).astype(np.uint8), 0.5),
        (smooth(248, 0, 255).astype(np.uint8), 0.5),
        (smooth(496, -40, 30).astype(np.float32), 0.2),
        (smooth(700, 1e5, 1.1e5), 30.0),
        (smooth(360, 0, 9000).astype(np.int16), 25.0),
    ],
    ids=["uint8", "finer", "coarser", "float32", "float64", "int16"],
)
def test_columns_are_those_of_the_layer(picture, tolerance):
    """A row more or less, the other hemisphere, bytes that mean something else."""
    found = columns_of(content_layers({"rain": picture[:, :, None]}), INLAND)
    assert list(found) == ["rain_mean_40km", "rain_mean_160km", "rain_mean_640km",
                           "rain_std_160km", "rain_std_640km"]  # fmt: skip
    rows = ((90 - INLAND[:, 1]) / 180 * len(picture)).astype(int)
    columns = ((INLAND[:, 0] + 180) / 180 * len(picture)).astype(int)
    pixels = picture[rows, columns].astype(float)
    slope = np.ptp(picture.astype(float)) * 4 / len(picture)  # from a pixel to the next
    assert (np.abs(found["rain_mean_40km"] - pixels) < tolerance + slope).all()
    if picture.shape[0] == 496:
        values = picture.astype(float)
        mean = read_boxes(values, INLAND, 4)
        spread = np.sqrt(read_boxes(values**2, INLAND, 4) - mean**2)
        np.testing.assert_allclose(found["rain_mean_640km"], mean, atol=tolerance)
        np.testing.assert_allclose(found["rain_std_640km"], spread, atol=tolerance, rtol=0.02)


def test_pixels_that_a_coarser_one_cuts_count_in_part():
    """Whole pixels at the ends of coarser ones make them wider than their columns say."""
    rows = np.arange(800)
    picture = np.repeat((rows % 2 * 100.0)[:, None], 1600, axis=1)  # 800 rows to 496
    found = content_layers({"rain": picture[:, :, None]})
    codes, meaning = found.codes_rain, found.meaning_rain
    kept = meaning[codes[..., 0].long() + 128].numpy()
    ends = np.arange(497) * 800 / 496
    inside = np.minimum(rows + 1, ends[1:, None]) - np.maximum(rows, ends[:-1, None])
    expected = (np.clip(inside, 0, None) @ picture[:, 0]) * 496 / 800
    lat = 90 - (np.arange(496) + 0.5) * 180 / 496
    land = land_mask(INLAND[:1, 0], lat)[:, 0]  # open sea is coarse
    assert land.sum() > 100
    column = int((INLAND[0, 0] + 180) / 360 * 992)
    np.testing.assert_allclose(kept[land, column], expected[land], atol=1.0)


def test_layers_most_of_which_is_nothing():
    """256 even steps of a layer of people would show cities, and nothing of a country."""
    rng = np.random.RandomState(0)
    people = np.exp(rng.normal(0, 2.5, (124, 248))).repeat(4, 0).repeat(4, 1)
    found = content_layers({"people": people[:, :, None]})
    codes, meaning = found.codes_people, found.meaning_people
    kept = meaning[codes[..., 0].long() + 128].numpy()
    lat = 90 - (np.arange(496) + 0.5) * 180 / 496
    land = land_mask(-180 + (np.arange(992) + 0.5) * 180 / 496, lat)
    error = np.abs(kept - people)[land] / people[land]
    assert np.median(error) < 0.03
    assert np.abs(kept - people)[land].max() < np.ptp(people) / 127


def test_bands_have_numbers():
    picture = np.stack([smooth(496, 0, 255).astype(np.uint8), np.zeros((496, 992), np.uint8)], -1)
    found = columns_of(content_layers({"colour": picture, "flat": smooth(496, 5, 5)}), INLAND)
    layers = ["colour_1", "colour_2", "flat"]
    assert [name for name in found if name.endswith("mean_40km")] == [
        f"{layer}_mean_40km" for layer in layers
    ]
    assert found["colour_1_mean_40km"].min() > 0
    assert not found["colour_2_mean_40km"].any()
    np.testing.assert_allclose(found["flat_mean_640km"], 5)
    assert not found["flat_std_640km"].any()


PICTURE = np.zeros((90, 180, 1), dtype=np.float32)


def with_holes():
    picture = PICTURE.copy()
    picture[3, 4:9] = np.nan
    return picture


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ({}, TypeError, "a dictionary of names and pictures, .* got nothing"),
        ([PICTURE], TypeError, "a dictionary of names and pictures, .* got list"),
        ({"a": with_holes()}, ValueError, r"'a' has 5 of 16200 values that are missing, infinite"),
        ({"a": PICTURE + np.inf}, ValueError, "fill them first"),
        ({"a": PICTURE + 1e20}, ValueError, r"or beyond 1e\+15"),
        ({"a": np.ma.masked_equal(PICTURE, 0)}, ValueError, "16200 of 16200 values"),
        ({"a": PICTURE[:, :100]}, ValueError, r"\(90, 100, 1\), expected \(height, width, bands\)"),
        ({"a": np.moveaxis(PICTURE, -1, 0)}, ValueError, "twice as wide as high, north up"),
        ({"a": PICTURE[..., None]}, ValueError, "expected"),
        ({"a": PICTURE[:, :, :0]}, ValueError, r"\(90, 180, 0\)"),
        ({"a": np.float32(3)}, ValueError, r"shape \(\)"),
        ({"a": PICTURE.astype(complex)}, TypeError, "complex128, expected numbers"),
        ({"a": PICTURE.astype(str)}, TypeError, "expected numbers"),
        ({"a.b": PICTURE}, ValueError, r"name must be text without dots, got 'a\.b'"),
        ({"": PICTURE}, ValueError, "name must be text"),
        ({3: np.repeat(PICTURE, 2, -1)}, ValueError, "name must be text without dots, got 3"),
        (
            {"a": np.repeat(PICTURE, 2, -1), "a_2": PICTURE},
            ValueError,
            r"names of layers must differ, but these repeat: \['a_2'\]",
        ),
    ],
    ids=range(17),
)
def test_layers_that_cannot_be_used_are_said_before_the_work(layers, error, message, monkeypatch):
    monkeypatch.setattr(grids, "principal_grid", lambda *_, **__: pytest.fail("worked"))
    with pytest.raises(error, match=message):
        content_grid(layers, step=10.0)


def test_two_dimensions_are_one_band():
    grid = content_grid({"rain": smooth(90, 0, 5)}, step=10.0, channels=2)
    same = content_grid({"rain": smooth(90, 0, 5)[:, :, None]}, step=10.0, channels=2)
    assert torch.equal(grid.values, same.values)
    assert grid.content.column_names() == same.content.column_names()


def test_layers_of_the_earth():
    bands = ["may", "elevation"]
    found = earth_content(bands)
    assert found.column_names()[-3:] == [f"may_greenness_mean_{km}km" for km in (40, 160, 640)]
    grid = earth_grid(bands, step=10.0, channels=2)
    assert grid.content.description() == found.description()
    columns = columns_of(found, [[86.9, 28.0], [-30.0, 0.0]])
    assert columns["elevation_mean_40km"][0] > 4000
    assert columns["elevation_mean_40km"][1] == 0


# --- training with them


@pytest.fixture(scope="module")
def grid():
    layers = {"rain": smooth(90, 0, 2000), "colour": np.zeros((90, 180, 2), np.uint8)}
    return content_grid(layers, step=10.0, channels=2)


@pytest.fixture(scope="module")
def fitted(grid):
    rng = np.random.RandomState(0)
    coords = np.column_stack([rng.uniform(-180, 180, 64), rng.uniform(-60, 80, 64)])
    recipe = Recipe(legendre_polys=4, hidden_dim=16, embed_dim=8, feature_grid=grid)
    return SatCLIPPretrainer(
        recipe, max_epochs=1, batch_size=32, val_fraction=0, random_state=0, verbose=0
    ).fit(rng.rand(64, 2, 8, 8).astype(np.float32), coords)


def content_columns(model):
    encoder = SatCLIPEncoder(model, layer="content").fit()
    assert encoder.get_feature_names_out()[0] == "rain_mean_40km"
    assert len(encoder.get_feature_names_out()) == 15
    return encoder.transform(INLAND)


def test_trained_encoders_have_their_layers(fitted, grid, tmp_path):
    expected = np.column_stack(list(columns_of(grid.content, INLAND).values()))
    np.testing.assert_allclose(content_columns(fitted.model_.location), expected, rtol=1e-5)
    location = copy.deepcopy(fitted).location_encoder_.set_params(layer="content").fit()
    np.testing.assert_allclose(location.transform(INLAND), expected, rtol=1e-5)
    for dtype in ("float32", "float16"):
        folder = fitted.save_pretrained(tmp_path / dtype, dtype=dtype)
        np.testing.assert_allclose(content_columns(folder), expected, rtol=1e-5)
        assert (
            "| `rain` | as given | 40, 160, 640 | 160, 640 |" in (folder / "README.md").read_text()
        )
    again = fitted.location_encoder_.save_pretrained(tmp_path / "alone")
    np.testing.assert_allclose(content_columns(again), expected, rtol=1e-5)


def test_copies_of_a_pretrainer_have_them(fitted, grid):
    expected = content_columns(fitted.model_.location)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(content_columns(again.model_.location), expected)
    assert clone(fitted).recipe.feature_grid.content is grid.content
    assert "content" not in " ".join(fitted.model_.state_dict())  # they are no weights


def test_distilled_encoders_have_their_layers(fitted, monkeypatch, tmp_path):
    from skgeo_embed.pretraining import distillation

    monkeypatch.setattr(distillation, "UNTRAINED_SINES", 50)
    expected = content_columns(fitted.model_.location)
    places = np.random.RandomState(1).uniform(-80, 80, (300, 2))
    small = copy.deepcopy(fitted).distill(places, hidden_dim=8, sine_dim=16, n_steps=3)
    np.testing.assert_array_equal(content_columns(small.model_.location), expected)
    folder = small.save_pretrained(tmp_path / "small")
    np.testing.assert_array_equal(content_columns(folder), expected)


def test_grids_that_were_filled_by_hand_have_none(tmp_path):
    rng = np.random.RandomState(0)
    recipe = Recipe(
        legendre_polys=4, hidden_dim=16, embed_dim=8,
        feature_grid=FeatureGrid(5, 8, 2).fill(torch.randn(5, 8, 2)),
    )  # fmt: skip
    coords = rng.uniform(-80, 80, (64, 2))
    fitted = SatCLIPPretrainer(
        recipe, max_epochs=1, batch_size=32, val_fraction=0, random_state=0, verbose=0
    ).fit(rng.rand(64, 2, 8, 8).astype(np.float32), coords)
    for model in (fitted.model_.location, fitted.save_pretrained(tmp_path / "plain")):
        with pytest.raises(ValueError, match="if earth_grid or content_grid made it"):
            SatCLIPEncoder(model, layer="content").fit()
    assert "Content columns" not in (tmp_path / "plain" / "README.md").read_text()


def test_checkpoints_of_a_run_have_none_and_say_so(grid, tmp_path):
    rng = np.random.RandomState(0)
    recipe = Recipe(legendre_polys=4, hidden_dim=16, embed_dim=8, feature_grid=grid)
    SatCLIPPretrainer(
        recipe, max_epochs=1, batch_size=32, val_fraction=0, random_state=0, verbose=0,
        checkpoint_dir=tmp_path,
    ).fit(rng.rand(64, 2, 8, 8).astype(np.float32), rng.uniform(-80, 80, (64, 2)))  # fmt: skip
    (last,) = tmp_path.rglob("last.ckpt")
    reopened = SatCLIPPretrainer.from_checkpoint(last)
    for model in (last, reopened.model_.location):
        with pytest.raises(ValueError, match=r"has none.*the checkpoints of its run do not"):
            SatCLIPEncoder(model, layer="content").fit()


def test_grids_of_an_earlier_version_open():
    """Pickles of modules from before there were content columns lack what holds them."""
    grid = FeatureGrid(5, 8, 2)
    del grid.__dict__["_content"]
    again = pickle.loads(pickle.dumps(grid))
    assert again.content is None
    layer = {"name": "a", "unit": "", "height": 64, "means_km": [313.0]}
    assert isinstance(again.keep_content(ContentLayers([layer])).content, ContentLayers)
