"""Residuals of neighbours help where they tell something, and do nothing where they do not."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, RegressorMixin, clone, is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed import ResidualInterpolator, SatCLIPEncoder
from skgeo_embed._errors import CoordinateError
from skgeo_embed._sphere import great_circle_km
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.model_selection import SpatialBlockKFold


def corrections(model, places):
    return model.predict(places) - model.estimator_.predict(places)


@pytest.fixture(scope="module")
def places():
    rng = np.random.RandomState(0)
    return np.column_stack([rng.uniform(5, 15, 600), rng.uniform(45, 55, 600)])


def waves_of(places):
    return np.sin(places[:, 0] * 2) + np.cos(places[:, 1] * 2)


def test_neighbours_tell_what_the_regressor_does_not(places):
    y = waves_of(places) + 0.1 * np.random.RandomState(1).randn(600)
    model = ResidualInterpolator(LinearRegression()).fit(places[:400], y[:400])
    assert LinearRegression().fit(places[:400], y[:400]).score(places[400:], y[400:]) < 0.2
    assert model.score(places[400:], y[400:]) > 0.8
    assert model.weighting_.n_neighbors > 1


def test_noise_is_not_interpolated(places):
    chosen = []
    for seed in range(10):
        noise = np.random.RandomState(seed).randn(600)
        model = ResidualInterpolator(DummyRegressor()).fit(places, noise)
        if model.weighting_ is None:
            np.testing.assert_array_equal(model.predict(places), noise.mean())
        chosen.append(model.weighting_)
    assert chosen.count(None) >= 7


def test_far_away_there_is_no_correction(places):
    model = ResidualInterpolator(DummyRegressor()).fit(places, 5 + waves_of(places))
    near = corrections(model, places)
    far = corrections(model, np.array([[-150.0, -40.0], [100.0, -80.0]]))
    assert np.abs(far).max() < 0.05 * np.abs(near).max()


def test_the_average_is_that_of_the_formula(places):
    y = waves_of(places)
    model = ResidualInterpolator(Ridge()).fit(places[:300], y[:300])
    k, softening, shrinkage, label_share = model.weighting_
    assert 0 < label_share <= 1
    plain = model.estimator_.predict(places[300:310])
    for query, f, found in zip(places[300:310], plain, model.predict(places[300:310]), strict=True):
        km = great_circle_km(np.tile(query, (300, 1)), places[:300])
        nearest = np.argsort(km)[:k]
        weights = 1 / (km[nearest] / model.spacing_km_ + softening)
        expected = (y[:300] - model.residuals_)[nearest]
        residual = np.average(model.residuals_[nearest], weights=weights)
        apart = f - np.average(expected, weights=weights)
        hold = weights.sum() / (weights.sum() + shrinkage)
        assert found == pytest.approx(f + hold * (residual - label_share * apart), rel=1e-6)


def test_labels_are_averaged_where_the_regressor_overfits(places):
    class Wild(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            self.fitted_ = True
            return self

        def predict(self, X):
            return 5 * np.random.RandomState(len(X)).randn(len(X))

    y = waves_of(places)
    model = ResidualInterpolator(Wild()).fit(places[:400], y[:400])
    assert model.weighting_.label_share > 0.9
    assert model.score(places[400:], y[400:]) > 0.5  # the residuals alone are mostly noise


def test_residuals_are_out_of_fold(places):
    y = waves_of(places)

    class Memory(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            self.known_ = {tuple(row): value for row, value in zip(X, y, strict=True)}
            return self

        def predict(self, X):
            return np.array([self.known_.get(tuple(row), 0.0) for row in X])

    model = ResidualInterpolator(Memory()).fit(places, y)
    np.testing.assert_allclose(model.residuals_, y)  # each was predicted without being seen


def test_many_rows_at_one_place(places):
    repeated = np.repeat(places[:20], 50, axis=0)
    y = np.repeat(waves_of(places[:20]), 50) + 0.1 * np.random.RandomState(0).randn(1000)
    model = ResidualInterpolator(DummyRegressor()).fit(repeated, y)
    assert np.isfinite(model.predict(repeated)).all()
    assert model.score(repeated, y) > 0.8


def test_rows_that_come_twice_do_not_hide_the_neighbours(places):
    y = waves_of(places)
    once = ResidualInterpolator(LinearRegression()).fit(places[:400], y[:400])
    rows = np.repeat(np.arange(400), 2)
    twice = ResidualInterpolator(LinearRegression()).fit(places[rows], y[rows])
    assert twice.spacing_km_ == pytest.approx(once.spacing_km_)
    assert twice.score(places[400:], y[400:]) > 0.8
    process = GaussianProcessRegressor(Matern(5.0, nu=1.5) + WhiteKernel(0.1), optimizer=None)
    surface = ResidualInterpolator(LinearRegression(), interpolator=process)
    assert surface.fit(places[rows], y[rows]).score(places[400:], y[400:]) > 0.8


def test_what_only_the_rows_of_one_place_share_stays_there(places):
    rng = np.random.RandomState(0)
    effect = rng.randn(100)  # of each place on its own: neighbours tell nothing
    rows = np.repeat(np.arange(100), 5)
    X, y = places[rows], effect[rows] + 0.3 * rng.randn(500)
    train = np.arange(500) % 5 < 3
    model = ResidualInterpolator(DummyRegressor()).fit(X[train], y[train])
    assert model.score(X[~train], y[~train]) > 0.8
    elsewhere = places[200:] + 0.001
    assert np.abs(corrections(model, elsewhere)).mean() < 0.4 * np.abs(effect).mean()


def test_rows_that_share_a_place_and_neighbours_that_know_it(places):
    rng = np.random.RandomState(0)
    rows = np.repeat(np.arange(400), 3)
    effect = waves_of(places) + 0.5 * rng.randn(600)
    y = effect[rows] + 0.2 * rng.randn(1200)
    train = np.arange(1200) % 3 < 2
    model = ResidualInterpolator(LinearRegression()).fit(places[rows][train], y[train])
    assert model.score(places[rows][~train], y[~train]) > 0.85  # the place's own effect
    assert model.score(places[400:], waves_of(places)[400:]) > 0.7  # its neighbours'


@pytest.mark.parametrize("n", [2, 3, 6])
def test_few_rows(places, n):
    model = ResidualInterpolator(DummyRegressor()).fit(places[:n], waves_of(places[:n]))
    assert np.isfinite(model.predict(places)).all()


def test_columns_by_name_and_coordinates_beside(places):
    y = waves_of(places)
    expected = ResidualInterpolator(LinearRegression()).fit(places, y).predict(places)
    frame = pd.DataFrame({"lat": places[:, 1], "lon": places[:, 0], "size": 0.0})
    named = ResidualInterpolator(LinearRegression()).fit(frame, y)
    np.testing.assert_allclose(named.predict(frame), expected)
    assert list(named.feature_names_in_) == ["lat", "lon", "size"]
    other = frame.rename(columns={"lon": "east", "lat": "north"})
    chosen = ResidualInterpolator(LinearRegression(), lon="east", lat="north").fit(other, y)
    np.testing.assert_allclose(chosen.predict(other), expected)
    beside = ResidualInterpolator(LinearRegression()).fit(frame.to_numpy(), y, coords=places)
    np.testing.assert_allclose(beside.predict(frame.to_numpy(), coords=places), expected)
    with pytest.raises(CoordinateError, match="no column that is recognised as the longitude"):
        ResidualInterpolator(LinearRegression()).fit(other, y)
    with pytest.raises(CoordinateError):
        beside.predict(frame.to_numpy())


def test_probabilities_of_a_classifier(places):
    label = np.array(["low", "middle", "high"])[np.digitize(waves_of(places), [-0.7, 0.7])]
    model = ResidualInterpolator(LogisticRegression()).fit(places[:400], label[:400])
    plain = model.estimator_.predict_proba(places[400:])
    found = model.predict_proba(places[400:])
    truth = label[400:, None] == model.classes_
    assert ((found - truth) ** 2).sum(axis=1).mean() < 0.5 * ((plain - truth) ** 2).sum(1).mean()
    assert (
        model.score(places[400:], label[400:])
        > 0.75
        > (model.estimator_.score(places[400:], label[400:]))
    )
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found.min() >= 0
    assert model.residuals_.shape == (400, 3)
    assert set(model.predict(places)) == {"low", "middle", "high"}
    assert is_classifier(model)
    assert not is_classifier(ResidualInterpolator(Ridge()))


def test_noise_in_classes_is_not_interpolated(places):
    chosen = []
    for seed in range(10):
        label = np.random.RandomState(seed).randint(0, 2, 600)
        model = ResidualInterpolator(DummyClassifier(strategy="prior")).fit(places, label)
        chosen.append(model.weighting_)
    assert chosen.count(None) >= 7


def test_a_classifier_without_probabilities_is_refused(places):
    model = ResidualInterpolator(RidgeClassifier())
    assert not hasattr(model, "predict_proba")
    with pytest.raises(TypeError, match=r"RidgeClassifier has no predict_proba; wrap it"):
        model.fit(places, np.arange(600) % 2)
    assert not hasattr(ResidualInterpolator(Ridge()), "predict_proba")


def test_a_gaussian_process_of_residuals(places):
    y = waves_of(places)
    process = GaussianProcessRegressor(
        Matern(5.0, nu=1.5) + WhiteKernel(0.1), optimizer=None, normalize_y=True
    )
    model = ResidualInterpolator(LinearRegression(), interpolator=process)
    model.fit(places[:200], y[:200])
    assert model.score(places[400:], y[400:]) > 0.8
    assert not hasattr(process, "X_train_")  # it was cloned
    noise = np.random.RandomState(0).randn(200)
    plain = ResidualInterpolator(DummyRegressor(), interpolator=process).fit(places[:200], noise)
    assert plain.interpolator_ is None
    np.testing.assert_array_equal(plain.predict(places), noise.mean())
    nearest = KNeighborsRegressor(5, weights="distance")  # a surface for each of the classes
    classes = ResidualInterpolator(LogisticRegression(), interpolator=nearest)
    classes.fit(places[:400], y[:400] > 0)
    assert classes.score(places[400:], y[400:] > 0) > 0.8


def test_real_temperatures_in_every_kind_of_fold():
    X, y = (table[::4] for table in load_air_temperature(return_X_y=True))
    smooth = SatCLIPEncoder("bluemarble-l20", n_components=128)  # which leaves some to neighbours
    plain = make_pipeline(smooth, Ridge(10.0))
    for cv in (KFold(3, shuffle=True, random_state=0), SpatialBlockKFold(3)):
        with_residuals = cross_val_score(ResidualInterpolator(plain), X, y, cv=cv).mean()
        assert with_residuals > cross_val_score(plain, X, y, cv=cv).mean() + 0.05


def test_predictions_of_one_column_stay_rows(places):
    class Column(LinearRegression):
        def predict(self, X):
            return super().predict(X)[:, None]

    y = waves_of(places)
    expected = ResidualInterpolator(LinearRegression()).fit(places, y).predict(places)
    found = ResidualInterpolator(Column()).fit(places, y).predict(places)
    np.testing.assert_allclose(found, expected)


def test_what_was_fitted_with_coordinates_beside_wants_them_again(places):
    features = places[:, ::-1] ** 2 / 100  # two columns, which could be read as degrees
    model = ResidualInterpolator(Ridge()).fit(features, waves_of(places), coords=places)
    with pytest.raises(CoordinateError, match="fitted with coords beside X; pass coords here too"):
        model.predict(features)


def test_folds_by_number_are_stratified(places):
    label = np.repeat([0, 1, 2], 200)
    model = ResidualInterpolator(LogisticRegression(), cv=5).fit(places, label)
    shuffled = ResidualInterpolator(LogisticRegression()).fit(places, label)
    sizes = [np.abs(fitted.residuals_).mean() for fitted in (model, shuffled)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_scikit_learns_habits(places):
    y = waves_of(places)
    model = ResidualInterpolator(Ridge(), cv=SpatialBlockKFold(4, block_size=2)).fit(places, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(places), model.predict(places))
    assert not hasattr(clone(model), "estimator_")
    search = GridSearchCV(ResidualInterpolator(Ridge()), {"estimator__alpha": [1, 100]}, cv=3)
    assert search.fit(places, y).best_params_
    with sklearn.config_context(enable_metadata_routing=True):
        routed = ResidualInterpolator(Ridge()).set_fit_request(coords=True)
        routed.set_predict_request(coords=True).set_score_request(coords=True)
        scores = cross_val_score(
            routed, places**2, y, params={"coords": places}, cv=3, error_score="raise"
        )
    assert len(scores) == 3
    with pytest.raises(ValueError, match="'estimator' parameter"):
        ResidualInterpolator("ridge").fit(places, y)
    failed = ResidualInterpolator(Ridge()).fit(places, y)
    with pytest.raises(CoordinateError):
        failed.fit(np.full_like(places, 200.0), y)
    assert not hasattr(failed, "estimator_")


class OnTheSphere(ResidualInterpolator):
    """Takes any columns for places, so that scikit-learn's own data can be used."""

    def _places(self, X, coords):
        values = np.asarray(X, dtype=float)
        values = np.column_stack([values, np.zeros(len(values))])[:, :2]
        return np.column_stack([values[:, 0] % 360 - 180, np.clip(values[:, 1], -90, 90)])


@parametrize_with_checks(
    [OnTheSphere(Ridge()), OnTheSphere(LogisticRegression())],
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
