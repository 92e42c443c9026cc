"""What of a user's table are areas: geometries, boxes, H3 cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.cells import cells_of, polygons_of_cells
from skgeo_embed.places.columns import column_names
from skgeo_embed.places.geometries import (
    are_points,
    are_shapely,
    degrees_of_geo,
    degrees_of_shapely,
    is_geo,
)
from skgeo_embed.places.numbers import is_dask, is_from, to_float64

BOXES = (
    ("west", "south", "east", "north"),
    ("minx", "miny", "maxx", "maxy"),
    ("xmin", "ymin", "xmax", "ymax"),
)
KINDS = frozenset(
    {
        "Point",
        "MultiPoint",
        "LineString",
        "LinearRing",
        "MultiLineString",
        "Polygon",
        "MultiPolygon",
    }
)


def areas_of(X: Any) -> np.ndarray | None:
    """Return the areas of a table as geometries in degrees; None where it has points or none."""
    if is_geo(X):
        return None if are_points(X) else degrees_of_geo(X)
    if are_shapely(X):
        return None if is_from(X, "shapely") or are_points(X) else degrees_of_shapely(X)
    cells = cells_of(X)
    if cells is not None:
        return polygons_of_cells(cells)
    names = box_columns(X)
    return None if names is None else _boxes(X, names)


def are_cells(X: Any) -> bool:
    """Say whether `X` is a list or column of H3 cells."""
    return cells_of(X) is not None


def box_columns(X: Any) -> list[Any] | None:
    """Return which columns bound boxes: west, south, east, north, or as geopandas names them."""
    if not hasattr(X, "columns") or is_dask(X):
        return None
    names = column_names(X) or []
    lowered = [str(name).lower() for name in names]
    for words in BOXES:
        if sorted(lowered) == sorted(words):
            return [names[lowered.index(word)] for word in words]
    return None


def _boxes(X: Any, names: list[Any]) -> np.ndarray:
    """Make rectangles; where east is less than west they cross the antimeridian."""
    import shapely

    west, south, east, north = (
        to_float64(X[name].to_numpy(), f"the values of column {name!r}") for name in names
    )
    upside_down = np.flatnonzero(south > north)
    if len(upside_down):
        row = upside_down[0]
        raise CoordinateError(
            f"{names[1]!r} is more than {names[3]!r} in {len(upside_down)} row(s), first in row "
            f"{row}: {south[row]:g} and {north[row]:g}."
        )
    boxes = np.full(len(west), None, dtype=object)
    there = np.isfinite([west, south, east, north]).all(axis=0)
    east = np.where(east < west, east + 360, east)
    boxes[there] = shapely.box(west[there], south[there], east[there], north[there])
    return boxes


def mixed_kinds(areas: np.ndarray) -> tuple[np.ndarray, str]:
    """Find geometries that are of several kinds at once: rows, and what is wrong there."""
    kinds = np.array([getattr(area, "geom_type", "Point") for area in areas])
    wrong = np.flatnonzero(~np.isin(kinds, list(KINDS)))
    first = f"(first: row {wrong[0]}, a {kinds[wrong[0]]})" if len(wrong) else ""
    return wrong, (
        f"{len(wrong)} of {len(kinds)} geometries are neither polygons, lines nor points {first}; "
        "use X.explode(), or keep one kind of its parts."
    )


def doubtful_edges(areas: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, str]:
    """Find edges of more than 180° of longitude, which may be meant the other way round."""
    import shapely

    rows, message = [], ""

    west, _, east, _ = shapely.bounds(areas).T
    wide = np.flatnonzero(valid & (east - west > 180) & (shapely.get_dimensions(areas) > 0))
    for row in wide:
        width = east[row] - west[row]
        lines = shapely.get_parts(shapely.boundary(areas[row]))
        if shapely.get_dimensions(areas[row]) == 1:
            lines = shapely.get_parts(areas[row])
        edges = np.concatenate([np.diff(shapely.get_coordinates(line), axis=0) for line in lines])
        longest = np.abs(edges[:, 0]).max()
        # what goes once round along a parallel is meant so
        round_once = (np.abs(np.abs(edges[:, 0]) - 360) < 1e-9) & (edges[:, 1] == 0)
        is_line = shapely.get_dimensions(areas[row]) == 1
        doubtful = (np.abs(edges[:, 0]) > 180) & (is_line | ~round_once)
        if width > 360 + 1e-9 or doubtful.any():
            rows.append(row)
            message = message or (
                f"the geometry in row {row} has an edge of {longest:g}° of longitude (it spans "
                f"{width:g}°). If it crosses the antimeridian, cut it there or let its longitudes "
                "go on beyond 180, as in 179 to 181; if it is meant so, add points between "
                "(X.segmentize(90))."
            )
    return np.array(rows, dtype=int), message
