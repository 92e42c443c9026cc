"""`RasterEncoder` as an estimator: frames, gaps, areas, grids and columns of years."""

import pickle

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from sklearn.base import clone

from skgeo_embed import CoordinateError, RasterEncoder
from tests.rasters.small_tiles import CENTRES, COLUMNS, ROWS, pixels_of, write


def test_areas_and_grids(tmp_path):
    pixels = pixels_of(dtype=np.float32)
    pixels[:, :48] = np.nan
    path = write(tmp_path / "tile.tif", pixels, nodata=np.nan)
    whole = gpd.GeoSeries([shapely.box(500_000, 5_299_040, 500_960, 5_300_000)], crs="EPSG:32632")
    encoder = RasterEncoder(path, area_points=4000).fit()
    found = encoder.transform(whole)  # of the half that there is
    np.testing.assert_allclose(found[0], np.nanmean(pixels, axis=(1, 2)), atol=3)
    deviation = RasterEncoder(path, area_points=4000, area_statistic="std").fit()
    np.testing.assert_allclose(
        deviation.transform(whole)[0], np.nanstd(pixels, axis=(1, 2)), rtol=0.05
    )
    lon, lat = CENTRES[:5, 0], CENTRES[:7, 1]
    grid = RasterEncoder(path, on_invalid="nan").fit().transform_grid(lon, lat)
    pairs = np.column_stack([np.tile(lon, 7), np.repeat(lat, 5)])
    points = RasterEncoder(path, on_invalid="nan").fit().transform(pairs)
    np.testing.assert_array_equal(grid.reshape(35, 4), points)


def test_it_is_an_estimator(tmp_path):
    pixels = pixels_of()
    encoder = RasterEncoder(write(tmp_path / "tile.tif", pixels))
    frame = pd.DataFrame(CENTRES[:, ::-1], columns=["lat", "lon"])
    expected = pixels[:, ROWS, COLUMNS].T
    np.testing.assert_array_equal(clone(encoder).fit_transform(frame), expected)
    again = pickle.loads(pickle.dumps(encoder.fit(frame)))
    np.testing.assert_array_equal(again.transform(frame), expected)
    assert list(encoder.get_feature_names_out()) == [f"raster{i:03d}" for i in range(4)]
    gaps = CENTRES.copy()
    gaps[1] = np.nan
    found = RasterEncoder(encoder.source, on_invalid="nan").fit_transform(gaps)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[2:], expected[2:])
    many = np.tile(CENTRES, (50, 1))  # distinct places are read once
    np.testing.assert_array_equal(encoder.transform(many), np.tile(expected, (50, 1)))


def test_no_deviation_where_there_is_no_raster(tmp_path):
    path = write(tmp_path / "tile.tif", pixels_of())
    encoder = RasterEncoder(path, area_statistic="std", on_invalid="nan").fit()
    with pytest.warns(UserWarning, match="at 1 of 2 places"):
        found = encoder.transform([CENTRES[0], [50, 50]])
    np.testing.assert_array_equal(found, [[0.0] * 4, [np.nan] * 4])


def test_a_year_is_not_called_degrees(tmp_path):
    path = write(tmp_path / "tile.tif", pixels_of())
    table = pd.DataFrame({"lon": [7.0], "lat": [8.0], "year": ["last"]})
    with pytest.raises(CoordinateError, match="'year' must be numbers, got the text 'last'"):
        RasterEncoder({2024: path}, year="year").fit(table)
