"""An input is asked once what it is, and every kind reads the same places."""

import geopandas
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
import xarray as xr

from skgeo_embed import PositionalEncoder, SatCLIPEncoder
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
