"""The range of a variogram is that of the field, whatever is added to it."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import cholesky
from scipy.spatial.distance import cdist

from skgeo_embed._sphere import arc_km, unit_vectors
from skgeo_embed.model_selection import SpatialBlockKFold, autocorrelation_range
from skgeo_embed.model_selection._variogram import fit_variogram


def field(range_km, seed, n=400, model="spherical"):
    rng = np.random.default_rng(seed)
    places = rng.uniform([5, -4.5], [14, 4.5], (n, 2))
    points = unit_vectors(places)
    h = arc_km(cdist(points, points)) / range_km
    alike = np.exp(-3 * h) if model == "exponential" else np.where(h < 1, 1 - 1.5 * h + h**3 / 2, 0)
    root = cholesky(alike + 1e-8 * np.eye(n), lower=True)
    return places, root @ rng.normal(size=n)


@pytest.mark.parametrize("model", ["spherical", "exponential"])
@pytest.mark.parametrize("range_km", [100, 200])
def test_the_range_is_that_of_the_field(model, range_km):
    found = [autocorrelation_range(*field(range_km, seed, model=model)) for seed in range(5)]
    assert np.median(found) == pytest.approx(range_km, rel=0.2)


def test_noise_and_outliers_change_little():
    noisy, spoilt = [], []
    for seed in range(5):
        places, y = field(200, seed)
        rng = np.random.default_rng(seed)
        noisy.append(autocorrelation_range(places, y + 0.7 * rng.normal(size=400)))
        y[rng.choice(400, 8)] += 30
        spoilt.append(autocorrelation_range(places, y))
    assert np.median(noisy) == pytest.approx(200, rel=0.3)
    assert np.median(spoilt) == pytest.approx(200, rel=0.3)


def test_pure_noise_has_no_range():
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 10, (300, 2))
    assert autocorrelation_range(places, rng.normal(size=300)) == 0
    assert autocorrelation_range(places, rng.choice(["a", "b"], 300)) == 0
    splitter = SpatialBlockKFold(block_size="autocorrelation")
    folds = list(splitter.split(places, rng.normal(size=300)))
    assert [len(test) for _, test in folds] == [60] * 5


def test_classes_in_any_form():
    found = []
    for seed in range(5):
        places, y = field(200, seed)
        words = np.where(y > 0, "wood", "field").astype(object)
        found.append(autocorrelation_range(places, words))
    assert autocorrelation_range(places, y > 0) == found[-1]
    assert autocorrelation_range(places, pd.Categorical(words)) == found[-1]
    assert np.median(found) == pytest.approx(200, rel=0.3)


def test_a_trend_is_warned_of():
    places, y = field(100, 0)
    with pytest.warns(UserWarning, match="still increase at .* km.*residuals"):
        autocorrelation_range(places, y + 5 * places[:, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        autocorrelation_range(places, y)


def test_units_missing_values_and_repeated_rows():
    places, y = field(200, 1, n=200)
    expected = autocorrelation_range(places, y)
    assert autocorrelation_range(places, 1e6 * y + 3) == pytest.approx(expected)
    gaps = np.append(y, np.nan), np.vstack([places, [100, 50]])
    assert autocorrelation_range(gaps[1], gaps[0]) == pytest.approx(expected)
    masked = np.ma.masked_array(np.append(y, 1e9), np.arange(201) == 200)
    assert autocorrelation_range(gaps[1], masked) == pytest.approx(expected)
    twice = autocorrelation_range(np.repeat(places, 3, axis=0), np.repeat(y, 3))
    assert twice == pytest.approx(expected, rel=0.3)


def test_short_ranges_among_very_many_places():
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 5, (7_000, 2))
    y = np.sign(np.sin(20 * places[:, 0]) * np.sin(20 * places[:, 1]))  # squares of 17 km
    assert 8 < fit_variogram(places, y).range_km < 26


def test_what_cannot_be_measured():
    with pytest.raises(ValueError, match="at least 20 places, got 1"):
        autocorrelation_range(np.full((50, 2), 7.0), np.arange(50))
    with pytest.raises(ValueError, match="y has 3 rows, coords has 50"):
        autocorrelation_range(np.full((50, 2), 7.0), [1, 2, 3])


def test_blocks_have_the_size_of_the_range():
    places, y = field(100, 2)
    splitter = SpatialBlockKFold(block_size="autocorrelation")
    folds = list(splitter.split(places, y))
    assert splitter.block_size_km_ == pytest.approx(autocorrelation_range(places, y))
    same = SpatialBlockKFold(block_size=splitter.block_size_km_, unit="km").split(places)
    assert all((a[1] == b[1]).all() for a, b in zip(folds, same, strict=True))
    with pytest.raises(ValueError, match="needs y"):
        next(splitter.split(places))


def test_blocks_that_would_be_too_few_are_smaller_with_a_warning():
    places, y = field(100, 3)
    splitter = SpatialBlockKFold(block_size="autocorrelation")
    with pytest.warns(UserWarning, match="which gives fewer than 15 blocks; blocks of"):
        folds = list(splitter.split(places, y + 5 * places[:, 0]))
    assert len(folds) == 5
