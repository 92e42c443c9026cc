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
    np.testing.assert_allclose(found.predict(X), expected.predict(X), rtol=1e-9)


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
    np.testing.assert_allclose(found.predict(X), expected.predict(X), rtol=1e-9)


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


@pytest.mark.parametrize("n_rows", [0, -5, 1, 2.5, True])
def test_a_number_of_rows_that_cannot_be_drawn(tmp_path, n_rows):
    path = stored(TABLE, "csv", tmp_path)
    with pytest.raises(ValueError, match="n_rows must be an integer of at least 2, got "):
        fit_table(place_model(LinearRegression()), path, "price", n_rows=n_rows)


@pytest.mark.parametrize("target", ["price", "code"])
def test_columns_of_one_name_are_refused(tmp_path, target):
    path = tmp_path / "table.csv"
    pd.concat([TABLE, TABLE["code"]], axis=1).to_csv(path, index=False)
    with pytest.raises(ValueError, match="several columns 'code'; rename all but one"):
        fit_table(place_model(LinearRegression()), path, target)


@pytest.mark.parametrize("column", ["price", "lon"])
def test_text_among_numbers_is_said_with_its_row(tmp_path, monkeypatch, column):
    monkeypatch.setattr(module, "BATCH_ROWS", 150)
    row = np.flatnonzero(~DRAWN)[-3]
    table = TABLE.astype({column: object})
    table.loc[row, column] = "about 5"
    path = stored(table, "csv", tmp_path)
    with pytest.raises(ValueError, match=f"column '{column}' .* 'about 5' in row {row}"):
        fit_table(place_model(LinearRegression()), path, "price", n_rows=60, verbose=False)


@pytest.mark.parametrize("classes", [(1, 2), (False, True)])
def test_classes_of_a_csv_file_have_the_type_that_pandas_reads(tmp_path, monkeypatch, classes):
    monkeypatch.setattr(module, "BATCH_ROWS", 150)
    kind = np.where(X["lon"] > 5, *classes)
    path = stored(X.assign(kind=kind), "csv", tmp_path)
    model = fit_table(place_model(LogisticRegression()), path, "kind", n_rows=60, verbose=False)
    assert model.classes_.dtype == pd.read_csv(path)["kind"].dtype
    assert model.score(X, kind) > 0.95


def test_true_and_false_of_a_csv_file_are_no_words(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 150)
    table = TABLE.assign(
        whole=TABLE["lon"] > 5,
        most=(TABLE["lon"] > 5).astype(object).where(TABLE["lat"] > 42),
        late=(TABLE["lon"] > 5).astype(object).where(DRAWN | (TABLE["lat"] > 42)),
    )
    path = stored(table, "csv", tmp_path)
    model = fit_table(place_model(LinearRegression()), path, "price", n_rows=60, verbose=False)
    kinds = {"code": "numbers", "whole": "numbers", "most": "numbers", "late": "numbers"}
    assert model[0].kinds_ == kinds
    model.predict(pd.read_csv(path).drop(columns="price"))


def test_an_index_without_a_name_is_no_column(tmp_path):
    path = stored(TABLE[TABLE["lon"] > 3], "parquet", tmp_path)
    model = fit_table(place_model(LinearRegression()), path, "price", n_rows=60, verbose=False)
    assert model[0].columns_ == ["code"]


def test_a_pipeline_with_a_memory(source, tmp_path):
    options = {"n_rows": 60, "verbose": False}
    expected = fit_table(place_model(LinearRegression()), source, "price", **options)
    cached = place_model(LinearRegression()).set_params(memory=str(tmp_path / "memory"))
    found = fit_table(cached, source, "price", **options)
    np.testing.assert_allclose(found.predict(X), expected.predict(X), rtol=1e-9)


def test_what_is_no_file_of_columns_is_refused(tmp_path):
    model = place_model(LinearRegression())
    with pytest.raises(ValueError, match=r"got a DataFrame; .* call model.fit\(X, y\)"):
        fit_table(model, TABLE, "price")
    series = pytest.importorskip("dask.dataframe").from_pandas(TABLE["price"], npartitions=2)
    with pytest.raises(ValueError, match="got a dask Series; pass a dask DataFrame"):
        fit_table(model, series, "price")
    geopandas = pytest.importorskip("geopandas")
    points = geopandas.points_from_xy(TABLE["lon"], TABLE["lat"])
    geopandas.GeoDataFrame(TABLE[["price"]], geometry=points).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"holds geometries .*; write longitude and latitude"):
        fit_table(model, tmp_path / "t.parquet", "price")


def test_an_infinite_label_is_said_with_its_row(source, tmp_path):
    row = np.flatnonzero(~DRAWN)[-3]
    table = TABLE.copy()
    table.loc[row, "price"] = np.inf
    kind = "dask" if hasattr(source, "columns") else source.suffix[1:]
    with pytest.raises(ValueError, match=f"'price' must hold finite numbers, .* in row {row}"):
        fit_table(
            place_model(LinearRegression()), stored(table, kind, tmp_path), "price", n_rows=60
        )


@pytest.mark.parametrize("rows", [100, 500])
def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch, rows):
    path = stored(TABLE, "csv", tmp_path)
    draw = module._draw_rows

    def and_change(*arguments):
        drawn = draw(*arguments)
        stored(pd.concat([TABLE, TABLE])[:rows], "csv", tmp_path)
        return drawn

    monkeypatch.setattr(module, "_draw_rows", and_change)
    with pytest.raises(RuntimeError, match="changed while it was read, so nothing was fitted"):
        fit_table(place_model(LinearRegression()), path, "price", n_rows=60, verbose=False)
