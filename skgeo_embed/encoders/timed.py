"""Encoders whose features also depend on a month or a year."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.places.reading import Reader
from skgeo_embed.places.timed import TimedReader

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


class TimedTransformer(CoordinateTransformer):
    """Base of encoders with a time: one number for all places, or a column of X.

    A subclass names the parameter that holds it; None means that its features have no time.
    """

    _time_parameter: ClassVar[str]
    _time_range: ClassVar[tuple[float, float]]

    @property
    def time_column(self) -> str | None:
        """Name of the column of X that holds the time; None if one number holds for all rows."""
        time = getattr(self, self._time_parameter)
        return time if isinstance(time, str) else None

    @property
    def time_part(self) -> str:
        """Return what the time is: "month" or "year"."""
        return self._time_parameter

    def _make_reader(self) -> Reader:
        time = getattr(self, self._time_parameter)
        lowest, highest = self._time_range
        self._time = time if time is None or isinstance(time, str) else _as_float(time)
        if isinstance(self._time, str):
            return TimedReader(self.on_invalid, self.lon, self.lat, self._time, lowest, highest)
        if self._time is None:
            return super()._make_reader()
        if isinstance(time, bool) or not lowest <= self._time <= highest:
            found = time if isinstance(time, bool) else f"{self._time:g}"
            raise ValueError(
                f"{self._time_parameter} must be from {lowest:g} to {highest:g}, or the name of a "
                f"column of X, got {found}."
            )
        return super()._make_reader()

    def encode(self, lonlat: np.ndarray) -> Iterator[tuple[slice | Tensor, Tensor]]:
        if isinstance(self._time, float):
            lonlat = np.column_stack([lonlat, np.full(len(lonlat), self._time)])
        return super().encode(lonlat)  # type: ignore[safe-super]

    def place_function(self) -> tuple[Callable[[Tensor], Tensor], Module]:
        encode, parts = super().place_function()
        if isinstance(self._time, str):
            raise TypeError(
                f"{type(self).__name__} cannot be exported, because it reads the column "
                f"{self._time!r}; fit with a number for {self._time_parameter}."
            )
        return (encode if self._time is None else partial(_with_time, encode, self._time)), parts

    def encode_axes(
        self, lon: np.ndarray, lat: np.ndarray
    ) -> Iterator[tuple[slice, slice, Tensor]]:
        if self._time is None:
            return super().encode_axes(lon, lat)
        if isinstance(self._time, str):
            raise ValueError(
                f"a grid has no column {self._time!r}; fit with a number for "
                f"{self._time_parameter}."
            )
        return CoordinateTransformer.encode_axes(self, lon, lat)


def _with_time(encode: Callable[[Tensor], Tensor], time: float, lonlat: Tensor) -> Tensor:
    from torch import cat, full_like

    return encode(cat([lonlat, full_like(lonlat[:, :1], time)], dim=1))


def _as_float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer beyond all floats
        return math.copysign(math.inf, number > 0 or -1)


TIME_CONSTRAINT: list[Any] = [Real, str, None]
