"""Columns without names: arrays, nested lists and tensors."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.columns import NAME_THEM, check_shape
from skgeo_embed.places.kinds.base import PlaceInput
from skgeo_embed.places.numbers import as_array, comes_from_package, to_float64, to_numpy
from skgeo_embed.places.units import in_degrees, unit_of


class Array(PlaceInput):
    """Whatever numpy makes an array of: longitude first, then latitude."""

    def __init__(self, X: Any) -> None:
        super().__init__(X)
        # a nested tensor of torch has no shape
        shape = None if comes_from_package(X, "torch") else getattr(X, "shape", None)
        self.is_compared = hasattr(X, "__len__") and (shape is None or len(shape) != 1)

    @classmethod
    def recognise(cls, X: Any) -> Self:
        """Accept any object; `lonlat` raises if it does not hold numbers."""
        return cls(X)

    def lonlat(self, lon: Any, lat: Any, *, wide: bool = False, remedy: str = "") -> np.ndarray:
        """Read the two columns, or the two at the chosen positions."""
        array = as_array(to_numpy(self.X), "coordinates")
        if (lon is not None or lat is not None) and array.ndim == 2:
            array = array[:, _positions(lon, lat, array.shape[1])]
        if wide and lon is None and lat is None and array.ndim == 2 and array.shape[1] > 2:
            raise CoordinateError(
                f"X has {array.shape[1]} columns without names, so it does not say which are "
                f"longitude and latitude: {remedy or NAME_THEM}."
            )
        check_shape(array.shape)
        numbers, unit = to_float64(array, "coordinates"), unit_of(self.X)
        columns = zip(("lon", "lat"), numbers.T, strict=True)
        return np.column_stack([in_degrees(v, unit, kind, "coordinates") for kind, v in columns])

    def number_column(self, name: str) -> np.ndarray:
        """Read the third column."""
        array = as_array(to_numpy(self.X), "coordinates")
        if array.ndim != 2 or array.shape[1] != 3:
            raise CoordinateError(
                f"places with a {name} must be (n, 3): longitude, latitude and {name}; got shape "
                f"{array.shape}."
            )
        return to_float64(array[:, 2], name, "")

    def without_column(self, name: str) -> Any:
        """Return the first two columns."""
        return Array(as_array(to_numpy(self.X), "coordinates")[:, :2])


def _positions(lon: Any, lat: Any, width: int) -> list[int]:
    """Columns of an array without names."""
    if lon is None or lat is None:
        raise CoordinateError(
            f"lon={lon!r}, lat={lat!r}: give both as column numbers, since an array has no column "
            "names."
        )
    positions = [lon, lat]
    for name, position in zip(("lon", "lat"), positions, strict=True):
        if not isinstance(position, (int, np.integer)) or not -width <= position < width:
            raise CoordinateError(
                f"{name}={position!r}, but the input has no column names; pass a frame, or the "
                f"number of one of its {width} columns."
            )
    if positions[0] % width == positions[1] % width:
        raise CoordinateError(f"lon={lon!r} and lat={lat!r} are the same column.")
    return positions
