"""Boxes: a frame with the columns west, south, east and north."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.kinds.frames import Frame
from skgeo_embed.places.numbers import to_float64

BOXES = (
    ("west", "south", "east", "north"),
    ("minx", "miny", "maxx", "maxy"),
    ("xmin", "ymin", "xmax", "ymax"),
)


class Boxes(Frame):
    """A frame of four columns that bound a box a row."""

    yields_to_named_columns: ClassVar[bool] = True

    @classmethod
    def recognise(cls, X: Any) -> Self | None:
        """Recognise the four names, in any order and case."""
        if not hasattr(X, "columns") or len(X.columns) != 4:
            return None
        found = super().recognise(X)
        return found if found is not None and found._bounds() is not None else None

    def areas(self) -> np.ndarray:
        """Return the boxes; where east is less than west they cross the antimeridian."""
        import shapely

        bounds = self._bounds() or []
        west, south, east, north = (
            to_float64(self.X[name].to_numpy(), f"the values of column {name!r}") for name in bounds
        )
        upside_down = np.flatnonzero(south > north)
        if len(upside_down):
            row = upside_down[0]
            raise CoordinateError(
                f"{bounds[1]!r} is more than {bounds[3]!r} in {len(upside_down)} row(s), first in "
                f"row {row}: {south[row]:g} and {north[row]:g}."
            )
        boxes = np.full(len(west), None, dtype=object)
        there = np.isfinite([west, south, east, north]).all(axis=0)
        east = np.where(east < west, east + 360, east)
        boxes[there] = shapely.box(west[there], south[there], east[there], north[there])
        return boxes

    def _bounds(self) -> list[Any] | None:
        """Names of west, south, east and north, in this order."""
        return box_columns(self.names)


def box_columns(names: list[Any]) -> list[Any] | None:
    """Name the columns of west, south, east and north, in this order; None if one is missing."""
    lowered = [str(name).lower() for name in names]
    for words in BOXES:
        if all(lowered.count(word) == 1 for word in words):
            return [names[lowered.index(word)] for word in words]
    return None
