"""Places with a time: a third column beside longitude and latitude."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.kinds import recognise
from skgeo_embed.places.reading import Coordinates, Reader


@dataclass(frozen=True)
class TimedReader(Reader):
    """Reads places together with a column of their times.

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

    def read(self, X: Any, *, wide: bool = False) -> Coordinates:
        """Read a table; the coordinates have the time as a third column."""
        source = recognise(X, columns_are_named=self.lon is not None or self.lat is not None)
        time = source.number_column(self.time)
        places = super().read(source.without_column(self.time), wide=True)
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
        return places._replace(lonlat=values, valid=valid, source=source)
