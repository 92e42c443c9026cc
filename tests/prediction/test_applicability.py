"""The area of applicability, by its formula and by scikit-learn's outlier convention."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist, pdist
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, RepeatedKFold
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed import (
    AreaOfApplicability,
    CoordinateError,
    PositionalEncoder,
    SpatialConformalRegressor,
    spatial_pipeline,
)
from skgeo_embed.model_selection import SpatialBlockKFold
from skgeo_embed.prediction.dissimilarity import mean_distance
from skgeo_embed.prediction.error_profile import ErrorProfile


@pytest.fixture(scope="module")
def features():
    return np.random.RandomState(0).randn(300, 4) * [1, 10, 0.1, 3] + [5, 0, 0, -2]


def test_it_is_the_published_index(features):
    weights = np.array([1.0, 0.0, 2.0, 0.5])
    cv = KFold(3, shuffle=True, random_state=1)
    area = AreaOfApplicability(importance=weights, cv=cv).fit(features[:200])
    mean, spread = features[:200].mean(axis=0), features[:200].std(axis=0)
    train, new = ((part - mean) / spread * weights for part in (features[:200], features[200:]))
    average = pdist(train).mean()
    assert area.mean_distance_ == pytest.approx(average)
    np.testing.assert_allclose(
        area.dissimilarity(features[200:]), cdist(new, train).min(axis=1) / average
    )
    expected = np.empty(200)
    for others, fold in cv.split(train):
        expected[fold] = cdist(train[fold], train[others]).min(axis=1) / average
    np.testing.assert_allclose(area.train_dissimilarity_, expected)
    low, high = np.quantile(expected, [0.25, 0.75])
    usual = expected[expected <= high + 1.5 * (high - low)]
    assert area.threshold_ == pytest.approx(usual.max())


def test_the_outlier_convention(features):
    area = AreaOfApplicability().fit(features)
    far = features + 100 * features.std(axis=0)
    assert (area.predict(features) == 1).all()
    assert (area.predict(far) == -1).all()
    np.testing.assert_array_equal(area.score_samples(far), -area.dissimilarity(far))
    np.testing.assert_allclose(area.decision_function(far), area.score_samples(far) - area.offset_)
    assert ((area.decision_function(features) >= 0) == (area.predict(features) == 1)).all()


def test_features_of_no_importance_do_not_count(features):
    area = AreaOfApplicability(importance=[1, 0, 1, 1]).fit(features)
    moved = features + np.array([0, 1e6, 0, 0])
    assert (area.predict(moved) == 1).all()


def test_spatial_folds_widen_the_area():
    rng = np.random.RandomState(0)
    places = rng.uniform([0, 40], [20, 60], (400, 2))
    features = np.column_stack([np.sin(places), np.cos(places / 3)])  # neighbours are alike
    random = AreaOfApplicability().fit(features)
    blocks = AreaOfApplicability(cv=SpatialBlockKFold(5, block_size=5)).fit(features, coords=places)
    assert blocks.threshold_ > 1.2 * random.threshold_


def test_mean_distance_of_a_sample(features):
    whole = mean_distance(features)
    assert mean_distance(features, most_rows=200) == pytest.approx(whole, rel=0.05)


@pytest.mark.parametrize(
    ("importance", "message"),
    [
        ([1, 2], r"each of the 4 features, got shape \(2,\)"),
        ([1, -1, 1, 1], "not negative"),
        ([0, 0, 0, 0], "not all zero"),
        ([1, np.nan, 1, 1], "finite"),
    ],
)
def test_bad_importance(features, importance, message):
    area = AreaOfApplicability().fit(features).set_params(importance=importance)
    with pytest.raises(ValueError, match=message):
        area.fit(features)
    assert not hasattr(area, "threshold_")


def test_constant_features():
    area = AreaOfApplicability().fit(np.ones((10, 3)))
    assert area.predict(np.ones((2, 3))).tolist() == [1, 1]
    assert area.predict(np.full((1, 3), 2.0)).tolist() == [-1]


@parametrize_with_checks(
    [AreaOfApplicability()],
    expected_failed_checks=lambda estimator: dict.fromkeys(
        ("check_outliers_train", "check_outliers_fit_predict"),
        "rows of the training data are inside of the area, every one",
    ),
)
def test_common_checks(estimator, check):
    check(estimator)


def test_a_column_that_only_rounding_varies_counts_as_constant():
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.randn(100, 2), np.full(100, 0.1)])
    new = X + np.array([0, 0, 1e-12])
    assert (AreaOfApplicability().fit(X).predict(new) == 1).mean() > 0.9


def test_features_are_not_read_as_places():
    features = np.random.RandomState(0).randn(100, 2)
    area = AreaOfApplicability(cv=SpatialBlockKFold(3, block_size=1))
    with pytest.raises(CoordinateError, match="SpatialBlockKFold needs places, but X holds"):
        area.fit(features)


def test_values_too_large_to_compare():
    X = np.random.RandomState(0).randn(50, 2) * [1, 1e200]
    with pytest.raises(ValueError, match="column 1 are too large"):
        AreaOfApplicability().fit(X)


def test_a_row_that_is_tested_several_times_counts_each_time(features):
    whole = AreaOfApplicability(cv=RepeatedKFold(n_splits=3, n_repeats=4, random_state=0))
    whole.fit(features)
    repeats = []
    folds = list(whole.cv.split(features))
    for start in range(0, 12, 3):
        area = AreaOfApplicability(cv=folds[start : start + 3]).fit(features)
        repeats.append(area.train_dissimilarity_)
    np.testing.assert_allclose(whole.train_dissimilarity_, np.mean(repeats, axis=0))
    swapped = AreaOfApplicability(cv=folds[::-1]).fit(features)
    assert swapped.threshold_ == pytest.approx(whole.threshold_)


@pytest.mark.parametrize("cv", [None, KFold(5, shuffle=True, random_state=0)])
@pytest.mark.parametrize("beside", [False, True])
def test_rows_that_share_a_place_are_not_new_to_each_other(cv, beside):
    rng = np.random.RandomState(0)
    places = rng.uniform([0, 40], [20, 60], (120, 2))
    features = np.column_stack([np.sin(places / 5), np.cos(places / 7)])
    repeated = np.repeat(features[:80], 5, axis=0)
    repeated = repeated + 1e-8 * rng.randn(*repeated.shape)  # of batches of different size
    if beside:
        repeated = np.column_stack([repeated, np.tile(np.arange(5), 80)])  # the year
        new = np.column_stack([features[80:], np.full(40, 2)])
    else:
        new = features[80:]
    coords = np.repeat(places[:80], 5, axis=0) if beside else None
    area = AreaOfApplicability(cv=cv).fit(repeated, coords=coords)
    single = AreaOfApplicability().fit(features[:80])
    assert area.threshold_ > 0.3 * single.threshold_
    assert (area.predict(new) == 1).mean() > 0.8


def test_folds_that_leave_nothing_to_compare_with(features):
    twice = np.repeat(features[:2], 2, axis=0)
    pairs = [(np.array([0]), np.array([1, 2, 3])), (np.array([1, 2, 3]), np.array([0]))]
    with pytest.raises(ValueError, match="share their places"):
        AreaOfApplicability(cv=pairs).fit(twice)
    with pytest.raises(ValueError, match="share one place"):
        AreaOfApplicability().fit(features, coords=np.full((300, 2), 5.0))


def test_the_area_of_a_model_takes_its_tables():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"lon": rng.uniform(0, 20, 80), "lat": rng.uniform(40, 55, 80)})
    y = table["lat"].to_numpy()
    ridge = make_pipeline(PositionalEncoder(legendre_polys=3), Ridge()).fit(table, y)
    features = ridge[:-1].transform(table)
    weights = np.abs(ridge[-1].coef_) * features.std(axis=0)
    plain = AreaOfApplicability(importance=weights).fit(features, coords=table)
    area = AreaOfApplicability.from_model(ridge, table)
    assert area.threshold_ == pytest.approx(plain.threshold_)
    far = pd.DataFrame({"lon": [10.0, -60.0], "lat": [50.0, -3.0]})
    np.testing.assert_allclose(
        area.dissimilarity(far), plain.dissimilarity(ridge[:-1].transform(far))
    )
    assert area.predict(far).tolist() == [1, -1]
    around = SpatialConformalRegressor(ridge).fit(table, y)
    outer = AreaOfApplicability.from_model(around, table)
    np.testing.assert_allclose(outer.dissimilarity(far), area.dissimilarity(far))
    refitted = area.fit(features)
    assert not refitted.takes_tables
    assert refitted.predict(features[:2]).shape == (2,)


def test_the_area_of_a_spatial_pipeline_is_that_of_its_leading_learner():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"lon": rng.uniform(0, 20, 80), "lat": rng.uniform(40, 55, 80)})
    table["rooms"] = np.arange(80) % 5
    encoder = PositionalEncoder(legendre_polys=4)
    model = spatial_pipeline(encoder=encoder).fit(table, table["lat"] + 3 * table["rooms"])
    area = AreaOfApplicability.from_model(model, table)
    learners, table_of_model = dict(model[-1].learners_), model[:-1].transform(table)
    steps = learners["linear"][:-1], learners["trees"].estimator_[:-1]
    widths = [step.transform(table_of_model).shape[1] for step in steps]
    assert area.n_features_in_ in widths
    other = table.assign(rooms=1000)
    assert (area.dissimilarity(other) > area.dissimilarity(table)).all()


def test_the_density_counts_the_places_that_are_like_a_row():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 2))
    area = AreaOfApplicability().fit(X)
    new = np.vstack([rng.normal(size=(40, 2)), [[9.0, 9.0]]])
    spread = X.std(axis=0)
    apart = np.linalg.norm((new[:, None] - X[None]) / spread, axis=2) / area.mean_distance_
    expected = (apart <= area.threshold_).sum(axis=1)
    np.testing.assert_array_equal(area.local_density(new), expected)
    np.testing.assert_array_equal(area.local_density(new) > 0, area.predict(new) == 1)
    assert area.local_density(new)[-1] == 0
    places = rng.uniform([5, 45], [15, 55], (60, 2))
    twice = AreaOfApplicability().fit(np.vstack([X, X]), coords=np.vstack([places, places]))
    apart *= area.mean_distance_ / twice.mean_distance_
    expected = (apart <= twice.threshold_).sum(axis=1)
    np.testing.assert_array_equal(twice.local_density(new), expected)  # a place counts once


def test_the_error_profile_rises_and_ends_where_errors_end():
    rng = np.random.RandomState(0)
    X = rng.standard_t(3, size=(400, 1))
    area = AreaOfApplicability().fit(X)
    index = area.train_dissimilarity_
    errors = (0.5 + 20 * index) * rng.normal(size=400)
    profile = area.error_profile(errors)
    assert (np.diff(profile.rmse) >= 0).all()
    assert profile.rmse[-1] > 2 * profile.rmse[0]
    found = profile.predict([index.min(), index.max(), index.max() + 1e-6])
    assert found[0] == profile.rmse[0]
    assert found[1] == profile.rmse[-1]
    assert np.isnan(found[2])
    with pytest.raises(ValueError, match="one number for each of the 400 training rows; got 399"):
        area.error_profile(errors[:-1])
    errors[3] = np.nan
    with pytest.raises(ValueError, match=r"each of the 400 training rows .* tests; row 3 has nan"):
        area.error_profile(errors)


def test_a_place_of_many_rows_counts_once_in_the_error_profile():
    index, errors = np.linspace(0, 1, 30), np.ones(30)
    errors[0] = 100.0
    rows = np.repeat(np.arange(30), np.where(np.arange(30) == 0, 500, 1))
    many = ErrorProfile(index[rows], errors[rows], rows)
    np.testing.assert_allclose(many.rmse, ErrorProfile(index, errors, np.arange(30)).rmse)
