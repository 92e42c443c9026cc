"""Models fitted on tables that are read a batch or a partition at a time."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skgeo_embed import fit_table
from skgeo_embed._errors import CoordinateError
from skgeo_embed.prediction.ensemble import SpatialEnsemble
from skgeo_embed.prediction.pipeline import TableReader
from skgeo_embed.streaming import fit_table as module

rng = np.random.default_rng(0)
PLACES = rng.uniform([0, 40], [10, 50], (400, 2)).round(4)
TABLE = pd.DataFrame(
    {
        "lon": PLACES[:, 0],
        "code": [f"{number % 7:02d}" for number in range(400)],
        "price": 3 * PLACES[:, 0] + np.sin(4 * PLACES[:, 0]) * np.cos(4 * PLACES[:, 1]),
        "lat": PLACES[:, 1],
    }
)


X, Y = TABLE.drop(columns="price"), TABLE["price"]
DRAWN = np.isin(np.arange(400), np.random.RandomState(0).permutation(400)[:60])


def only_place(frame):
    return frame.iloc[:, :2].set_axis(["lon", "lat"], axis=1).astype(float)


def place_model(learner):
    return Pipeline(
        [
            ("table", TableReader()),
            ("place", FunctionTransformer(only_place)),
            ("model", SpatialEnsemble([("learner", learner)])),
        ]
    )


@pytest.fixture(params=["csv", "parquet", "dask"])
def source(request, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 150)
    return stored(TABLE, request.param, tmp_path)


def stored(table, kind, tmp_path):
    if kind == "dask":
        return pytest.importorskip("dask.dataframe").from_pandas(table, npartitions=3)
    path = tmp_path / f"table.{kind}"
    table.to_parquet(path) if kind == "parquet" else table.to_csv(path, index=False)
    return path


def test_all_rows_correct_what_is_learnt_from_some(source):
    model = fit_table(place_model(LinearRegression()), source, "price", n_rows=60, verbose=False)
    steps = place_model(LinearRegression())
    features = steps[:-1].fit_transform(X[DRAWN])
    others = steps[:-1].transform(X[~DRAWN]), Y[~DRAWN]
    steps[-1].fit_with_neighbors(features, Y[DRAWN], [others])
    np.testing.assert_allclose(model.predict(X), steps.predict(X), rtol=1e-9)
    alone = place_model(LinearRegression()).fit(X[DRAWN], Y[DRAWN])
    assert np.abs(model.predict(X) - Y).mean() < 0.5 * np.abs(alone.predict(X) - Y).mean()


def test_another_model_learns_from_the_drawn_rows(source):
    plain = make_pipeline(TableReader(), FunctionTransformer(only_place), LinearRegression())
    found = fit_table(plain, source, "price", n_rows=60, verbose=False).predict(X)
    np.testing.assert_allclose(found, plain.fit(X[DRAWN], Y[DRAWN]).predict(X), rtol=1e-9)


def test_a_file_of_few_rows_is_fitted_whole(source):
    found = fit_table(place_model(LinearRegression()), source, "price", verbose=False)
    expected = place_model(LinearRegression()).fit(X, Y)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))


def test_codes_of_a_parquet_file_stay_text(tmp_path):
    path = stored(TABLE, "parquet", tmp_path)
    model = fit_table(place_model(LinearRegression()), path, "price", n_rows=60, verbose=False)
    assert model[0].kinds_ == {"code": "words"}


def test_numbers_with_a_decimal_comma(tmp_path):
    path = tmp_path / "table.csv"
    TABLE.to_csv(path, index=False, sep=";", decimal=",")
    options = {"n_rows": 60, "verbose": False}
    found = fit_table(place_model(LinearRegression()), path, "price", decimal=",", **options)
    plain = stored(TABLE, "csv", tmp_path)
    expected = fit_table(place_model(LinearRegression()), plain, "price", **options)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))


def test_a_class_that_is_rare_is_drawn(tmp_path):
    kind = np.where(X["lon"] > 5, "east", "west")
    kind[7] = "here"
    assert not DRAWN[7]
    path = stored(X.assign(kind=kind), "parquet", tmp_path)
    classifier = place_model(LogisticRegression())
    model = fit_table(classifier, path, "kind", n_rows=60, verbose=False)
    assert model.classes_.tolist() == ["east", "here", "west"]
    assert (model.predict(X) == kind).mean() > 0.95


def test_a_class_of_the_neighbours_alone_is_refused():
    places, kind = X[["lon", "lat"]], np.where(X["lon"] > 5, "east", "west")
    model = SpatialEnsemble([("linear", LogisticRegression())])
    with pytest.raises(
        ValueError, match="the class north is among the further rows, and y lacks it"
    ):
        model.fit_with_neighbors(places, kind, [(places[:2], ["west", "north"])])
    assert not hasattr(model, "learners_")


@pytest.mark.parametrize("kind", ["csv", "parquet", "dask"])
def test_what_is_missing_is_said_with_its_row(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(module, "BATCH_ROWS", 150)
    model = place_model(LinearRegression())
    table = TABLE.copy()
    table.loc[302, "price"] = np.nan
    with pytest.raises(ValueError, match="'price' is missing in row 302"):
        fit_table(model, stored(table, kind, tmp_path), "price", n_rows=60, verbose=False)
    table = TABLE.copy()
    table.loc[np.flatnonzero(~DRAWN)[-1], "lat"] = 95.0
    with pytest.raises(CoordinateError, match=r"in rows \d+ to 399 but those that were drawn: "):
        fit_table(model, stored(table, kind, tmp_path), "price", n_rows=60, verbose=False)
    with pytest.raises(CoordinateError, match="in the rows that were drawn: "):
        fit_table(model, stored(table, kind, tmp_path), "price", verbose=False)
    with pytest.raises(ValueError, match="no column 'cost'; there are 'lon', 'code', 'price'"):
        fit_table(model, stored(table, kind, tmp_path), "cost")


def test_a_dask_array_has_no_columns():
    array = pytest.importorskip("dask.array").zeros((10, 3))
    with pytest.raises(ValueError, match="got a dask Array; pass a dask DataFrame"):
        fit_table(place_model(LinearRegression()), array, "price")


def test_dask_predicts_partition_by_partition():
    lazy = pytest.importorskip("dask.dataframe").from_pandas(X, npartitions=3)
    model = place_model(LinearRegression()).fit(X, Y)
    added = lazy.map_partitions(lambda part: part.assign(prediction=model.predict(part)))
    assert list(added.columns) == [*X, "prediction"]  # known before anything is computed
    computed = added.compute(scheduler="sync")
    np.testing.assert_allclose(computed["prediction"], model.predict(X), rtol=1e-12)


def test_words_of_a_csv_file_stay_words_in_a_batch_of_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 150)
    kind = np.where(np.arange(400) < 150, "a", np.where(X["lon"] > 5, "1", "02"))
    path = stored(X.assign(kind=kind), "csv", tmp_path)
    model = fit_table(place_model(LogisticRegression()), path, "kind", n_rows=60, verbose=False)
    assert model.classes_.tolist() == ["02", "1", "a"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_without_rows_is_refused(tmp_path, kind):
    with pytest.raises(ValueError, match="the table has no rows"):
        fit_table(place_model(LinearRegression()), stored(TABLE[:0], kind, tmp_path), "price")
