"""Cells of the H3 grid, as text or as numbers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed._sphere import lonlat_of, unit_vectors
from skgeo_embed.places.kinds.cells import Cells
from skgeo_embed.places.numbers import is_missing
from skgeo_embed.places.unwrapping import unwrapped

COARSE = 4  # resolutions up to which it shows that edges are great circles
EDGE_POINTS = 16
_TEXT = re.compile(r"(0x)?0?8[0-9a-fA-F]{14}")


class H3Cells(Cells):
    """Cells of H3.

    A cell is text of fifteen hexadecimal digits that begins with 8, or the number that it stands
    for.
    """

    @staticmethod
    def is_cell(value: Any) -> bool:
        """Say whether a value stands for an H3 cell."""
        if isinstance(value, str):
            return _TEXT.fullmatch(value) is not None
        # these four bits are the type of an index: 1 is a cell
        return isinstance(value, (int, np.integer)) and int(value) >> 59 == 1

    def areas(self) -> np.ndarray:
        """Return the cells' outlines."""
        return polygons_of_cells(self.values())


def _great_circles(corners: np.ndarray) -> np.ndarray:
    """Put points between corners, for edges are great circles and no lines of a map."""
    start = unit_vectors(corners)
    steps = np.linspace(0, 1, EDGE_POINTS, endpoint=False)[:, None]
    between = start[:, None] * (1 - steps) + np.roll(start, -1, axis=0)[:, None] * steps
    return lonlat_of((between / np.linalg.norm(between, axis=2, keepdims=True)).reshape(-1, 3))


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
