"""Masks of polygons: the same places, whatever the system of the map."""

import numpy as np
import pytest

from skgeo_embed import predict_grid
from tests.streaming.maps.lonlat_model import PLACE

geopandas = pytest.importorskip("geopandas")
shapely = pytest.importorskip("shapely")


def cells(mask, **options):
    made = predict_grid(PLACE, name=["lon_", "lat_"], mask=mask, verbose=False, **options)
    return made["lon_"].values, made["lat_"].values


@pytest.mark.parametrize(
    ("crs", "region", "polygon"),
    [
        ("EPSG:3035", (-20, 35, 40, 75), shapely.box(-10, 40, 30, 70)),
        ("EPSG:3413", (-180, 45, 180, 90), shapely.box(170, 50, 190, 70)),
        ("EPSG:3413", (-180, 45, 180, 90), shapely.box(-180, 60, 180, 80)),
        (None, (-180, 45, 180, 90), shapely.box(170, 50, 190, 70)),
    ],
)
def test_edges_of_degrees_are_straight_in_degrees(crs, region, polygon):
    options = {"region": region, "crs": crs, "resolution": "100km" if crs else 1}
    lon, lat = cells(None, **options)
    west, south, east, north = polygon.bounds
    expected = ((lon - west) % 360 <= east - west) & (lat >= south) & (lat <= north)
    assert expected.sum() > 100
    np.testing.assert_array_equal(~np.isnan(cells(polygon, **options)[0]), expected)


def test_polygons_in_the_system_of_the_map_are_taken_as_they_are():
    polygon = geopandas.GeoSeries([shapely.box(4.05e6, 2.05e6, 5.05e6, 3.05e6)], crs="EPSG:3035")
    lon, _ = cells(polygon, region=(-10, 35, 30, 65), crs="EPSG:3035", resolution=100_000)
    assert (~np.isnan(lon)).sum() == 11 * 11  # centres on the edge count


def test_a_map_in_degrees_of_another_datum():
    """NAD27 is about 100 m off WGS84 in Alaska: the mask is where the cells are on the Earth."""
    options = {"region": (-150, 60, -149.9, 60.1), "resolution": 0.0005, "crs": "EPSG:4267"}
    lon, _ = cells(None, **options)
    got, _ = cells(shapely.box(-149.95, 50, -140, 70), **options)
    np.testing.assert_array_equal(~np.isnan(got), lon >= -149.95)
