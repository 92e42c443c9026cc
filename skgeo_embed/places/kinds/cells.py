"""Cells of a grid of the Earth, given by their codes; a grid is a subclass, such as H3's."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.kinds.base import PlaceInput
from skgeo_embed.places.numbers import comes_from_package, first_value


class Cells(PlaceInput):
    """A list, a column or a frame of one column of codes: texts or numbers that stand for areas.

    A subclass says what a code is, and `areas` outlines the cells that `values` are.
    """

    yields_to_named_columns: ClassVar[bool] = True

    @staticmethod
    @abstractmethod
    def is_cell(value: Any) -> bool:
        """Say whether a value is a code of this grid."""

    @abstractmethod
    def areas(self) -> np.ndarray:
        """Return the cells' outlines, in degrees; missing ones are None."""

    @classmethod
    def recognise(cls, X: Any) -> Self | None:
        """Recognise cells by the first value that is not missing."""
        if isinstance(X, (list, tuple)):
            return cls(X) if cls.is_cell(first_value(X)) else None
        if not (isinstance(X, np.ndarray) or comes_from_package(X, "pandas", "polars")):
            return None
        if len(getattr(X, "columns", "1")) != 1 or not 1 <= getattr(X, "ndim", 2) <= 2:
            return None
        if isinstance(X, np.ndarray) and (X.dtype.kind not in "OUui" or X[:1].size > 1):
            return None
        found = cls(X)
        return found if cls.is_cell(first_value(found.values())) else None

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

    def lonlat(self, lon: Any, lat: Any, *, wide: bool = False, remedy: str = "") -> np.ndarray:
        """Refuse: cells are areas."""
        raise CoordinateError("cells are areas, and points are wanted; pass their centres.")
