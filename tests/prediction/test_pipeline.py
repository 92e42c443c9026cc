"""A table as people have it goes in as it is, and what comes out is a plain pipeline."""

import datetime
import pickle
from collections import namedtuple
from decimal import Decimal

import geopandas
import numpy as np
import pandas as pd
import polars as pl
import pyarrow
import pyarrow.compute
import pytest
import sklearn
import xarray
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline

from skgeo_embed import PositionalEncoder, SatCLIPEncoder, spatial_pipeline
from skgeo_embed._errors import CoordinateError
from skgeo_embed.prediction.pipeline import as_pandas
from skgeo_embed.prediction.table_columns import (
    date_columns,
    number_columns,
    numbers_of,
    text_of,
)

N = 120


@pytest.fixture(scope="module")
def table():
    """What people have: gaps, dates, truth values, rare and missing words, an odd index."""
    rng = np.random.RandomState(0)
    frame = pd.DataFrame(
        {
            "name": [f"site {i}" for i in range(N)],
            "Latitude": rng.uniform(45, 55, N),
            "rooms": rng.randint(1, 6, N),
            "LNG": rng.uniform(5, 15, N),
            "area": np.where(rng.rand(N) < 0.2, np.nan, rng.uniform(20, 200, N)),
            "sold": pd.date_range("2020-01-01", periods=N, freq="D"),
            "garden": rng.rand(N) < 0.5,
            "kind": pd.Categorical(rng.choice(["flat", "house"], N)),
            "agent": np.where(rng.rand(N) < 0.3, None, rng.choice(["a", "b", "c"], N)),
            "mixed": pd.Series(np.where(rng.rand(N) < 0.3, None, 3), dtype=object),
            "lat_error": rng.rand(N),
            "empty": np.nan,
        },
        index=np.arange(N) * 7 + 3,
    )
    y = frame["rooms"] + np.sin(frame["LNG"]) + 2 * (frame["kind"] == "house")
    return frame, y


@pytest.fixture(scope="module")
def fitted(table):
    model = spatial_pipeline(encoder=SatCLIPEncoder(n_components=16), lat="Latitude")
    return model.fit(*table)


def test_a_mixed_table_goes_in_as_it_is(table, fitted):
    frame, y = table
    assert fitted.score(frame, y) > 0.8
    names = fitted["features"].get_feature_names_out().tolist()
    assert names[:3] == ["place__lon", "place__lat", "encoder__satclip000"]
    assert {"dates__sold", "numbers__garden", "numbers__missingindicator_area"} <= set(names)
    assert {"numbers__mixed", "numbers__lat_error", "categories__agent=missing"} <= set(names)
    features = fitted[:2].transform(frame)
    assert features.index.equals(frame.index)
    np.testing.assert_allclose(features["place__lon"], frame["LNG"])
    assert len(names) < 100  # a name for each row is not a column for each row


def test_what_was_not_seen_in_fitting(table, fitted):
    frame = table[0].head(3).copy()
    frame["agent"], frame["kind"], frame["rooms"] = "new", None, np.nan
    assert np.isfinite(fitted.predict(frame)).all()
    shuffled = table[0][table[0].columns[::-1]]
    shuffled["later"] = 1.0
    np.testing.assert_allclose(fitted.predict(shuffled), fitted.predict(table[0]))
    with pytest.raises(ValueError, match="the table lacks 'rooms', which the pipeline was fitted"):
        fitted.predict(frame.drop(columns="rooms"))


def test_polars_gives_what_pandas_gives(table):
    frame, y = table
    columns = ["LNG", "Latitude", "area", "rooms", "garden", "sold", "name"]
    pandas = frame[columns]
    polars = pl.DataFrame({name: pandas[name].to_numpy() for name in columns})
    small = spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid"))
    expected = small.fit(pandas, y).predict(pandas)
    np.testing.assert_allclose(small.fit(polars, y.to_numpy()).predict(polars), expected)
    arrow = pyarrow.Table.from_pandas(pandas, preserve_index=False)
    np.testing.assert_allclose(small.predict(arrow), expected)


def test_arrays_and_geometries(table):
    frame, y = table
    places = frame[["LNG", "Latitude"]].to_numpy()
    model = spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid"))
    expected = model.fit(np.column_stack([places, frame["rooms"]]), y).predict(
        np.column_stack([places, frame["rooms"]])
    )
    points = geopandas.GeoDataFrame(
        {"rooms": frame["rooms"]}, geometry=geopandas.points_from_xy(*places.T), crs=4326
    ).to_crs(3035)
    assert model[:-1].get_feature_names_out()[-1] == "numbers__x2"
    found = model.fit(points, y).predict(points)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_columns_of_other_names(table):
    frame, y = table
    other = frame[["LNG", "Latitude", "rooms"]].set_axis(["east", "north", "rooms"], axis=1)
    model = spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid"), lon="east", lat="north")
    assert np.isfinite(model.fit(other, y).predict(other)).all()
    with pytest.raises(CoordinateError, match="no column that is recognised as the longitude"):
        spatial_pipeline().fit(other, y)
    with pytest.raises(
        CoordinateError,
        match=r"could be the latitude: 'Latitude', 'lat_error'.*spatial_pipeline\(lon=",
    ):
        spatial_pipeline().fit(frame, y)
    with pytest.raises(CoordinateError, match="there is no such column"):
        spatial_pipeline(lon="x", lat="y").fit(frame, y)


def test_a_classifier_and_an_estimator_of_ones_own(table):
    frame, y = table
    encoder = SatCLIPEncoder(n_components=16)
    frame = frame.drop(columns="lat_error")
    model = spatial_pipeline("classifier", encoder=encoder)
    assert is_classifier(model)
    probability = model.fit(frame, frame["kind"] == "house").predict_proba(frame)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert model.score(frame, frame["kind"] == "house") > 0.9
    own = spatial_pipeline(Ridge(), encoder=encoder)
    assert is_regressor(own)
    assert own.set_params(model__estimator__alpha=3.0).fit(frame, y).score(frame, y) > 0.5
    with pytest.raises(ValueError, match='"regressor", "classifier" or an estimator'):
        spatial_pipeline("regression")


def test_it_is_a_plain_pipeline(table, fitted):
    frame, y = table
    assert type(fitted) is Pipeline
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(frame), fitted.predict(frame))
    assert "SpatialEnsemble" in clone(fitted)._repr_html_()
    frame = frame.drop(columns="lat_error")
    search = GridSearchCV(
        spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid")),
        {"features__encoder__positionalencoder": [PositionalEncoder("grid"), PositionalEncoder()]},
        cv=2,
    )
    assert search.fit(frame, y).best_params_
    scores = cross_val_score(search.estimator, frame, y, cv=3, n_jobs=2, error_score="raise")
    assert len(scores) == 3


def test_few_rows_and_one_place(table):
    frame, y = table
    frame = frame.drop(columns="lat_error")
    model = spatial_pipeline(encoder=PositionalEncoder("grid"))
    few = frame.head(8)
    assert np.isfinite(model.fit(few, y.head(8)).predict(few)).all()
    one = frame.head(40).assign(LNG=7.0, Latitude=46.0)
    assert np.isfinite(model.fit(one, y.head(40)).predict(one)).all()


def test_bad_places_are_named(table, fitted):
    frame = table[0].copy()
    frame.loc[frame.index[4], "LNG"] = 999
    with pytest.raises(CoordinateError, match=r"999|row 4"):
        fitted.predict(frame)


def test_names_that_are_no_text_come_twice_or_look_alike(table):
    frame, y = table
    model = spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid"))
    levels = frame[["LNG", "Latitude", "rooms"]]
    levels.columns = pd.MultiIndex.from_tuples([("a", "lon"), ("a", "lat"), ("b", 1)])
    assert np.isfinite(model.fit(levels, y).predict(levels)).all()
    mixed = frame[["LNG", "Latitude", "rooms"]].rename(columns={"rooms": 3})
    assert np.isfinite(model.fit(mixed, y).predict(mixed)).all()
    alike = frame[["LNG", "Latitude"]].assign(k=["b_c", "x"] * 60, k_b=["c", "y"] * 60)
    assert np.isfinite(model.fit(alike, y).predict(alike)).all()
    twice = pd.concat([frame[["LNG", "Latitude", "rooms"]], frame[["rooms"]]], axis=1)
    with pytest.raises(ValueError, match="several columns have one name: rooms"):
        model.fit(twice, y)


@pytest.mark.parametrize("output", ["polars", "default"])
def test_whatever_output_is_asked_for(table, output):
    frame, y = table
    frame = frame.drop(columns="lat_error")
    plain = spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid"))
    expected = plain.fit(frame, y).predict(frame)
    asked = clone(plain).set_output(transform=output)
    np.testing.assert_allclose(asked.fit(frame, y).predict(frame), expected)
    with sklearn.config_context(transform_output=output):
        np.testing.assert_allclose(clone(plain).fit(frame, y).predict(frame), expected)


def test_masked_values_are_missing(table):
    frame, y = table
    values = frame[["LNG", "Latitude", "area"]].to_numpy()
    filled = np.ma.masked_array(np.where(np.isnan(values), -9999.0, values), np.isnan(values))
    model = spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid"))
    expected = model.fit(values, y).predict(values)
    np.testing.assert_allclose(model.fit(filled, y).predict(filled), expected)
    rows = list(filled)  # each with a mask of its own
    np.testing.assert_allclose(model.fit(rows, y).predict(rows), expected)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [(float, -9999.0), ("U1", "a"), (object, "a"), ("M8[s]", "1066-10-14"), (int, -9999)],
)
def test_masked_fields_are_missing(table, kind, wrong):
    frame, y = table
    hidden = np.arange(N) % 3 == 0
    right = {"f": 2.5, "U": "b", "O": "b", "M": "2020-01-01", "i": 7}[np.dtype(kind).kind]
    values = np.array([right] * N, dtype=kind)
    values[1::3] = {"f": 4.5, "U": "a", "O": "a", "M": "2021-01-01", "i": 9}[np.dtype(kind).kind]
    plain = pd.DataFrame({"lon": frame["LNG"], "lat": frame["Latitude"], "value": values})
    plain["value"] = plain["value"].astype(object).mask(hidden, None)
    if np.dtype(kind).kind in "ifM":
        plain["value"] = plain["value"].astype("M8[s]" if kind == "M8[s]" else float)
    values[hidden] = wrong
    fields = [("lon", float), ("lat", float), ("value", kind)]
    masked = np.ma.masked_array(np.zeros(N, dtype=fields))
    masked["lon"], masked["lat"] = plain["lon"], plain["lat"]
    masked["value"] = np.ma.masked_array(values, hidden)
    model = spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid")).fit(plain, y + 9 * hidden)
    np.testing.assert_allclose(model.predict(masked), model.predict(plain), atol=1e-9)


def test_an_array_in_radians_is_converted(table):
    frame, y = table
    places = frame[["LNG", "Latitude"]].to_numpy()
    model = spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid")).fit(places, y)
    angles = xarray.DataArray(np.deg2rad(places), dims=("site", "axis"), attrs={"units": "radian"})
    np.testing.assert_allclose(model.predict(angles), model.predict(places))


def test_rows_with_names_of_their_own_and_tensors_that_are_trained(table):
    torch = pytest.importorskip("torch")
    frame, y = table
    places = frame[["LNG", "Latitude"]].to_numpy()
    model = spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid")).fit(places, y)
    Site = namedtuple("Site", ["lat", "lon"])
    with pytest.raises(CoordinateError, match=r"list of Site .*use pandas\.DataFrame"):
        model.predict([Site(lat, lon) for lon, lat in places])
    tensor = torch.tensor(places.copy(), requires_grad=True)
    np.testing.assert_allclose(model.predict(tensor), model.predict(places))


def test_complex_numbers_are_refused_in_fit_and_after_it(table):
    frame, y = table
    numbers = frame[["LNG", "Latitude", "rooms"]].rename(columns={"LNG": "lon", "Latitude": "lat"})
    model = spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid"))
    for held in (model.fit(numbers, y).predict, lambda X: model.fit(X, y)):
        with pytest.raises(ValueError, match="column 'rooms' holds complex numbers"):
            held(numbers.assign(rooms=numbers["rooms"] * 1j))


def test_rare_classes_among_many_rows():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"lon": rng.uniform(5, 15, 10_500), "lat": rng.uniform(45, 55, 10_500)})
    label = np.where(frame["lon"] > 10, "east", "west").astype(object)
    label[7] = "rare"
    boosting = dict(spatial_pipeline("classifier")["model"].learners)["boosting"][-1]
    boosting.set_params(max_iter=2).fit(frame, label)


def test_numbers_and_words():
    frame = pd.DataFrame(
        {
            "day": pd.to_datetime(["1970-01-02", None]),
            "zoned": pd.to_datetime(["1970-01-01 12:00+12:00", "1970-01-02 00:00Z"], utc=True),
            "span": pd.to_timedelta(["12h", "36h"]),
            "truth": [True, False],
            "whole": pd.array([1, None], dtype="Int64"),
        }
    )
    found = numbers_of(frame)
    expected = [[1, 0, 0.5, 1, 1], [np.nan, 1, 1.5, 0, np.nan]]
    np.testing.assert_allclose(found.to_numpy(), expected)
    assert (found.dtypes == "float64").all()
    objects = pd.DataFrame(
        {
            "date": [datetime.date(1970, 1, 2), None],
            "decimal": [Decimal("1.5"), None],
            "zones": [
                pd.Timestamp("1970-01-02", tz="UTC"),
                pd.Timestamp("1970-01-02", tz="Asia/Tokyo"),
            ],
            "month": pd.PeriodIndex(["1970-01", "1970-02"], freq="M"),
            "arrow": pd.array(
                [datetime.date(1970, 1, 3), None], dtype=pd.ArrowDtype(pyarrow.date32())
            ),
        }
    )
    assert number_columns(objects) == ["decimal"]
    assert date_columns(objects) == ["date", "zones", "month", "arrow"]
    found = numbers_of(objects).to_numpy()
    np.testing.assert_allclose(found, [[1, 1.5, 1, 0, 2], [np.nan, np.nan, 0.625, 31, np.nan]])
    with pytest.raises(ValueError, match="the column 'a' held numbers in fit"):
        numbers_of(pd.DataFrame({"a": ["n/a"]}))
    assert text_of(pd.DataFrame({"a": [1.0, np.nan]}))["a"].tolist() == ["1", "missing"]
    words = text_of(pd.DataFrame({"a": pd.Categorical(["x", None]), "b": [pd.NA, 3]}))
    assert words.to_numpy().tolist() == [["x", "missing"], ["missing", "3"]]
    assert as_pandas(np.eye(3)).columns.tolist() == ["lon", "lat", "x2"]
    with pytest.raises(CoordinateError, match=r"must be \(n, d\), longitude and latitude first"):
        as_pandas([7.0, 46.0])


def coded_tables():
    """The same table, plain and with its words and numbers as codes."""
    words, numbers = ["a", None, "c", "b"] * 5, [1.5, None, 3.0, 2.0] * 5
    places = {"lon": np.linspace(5, 9, 20), "lat": np.linspace(45, 49, 20)}
    plain = pd.DataFrame({**places, "word": words, "number": numbers})
    arrow = pyarrow.Table.from_pandas(plain, preserve_index=False)
    coded, halves = arrow, pyarrow.concat_tables([arrow[:7], arrow[7:]])
    for name in ("word", "number"):
        coded = coded.set_column(
            coded.schema.get_field_index(name), name, halves[name].dictionary_encode()
        )
    encoded = arrow.set_column(3, "number", pyarrow.compute.run_end_encode(arrow["number"]))
    yield "plain", plain
    yield "arrow", arrow
    yield "dictionaries", coded
    yield "batch", coded.combine_chunks().to_batches()[0]
    yield "run-end", encoded
    yield "categorical", plain.astype({"word": "category"})
    yield (
        "arrow dtypes",
        plain.astype(
            {"word": pd.ArrowDtype(pyarrow.dictionary(pyarrow.int32(), pyarrow.string()))}
        ),
    )
    for dtype in (pl.Categorical, pl.Enum(["c", "b", "a", "z"])):
        yield str(dtype), pl.from_pandas(plain).with_columns(pl.col("word").cast(dtype))


def test_codes_with_nulls_are_the_words_that_they_stand_for():
    tables = dict(coded_tables())
    plain = tables["plain"]
    y = plain["word"].map({"a": 0.0, "c": 100.0, "b": 10.0}).fillna(50)
    model = spatial_pipeline(Ridge(1e-6), encoder=PositionalEncoder("grid"))
    model.fit(plain, y)
    expected = model.predict(plain)
    np.testing.assert_allclose(expected, y, atol=0.1)
    for name, table in tables.items():
        np.testing.assert_allclose(model.predict(table), expected, err_msg=name)
        np.testing.assert_allclose(
            clone(model).fit(table, y).predict(plain), expected, err_msg=name
        )


def test_a_column_that_changes_between_dates_durations_and_numbers_is_refused():
    rng = np.random.RandomState(0)
    columns = {
        "dates": pd.date_range("2020-01-01", periods=30),
        "numbers": np.arange(30.0),
        "durations": pd.to_timedelta(np.arange(30), unit="D"),
        "words": [f"2020{i:04d}" for i in range(30)],
    }
    place = pd.DataFrame({"lon": rng.uniform(5, 9, 30), "lat": rng.uniform(45, 49, 30)})
    frames = {name: place.assign(when=values) for name, values in columns.items()}
    for fitted, frame in frames.items():
        model = spatial_pipeline(Ridge(), encoder=PositionalEncoder("grid")).fit(frame, place.lon)
        for found, other in frames.items():
            if {fitted, found} == {"numbers", "words"} or fitted == found:
                assert np.isfinite(model.predict(other)).all()
                continue
            wanted = f"'when' held {fitted} in fit, and now holds {found}"
            with pytest.raises(ValueError, match=wanted):
                model.predict(other)
        assert np.isfinite(model.predict(place.assign(when=np.nan))).all()


def test_radians_of_a_dataset_become_degrees(table):
    frame = table[0]
    plain = pd.DataFrame({"lon": frame["LNG"], "lat": frame["Latitude"]}).reset_index(drop=True)
    attrs = {"units": "radians"}
    dataset = xarray.Dataset(
        {name: ("place", np.deg2rad(plain[name]), attrs) for name in ("lat", "lon")}
    )
    pd.testing.assert_frame_equal(as_pandas(dataset)[["lon", "lat"]], plain)
    columns = xarray.DataArray(plain, dims=("place", "c"), coords={"c": ["lon", "lat"]})
    pd.testing.assert_frame_equal(as_pandas(columns), plain)
