import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from skgeo_embed.nn.objectives.auxiliary import (
    CAP_DEGREES,
    N_CAPS,
    AuxiliaryTargets,
    RidgeEpisodes,
    fit_ridge,
    split_at_random,
    split_by_caps,
    summarize_images,
)
from skgeo_embed.nn.sphere import unit_vectors


@pytest.fixture
def places():
    torch.manual_seed(0)
    lat = torch.rad2deg(torch.asin(torch.rand(600, dtype=torch.float64) * 2 - 1))
    return torch.stack([torch.rand(600, dtype=torch.float64) * 360 - 180, lat], dim=1)


@pytest.mark.parametrize("shape", [(60, 7), (20, 50)])
def test_ridge_is_scikit_learns(shape):
    rng = np.random.RandomState(0)
    n, d = shape
    features, targets, queries = rng.randn(n, d), rng.randn(n, 3), rng.randn(9, d)
    features -= features.mean(axis=0)  # as standardised features are
    found = fit_ridge(
        *map(torch.from_numpy, (features, targets, queries)), torch.tensor(0.3).double()
    )
    expected = Ridge(alpha=float(torch.tensor(0.3)) * d).fit(features, targets).predict(queries)
    np.testing.assert_allclose(found.numpy(), expected)


def test_summary_of_images():
    images = torch.arange(2 * 3 * 6 * 6, dtype=torch.float32).reshape(2, 3, 6, 6)
    summary = summarize_images(images)
    assert summary.shape == (2, 33)
    torch.testing.assert_close(summary[:, :3], images.mean(dim=(2, 3)))
    torch.testing.assert_close(summary[0, 6], images[0, 0, :2, :2].mean())
    features = torch.rand(4, 5)
    assert summarize_images(features) is features


def test_splits(places):
    position = unit_vectors(places)
    np.testing.assert_allclose(position.norm(dim=1), 1)
    support, query = split_at_random(position, 100)
    assert len(support) == 100
    assert sorted([*support.tolist(), *query.tolist()]) == list(range(600))
    assert len(split_at_random(position, 10_000)[0]) == 400
    torch.manual_seed(3)
    support, query = split_by_caps(position, 50)
    torch.manual_seed(3)
    lon, lat = np.deg2rad(places.numpy()).T  # haversine, as an independent distance
    centres = torch.randperm(600)[:N_CAPS].numpy()
    half = (
        np.sin((lat[:, None] - lat[centres]) / 2) ** 2
        + np.cos(lat[:, None]) * np.cos(lat[centres])
        * np.sin((lon[:, None] - lon[centres]) / 2) ** 2
    )  # fmt: skip
    within = (np.rad2deg(2 * np.arcsin(np.sqrt(half))) < CAP_DEGREES).any(axis=1)
    assert 40 <= within.sum() < 550
    assert query.tolist() == np.flatnonzero(within).tolist()
    assert len(support) == 50
    assert not within[support].any()
    tiny = position[:1].repeat(30, 1)  # all in one cap
    support, query = split_by_caps(tiny, 10)
    assert len(support) == 10


def make_targets():
    torch.manual_seed(1)
    unit = torch.nn.functional.normalize
    return AuxiliaryTargets(
        mean=torch.zeros(33),
        scale=torch.ones(33),
        axes=torch.eye(33)[:, :4],
        clusters=[torch.randn(5, 4)],
        cells=[unit(torch.randn(6, 3), dim=1), unit(torch.randn(9, 3), dim=1)],
    )


def test_targets(places):
    targets = make_targets()
    images = torch.rand(600, 3, 6, 6)
    found = targets(images, places)
    assert found.shape == (600, 33 + 5 + 4 + 15) == (600, len(targets.weights))
    assert targets.weights.sum().item() == pytest.approx(1)
    assert found.mean(dim=0).abs().max() < 0.2  # but for what is cut off
    latitude = found[:, 39]
    assert torch.corrcoef(torch.stack([latitude, places[:, 1].float()]))[0, 1] > 0.999
    cell = found[:, 42:48].argmax(dim=1)
    nearest = (unit_vectors(places).float() @ targets.cells[0].T).argmax(dim=1)
    assert (cell == nearest).float().mean() > 0.99


def test_episodes_prefer_features_that_predict(places):
    targets = make_targets()
    wanted = targets(torch.rand(600, 3, 6, 6), places)[:, 38:]
    weights = torch.full((wanted.shape[1],), 1 / wanted.shape[1])
    torch.manual_seed(0)
    episodes = RidgeEpisodes()
    noise = torch.randn(600, 30)
    smooth = torch.sin(unit_vectors(places).float() @ torch.randn(3, 30) * 3)
    errors = [
        torch.stack([episodes(f, wanted, weights, places) for _ in range(8)]).mean().item()
        for f in (noise, smooth)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_gradient_reaches_features_and_strengths(places):
    torch.manual_seed(0)
    episodes = RidgeEpisodes()
    hidden = torch.randn(600, 20, requires_grad=True)
    wanted = torch.randn(600, 5)
    for _ in range(6):
        episodes(hidden, wanted, torch.full((5,), 0.2), places).backward()
    assert torch.isfinite(hidden.grad).all()
    assert (hidden.grad.abs().sum(dim=1) > 0).all()
    assert (episodes.log_ridge.grad != 0).all()


def test_every_process_has_a_gradient_of_the_strengths(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *_: torch.zeros(()))  # caps, each time
    torch.manual_seed(0)
    episodes = RidgeEpisodes()
    hidden = torch.randn(90, 8, requires_grad=True)
    points = torch.from_numpy(np.random.RandomState(0).uniform(-60, 60, (90, 2)))
    episodes(hidden, torch.randn(90, 2), torch.full((2,), 0.5), points).backward()
    assert episodes.log_ridge.grad is not None


def test_regressions_are_solved_in_single_precision():
    episodes = RidgeEpisodes()
    torch.manual_seed(0)
    hidden, points = torch.randn(90, 8), torch.rand(90, 2, dtype=torch.float64) * 60
    targets, weights = torch.randn(90, 2), torch.full((2,), 0.5)
    torch.manual_seed(1)
    expected = episodes(hidden, targets, weights, points)
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = episodes(hidden, targets, weights, points)
    torch.testing.assert_close(mixed, expected)
