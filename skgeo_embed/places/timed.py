"""Places with a time: a third column beside longitude and latitude."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.columns import column_names, find_lonlat, read_column
from skgeo_embed.places.geometries import is_geo
from skgeo_embed.places.numbers import as_array, is_from, plain, to_float64
from skgeo_embed.places.outlines import areas_of
from skgeo_embed.places.reading import (
    Coordinates,
    Reader,
    read_areas,
    read_coordinates,
    refuse_lazy,
)


@dataclass(frozen=True)
class TimedReader(Reader):
    """How an estimator reads places whose time is a column.

    Attributes
    ----------
    time : str
        The column's name; of arrays without names it is the third.
    lowest, highest : float
        Times outside of these are not valid.
    """

    time: str = ""
    lowest: float = -np.inf
    highest: float = np.inf

    def read(self, X: Any) -> Coordinates:
        """Read a table; the coordinates have the time as a third column."""
        places, time = self._parts(X)
        known = np.isfinite(time) & (time >= self.lowest) & (time <= self.highest)
        wrong = np.flatnonzero(~known)
        if len(wrong) and self.on_invalid == "raise":
            raise CoordinateError(
                f"{self.time} must be a number from {self.lowest:g} to {self.highest:g}, got "
                f"{time[wrong[0]]:g} in row {wrong[0]} ({len(wrong)} such row(s)); drop or correct "
                'them, or pass on_invalid="nan" to get NaN features for these rows.'
            )
        valid = places.valid & known
        values = np.column_stack([places.lonlat, time])
        values[~valid] = np.nan
        return places._replace(lonlat=values, valid=valid)

    def _parts(self, X: Any) -> tuple[Coordinates, np.ndarray]:
        """The places, and the times."""
        refuse_lazy(X, f"places with a {self.time}")
        names = column_names(X)
        if names is None:
            array = as_array(plain(X), "coordinates")
            if array.ndim != 2 or array.shape[1] != 3:
                raise CoordinateError(
                    f"places with a {self.time} must be (n, 3): longitude, latitude and "
                    f"{self.time}; got shape {array.shape}."
                )
            places = read_coordinates(array[:, :2], on_invalid=self.on_invalid)
            return places, self._numbers(to_float64, array[:, 2], self.time)
        if self.time not in names:
            raise CoordinateError(
                f"there is no column {self.time!r}; there are {', '.join(map(repr, names))}."
            )
        places = self._places_of_table(X, [name for name in names if name != self.time])
        if names.count(self.time) > 1:
            raise CoordinateError(
                f"{names.count(self.time)} columns are named {self.time!r}; keep the right one."
            )
        return places, self._numbers(read_column, X, names, names.index(self.time))

    @staticmethod
    def _numbers(read: Callable[..., np.ndarray], *of: Any) -> np.ndarray:
        try:
            return read(*of)
        except CoordinateError as error:  # which says what coordinates should be
            raise CoordinateError(str(error).replace(" in degrees", "")) from None

    def _places_of_table(self, X: Any, others: list[Any]) -> Coordinates:
        if is_geo(X):
            return super().read(X)
        found = find_lonlat(others, self.lon, self.lat)
        if found is None and is_from(X, "pandas"):
            areas = areas_of(X[others])
            if areas is not None:
                return read_areas(areas, on_invalid=self.on_invalid)
        if found is None:
            raise CoordinateError(
                f"there are no two columns that are longitude and latitude among "
                f"{', '.join(map(repr, others))}; say which with lon= and lat=."
            )
        lon, lat = (others[position] for position in found)
        return read_coordinates(X, on_invalid=self.on_invalid, lon=lon, lat=lat)
