"""Predictions beside the rows of tables in files."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skgeo_embed import (
    AreaOfApplicability,
    PositionalEncoder,
    SpatialConformalRegressor,
    predict_table,
    spatial_pipeline,
)
from skgeo_embed.streaming import parts as parts_module
from skgeo_embed.streaming import predict_table as module
from skgeo_embed.streaming.maps.values import ModelValues

rng = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "id": [f"{number:05d}" for number in range(90)],
        "lon": rng.uniform(-10, 30, 90).round(4),
        "lat": rng.uniform(35, 60, 90).round(4),
        "rooms": rng.integers(1, 9, 90),
        "kind": np.where(np.arange(90) % 3, "flat", "house"),
    }
)
TARGET = (TABLE["lat"] + TABLE["rooms"] * 2).to_numpy()
COLUMNS = ["lon", "lat", "rooms", "kind"]
ENCODER = PositionalEncoder(legendre_polys=3)
MODEL = spatial_pipeline(Ridge(), encoder=ENCODER).fit(TABLE[COLUMNS], TARGET)


@pytest.fixture(params=["csv", "parquet", "csv.gz"])
def source(request, tmp_path):
    path = tmp_path / f"table.{request.param}"
    TABLE.to_parquet(path) if request.param == "parquet" else TABLE.to_csv(path, index=False)
    return path


def read(path):
    return (
        pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"id": str})
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_keep_their_columns_and_get_predictions(source, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(module, "BATCH_ROWS", 40)
    output = tmp_path / f"predicted.{suffix}"
    written = predict_table(MODEL, source, output, verbose=False)
    assert written == (90, ["prediction"], 0)
    found = read(output)
    assert list(found) == [*TABLE, "prediction"]
    assert found["id"].tolist() == TABLE["id"].tolist()  # zeros in front are kept
    np.testing.assert_allclose(found["prediction"], MODEL.predict(TABLE[COLUMNS]))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, output.name])


def test_intervals_and_applicability(tmp_path):
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    places = TABLE[["lon", "lat"]]
    model = SpatialConformalRegressor(make_pipeline(ENCODER, Ridge())).fit(places, TARGET)
    area = AreaOfApplicability.from_model(model, places)
    written = predict_table(model, tmp_path / "t.csv", tmp_path / "o.csv", applicability=area)
    assert written.columns == ["prediction", "lower", "upper", "dissimilarity", "applicable"]
    found = pd.read_csv(tmp_path / "o.csv")
    np.testing.assert_allclose(found[["lower", "upper"]], model.predict_interval(places))
    assert (found["applicable"] == (area.predict(places) == 1)).all()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("probabilities", [False, True])
def test_classes_are_written_by_name(tmp_path, suffix, probabilities):
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    labels = np.where(TARGET > 55, "high, or so", "low")
    model = make_pipeline(ENCODER, LogisticRegression()).fit(TABLE[["lon", "lat"]], labels)
    output = tmp_path / f"o.{suffix}"
    predict_table(model, tmp_path / "t.csv", output, probabilities=probabilities)
    found = read(output)
    assert found["class"].tolist() == model.predict(TABLE[["lon", "lat"]]).tolist()
    if probabilities:
        share = model.predict_proba(TABLE[["lon", "lat"]])
        np.testing.assert_allclose(
            found[["probability_high, or so", "probability_low"]], share, rtol=1e-5
        )


@pytest.mark.parametrize("classes", [False, True])
def test_rows_without_a_place(tmp_path, classes):
    table = TABLE.copy()
    table.loc[[3, 50], "lon"] = [np.nan, 500]
    table.to_csv(tmp_path / "t.csv", index=False)
    places = TABLE[["lon", "lat"]]
    model = make_pipeline(ENCODER, LogisticRegression() if classes else Ridge())
    model.fit(places, TABLE["kind"] if classes else TARGET)
    with pytest.raises(ValueError, match=r"t.csv: coordinates contain .* row 3.*--on-invalid nan"):
        predict_table(model, tmp_path / "t.csv", tmp_path / "o.csv")
    written = predict_table(model, tmp_path / "t.csv", tmp_path / "o.csv", on_invalid="nan")
    assert written.bad == 2
    found = pd.read_csv(tmp_path / "o.csv").iloc[:, -1]
    assert found.index[found.isna()].tolist() == [3, 50]


def test_a_table_without_a_usable_row(tmp_path):
    TABLE.assign(lon=np.nan).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match="has no rows with usable coordinates"):
        predict_table(MODEL, tmp_path / "t.csv", tmp_path / "o.csv", on_invalid="nan")


def test_decimal_commas_are_read(tmp_path):
    TABLE.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",")
    predict_table(MODEL, tmp_path / "t.csv", tmp_path / "o.parquet", decimal=",")
    found = pd.read_parquet(tmp_path / "o.parquet")["prediction"]
    np.testing.assert_allclose(found, MODEL.predict(TABLE[COLUMNS]))


def test_decimal_commas_stay_commas(tmp_path):
    """Predictions had points beside the commas of the other columns."""
    TABLE.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",")
    predict_table(MODEL, tmp_path / "t.csv", tmp_path / "o.csv", decimal=",")
    found = pd.read_csv(tmp_path / "o.csv", sep=";", decimal=",")["prediction"]
    np.testing.assert_allclose(found, MODEL.predict(TABLE[COLUMNS]))


def test_an_interrupted_run_goes_on(source, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 30)
    compute, calls = ModelValues.compute, [0]

    def stopping(self, X, lonlat):
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return compute(self, X, lonlat)

    monkeypatch.setattr(ModelValues, "compute", stopping)
    with pytest.raises(KeyboardInterrupt, match=r"30 rows are kept in .*; repeat the call"):
        predict_table(MODEL, source, tmp_path / "o.csv", verbose=False)
    other = spatial_pipeline(Ridge(), encoder=ENCODER).fit(TABLE[COLUMNS], -TARGET)
    with pytest.raises(FileExistsError, match="of a run with another model"):
        predict_table(other, source, tmp_path / "o.csv", verbose=False)
    before = calls[0]
    predict_table(MODEL, source, tmp_path / "o.csv", verbose=False)
    assert calls[0] == before + 1 + 2  # a sample, and the two batches that were not there
    found = pd.read_csv(tmp_path / "o.csv")["prediction"]
    np.testing.assert_allclose(found, MODEL.predict(TABLE[COLUMNS]))


def with_a_function():
    """Return a model with a function that has another address in each of them."""

    def doubled(features):
        return 2 * features

    return make_pipeline(ENCODER, FunctionTransformer(doubled), Ridge())


def test_another_process_continues_a_run_whose_model_has_functions(source, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 30)
    begun, again = (with_a_function().fit(TABLE[["lon", "lat"]], TARGET) for _ in range(2))
    assert repr(begun) != repr(again)
    with monkeypatch.context() as patch:
        patch.setattr(parts_module.Parts, "join", raise_interrupt)
        with pytest.raises(KeyboardInterrupt, match="90 rows are kept"):
            predict_table(begun, source, tmp_path / "o.csv", verbose=False)
    assert predict_table(again, source, tmp_path / "o.csv", verbose=False).rows == 90


def raise_interrupt(*args, **options):
    raise KeyboardInterrupt


def test_what_a_table_lacks_is_named(tmp_path):
    def refused(table, message, model=MODEL, **options):
        table.to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(ValueError, match=message):
            predict_table(model, tmp_path / "t.csv", tmp_path / "o.csv", **options)

    refused(TABLE.drop(columns="rooms"), r"t.csv lacks 'rooms', which the model was fitted with")
    refused(TABLE.drop(columns="lon"), r"t.csv: there is no column .* the longitude")
    refused(TABLE.assign(prediction=1), "already has columns named prediction")
    refused(TABLE, "decimal must be", decimal="-")
    refused(TABLE, "on_invalid must be", on_invalid="drop")
    plain = LinearRegression().fit(TABLE[["rooms"]], TARGET)
    refused(TABLE, "was not fitted on places", model=plain)
    with pytest.raises(ValueError, match="is the input"):
        predict_table(MODEL, tmp_path / "t.csv", tmp_path / "t.csv", overwrite=True)


def test_geometries_are_kept(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    points = geopandas.points_from_xy(TABLE["lon"], TABLE["lat"], crs="EPSG:4326")
    polygons = geopandas.GeoDataFrame({"id": TABLE["id"]}, geometry=points).to_crs("EPSG:3035")
    polygons["geometry"] = polygons.buffer(20_000)
    polygons.to_file(tmp_path / "areas.gpkg")
    model = make_pipeline(ENCODER, Ridge()).fit(polygons[["geometry"]], TARGET)
    for name in ("predicted.gpkg", "predicted.geojson", "predicted.parquet"):
        written = predict_table(model, tmp_path / "areas.gpkg", tmp_path / name)
        assert written.rows == 90
        read_file = geopandas.read_parquet if name.endswith("parquet") else geopandas.read_file
        found = read_file(tmp_path / name)
        np.testing.assert_allclose(found["prediction"], model.predict(polygons[["geometry"]]))
        assert found.geometry.geom_type.eq("Polygon").all()
    with pytest.raises(FileExistsError, match="exists; pass overwrite=True"):
        predict_table(model, tmp_path / "areas.gpkg", tmp_path / "predicted.gpkg")
