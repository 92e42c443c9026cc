"""Cells of the H3 grid, as text or as numbers."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed._sphere import lonlat_of, unit_vectors
from skgeo_embed.places.kinds.base import PlaceInput
from skgeo_embed.places.numbers import comes_from_package, first_value, is_missing
from skgeo_embed.places.unwrapping import unwrapped

COARSE = 4  # resolutions up to which it shows that edges are great circles
EDGE_POINTS = 16
_TEXT = re.compile(r"(0x)?0?8[0-9a-fA-F]{14}")


class Cells(PlaceInput):
    """A list, a column or a frame of one column of H3 cells.

    A cell is text of fifteen hexadecimal digits that begins with 8, or the number that it stands
    for.
    """

    yields_to_named_columns: ClassVar[bool] = True

    @classmethod
    def recognise(cls, X: Any) -> Self | None:
        """Recognise cells by the first value that is not missing."""
        if isinstance(X, (list, tuple)):
            return cls(X) if is_cell(first_value(X)) else None
        if not (isinstance(X, np.ndarray) or comes_from_package(X, "pandas", "polars")):
            return None
        if len(getattr(X, "columns", "1")) != 1 or not 1 <= getattr(X, "ndim", 2) <= 2:
            return None
        if isinstance(X, np.ndarray) and (X.dtype.kind not in "OUui" or X[:1].size > 1):
            return None
        found = cls(X)
        return found if is_cell(first_value(found.values())) else None

    def values(self) -> np.ndarray:
        """The cells, (n,), as text or numbers."""
        X = self.X
        if isinstance(X, (list, tuple)):
            values = np.empty(len(X), dtype=object)
            values[:] = list(X)
            return values
        if comes_from_package(X, "pandas"):
            X = X.astype(object)  # integers with gaps stay integers
        elif comes_from_package(X, "polars"):
            X = np.array(X.rows() if hasattr(X, "rows") else X.to_list(), dtype=object)
        return np.asarray(X).reshape(-1)

    def areas(self) -> np.ndarray:
        """Return the cells' outlines."""
        return polygons_of_cells(self.values())

    def lonlat(self, lon: Any, lat: Any, *, wide: bool = False, remedy: str = "") -> np.ndarray:
        """Return the centre of each outline."""
        raise CoordinateError("H3 cells are areas; a place of each is its centre.")


def _great_circles(corners: np.ndarray) -> np.ndarray:
    """Put points between corners, for edges are great circles and no lines of a map."""
    start = unit_vectors(corners)
    steps = np.linspace(0, 1, EDGE_POINTS, endpoint=False)[:, None]
    between = start[:, None] * (1 - steps) + np.roll(start, -1, axis=0)[:, None] * steps
    return lonlat_of((between / np.linalg.norm(between, axis=2, keepdims=True)).reshape(-1, 3))


def is_cell(value: Any) -> bool:
    """Say whether a value stands for an H3 cell."""
    if isinstance(value, str):
        return _TEXT.fullmatch(value) is not None
    # these four bits are the type of an index: 1 is a cell
    return isinstance(value, (int, np.integer)) and int(value) >> 59 == 1


def polygons_of_cells(cells: np.ndarray) -> np.ndarray:
    """Outline H3 cells, as polygons of degrees; missing ones are None.

    Raises
    ------
    CoordinateError
        If a value is not a cell; the message names its row.
    """
    import shapely

    try:
        from h3 import cell_to_boundary, get_resolution, int_to_str, is_valid_cell
    except ImportError as error:
        raise ImportError('H3 cells need h3: pip install "skgeo-embed[h3]"') from error
    polygons = np.full(len(cells), None, dtype=object)
    for row, value in enumerate(cells):
        if is_missing(value):
            continue
        name = value if isinstance(value, str) else int_to_str(int(value))
        if not is_valid_cell(name):
            raise CoordinateError(
                f"row {row} is {value!r}, which is not an H3 cell, although other rows are; drop "
                "or correct it."
            )
        corners = np.array([(lon, lat) for lat, lon in cell_to_boundary(name)])
        coarse = get_resolution(name) <= COARSE
        polygons[row] = shapely.Polygon(_great_circles(corners) if coarse else corners)
    there = np.flatnonzero(polygons != None)  # noqa: E711
    polygons[there] = unwrapped(polygons[there])
    return polygons
