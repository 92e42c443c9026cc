"""Weights of rows reach every estimator inside, and count where errors are compared."""

import numpy as np
import pytest
import sklearn
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgeo_embed import (
    ResidualInterpolator,
    SpatialConformalClassifier,
    SpatialConformalRegressor,
    spatial_pipeline,
)
from skgeo_embed.prediction.corrections import KnownPlaces, NeighborCorrection
from skgeo_embed.prediction.ensemble import SpatialEnsemble
from skgeo_embed.prediction.ridge_path import RidgePath

RNG = np.random.default_rng(0)
PLACES = RNG.uniform([5, 45], [15, 55], (120, 2))
Y = np.sin(PLACES[:, 0]) + 0.3 * RNG.normal(size=120)
WEIGHTS = RNG.integers(0, 3, 120).astype(float)
MODELS = {
    "residuals": ResidualInterpolator(Ridge()),
    "in a pipeline": ResidualInterpolator(make_pipeline(StandardScaler(), Ridge())),
    "ensemble": SpatialEnsemble([("path", RidgePath()), ("ridge", Ridge())]),
    "intervals": SpatialConformalRegressor(Ridge()),
    "nested": SpatialConformalRegressor(ResidualInterpolator(Ridge())),
}


@pytest.mark.parametrize("name", MODELS)
def test_weights_change_predictions_and_equal_ones_do_not(name):
    model = MODELS[name]
    plain = model.fit(PLACES, Y).predict(PLACES)
    even = model.fit(PLACES, Y, sample_weight=np.full(120, 7.0)).predict(PLACES)
    np.testing.assert_allclose(even, plain, atol=1e-9)
    heavy = np.where(Y > 0, 50.0, 1.0)
    assert model.fit(PLACES, Y, sample_weight=heavy).predict(PLACES).mean() > plain.mean() + 0.1


def test_a_weight_of_two_is_a_row_twice_to_the_correction():
    twice = np.repeat(np.arange(120), WEIGHTS.astype(int))
    target, predicted = Y[:, None], np.zeros((120, 1))
    weighted = NeighborCorrection(KnownPlaces(PLACES, target, predicted, WEIGHTS))
    repeated = KnownPlaces(PLACES[twice], target[twice], predicted[twice])
    assert weighted.weighting == NeighborCorrection(repeated).weighting
    np.testing.assert_allclose(weighted._known.residuals, repeated.residuals)
    np.testing.assert_allclose(weighted._known.counts, repeated.counts)


def test_a_ridge_path_with_weights_is_scikit_learns():
    X = RNG.normal(size=(60, 4))
    y, weights = X @ [1.0, 2, 0, -1] + RNG.normal(size=60), RNG.uniform(0, 2, 60)
    weights /= weights.mean()
    centre = np.average(X, axis=0, weights=weights)
    spread = np.sqrt(np.average((X - centre) ** 2, axis=0, weights=weights))
    expected = Ridge(alpha=10.0).fit((X - centre) / spread, y, sample_weight=weights)
    found = RidgePath((10.0,)).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(found.predict(X), expected.predict((X - centre) / spread))
    wide = RNG.normal(size=(10, 30))
    a = RidgePath((5.0,)).fit(wide, y[:10], sample_weight=[2.0] * 5 + [0.0] * 5)
    b = RidgePath((2.5,)).fit(wide[:5], y[:5])  # weights have a mean of 1: each of five is 2
    np.testing.assert_allclose(a.predict(wide), b.predict(wide))


def test_quantiles_of_intervals_follow_the_weights():
    noise = RNG.normal(size=400) * np.where(np.arange(400) % 2, 5.0, 1.0)
    X = RNG.uniform([5, 45], [15, 55], (400, 2))
    model = SpatialConformalRegressor(DummyRegressor(), method="remoteness")
    calm = model.fit(X, noise, sample_weight=np.arange(400) % 2 == 0).half_widths_.max()
    wild = model.fit(X, noise, sample_weight=np.arange(400) % 2).half_widths_.min()
    assert 2 * calm < wild
    sure = SpatialConformalClassifier(LogisticRegression())
    classes = np.where(noise > 0, "up", "down")
    heavy = np.where(noise > 0, 20.0, 1.0)
    assert (sure.fit(X, classes, sample_weight=heavy).predict(X) == "up").all()


def test_the_default_pipeline_takes_them_by_scikit_learns_name():
    model = spatial_pipeline(HistGradientBoostingRegressor(max_iter=5))
    heavy = np.where(Y > 0, 50.0, 1.0)
    plain = model.fit(PLACES, Y).predict(PLACES)
    assert model.fit(PLACES, Y, model__sample_weight=heavy).predict(PLACES).mean() > plain.mean()
    outer = SpatialConformalRegressor(spatial_pipeline(Ridge()), method="remoteness")
    assert outer.fit(PLACES[:60], Y[:60], sample_weight=heavy[:60]).half_widths_.min() > 0


def test_weights_that_cannot_be_used_are_refused():
    for model in (ResidualInterpolator(KNeighborsRegressor()),
                  SpatialConformalRegressor(make_pipeline(StandardScaler(), KNeighborsRegressor())),
                  SpatialEnsemble([("near", KNeighborsRegressor())])):  # fmt: skip
        with pytest.raises(TypeError, match="KNeighborsRegressor takes no sample_weight"):
            model.fit(PLACES, Y, sample_weight=WEIGHTS)
    model = ResidualInterpolator(Ridge())
    for wrong, message in (
        (WEIGHTS[:-1], "has 119 rows, X has 120"),
        (np.where(np.arange(120) == 7, -1.0, 1.0), "row 7 has -1"),
        (np.zeros(120), "zero in all rows"),
        (np.where(np.arange(120) == 7, np.nan, 1.0), "first: row 7"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(PLACES, Y, sample_weight=wrong)
    assert not hasattr(model.fit(PLACES, Y, sample_weight=WEIGHTS), "_row_weights")


def test_weights_are_routed():
    heavy = np.where(Y > 0, 50.0, 1.0)
    expected = ResidualInterpolator(Ridge()).fit(PLACES, Y, sample_weight=heavy).predict(PLACES)
    with sklearn.config_context(enable_metadata_routing=True):
        model = ResidualInterpolator(Ridge()).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=False)
        search = GridSearchCV(model, {"estimator__alpha": [1.0]}, cv=KFold(3))
        search.fit(PLACES, Y, sample_weight=heavy)
        np.testing.assert_allclose(search.predict(PLACES), expected)
        assert cross_val_score(model, PLACES, Y, params={"sample_weight": heavy}).shape == (5,)
        asked = make_pipeline(StandardScaler(), Ridge().set_fit_request(sample_weight=True))
        asked[0].set_fit_request(sample_weight=False)
        ResidualInterpolator(asked).fit(PLACES, Y, sample_weight=heavy)
        silent = make_pipeline(StandardScaler(), Ridge())
        with pytest.raises(UnsetMetadataPassedError):
            ResidualInterpolator(silent).fit(PLACES, Y, sample_weight=heavy)
