"""Labels, the order of rows and their folds, in every meta-estimator alike."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.neighbors import KNeighborsRegressor

from skgeo_embed import (
    AreaOfApplicability,
    ResidualInterpolator,
    SpatialConformalRegressor,
    compare_encoders,
    spatial_pipeline,
)
from skgeo_embed.model_selection import LeaveOneRegionOut, SpatialBlockKFold
from skgeo_embed.prediction.ensemble import SpatialEnsemble
from skgeo_embed.prediction.ridge_path import RidgePath
from skgeo_embed.prediction.rows import order_of_rows, read_labels

RNG = np.random.default_rng(0)
PLACES = RNG.uniform([5, 45], [15, 55], (120, 2))
Y = np.sin(PLACES[:, 0]) + np.cos(PLACES[:, 1]) + 0.1 * RNG.normal(size=120)
REGIONS = np.where(PLACES[:, 0] < 8, "west", np.where(PLACES[:, 0] < 12, "middle", "east"))
NEAREST = KNeighborsRegressor(3)
MODELS = {
    "residuals": ResidualInterpolator(NEAREST),
    "intervals": SpatialConformalRegressor(NEAREST),
    "ensemble": SpatialEnsemble([("nearest", NEAREST), ("path", RidgePath())]),
    "nested": SpatialConformalRegressor(ResidualInterpolator(NEAREST)),
}


@pytest.mark.parametrize("name", [*MODELS, "path"])
def test_masked_labels_are_refused(name):
    model = {**MODELS, "path": RidgePath()}[name]
    y = np.ma.array(Y, mask=False)
    expected = model.fit(PLACES, Y).predict(PLACES)
    np.testing.assert_array_equal(model.fit(PLACES, y).predict(PLACES), expected)
    y = np.ma.masked_where(np.arange(len(Y)) == 7, Y)
    with pytest.raises(ValueError, match=r"1 row\(s\) \(first: row 7\)|contains NaN"):
        model.fit(PLACES, y)
    if name != "path":
        with pytest.raises(ValueError, match=r"1 row\(s\) \(first: row 7\)"):
            model.fit(PLACES, Y).score(PLACES, y)


def test_masked_features_are_missing():
    X = np.ma.array(np.column_stack([PLACES, Y]), mask=False)
    X.mask[3, 2] = True
    for model in (ResidualInterpolator(Ridge()), SpatialConformalRegressor(Ridge())):
        fitted = model.fit(np.ma.getdata(X), Y, coords=PLACES)
        with pytest.raises(ValueError, match="NaN"):
            fitted.predict(X, PLACES)
        with pytest.raises(ValueError, match="NaN"):
            model.fit(X, Y, coords=PLACES)
    area = AreaOfApplicability().fit(np.ma.getdata(X))
    with pytest.raises(ValueError, match="NaN"):
        area.predict(X)
    with pytest.raises(ValueError, match="NaN"):
        area.fit(X)


def test_labels_of_every_kind():
    words = ["sun", "rain", "sun"]
    for made in (
        words,
        pd.Series(words, dtype="category"),
        pl.Series(words, dtype=pl.Enum(["rain", "snow", "sun"])),
        pa.chunked_array([words[:1], words[1:]]).dictionary_encode(),
    ):
        assert list(read_labels(made)) == words
    with pytest.raises(ValueError, match="first: row 1"):  # numpy makes the last word of null
        read_labels(pa.chunked_array([pa.array(["a", None, "b"]).dictionary_encode()]))
    with pytest.raises(ValueError, match="first: row 2"):
        read_labels(pd.Series([1, 2, None], dtype="Int64"))
    assert read_labels(pa.table({"y": [1.0, 2.0]})).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        read_labels(pa.table({"y": [1.0, 2.0], "z": [1.0, 2.0]}))


@pytest.mark.parametrize("name", MODELS)
def test_the_order_of_the_rows_changes_no_prediction(name):
    shuffled = np.random.default_rng(1).permutation(len(Y))
    model = MODELS[name]
    first = model.fit(PLACES, Y).predict(PLACES)
    width = model.half_widths_ if name in ("intervals", "nested") else None
    second = model.fit(PLACES[shuffled], Y[shuffled]).predict(PLACES)
    np.testing.assert_allclose(second, first, atol=1e-9)
    if width is not None:
        np.testing.assert_allclose(model.half_widths_, width, atol=1e-9)


def test_the_order_of_the_rows_changes_no_probability_and_no_threshold():
    shuffled = np.random.default_rng(1).permutation(len(Y))
    model, classes = ResidualInterpolator(LogisticRegression()), REGIONS
    first = model.fit(PLACES, classes).predict_proba(PLACES)
    second = model.fit(PLACES[shuffled], classes[shuffled]).predict_proba(PLACES)
    np.testing.assert_allclose(second, first, atol=1e-6)
    area = AreaOfApplicability().fit(PLACES)
    known = area.train_dissimilarity_
    other = AreaOfApplicability().fit(PLACES[shuffled])
    assert other.threshold_ == pytest.approx(area.threshold_)
    np.testing.assert_allclose(other.train_dissimilarity_, known[shuffled])


def test_rows_of_one_place_and_label_are_told_apart_by_words_too():
    frame = pd.DataFrame({"lon": 5.0, "lat": [50.0, 50, 50, 49], "kind": ["b", "a", None, "a"]})
    order = order_of_rows(frame, np.zeros((4, 1)), frame[["lon", "lat"]].to_numpy())
    assert order.tolist() == [3, 2, 1, 0] or order.tolist() == [3, 1, 0, 2]
    back = order_of_rows(frame[::-1], np.zeros((4, 1)), frame[["lon", "lat"]].to_numpy()[::-1])
    assert (3 - back).tolist() == order.tolist()


@pytest.mark.parametrize("name", ["residuals", "intervals", "area"])
def test_folds_as_pairs_and_by_regions(name):
    pairs = list(KFold(4).split(PLACES))
    makers = {
        "residuals": lambda **given: ResidualInterpolator(NEAREST, **given),
        "intervals": lambda **given: SpatialConformalRegressor(NEAREST, **given),
        "area": AreaOfApplicability,
    }

    def outcome(cv, **given):
        model = makers[name](cv=cv).fit(PLACES, Y, **given)
        return {"residuals": "residuals_", "intervals": "half_widths_"}.get(
            name, "train_dissimilarity_"
        ), model

    attribute, model = outcome(pairs)
    expected = getattr(outcome(KFold(4))[1], attribute)
    np.testing.assert_array_equal(getattr(model, attribute), expected)
    _, by_region = outcome(LeaveOneRegionOut(), groups=REGIONS)
    codes = np.unique(REGIONS, return_inverse=True)[1]
    by_hand = [(np.flatnonzero(codes != k), np.flatnonzero(codes == k)) for k in range(3)]
    np.testing.assert_array_equal(
        getattr(by_region, attribute), getattr(outcome(by_hand)[1], attribute)
    )
    with pytest.raises(ValueError, match="groups is missing"):
        outcome(LeaveOneRegionOut())


FOLDS_TAKEN = {
    "residuals": lambda cv: ResidualInterpolator(NEAREST, cv=cv).fit(PLACES, Y).residuals_,
    "intervals": lambda cv: SpatialConformalRegressor(NEAREST, cv=cv).fit(PLACES, Y).half_widths_,
    "area": lambda cv: AreaOfApplicability(cv=cv).fit(PLACES).train_dissimilarity_,
    "comparison": lambda cv: compare_encoders(
        PLACES,
        Y,
        cv,
        encoders={
            "SatCLIPEncoder(untrained=True)": None,
            "SatCLIPEncoder()": None,
            'SatCLIPEncoder(layer="content")': None,
            "spatial_pipeline()": None,
        },
        verbose=False,
    )["score"],
}


@pytest.mark.parametrize("name", FOLDS_TAKEN)
def test_pairs_of_masks_and_of_another_table(name):
    pairs = list(KFold(4).split(PLACES))
    rows = np.arange(len(PLACES))
    masks = [(np.isin(rows, train), np.isin(rows, test)) for train, test in pairs]
    np.testing.assert_array_equal(FOLDS_TAKEN[name](masks), FOLDS_TAKEN[name](pairs))
    with pytest.raises(ValueError, match="names row 199, and the table has 120 rows"):
        FOLDS_TAKEN[name](list(KFold(4).split(np.zeros(200))))
    with pytest.raises(ValueError, match="a fold is a pair of arrays of row numbers"):
        FOLDS_TAKEN[name]([(train * 0.5, test * 0.5) for train, test in pairs])


def test_folds_that_test_a_row_twice_are_named():
    pairs = list(KFold(4).split(PLACES))
    with pytest.raises(ValueError, match=r"row 0 is in 2 of 8 test folds\. Choose folds"):
        FOLDS_TAKEN["residuals"](pairs * 2)
    FOLDS_TAKEN["intervals"](pairs * 2)  # as repeated folds are


def test_pairs_within_another_estimator_say_what_to_do():
    inner = ResidualInterpolator(NEAREST, cv=list(KFold(4).split(PLACES)))
    with pytest.raises(ValueError, match=r"the table has 96 rows.*pass a splitter"):
        SpatialConformalRegressor(inner).fit(PLACES, Y)


def test_groups_reach_an_estimator_inside():
    inner = ResidualInterpolator(NEAREST, cv=LeaveOneRegionOut())
    model = SpatialConformalRegressor(inner, cv=KFold(4, shuffle=True, random_state=0))
    model.fit(PLACES, Y, groups=REGIONS)
    expected = inner.fit(PLACES, Y, groups=REGIONS).residuals_
    np.testing.assert_array_equal(model.estimator_.residuals_, expected)


@pytest.mark.parametrize(
    "splitter", [SpatialBlockKFold(3, block_size=3), LeaveOneRegionOut(buffer_km=20)]
)
def test_places_beside_the_features_are_routed_in_searches(splitter):
    features = np.column_stack([np.sin(PLACES), Y])
    given = {"coords": PLACES}
    if isinstance(splitter, LeaveOneRegionOut):
        given["groups"] = REGIONS
    with sklearn.config_context(enable_metadata_routing=True):
        splitter.set_split_request(coords=True)
        model = ResidualInterpolator(Ridge()).set_fit_request(coords=True)
        model.set_predict_request(coords=True).set_score_request(coords=True)
        search = GridSearchCV(model, {"estimator__alpha": [0.1, 1.0]}, cv=splitter)
        search.fit(features, Y, **given)
        assert search.n_splits_ == 3
        plain = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=splitter)
        assert plain.fit(features, Y, **given).n_splits_ == 3
        found = cross_val_score(model, features, Y, cv=splitter, params=given)
        assert found.shape == (3,)


@pytest.mark.parametrize("name", MODELS)
def test_an_array_after_a_frame_is_warned_of(name):
    frame = pd.DataFrame(PLACES[:, ::-1], columns=["lat", "lon"])
    model = MODELS[name].fit(frame, Y)
    use = model.predict_interval if hasattr(model, "predict_interval") else model.predict
    with pytest.warns(UserWarning, match="valid feature names.*longitude and latitude"):
        use(PLACES)


def test_an_array_after_a_frame_is_warned_of_in_pipelines():
    frame = pd.DataFrame(PLACES[:, ::-1], columns=["lat", "lon"])
    model = spatial_pipeline(DummyRegressor()).fit(frame, Y)
    with pytest.warns(UserWarning, match="valid feature names.*longitude and latitude"):
        model.predict(PLACES)
