"""The recipe's options do what they say."""

from functools import partial

import numpy as np
import pytest
import torch

from skgeo_embed import (
    Recipe,
    SatCLIPEncoder,
    SatCLIPPretrainer,
)
from skgeo_embed.nn.location import LocationEncoder
from tests.pretraining.common import CountingTower, small_pretrainer

small = partial(
    small_pretrainer,
    recipe__legendre_polys=6,
    recipe__dropout=0.0,
    max_epochs=3,
    batch_size=54,
    trainer_options={"accelerator": "cpu"},  # two runs are one to the last bit there
)


def test_temperature(pairs):
    fixed = small(recipe__temperature=0.3, recipe__learn_temperature=False).fit(*pairs)
    assert fixed.history_["temperature"].tolist() == pytest.approx([0.3] * 3)
    learned = small(recipe__temperature=0.3).fit(*pairs)
    assert learned.history_["temperature"].iloc[-1] != pytest.approx(0.3, abs=1e-6)
    assert learned.history_["temperature"].max() < 0.4


def test_spectral_decay():
    torch.manual_seed(0)
    plain = LocationEncoder(6, 8, 16)
    torch.manual_seed(0)
    smooth = LocationEncoder(6, 8, 16, spectral_decay=1.5)
    ratio = (smooth.nnet.layers[0].weight / plain.nnet.layers[0].weight).detach()
    degree = torch.arange(6).repeat_interleave(2 * torch.arange(6) + 1)
    expected = (1 + degree / 2) ** -1.5
    torch.testing.assert_close(ratio[0] / ratio[0, 0], expected)
    torch.testing.assert_close((ratio**2).mean(), torch.tensor(1.0))
    assert smooth.config == plain.config
    with pytest.raises(ValueError, match="spectral_decay is for"):
        LocationEncoder(positional_encoding="wrap", spectral_decay=1.0)


def test_hidden_scale(pairs, tmp_path):
    plain = small().fit(*pairs)
    scaled = small(recipe__hidden_scale=0.1).fit(*pairs)
    folder = scaled.save_pretrained(tmp_path / "scaled")
    points = np.tile(pairs[1], (200, 1))  # enough for the tabulated layer
    for source in (scaled.model_.location, folder):
        found = SatCLIPEncoder(source, layer="hidden").fit_transform(points)
        expected = SatCLIPEncoder(plain.model_.location, layer="hidden").fit_transform(points)
        np.testing.assert_allclose(found, 0.1 * expected, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(
            SatCLIPEncoder(source, layer="embedding").fit_transform(pairs[1]),
            SatCLIPEncoder(plain.model_.location).fit_transform(pairs[1]),
        )
    module = scaled.model_.location
    for layer, scale in (("hidden", 0.1), ("embedding", 1.0)):
        expected = plain.model_.location(torch.from_numpy(pairs[1]), layer) * scale
        torch.testing.assert_close(module(torch.from_numpy(pairs[1]), layer), expected)


def test_auxiliary_regressions_help_the_hidden_layer(pairs):
    helped = small(max_epochs=25, recipe__auxiliary_weight=30.0).fit(*pairs)
    errors = helped.history_["train_auxiliary"]
    assert errors.iloc[-5:].mean() < 0.8 * errors.iloc[:3].mean()
    once, again = (small(recipe__auxiliary_weight=30.0).fit(*pairs) for _ in range(2))
    np.testing.assert_array_equal(
        again.location_encoder_.transform(pairs[1]), once.location_encoder_.transform(pairs[1])
    )
    with pytest.raises(ValueError, match="no hidden layer"):
        small(recipe__dropout=0.5, recipe__network="linear", recipe__auxiliary_weight=1.0).fit(
            *pairs
        )


@pytest.mark.parametrize("more", [{"micro_batch_size": 20}, {"vision_tower": CountingTower()}])
def test_auxiliary_regressions_with(pairs, tmp_path, more):
    params = {"recipe__auxiliary_weight": 5.0, **more}
    pretrainer = small(**params, checkpoint_dir=tmp_path).fit(*pairs)
    assert np.isfinite(pretrainer.history_[["train_loss", "train_auxiliary"]]).all(axis=None)
    encoder = SatCLIPEncoder(tmp_path / "last.ckpt", layer="hidden").fit()
    assert encoder.transform(pairs[1]).shape == (120, 32)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"n_frequencies": 8}, "n_frequencies=8 would be ignored"),
        ({"positional_encoding": "wrap", "legendre_polys": 20}, "legendre_polys=20 would be ign"),
        ({"network": "linear", "dropout": 0.1}, "dropout=0.1 would be ignored"),
        ({"temperature": -1}, "'temperature' parameter of Recipe"),
    ],
)
def test_recipes_have_no_idle_words(pairs, words, message):
    with pytest.raises(ValueError, match=message):
        SatCLIPPretrainer(Recipe(**words), verbose=0).fit(*pairs)


def test_unknown_recipes(pairs):
    with pytest.raises(ValueError, match=r"recipe must be 'satclip' or 'episodes'.*got 'best'"):
        SatCLIPPretrainer("best", verbose=0).fit(*pairs)


def test_a_smooth_start_beside_waves_would_be_ignored(pairs):
    recipe = Recipe(spectral_decay=1.0, fine_waves={"count": 4, "longest_km": 9, "shortest_km": 5})
    with pytest.raises(ValueError, match=r"spectral_decay=1\.0 would be ignored"):
        SatCLIPPretrainer(recipe, verbose=0).fit(*pairs)
