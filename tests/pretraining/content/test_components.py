"""Columns of content among a distilled tower's components."""

import copy

import numpy as np
import pytest
import torch
from scipy.fft import dct

from skgeo_embed import Recipe, SatCLIPEncoder, SatCLIPPretrainer
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.pretraining import distillation
from skgeo_embed.pretraining.content.columns import content_layers
from skgeo_embed.pretraining.content.components import SCALE, without_fine_content

rng = np.random.RandomState(0)
PLACES = np.column_stack([rng.uniform(-180, 180, 600), rng.uniform(-60, 80, 600)])
SIZES = {"hidden_dim": 24, "sine_dim": 64, "n_steps": 20}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(distillation, "UNTRAINED_SINES", 100)
    monkeypatch.setattr(distillation, "BATCH", 256)


@pytest.fixture(scope="module")
def fitted():
    grid = FeatureGrid(7, 12, 3).fill(torch.randn(7, 12, 3, generator=torch.manual_seed(0)))
    rain = np.random.RandomState(1).randint(0, 255, (992, 1984, 1)).astype(np.uint8)
    grid.keep_content(content_layers({"rain": rain, "other": rain[::-1]}))
    recipe = Recipe(
        legendre_polys=5, hidden_dim=40, embed_dim=8, feature_grid=grid, hidden_scale=0.1
    )
    images = np.random.RandomState(2).rand(64, 2, 8, 8).astype(np.float32)
    return SatCLIPPretrainer(
        recipe, max_epochs=1, batch_size=32, val_fraction=0, random_state=0, verbose=0
    ).fit(images, PLACES[:64])


@pytest.fixture(scope="module")
def towers(fitted):
    """Distilled without and with rain among the components."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distillation, "UNTRAINED_SINES", 100)
        patch.setattr(distillation, "BATCH", 256)
        return [
            copy.deepcopy(fitted).distill(PLACES, **SIZES, fine_layers=layers)
            for layers in ((), ("rain",))
        ]


def hidden(pretrainer, **words):
    return SatCLIPEncoder(pretrainer.model_.location, layer="hidden", **words).fit()


def test_the_columns_hold_the_layer_whole(towers):
    content = SatCLIPEncoder(towers[1].model_.location, layer="content").fit()
    names = content.get_feature_names_out().tolist()
    rain = content.transform(PLACES)[:, [n for n, name in enumerate(names) if "rain" in name]]
    plain, fine = (hidden(tower).transform(PLACES) for tower in towers)
    assert plain.shape == fine.shape == (600, 24)
    for columns, explained in ((fine, True), (plain, False)):
        design = np.column_stack([columns, np.ones(len(columns))])
        left = rain - design @ np.linalg.lstsq(design, rain, rcond=None)[0]
        share = 1 - (left**2).sum() / ((rain - rain.mean(axis=0)) ** 2).sum()
        assert (share > 0.999) == explained
    # what stands among the components is rain itself, in the stated units
    components = dct(fine, norm="ortho", axis=1)
    spread = components.std(axis=0).max() / rain.std(axis=0).max()
    assert SCALE < spread < 3 * SCALE


def test_components_come_in_the_order_of_their_deviations(towers):
    components = dct(hidden(towers[1]).transform(PLACES), norm="ortho", axis=1)
    largest = components.std(axis=0)[:6]
    assert (largest[:-1] > 0.7 * largest[1:]).all()
    few = dct(hidden(towers[1], n_components=5).transform(PLACES), norm="ortho", axis=1)
    np.testing.assert_allclose(few, components[:, :5], atol=1e-5)


def test_the_embedding_loses_the_last_components_alone(towers):
    plain, fine = (SatCLIPEncoder(tower.model_.location).fit() for tower in towers)
    before, after = plain.transform(PLACES), fine.transform(PLACES)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.95


def test_every_way_of_encoding_agrees(towers):
    encoder = hidden(towers[1])
    found = encoder.transform(PLACES)
    with torch.no_grad():
        own = towers[1].model_.location(torch.from_numpy(PLACES), "hidden").numpy()
    np.testing.assert_allclose(own, found, atol=1e-5)
    grid = encoder.transform_grid(PLACES[:5, 0], PLACES[:4, 1])
    points = np.column_stack([np.tile(PLACES[:5, 0], 4), np.repeat(PLACES[:4, 1], 5)])
    np.testing.assert_allclose(grid.reshape(20, -1), encoder.transform(points), atol=1e-5)


def test_a_folder_holds_the_layers_once(towers, tmp_path):
    folder = towers[1].save_pretrained(tmp_path / "tower", default_layer="hidden")
    opened = SatCLIPEncoder(folder).fit()
    np.testing.assert_allclose(
        opened.transform(PLACES), hidden(towers[1]).transform(PLACES), atol=1e-6
    )
    content = SatCLIPEncoder(folder, layer="content").fit()
    assert {"rain_mean_40km", "other_mean_40km"} <= set(content.get_feature_names_out())
    again = opened.save_pretrained(tmp_path / "again")
    expected = SatCLIPEncoder(again, layer="content").fit().transform(PLACES[:9])
    np.testing.assert_array_equal(content.transform(PLACES[:9]), expected)
    from safetensors import safe_open

    with safe_open(again / "model.safetensors", framework="pt") as file:
        assert sum("codes_rain" in key for key in file.keys()) == 1  # noqa: SIM118


def test_what_was_distilled_can_be_distilled_again(towers):
    twice = copy.deepcopy(towers[1]).distill(PLACES, **SIZES)
    assert "content" not in twice.model_.location.config
    assert np.isfinite(hidden(twice).transform(PLACES)).all()
    network = towers[1].model_.location
    plain = without_fine_content(network)
    embeddings = [each(torch.from_numpy(PLACES)).detach().numpy() for each in (network, plain)]
    np.testing.assert_allclose(*embeddings, atol=1e-4)


def test_layers_that_there_are_not(fitted, towers):
    with pytest.raises(ValueError, match="no content layer 'snow'; the layers are rain, other"):
        copy.deepcopy(fitted).distill(PLACES, **SIZES, fine_layers=("snow",))
    bare = copy.deepcopy(fitted)
    bare.model_.location.posenc.grid.keep_content(None)
    with pytest.raises(ValueError, match=r"build the recipe's feature_grid with earth_grid or"):
        bare.distill(PLACES, **SIZES, fine_layers=("rain",))
