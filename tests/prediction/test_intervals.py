"""Intervals hold what they promise, near labels and far from them."""

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold, RepeatedKFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed import ResidualInterpolator, SpatialConformalRegressor
from skgeo_embed._errors import CoordinateError
from skgeo_embed.model_selection import SpatialBlockKFold
from skgeo_embed.prediction import calibration, ensemble
from skgeo_embed.prediction.ensemble import SpatialEnsemble


def smooth_table(n_rows):
    """Smooth values and noise: neighbours know them, far places do not."""
    rng = np.random.RandomState(0)
    places = np.column_stack([rng.uniform(5, 15, n_rows), rng.uniform(45, 55, n_rows)])
    y = np.sin(places[:, 0] * 2) + np.cos(places[:, 1] * 2) + 0.1 * rng.randn(n_rows)
    return places, y


@pytest.fixture(scope="module")
def table():
    return smooth_table(800)


def coverage(interval, y):
    low, high = interval.T
    return ((low <= y) & (y <= high)).mean()


@pytest.mark.parametrize(("level", "method"), [(0.5, "remoteness"), (0.9, "auto")])
def test_the_promised_share_in_random_folds_and_in_blocks(table, level, method):
    X, y = table
    model = SpatialConformalRegressor(KNeighborsRegressor(5), confidence_level=level, method=method)
    for cv, tolerance in (
        (KFold(3, shuffle=True, random_state=5), 0.04),
        (SpatialBlockKFold(3, block_size=1.2), 0.06),
    ):
        held = [
            coverage(model.fit(X[train], y[train]).predict_interval(X[test]), y[test])
            for train, test in cv.split(X)
        ]
        assert np.mean(held) == pytest.approx(level, abs=tolerance)


class Counted(KNeighborsRegressor):
    """Counts how often any of its kind is fitted."""

    fits = 0

    def fit(self, X, y):
        Counted.fits += 1
        return super().fit(X, y)


def test_an_ensemble_is_fitted_once_and_its_folds_serve_for_intervals(monkeypatch):
    X, y = smooth_table(1200)
    ensemble = SpatialEnsemble([("nearest", Counted(5)), ("linear", LinearRegression())])
    model = SpatialConformalRegressor(make_pipeline(FunctionTransformer(), ensemble))
    for cv in (KFold(2, shuffle=True, random_state=5), SpatialBlockKFold(2, block_size=1.2)):
        train, test = next(cv.split(X))
        monkeypatch.setattr(Counted, "fits", 0)
        model.fit(X[train], y[train])
        assert Counted.fits == 7  # three random folds, three of blocks, all rows
        assert coverage(model.predict_interval(X[test]), y[test]) == pytest.approx(0.9, abs=0.06)
    monkeypatch.setattr(Counted, "fits", 0)
    model.set_params(cv=2).fit(X, y)
    assert Counted.fits == 21  # in folds of the user's choice it is fitted again


def test_an_ensemble_whose_rows_share_places_is_also_fitted_without_whole_places(monkeypatch):
    X, y = shared_places(60, 0)
    model = SpatialConformalRegressor(SpatialEnsemble([("nearest", Counted(5))]))
    monkeypatch.setattr(Counted, "fits", 0)
    model.fit(X, y)
    assert Counted.fits == 7 * 6
    new_X, new_y = shared_places(200, 1)
    assert coverage(model.predict_interval(new_X), new_y) > 0.85
    home = coverage(model.predict_interval(X), y)
    assert home > 0.85


def test_intervals_widen_with_the_distance_and_then_stay(table):
    X, y = table
    model = SpatialConformalRegressor(KNeighborsRegressor(5), method="remoteness").fit(X, y)
    width = np.diff(model.predict_interval([[10.0, 50.0], [16.5, 50.0], [100.0, 0.0]]))[:, 0]
    assert width[0] < 0.6 * width[1]
    assert width[1] <= width[2] == pytest.approx(2 * model.half_widths_[-1])
    assert (np.diff(model.half_widths_) >= 0).all()
    assert (np.diff(model.remoteness_km_) > 0).all()


def test_the_half_width_is_the_conformal_quantile(table, monkeypatch):
    X, y = (values[:90] for values in table)
    monkeypatch.setattr(calibration, "MOST_BANDS", 1)
    model = SpatialConformalRegressor(
        DummyRegressor(), confidence_level=0.8, method="remoteness", cv=[KFold(5), KFold(3)]
    ).fit(X, y)
    errors = [
        np.abs(y[test] - y[train].mean())
        for cv in (KFold(5), KFold(3))
        for train, test in cv.split(X)
    ]
    errors = np.sort(np.concatenate(errors))
    expected = errors[int(np.ceil(180 * (91 * 0.8) / 90)) - 1]  # 90 rows, each held out twice
    np.testing.assert_allclose(model.half_widths_, [expected])
    np.testing.assert_allclose(
        model.predict_interval(X), np.tile([y.mean() - expected, y.mean() + expected], (90, 1))
    )


def test_errors_are_of_rows_that_were_not_seen(table):
    X, y = (values[:300] for values in table)

    class Memory(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            self.known_ = {tuple(row): value for row, value in zip(X, y, strict=True)}
            return self

        def predict(self, X):
            return np.array([self.known_.get(tuple(row), 0.0) for row in X])

    model = SpatialConformalRegressor(Memory(), method="remoteness").fit(X, y)
    assert model.half_widths_.min() > 1


def test_columns_by_name_coordinates_beside_and_other_names(table):
    X, y = (values[:90] for values in table)
    expected = SpatialConformalRegressor(LinearRegression()).fit(X, y).predict_interval(X)
    frame = pd.DataFrame({"lat": X[:, 1], "lon": X[:, 0]})
    named = SpatialConformalRegressor(LinearRegression()).fit(frame, y)
    np.testing.assert_allclose(named.predict_interval(frame), expected)
    assert list(named.feature_names_in_) == ["lat", "lon"]
    other = frame.set_axis(["north", "east"], axis=1)
    chosen = SpatialConformalRegressor(LinearRegression(), lon="east", lat="north").fit(other, y)
    np.testing.assert_allclose(chosen.predict_interval(other), expected)
    beside = SpatialConformalRegressor(LinearRegression()).fit(frame.to_numpy(), y, coords=X)
    np.testing.assert_allclose(beside.predict_interval(frame.to_numpy(), coords=X), expected)
    with pytest.raises(CoordinateError):
        SpatialConformalRegressor(LinearRegression()).fit(other, y)


def test_around_a_residual_interpolator_and_side_by_side(table):
    X, y = (values[:300] for values in table)
    inner = ResidualInterpolator(Ridge())
    model = SpatialConformalRegressor(inner).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), inner.fit(X, y).predict(X))
    with joblib.parallel_config(backend="threading"):  # processes take seconds to start
        again = SpatialConformalRegressor(inner, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(again.predict_interval(X), model.predict_interval(X))


def test_bad_folds_and_levels_are_refused(table):
    X, y = (values[:60] for values in table)
    for level in (0, 1, 90):
        with pytest.raises(ValueError, match="'confidence_level' parameter"):
            SpatialConformalRegressor(Ridge(), confidence_level=level).fit(X, y)

    model = SpatialConformalRegressor(Ridge(), cv=[(np.arange(30), np.arange(60, 61))])
    with pytest.raises(ValueError, match="names row 60, and the table has 60 rows"):
        model.fit(X, y)
    assert not hasattr(model, "half_widths_")


def test_coordinates_reach_the_estimator_that_wants_them(table):
    X, y = (values[:90] for values in table)
    features = X[:, ::-1] ** 2 / 100  # two columns, which could be read as degrees
    inner = ResidualInterpolator(Ridge())
    model = SpatialConformalRegressor(inner).fit(features, y, coords=X)
    assert model.estimator_.spacing_km_ == inner.fit(features, y, coords=X).spacing_km_
    np.testing.assert_array_equal(model.predict(features, X), inner.predict(features, X))
    assert model.predict_interval(features, X).shape == (90, 2)
    assert model.score(features, y, coords=X) == inner.score(features, y, coords=X)


def test_levels_that_so_few_rows_cannot_hold(table):
    X, y = (values[:60] for values in table)
    with pytest.raises(ValueError, match=r"0.999 needs at least 999 rows, got 60.*0\.983"):
        SpatialConformalRegressor(Ridge(), confidence_level=0.999).fit(X, y)
    model = SpatialConformalRegressor(Ridge(), confidence_level=0.99, method="remoteness")
    model.fit(*table)
    assert len(model.half_widths_) > 4


def test_one_splitter_and_classifiers(table):
    X, y = (values[:200] for values in table)
    one = SpatialConformalRegressor(Ridge(), cv=KFold(5)).fit(X, y)
    listed = SpatialConformalRegressor(Ridge(), cv=[KFold(5)]).fit(X, y)
    np.testing.assert_array_equal(one.half_widths_, listed.half_widths_)
    with pytest.raises(TypeError, match="LogisticRegression is a classifier"):
        SpatialConformalRegressor(LogisticRegression()).fit(X, y > 0)


class OnTheSphere(SpatialConformalRegressor):
    """Takes any columns for places, so that scikit-learn's own data can be used."""

    def _places(self, X, coords):
        values = np.asarray(X, dtype=float)
        values = np.column_stack([values, np.zeros(len(values))])[:, :2]
        return np.column_stack([values[:, 0] % 360 - 180, np.clip(values[:, 1], -90, 90)])


@parametrize_with_checks(
    [OnTheSphere(Ridge(), cv=[KFold(3)], confidence_level=0.6)],
    expected_failed_checks=lambda estimator: {
        **dict.fromkeys(
            (
                "check_estimator_sparse_array",
                "check_estimator_sparse_matrix",
                "check_estimator_sparse_tag",
                "check_estimators_empty_data_messages",
            ),
            "places are read before the regressor checks its data, by what stands in for that here",
        ),
        "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is in one fold, and "
        "two rows may be in two",
    },
)
def test_common_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("level", "least"), [(0.9, 9), (0.95, 19), (0.5, 1), (0.99, 99)])
def test_few_rows_hold_the_level_or_are_refused(table, level, least):
    X, y = table
    model = SpatialConformalRegressor(DummyRegressor(), confidence_level=level)
    for n_rows in {max(least - 1, 5), 5}:
        if n_rows < least:
            with pytest.raises(ValueError, match=f"needs at least {least} rows, got {n_rows}"):
                model.fit(X[:n_rows], y[:n_rows])
    n_rows = max(least, 6)
    held = []
    for start in range(0, 400, 25 if n_rows < 50 else 200):
        model.fit(X[start : start + n_rows], y[start : start + n_rows])
        held.append(coverage(model.predict_interval(X), y))
    assert np.mean(held) > level - 0.02


def test_rows_of_repeated_folds_count_once(table):
    X, y = (values[:40] for values in table)
    once = KFold(5, shuffle=True, random_state=0)
    model = SpatialConformalRegressor(DummyRegressor(), confidence_level=0.8, cv=[once])
    thrice = [fold for _ in range(3) for fold in once.split(X)]  # the same errors, three times
    expected = model.fit(X, y).half_widths_
    np.testing.assert_array_equal(model.set_params(cv=thrice).fit(X, y).half_widths_, expected)
    repeated = RepeatedKFold(n_splits=5, n_repeats=3, random_state=0)
    few = SpatialConformalRegressor(DummyRegressor(), confidence_level=0.99, cv=[repeated])
    with pytest.raises(ValueError, match="needs at least 99 rows, got 40"):
        few.fit(X, y)


def shared_places(n_places, seed, at_each=10):
    """Ten rows at each place, which share most of what is unknown."""
    rng = np.random.RandomState(seed)
    places = rng.uniform([5, 45], [15, 55], (n_places, 2)).repeat(at_each, axis=0)
    effect = rng.normal(size=n_places).repeat(at_each)
    return places, effect + 0.3 * rng.normal(size=len(effect))


def test_places_that_rows_share_count_once_elsewhere_and_rows_count_there():
    new, home = [], []
    for seed in range(6):
        X, y = shared_places(120, seed)
        train = np.arange(20 * 10) % 10 < 8  # eight rows of the first twenty places
        known, at_home = np.flatnonzero(train), np.flatnonzero(~train)
        model = SpatialConformalRegressor(KNeighborsRegressor(4), method="remoteness")
        model.fit(X[known], y[known])
        home.append(coverage(model.predict_interval(X[at_home]), y[at_home]))
        new.append(coverage(model.predict_interval(X[200:]), y[200:]))
    assert np.mean(home) == pytest.approx(0.9, abs=0.05)
    assert 0.9 - 2 * np.std(new) / np.sqrt(6) < np.mean(new) < 0.98


def test_too_few_places_are_unbounded_elsewhere_and_said_so():
    X, y = shared_places(5, 0)
    model = SpatialConformalRegressor(KNeighborsRegressor(5))
    with pytest.warns(UserWarning, match=r"only 5 places .*=0.9 needs 9"):
        model.fit(X, y)
    width = np.diff(model.predict_interval([X[0], [10.0, 50.001]]))[:, 0]
    assert width[0] < 4
    assert np.isinf(width[1])
    with pytest.raises(ValueError, match="needs at least 9 places in test folds, got 5"):
        SpatialConformalRegressor(KNeighborsRegressor(5), cv=GroupKFold(5)).fit(
            X, y, groups=X[:, 0]
        )


def test_local_weights_where_errors_differ_over_the_map_and_not_elsewhere():
    rng = np.random.RandomState(0)
    X = rng.uniform([5, 45], [15, 55], (800, 2))
    noise = rng.normal(size=800)
    even = SpatialConformalRegressor(DummyRegressor()).fit(X[:400], noise[:400])
    assert even.method_ == "remoteness"
    uneven = noise * np.where(X[:, 0] < 10, 0.2, 2.0)
    model = SpatialConformalRegressor(DummyRegressor()).fit(X[:400], uneven[:400])
    assert model.method_ == "local"
    found = model.predict_interval(X[400:])
    model.set_params(method="remoteness").fit(X[:400], uneven[:400])
    plain = model.predict_interval(X[400:])
    for west in (True, False):
        part = (X[400:, 0] < 10) == west
        assert coverage(found[part], uneven[400:][part]) == pytest.approx(0.9, abs=0.07)
    west = X[400:, 0] < 9
    assert np.diff(found[west]).mean() < 0.3 * np.diff(plain[west]).mean()
    with pytest.raises(ValueError, match='"local" needs at least 200 held-out errors'):
        SpatialConformalRegressor(DummyRegressor(), method="local").fit(X[:40], noise[:40])


def test_folds_of_drawn_rows_hold_out_places_that_have_other_rows(monkeypatch, capsys):
    """Rows that no learner saw do not make a place known to the models of its folds."""
    monkeypatch.setattr(ensemble, "ROWS_OF_LEARNERS", 300)
    rng = np.random.RandomState(0)
    places = np.repeat(rng.uniform([0, 40], [10, 50], (300, 2)), 2, axis=0)
    y = places[:, 0] + rng.randn(600)
    learner = SpatialEnsemble([("linear", LinearRegression())])
    model = SpatialConformalRegressor(learner, verbose=1).fit(places, y)
    assert "fold" not in capsys.readouterr().out  # of models that are fitted once more
    low, high = model.predict_interval(places).T
    assert 0.8 < ((low <= y) & (y <= high)).mean() < 1
