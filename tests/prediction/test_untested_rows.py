"""Folds that leave rows out of all tests, such as those that hold out the future."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, TimeSeriesSplit
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skgeo_embed import (
    AreaOfApplicability,
    PositionalEncoder,
    ResidualInterpolator,
    SpatialConformalClassifier,
    SpatialConformalRegressor,
    spatial_pipeline,
)
from skgeo_embed.inspection import group_importance
from skgeo_embed.model_selection import SpatialBlockKFold, SpatioTemporalKFold

RNG = np.random.default_rng(0)
PLACES = RNG.uniform([5, 45], [15, 55], (60, 2))
SITES = pd.DataFrame(PLACES, columns=["lon", "lat"])
MONTHS = pd.DataFrame({"month": pd.date_range("2023-01-01", periods=5, freq="MS")})
TABLE = SITES.merge(MONTHS, how="cross").sample(frac=1, random_state=0).reset_index(drop=True)
FUTURE = (TABLE["month"] == "2023-05-01").to_numpy()
Y = np.sin(TABLE["lon"]) + TABLE["month"].dt.month / 10 + 0.1 * RNG.normal(size=len(TABLE))
Y = Y.to_numpy()
SPLITTER = SpatioTemporalKFold(3)
FOLDS = list(SPLITTER.split(TABLE))
PLACES_ALONE = FunctionTransformer(lambda table: table[["lon", "lat"]].to_numpy())
NEAREST = make_pipeline(PLACES_ALONE, KNeighborsRegressor(5))
CLASSES = make_pipeline(PLACES_ALONE, KNeighborsClassifier(5))
ZERO = DummyRegressor(strategy="constant", constant=0.0)
HALF = list(KFold(4).split(PLACES))[:2]  # rows from 30 on are not tested


@pytest.mark.parametrize(
    ("attribute", "model", "y"),
    [
        ("residuals_", ResidualInterpolator(NEAREST), Y),
        ("residuals_", ResidualInterpolator(CLASSES), Y > 0),
        ("half_widths_", SpatialConformalRegressor(NEAREST), Y),
        ("thresholds_", SpatialConformalClassifier(CLASSES), Y > 0),
    ],
)
def test_a_splitter_of_the_future_reads_dates_in_the_table(attribute, model, y):
    found = model.set_params(cv=SPLITTER).fit(TABLE, y)
    expected = getattr(found, attribute)
    new = found.predict(TABLE)
    model.set_params(cv=FOLDS).fit(TABLE, y)
    np.testing.assert_array_equal(getattr(model, attribute), expected)
    np.testing.assert_array_equal(model.predict(TABLE), new)
    if attribute == "residuals_":
        missing = np.isnan(expected).reshape(len(y), -1)
        np.testing.assert_array_equal(missing.all(axis=1), ~FUTURE)
        np.testing.assert_array_equal(missing.any(axis=1), ~FUTURE)
    with pytest.raises(ValueError, match=r"X has no dates.*pass the folds"):
        model.set_params(cv=SPLITTER).fit(TABLE[["lon", "lat"]], y)


def test_importances_in_the_future():
    groups = {"place": ["lon", "lat"]}
    by_splitter, by_pairs = (
        group_importance(NEAREST, TABLE, Y, cv=cv, groups=groups, random_state=0)
        for cv in (SPLITTER, FOLDS)
    )
    pd.testing.assert_frame_equal(by_splitter, by_pairs)


def test_nested_in_each_other():
    model = SpatialConformalRegressor(ResidualInterpolator(NEAREST, cv=SPLITTER), cv=SPLITTER)
    assert np.isfinite(model.fit(TABLE, Y).predict_interval(TABLE)).all()


def test_in_a_pipeline_dates_are_a_column_of_days():
    model = spatial_pipeline(Ridge(), encoder=PositionalEncoder(legendre_polys=3))
    model.set_params(model__cv=SpatioTemporalKFold(3, time="dates__month"))
    residuals = model.fit(TABLE, Y)[-1].residuals_
    np.testing.assert_array_equal(np.isnan(residuals), ~FUTURE)


@pytest.mark.parametrize("interpolator", [None, KNeighborsRegressor(1)])
def test_rows_without_a_residual_correct_nothing(interpolator):
    y = PLACES[:, 0] - 10
    predictions = []
    for of_untested in (0.0, 1e6):
        y[30:] = of_untested
        model = ResidualInterpolator(ZERO, interpolator=interpolator, cv=HALF).fit(PLACES, y)
        predictions.append(model.predict(PLACES))
    np.testing.assert_array_equal(*predictions)
    assert np.corrcoef(predictions[0][:30], y[:30])[0, 1] > 0.5  # the others do correct
    model.fit(PLACES, y, sample_weight=np.arange(60) + 1.0)  # weights of the tested rows
    np.testing.assert_array_equal(np.isfinite(model.residuals_), np.arange(60) < 30)


@pytest.mark.parametrize("classes", [False, True])
def test_rows_that_are_not_tested_do_not_calibrate(classes):
    y = np.sin(PLACES[:, 0])
    found = []
    for of_untested in (0.0, 1e6):
        y[30:] = of_untested
        if classes:
            model = DummyClassifier(strategy="constant", constant=True)
            model = SpatialConformalClassifier(model, cv=HALF).fit(PLACES, y > 0)
            found.append(model.predict_set(PLACES))
        else:
            model = SpatialConformalRegressor(ZERO, cv=HALF).fit(PLACES, y)
            found.append(model.predict_interval(PLACES))
    np.testing.assert_array_equal(*found)


def test_too_few_tested_rows():
    folds = [(np.arange(5, 60), np.arange(5))]
    with pytest.raises(ValueError, match="at least 9 rows in test folds, got 5"):
        SpatialConformalRegressor(ZERO, cv=folds).fit(PLACES, np.zeros(60))
    with pytest.raises(ValueError, match="must not test a row twice; row 0 is in 2 of 2"):
        ResidualInterpolator(ZERO, cv=folds * 2).fit(PLACES, np.zeros(60))


def test_the_future_of_known_places():
    in_time = TABLE.sort_values("month", kind="stable")
    y = Y[in_time.index]
    model = SpatialConformalRegressor(NEAREST, cv=TimeSeriesSplit(3, test_size=60))
    with pytest.warns(UserWarning, match="hold at known places, and are unbounded at new ones"):
        model.fit(in_time, y)
    low, high = model.predict_interval(in_time).T
    assert np.isfinite(high - low).all()
    assert ((low <= y) & (y <= high)).mean() > 0.8


def test_an_area_of_applicability_knows_the_index_of_tested_rows_alone():
    rows = PLACES.copy()
    area = AreaOfApplicability(cv=HALF).fit(rows)
    index = area.train_dissimilarity_
    np.testing.assert_array_equal(np.isfinite(index), np.arange(60) < 30)
    assert area.threshold_ <= np.nanmax(index)
    errors = np.where(np.arange(60) < 30, 1.0, np.nan)
    profile = area.error_profile(errors)
    np.testing.assert_array_equal(profile.predict([0.0]), [1.0])
    errors[3] = np.nan
    with pytest.raises(ValueError, match=r"each of the 30 training rows .* tests; row 3 has nan"):
        area.error_profile(errors)


@pytest.mark.filterwarnings("ignore:values are alike up to")
def test_an_area_of_applicability_splits_by_dates_and_values():
    model = NEAREST.fit(TABLE, Y)
    area = AreaOfApplicability.from_model(model, TABLE, cv=SPLITTER)
    np.testing.assert_array_equal(np.isfinite(area.train_dissimilarity_), FUTURE)
    places, warm = TABLE[["lon", "lat"]], Y > 0
    for cv, y in (
        (SpatialBlockKFold(3, block_size="autocorrelation"), PLACES_ALONE.transform(TABLE)[:, 1]),
        (SpatialBlockKFold(3, block_size=2.0, stratify=True), warm),
    ):
        expected = AreaOfApplicability(cv=list(cv.split(places, y))).fit(places, coords=places)
        for found in (
            AreaOfApplicability(cv=cv).fit(places, y, coords=places),
            AreaOfApplicability.from_model(model, TABLE, y, cv=cv),
        ):
            np.testing.assert_allclose(
                found.train_dissimilarity_ * found.mean_distance_,
                expected.train_dissimilarity_ * expected.mean_distance_,
            )
        with pytest.raises(ValueError, match="needs y"):
            AreaOfApplicability(cv=cv).fit(places, coords=places)
