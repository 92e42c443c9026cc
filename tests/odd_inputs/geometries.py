"""Points, areas and geographic frames that hold PLACES, or must be refused."""

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from tests.odd_inputs.checking import either, reads, refuses
from tests.odd_inputs.encoders import LAT, LON, PLACES
from tests.odd_inputs.frames import POINTS, XY

ENGINEERING = (
    'ENGCRS["local",EDATUM["here"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],UNIT["m",1]]'
)


def points(crs=None):
    return gpd.GeoSeries(gpd.points_from_xy(LON, LAT), crs=crs)


GEOMETRIES = [
    reads("shapely points", lambda: list(POINTS)),
    reads("array of points", lambda: POINTS),
    reads("tuple of points", lambda: tuple(POINTS)),
    reads("Series of points", lambda: pd.Series(POINTS)),
    reads("points with heights", lambda: list(shapely.points(np.column_stack([PLACES, LON])))),
    refuses("points, one missing", lambda: [*POINTS, None], "NaN", "row 3"),
    refuses("points, one empty", lambda: [*POINTS, shapely.Point()], "NaN", "row 3"),
    refuses("points with NaN", lambda: [*POINTS, shapely.Point(np.nan, 1)], "NaN", "row 3"),
    refuses("points after a hundred missing", lambda: [None] * 100 + list(POINTS), "NaN"),
    refuses("points out of range", lambda: [shapely.Point(5, 100)], "[-90, 90]"),
    refuses("several kinds at once", lambda: [*POINTS,
        shapely.GeometryCollection([shapely.Point(1, 2)])], "GeometryCollection", "row 3"),
    reads("several points of one place",
        lambda: [shapely.MultiPoint([place, place]) for place in PLACES], tolerance=1e-6),
    reads("small polygons", lambda: shapely.buffer(POINTS, 1e-7), tolerance=1e-3),
    reads("short lines", lambda: [shapely.LineString([place, place + 1e-7]) for place in PLACES],
        tolerance=1e-3),
    reads("small boxes", lambda: pd.DataFrame(
        {"west": LON, "south": LAT, "east": LON + 1e-7, "north": LAT + 1e-7}), tolerance=1e-3),
    refuses("boxes upside down", lambda: pd.DataFrame(
        {"west": LON, "south": LAT, "east": LON, "north": LAT - 1}), "south", "north"),
    refuses("an edge round the Earth", lambda: [shapely.box(-179, 0, 179, 1)], "358", "row 0"),
    refuses("polygons of metres", lambda: [shapely.box(5e5, 4e6, 6e5, 5e6)], "metres"),
    refuses("an H3 cell and a text", lambda: ["85283473fffffff", "Paris"], "Paris", "row 1"),
    refuses("a single point", lambda: shapely.Point(2.5, 5.5), "list"),
    refuses("a multipoint", lambda: shapely.MultiPoint(PLACES), "list"),
    refuses("points and numbers", lambda: [*POINTS, 7], "mixed"),
    refuses("points and texts", lambda: [shapely.Point(1, 2), "POINT (1 2)"], "mixed"),
    refuses("texts of points", lambda: ["POINT (2.5 5.5)"], "(n, 2)"),
    refuses("bytes of points", lambda: list(shapely.to_wkb(POINTS))),
    refuses("column of points", lambda: POINTS[:, None]),
    either("frame with points", lambda: pd.DataFrame({"geometry": POINTS}), "geometry"),
    reads("GeoSeries", lambda: points(4326)),
    reads("GeoSeries in Mercator", lambda: points(4326).to_crs(3857), tolerance=1e-3),
    reads("GeoSeries in UTM", lambda: points(4326).to_crs(32631), tolerance=1e-3),
    reads("GeoSeries in OGC:CRS84", lambda: points("OGC:CRS84")),
    reads("GeoSeries in latitude order", lambda: points(4326).to_crs(4979)),
    refuses("GeoSeries without CRS", points, "no CRS", "set_crs"),
    refuses("GeoSeries with a local CRS", lambda: points(ENGINEERING), "CRS", "set_crs"),
    refuses("GeoSeries, not placed in UTM",
        lambda: gpd.GeoSeries([shapely.Point(1e30, 1e30)], crs="EPSG:32631")),
    refuses("GeoSeries, missing", lambda: gpd.GeoSeries([shapely.Point(1, 2), None], crs=4326),
        "NaN", "row 1"),
    reads("GeoSeries of small polygons in UTM", lambda: points(4326).to_crs(32631).buffer(0.01),
        tolerance=1e-3),
    refuses("GeoSeries of polygons without CRS", lambda: points().buffer(1), "no CRS"),
    refuses("GeoSeries, no rows", lambda: points(4326)[:0], "0 sample"),
    reads("GeoDataFrame", lambda: gpd.GeoDataFrame({"price": LON}, geometry=points(4326))),
    reads("GeoDataFrame with other lat, lon",
        lambda: gpd.GeoDataFrame({"lat": LON, "lon": LAT}, geometry=points(4326))),
    reads("GeoDataFrame with x, y and lon, lat", lambda: gpd.GeoDataFrame({"y": LAT, "x": LON},
        geometry=gpd.points_from_xy(LAT, LON), crs=4326), options=XY),
    refuses("GeoDataFrame without geometry", lambda: gpd.GeoDataFrame({"price": LON})),
    either("GeoDataFrame of lon, lat without geometry",
        lambda: gpd.GeoDataFrame({"lat": LAT, "lon": LON}), "geometry"),
    either("geometry array", lambda: points(4326).values, "GeoSeries"),
    either("geometry array in Mercator", lambda: points(4326).to_crs(3857).values, "GeoSeries",
        tolerance=1e-3),
    either("pandas Series of a geometry array in Mercator",
        lambda: pd.Series(points(4326).to_crs(3857).values), tolerance=1e-3),
    refuses("list of points out of a GeoSeries in Mercator",
        lambda: list(points(4326).to_crs(3857)), "metres"),
]  # fmt: skip
