"""What a user passes as features of images, as float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgeo_embed._errors import CoordinateError, ModelFormatError
from skgeo_embed.places.numbers import to_numpy


def features_of_images(features: Any, name: str) -> np.ndarray:
    """Copy features to float32, and refuse masked values and complex numbers."""
    if hasattr(features, "toarray"):
        raise ModelFormatError(f"{name} is a sparse {type(features).__name__}; use toarray().")
    try:
        nested = isinstance(features, (list, tuple))
        table = np.ma.array([to_numpy(row) for row in features] if nested else to_numpy(features))
    except (CoordinateError, TypeError, ValueError) as error:
        raise ModelFormatError(f"{name} is not a table of numbers: {error}") from error
    kind, data = table.dtype.kind, np.ma.getdata(table)
    texts = kind == "O" and any(isinstance(value, (str, bytes)) for value in data.flat)
    if kind not in "fiubO" or texts:
        raise ModelFormatError(
            f"{name} must be real numbers, got {'texts' if texts else table.dtype}."
        )
    masked = int(np.ma.getmaskarray(table).sum())
    if masked:
        raise ModelFormatError(
            f"{masked} of {table.size} values of {name} are masked; leave these images out."
        )
    try:
        with np.errstate(over="ignore"):  # infinite values raise later, with their rows
            return np.array(data, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelFormatError(f"{name} is not a table of numbers: {error}") from error
