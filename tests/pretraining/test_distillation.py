import copy

import numpy as np
import pytest
import torch
from scipy.fft import dct
from sklearn.exceptions import NotFittedError

from skgeo_embed import (
    CoordinateError,
    Recipe,
    SatCLIPEncoder,
    SatCLIPImageEncoder,
    SatCLIPPretrainer,
)
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.pretraining import distillation

PLACES = np.column_stack(
    [
        np.random.RandomState(0).uniform(-180, 180, 600),
        np.rad2deg(np.arcsin(np.random.RandomState(1).uniform(-0.9, 0.9, 600))),
    ]
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(distillation, "UNTRAINED_SINES", 100)
    monkeypatch.setattr(distillation, "BATCH", 256)


@pytest.fixture(scope="module")
def fitted():
    grid = FeatureGrid(7, 12, 3).fill(torch.randn(7, 12, 3, generator=torch.manual_seed(0)))
    recipe = Recipe(
        legendre_polys=5,
        hidden_dim=40,
        embed_dim=8,
        feature_grid=grid,
        fine_waves={"count": 6, "longest_km": 100.0, "shortest_km": 10.0},
        hidden_scale=0.1,
    )
    images = np.random.RandomState(2).rand(64, 2, 8, 8).astype(np.float32)
    return SatCLIPPretrainer(
        recipe, max_epochs=1, batch_size=32, val_fraction=0, random_state=0, verbose=0
    ).fit(images, PLACES[:64])


def distilled(fitted, **words):
    pretrainer = copy.deepcopy(fitted)
    return pretrainer.distill(PLACES, **{"hidden_dim": 24, "sine_dim": 64, "n_steps": 60, **words})


def test_columns_hold_the_components_of_all_hidden_layers(fitted):
    teacher = fitted.model_.location
    hidden = distilled(fitted).location_encoder_.set_params(layer="hidden").fit_transform(PLACES)
    components = dct(hidden, norm="ortho", axis=1)
    covariance = np.cov(components[:, :12].T)
    deviations = np.sqrt(np.diag(covariance))
    correlations = covariance / np.outer(deviations, deviations)
    assert np.abs(correlations - np.eye(12)).max() < 0.2
    assert (np.diff(deviations) < 0.1 * deviations[:-1]).all()  # the largest first
    assert hidden.std(axis=0).mean() == pytest.approx(0.1 * np.sqrt(0.5), rel=0.1)
    # what the teacher's units are, without the waves, is mostly known from them
    x = teacher.posenc(torch.from_numpy(PLACES), dtype=torch.float32)
    x[:, -6:] = 0
    for layer in teacher.nnet.layers:
        x = layer(x)
        units = x.numpy() - x.numpy().mean(axis=0)
        design = np.column_stack([hidden, np.ones(len(hidden))])
        left = units - design @ np.linalg.lstsq(design, units, rcond=None)[0]
        assert (left**2).sum() < 0.25 * (units**2).sum()


def test_embeddings_are_the_towers(fitted):
    before = SatCLIPEncoder(fitted.model_.location, normalize=True).fit_transform(PLACES)
    after = distilled(fitted, hidden_dim=60, sine_dim=128).location_encoder_
    found = after.set_params(normalize=True).fit_transform(PLACES)
    assert (before * found).sum(axis=1).mean() > 0.97


def test_training_brings_it_nearer(fitted):
    def error(n_steps):
        student = distilled(fitted, n_steps=n_steps).location_encoder_
        found = student.fit_transform(PLACES)
        expected = SatCLIPEncoder(fitted.model_.location).fit_transform(PLACES)
        return ((found - expected) ** 2).sum()

    assert error(200) < 0.9 * error(1)


def test_fine_waves_stay_as_they_were_drawn(fitted):
    few, many = (distilled(fitted, n_steps=n).model_.location for n in (1, 20))
    weights = [location.nnet.layers[0].weight for location in (few, many)]
    assert torch.equal(weights[0][:, -6:], weights[1][:, -6:])
    assert not torch.equal(weights[0][:, :-6], weights[1][:, :-6])
    assert weights[0][:, -6:].abs().max() > 0


def test_fine_waves_are_noise_to_the_student_and_hidden_from_the_teacher(fitted):
    other, louder = copy.deepcopy(fitted), copy.deepcopy(fitted)
    other.model_.location.posenc.waves.phases += 1
    louder.model_.location.nnet.layers[0].weight[:, -6:] *= 100
    plain, read, unread = (
        distilled(pretrainer, n_steps=3).model_.location.nnet.layers[0].weight[:, :-6]
        for pretrainer in (fitted, other, louder)
    )
    assert not torch.equal(plain, read)
    assert torch.equal(plain, unread)


def test_same_seed_same_tower_and_nothing_else_is_touched(fitted):
    before = copy.deepcopy(fitted.model_.location.state_dict())
    torch.manual_seed(3)
    first = distilled(fitted, n_steps=3)
    drawn = torch.rand(1)
    second = distilled(fitted, n_steps=3)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))
    for name, value in first.model_.location.state_dict().items():
        assert torch.equal(value, second.model_.location.state_dict()[name])
    for name, value in fitted.model_.location.state_dict().items():
        assert torch.equal(value, before[name])


def test_other_threads_find_the_towers_before_or_after(fitted, monkeypatch):
    pretrainer = copy.deepcopy(fitted)
    before, found = vars(pretrainer).copy(), []
    fit = SatCLIPImageEncoder.fit

    def look(encoder, *arguments):  # the last thing before the change
        found.append(vars(pretrainer).copy())
        return fit(encoder, *arguments)

    monkeypatch.setattr(SatCLIPImageEncoder, "fit", look)
    pretrainer.distill(PLACES, hidden_dim=24, sine_dim=64, n_steps=5)
    assert all(found[0][name] is value for name, value in before.items())
    assert all(vars(pretrainer)[name] is not before[name] for name in ("model_", "run_"))


def test_what_was_distilled_can_be_again(fitted):
    once = distilled(fitted, hidden_dim=60, sine_dim=128)
    twice = copy.deepcopy(once).distill(PLACES, hidden_dim=8, sine_dim=64, n_steps=60)
    assert twice.model_.location.config["hidden_dim"] == 8
    before = SatCLIPEncoder(once.model_.location, normalize=True).fit_transform(PLACES)
    found = twice.location_encoder_.set_params(normalize=True).fit_transform(PLACES)
    assert (before * found).sum(axis=1).mean() > 0.8


def test_saved_and_opened(fitted, tmp_path):
    pretrainer = distilled(fitted, n_steps=2)
    assert pretrainer.run_["distilled"] == {
        "places": 600,
        "hidden_dim": 24,
        "sine_dim": 64,
        "n_steps": 2,
        "fine_layers": [],
    }
    folder = pretrainer.save_pretrained(tmp_path / "small", default_layer="hidden")
    encoder = SatCLIPEncoder(folder, n_components=5).fit()
    expected = pretrainer.location_encoder_.set_params(layer="hidden", n_components=5)
    np.testing.assert_array_equal(encoder.transform(PLACES), expected.fit_transform(PLACES))
    assert "1 hidden layer(s) of 64, 24 components" in (folder / "README.md").read_text()
    again = encoder.save_pretrained(tmp_path / "again")
    np.testing.assert_array_equal(
        SatCLIPEncoder(again, n_components=5).fit_transform(PLACES), encoder.transform(PLACES)
    )
    assert SatCLIPImageEncoder(folder).fit_transform(np.zeros((1, 2, 8, 8))).shape == (1, 8)


def test_what_cannot_be_distilled(fitted):
    with pytest.raises(NotFittedError):
        SatCLIPPretrainer().distill(PLACES)
    with pytest.raises(ValueError, match="24 places are too few for 24 components; give more"):
        copy.deepcopy(fitted).distill(PLACES[:24], hidden_dim=24)
    with pytest.raises(ValueError, match="pass hidden_dim=100 or less"):
        distilled(fitted, hidden_dim=101)
    with pytest.raises(ValueError, match="sine_dim == 0, must be >= 1"):
        distilled(fitted, sine_dim=0)
    with pytest.raises(TypeError, match=r"n_steps must be an instance of (int|.*Integral)"):
        distilled(fitted, n_steps=2.5)
    with pytest.raises(CoordinateError, match="row"):
        copy.deepcopy(fitted).distill(PLACES * 9, hidden_dim=8)
    plain = SatCLIPPretrainer(
        Recipe(legendre_polys=3, hidden_dim=8), max_epochs=1, batch_size=32, verbose=0
    ).fit(np.random.RandomState(0).rand(64, 2, 8, 8), PLACES[:64])
    location = plain.model_.location
    with pytest.raises(ValueError, match="can be distilled; train with Recipe"):
        plain.distill(PLACES, hidden_dim=8)
    assert plain.model_.location is location
