"""Regions given as polygons."""

import geopandas
import numpy as np
import pytest
from shapely import box

from skgeo_embed.model_selection import LeaveOneRegionOut

BOXES = [box(0, 40, 10, 50), box(10, 40, 20, 50), box(30, 0, 40, 10)]
PLACES = np.array([[5, 45], [15, 45], [35, 5], [1, 41], [19, 49.0]])


def held_out(splitter, places):
    return [test.tolist() for _, test in splitter.split(places)]


def test_rows_are_in_the_polygon_that_holds_them():
    frame = geopandas.GeoDataFrame(geometry=BOXES, crs=4326)
    for regions in (BOXES, frame, frame.geometry, frame.to_crs(3857)):
        splitter = LeaveOneRegionOut(regions=regions)
        assert splitter.needs_places
        assert held_out(splitter, PLACES) == [[0, 3], [1, 4], [2]]
        assert splitter.get_n_splits(PLACES) == 3
        assert splitter.get_n_splits(np.ones((2, 1)), coords=PLACES[:2]) == 2
    assert not LeaveOneRegionOut().needs_places


def test_rows_outside_of_all_polygons_are_in_the_nearest():
    outside = np.array([[-3, 45], [23, 45], [33, 12], [5, 51.0]])
    assert held_out(LeaveOneRegionOut(regions=BOXES), outside) == [[0, 3], [1], [2]]
    wide = [box(-170, 60, 0, 80), box(100, 60, 170, 80)]  # 179 is nearer to the second
    assert held_out(LeaveOneRegionOut(regions=wide), [[179, 70], [-60, 70], [-172, 70]]) == [
        [1, 2],
        [0],
    ]


def test_polygons_across_the_antimeridian():
    """The first holds a place of which the outline of the second is nearer."""
    regions = [box(170, -20, 190, 0), box(-174.5, -11, -100, -9)]
    places = [[-175, -10], [175, -10], [-120, -10]]
    assert held_out(LeaveOneRegionOut(regions=regions), places) == [[0, 1], [2]]


def test_a_buffer_around_a_polygons_rows():
    close = np.vstack([PLACES, [9.9, 45], [10.1, 45]])
    folds = list(LeaveOneRegionOut(regions=BOXES, buffer_km=50).split(close))
    assert folds[0][0].tolist() == [1, 2, 4]


def test_what_cannot_be_regions():
    with pytest.raises(ValueError, match="must be polygons, boxes or H3 cells, got points"):
        next(LeaveOneRegionOut(regions=PLACES).split(PLACES))
    with pytest.raises(ValueError, match="there is one region"):
        next(LeaveOneRegionOut(regions=BOXES).split(PLACES[:1].repeat(3, axis=0)))
