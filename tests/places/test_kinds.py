"""An input is asked once what it is, and every kind reads the same places."""

import re

import geopandas
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import shapely
import torch
import xarray as xr
from sklearn.linear_model import Ridge

from skgeo_embed import PositionalEncoder, SatCLIPEncoder, encode_table, spatial_pipeline
from skgeo_embed._errors import CoordinateError
from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.model_selection import SpatialBlockKFold
from skgeo_embed.places import kinds
from skgeo_embed.places.kinds import recognise
from skgeo_embed.places.reading import find_coordinates, read_coordinates

LONLAT = np.array([[7.83, 36.83], [-122.3, 38.5], [179.5, -17.0]])
FRAME = pd.DataFrame(LONLAT, columns=["lon", "lat"])
POINTS = geopandas.points_from_xy(*LONLAT.T)
INPUTS = {
    "Array": LONLAT,
    "Array of lists": LONLAT.tolist(),
    "Array of a tensor": torch.from_numpy(LONLAT),
    "Frame": FRAME[["lat", "lon"]],
    "Frame of polars": pl.DataFrame(FRAME.to_dict("list")),
    "ArrowTable": pa.Table.from_pandas(FRAME),
    "XarrayDataset": xr.Dataset({"lat": ("row", LONLAT[:, 1]), "lon": ("row", LONLAT[:, 0])}),
    "XarrayColumns": xr.DataArray(LONLAT, dims=("row", "c"), coords={"c": ["lon", "lat"]}),
    "StructuredArray": FRAME.to_records(index=False),
    "GeoTable": geopandas.GeoDataFrame({"a": [1, 2, 3]}, geometry=POINTS, crs=4326).to_crs(3857),
    "ShapelyGeometries": [None, *POINTS][1:],
}


@pytest.mark.parametrize("name", INPUTS)
def test_every_kind_reads_the_same_places(name):
    found = recognise(INPUTS[name])
    assert type(found).__name__ == name.split()[0]
    np.testing.assert_allclose(read_coordinates(found).lonlat, LONLAT, atol=1e-9)
    assert recognise(found) is found


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("method", ["fit", "transform", "fit_transform"])
def test_an_input_is_asked_once(monkeypatch, name, method):
    encoder = PositionalEncoder("wrap").fit()
    asked = []
    for kind in kinds.KINDS:
        recognise_one = kind.recognise

        def counting(X, recognise_one=recognise_one, kind=kind):
            asked.append(kind.__name__)
            return recognise_one(X)

        monkeypatch.setattr(kind, "recognise", counting)
    getattr(encoder, method)(INPUTS[name])
    assert len(asked) == len(set(asked)) > 0


def test_what_holds_no_rows_says_what_does():
    for bad, remedy in (
        ({"lon": [1.0], "lat": [2.0]}, r"pandas\.DataFrame\(X\)"),
        (pl.LazyFrame(FRAME.to_dict("list")), r"X\.collect\(\)"),
        ("7.8, 36.8", "pass numbers"),
    ):
        with pytest.raises(CoordinateError, match=remedy):
            recognise(bad)


def test_one_message_says_what_each_door_takes():
    wide = FRAME.rename(columns={"lon": "east"}).assign(height=1.0)
    said = "there is no column that is recognised as the longitude. The columns are "
    with pytest.raises(CoordinateError, match=said + r".*: name them with lon="):
        PositionalEncoder("wrap").fit(wide[["east", "lat"]])
    with pytest.raises(CoordinateError, match=said + r".*: pass coords beside X"):
        next(SpatialBlockKFold().split(wide))
    with pytest.raises(CoordinateError, match=r"X has 3 columns without names.*pass coords"):
        find_coordinates(np.ones((4, 3)))


@pytest.mark.parametrize("bad", [[[np.nan, 1.0]], [[1.0, 91.0]]])
def test_bad_values_are_not_called_missing_columns(bad):
    with pytest.raises(CoordinateError, match=r"NaN|lat=91") as caught:
        find_coordinates(np.array(bad))
    assert "coords" not in str(caught.value)


def test_what_lon_and_lat_name_is_a_table():
    frame = geopandas.GeoDataFrame(
        {"x": LONLAT[:, 0], "y": LONLAT[:, 1]}, geometry=POINTS
    )  # without a CRS its geometries could not be read
    encoder = PositionalEncoder("direct", lon="x", lat="y").fit(frame)
    np.testing.assert_allclose(
        encoder.transform(frame), PositionalEncoder("direct").fit_transform(LONLAT)
    )


class Halved(CoordinateTransformer):
    """The least that an encoder of places can be."""

    def __init__(
        self, on_invalid="raise", lon=None, lat=None, area_points=64, area_statistic="mean"
    ):
        self.on_invalid = on_invalid
        self.lon = lon
        self.lat = lat
        self.area_points = area_points
        self.area_statistic = area_statistic

    def prepare(self):
        self.factor_ = 0.5

    def encode(self, lonlat):
        for start in range(0, len(lonlat), 2):
            rows = slice(start, start + 2)
            yield rows, lonlat[rows] * self.factor_

    def feature_names(self):
        return ["half_lon", "half_lat"]


@pytest.mark.parametrize("name", INPUTS)
def test_an_encoder_of_ones_own_reads_every_kind(name):
    np.testing.assert_allclose(Halved().fit_transform(INPUTS[name]), LONLAT / 2, atol=1e-9)


def test_an_encoder_of_ones_own_has_the_rest_too():
    encoder = Halved(on_invalid="nan").set_output(transform="pandas").fit(FRAME)
    assert list(encoder.transform(FRAME)) == ["half_lon", "half_lat"]
    assert np.isnan(encoder.transform([[np.nan, 1.0], [2.0, 3.0]])).to_numpy()[:, 0].tolist() == [
        True,
        False,
    ]
    grid = encoder.transform_grid([10, 20], [30, 40, 50])
    np.testing.assert_allclose(grid[2, 1], [10, 25])
    box = pd.DataFrame({"west": [10.0], "south": [-2.0], "east": [12.0], "north": [2.0]})
    np.testing.assert_allclose(Halved().fit_transform(box), [[5.5, 0.0]], atol=0.1)


def test_the_answer_travels_with_the_coordinates():
    encoder = SatCLIPEncoder("bluemarble-l10").fit(FRAME)
    places = encoder.reader_.read(FRAME)
    assert places.source.X is FRAME
    np.testing.assert_array_equal(encoder.encode_places(places), encoder.transform(FRAME))


class Locators(kinds.Cells):
    """Maidenhead locators of four symbols: two degrees of longitude, one of latitude."""

    @staticmethod
    def is_cell(value):
        return isinstance(value, str) and re.fullmatch(r"[A-R]{2}\d{2}", value) is not None

    def areas(self):
        return np.array([None if v is None else outline(v) for v in self.values()])


def outline(locator):
    field, square = np.frombuffer(locator.encode(), np.uint8).reshape(2, 2).astype(float)
    west, south = (10 * (field - ord("A")) + square - ord("0")) * [2, 1] - [180, 90]
    return shapely.box(west, south, west + 2, south + 1)


@pytest.fixture
def locators(monkeypatch):
    """A kind of cells that the library does not have: one class and one entry of a list."""
    monkeypatch.setattr(kinds, "KINDS", (Locators, *kinds.KINDS))
    return ["JN58", "PM95", "RE78"] * 10


@pytest.mark.parametrize(
    "made", [list, np.array, pd.Series, pl.Series, lambda cells: pd.DataFrame({"where": cells})]
)
def test_a_new_kind_of_cells_is_read_by_encoders(locators, made):
    """It had to repeat what H3's cells did about lists, columns and frames."""
    assert outline("JN58").covers(shapely.Point(11.6, 48.1))  # Munich
    encoder = PositionalEncoder(legendre_polys=4)
    expected = encoder.fit_transform([outline(locator) for locator in locators])
    np.testing.assert_array_equal(encoder.fit_transform(made(locators)), expected)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_new_kind_of_cells_is_found_beside_other_columns(locators, frame):
    """Tables, splitters and the pipeline knew H3's cells alone."""
    table = frame({"rooms": np.arange(30.0), "where": locators})
    lonlat = find_coordinates(table)
    assert shapely.contains_xy(list(map(outline, locators)), *lonlat.T).all()
    model = spatial_pipeline(Ridge(), encoder=PositionalEncoder(legendre_polys=4))
    features = model.fit(table, np.arange(30.0))[:-1].transform(table)
    expected = PositionalEncoder(legendre_polys=4).fit_transform(locators)
    np.testing.assert_allclose(features.filter(like="encoder__"), expected)
    assert model.fit(locators, np.arange(30.0)).predict(locators[:2]).shape == (2,)


def test_a_new_kind_of_cells_is_read_from_files(locators, tmp_path):
    """encode_table said that they are neither geometries nor H3 cells."""
    pd.DataFrame({"where": locators}).to_csv(tmp_path / "in.csv")
    encoder = PositionalEncoder(legendre_polys=4)
    encode_table(encoder, tmp_path / "in.csv", tmp_path / "out.parquet", geometry="where")
    found = pd.read_parquet(tmp_path / "out.parquet").filter(like="sh_l")
    np.testing.assert_allclose(found, encoder.fit_transform(locators))
