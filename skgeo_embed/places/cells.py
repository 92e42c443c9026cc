"""Cells of the H3 grid, as text or as numbers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed._sphere import lonlat_of, unit_vectors
from skgeo_embed.places.numbers import is_from

COARSE = 4  # resolutions up to which it shows that edges are great circles
EDGE_POINTS = 16
_TEXT = re.compile(r"(0x)?0?8[0-9a-fA-F]{14}")


def cells_of(X: Any) -> np.ndarray | None:
    """Return the cells in a list, a column or a frame of one column; None where there are none.

    A cell is text of fifteen hexadecimal digits that begins with 8, or the number that it stands
    for; what decides is the first value that is there.
    """
    if isinstance(X, (list, tuple)):
        values: np.ndarray = np.empty(len(X), dtype=object)
        if any(np.ndim(value) for value in X):
            return None
        values[:] = list(X)
    elif isinstance(X, np.ndarray) or is_from(X, "pandas") or is_from(X, "polars"):
        if hasattr(X, "collect"):  # a LazyFrame
            return None
        if len(getattr(X, "columns", "1")) != 1 or not 1 <= getattr(X, "ndim", 2) <= 2:
            return None
        if is_from(X, "pandas"):
            X = X.astype(object)  # integers with gaps stay integers
        elif not isinstance(X, np.ndarray):
            X = np.array(X.rows() if hasattr(X, "rows") else X.to_list(), dtype=object)
        values = np.asarray(X)
        if values.ndim == 2 and values.shape[1] != 1:
            return None
        values = values.reshape(-1)
    else:
        return None
    if values.dtype.kind not in "OUui":
        return None
    first = next((value for value in values if not _is_missing(value)), None)
    return values if _is_cell(first) else None


def _great_circles(corners: np.ndarray) -> np.ndarray:
    """Put points between corners, for edges are great circles and no lines of a map."""
    start = unit_vectors(corners)
    steps = np.linspace(0, 1, EDGE_POINTS, endpoint=False)[:, None]
    between = start[:, None] * (1 - steps) + np.roll(start, -1, axis=0)[:, None] * steps
    return lonlat_of((between / np.linalg.norm(between, axis=2, keepdims=True)).reshape(-1, 3))


def _is_missing(value: Any) -> bool:
    nan = isinstance(value, (float, np.floating)) and value != value
    return value is None or nan or type(value).__name__ == "NAType"


def _is_cell(value: Any) -> bool:
    if isinstance(value, str):
        return _TEXT.fullmatch(value) is not None
    # the four bits that say what an index is of: 1 is a cell
    return isinstance(value, (int, np.integer)) and int(value) >> 59 == 1


def polygons_of_cells(cells: np.ndarray) -> np.ndarray:
    """Outline H3 cells, as polygons of degrees; missing ones are None.

    Raises
    ------
    CoordinateError
        If a value is no cell; the message names its row.
    """
    import shapely

    from skgeo_embed.places.geometries import unwrapped

    try:
        from h3 import cell_to_boundary, get_resolution, int_to_str, is_valid_cell
    except ImportError as error:
        raise ImportError('H3 cells need h3: pip install "skgeo-embed[h3]"') from error
    polygons = np.full(len(cells), None, dtype=object)
    for row, value in enumerate(cells):
        if _is_missing(value):
            continue
        name = value if isinstance(value, str) else int_to_str(int(value))
        if not is_valid_cell(name):
            raise CoordinateError(
                f"row {row} is {value!r}, which is no H3 cell, though others are; drop or correct "
                "it."
            )
        corners = np.array([(lon, lat) for lat, lon in cell_to_boundary(name)])
        coarse = get_resolution(name) <= COARSE
        polygons[row] = shapely.Polygon(_great_circles(corners) if coarse else corners)
    there = np.flatnonzero(polygons != None)  # noqa: E711
    polygons[there] = unwrapped(polygons[there])
    return polygons
