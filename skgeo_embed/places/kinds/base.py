"""The interface of a kind of input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.columns import (
    NAME_THEM,
    are_numbered,
    check_only_lonlat,
    find_lonlat,
    unclear_columns,
)
from skgeo_embed.places.units import in_degrees


class PlaceInput(ABC):
    """What a user passed as places, recognised as one of the kinds in :mod:`.kinds`.

    Attributes
    ----------
    names : list or None
        Names of its columns; None where columns have no names.
    n_columns : int
        How many features scikit-learn counts.
    is_compared : bool
        Whether scikit-learn can compare its columns with those of `fit`.
    is_lazy : bool
        Whether its values are computed later, as those of dask are.
    """

    yields_to_named_columns: ClassVar[bool] = False  # where lon= and lat= choose columns
    is_lazy: ClassVar[bool] = False
    names: list[Any] | None = None
    n_columns: int = 2
    is_compared: bool = False

    def __init__(self, X: Any) -> None:
        self.X = X

    @classmethod
    @abstractmethod
    def recognise(cls, X: Any) -> Self | None:
        """Return the input if it is of this kind, or None."""

    def areas(self) -> np.ndarray | None:
        """Return geometries in degrees if rows are areas, or None if they are points."""
        return None

    @abstractmethod
    def lonlat(self, lon: Any, lat: Any, *, wide: bool = False, remedy: str = "") -> np.ndarray:
        """Read longitude and latitude, (n, 2) float64, not checked; NaN where one is missing.

        With `wide` the input may have other columns too. `remedy` tells a user what to do if the
        columns are not recognised.
        """

    def number_column(self, name: str) -> np.ndarray:
        """Read another column of numbers, (n,) float64."""
        raise CoordinateError(f"{type(self.X).__name__} has no column {name!r}; pass a frame.")

    def without_column(self, name: str) -> Any:
        """Return what to read places from, without a column that is not part of them."""
        return self


class Table(PlaceInput):
    """An input with named columns."""

    names: list[Any]

    def __init__(self, X: Any, names: list[Any]) -> None:
        super().__init__(X)
        self.names = names
        self.n_columns = len(names)
        self.is_compared = len(set(map(str, names))) == len(names)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.X)

    @abstractmethod
    def numbers(self, position: int, what: str, unit: str) -> np.ndarray:
        """Read the column at a position as float64: names may come twice."""

    def lonlat(self, lon: Any, lat: Any, *, wide: bool = False, remedy: str = "") -> np.ndarray:
        """Read the columns that are chosen or recognised."""
        chosen = lon is not None or lat is not None
        found = find_lonlat(self.names, lon, lat)
        if not chosen and not wide:
            check_only_lonlat(self.names, (self.n_rows, len(self.names)), found)
        if found is None and not chosen and len(self.names) == 2 and are_numbered(self.names):
            found = 0, 1
        if found is None:
            raise CoordinateError(unclear_columns(self.names, lon, lat, remedy or NAME_THEM))
        return np.column_stack(
            [
                in_degrees(
                    self._column(position, " in degrees"),
                    self.unit(position),
                    kind,
                    f"the values of column {self.names[position]!r}",
                )
                for kind, position in zip(("lon", "lat"), found, strict=True)
            ]
        )

    def unit(self, position: int) -> str:
        """Return the unit that the input names for a column; "" if it names none."""
        return ""

    def number_column(self, name: str) -> np.ndarray:
        """Read a column by its name."""
        if name not in self.names:
            raise CoordinateError(
                f"there is no column {name!r}; there are {', '.join(map(repr, self.names))}."
            )
        if self.names.count(name) > 1:
            raise CoordinateError(
                f"{self.names.count(name)} columns are named {name!r}; keep the right one."
            )
        return self._column(self.names.index(name), "")

    def _column(self, position: int, unit: str) -> np.ndarray:
        what = f"the values of column {self.names[position]!r}"
        values = self.numbers(position, what, unit)
        if values.ndim != 1:
            raise CoordinateError(
                f"{what} have the shape {values.shape}; expected one number for each row."
            )
        return values
