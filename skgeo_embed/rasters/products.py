"""Quantised products, one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError


@dataclass(frozen=True)
class Product:
    """A published product whose values are stored as small integers.

    Attributes
    ----------
    name : str
        What users call it.
    dtype : str
        Type of the stored pixels.
    missing : int or None
        The stored number of a missing value.
    companion : str or None
        What decoding needs beside the pixels, such as their scales: a variable of this name in
        the same Zarr store, or a file beside theirs whose name ends with an underscore and this.
    decode : callable
        Turns stored pixels, (n, bands), and those of the companion, (n,) or (n, bands), into
        float32 values.
    """

    name: str
    dtype: str
    missing: int | None
    companion: str | None
    decode: Callable[[np.ndarray, Any], np.ndarray]

    @property
    def suffix(self) -> str | None:
        """The end of the name of a companion file, before its dot."""
        return None if self.companion is None else f"_{self.companion}"

    def check_dtype(self, found: Any, path: str) -> None:
        """Refuse pixels of another type than the product's."""
        if np.dtype(found) != np.dtype(self.dtype):
            raise ImageError(
                f"{path} holds {np.dtype(found)}, but quantization={self.name!r} expects "
                f"{self.dtype}; leave quantization out if the values were converted already."
            )


def _signed_squares(raw: np.ndarray, companion: None) -> np.ndarray:
    values = raw.astype(np.float32) / np.float32(127.5)
    return values * np.abs(values)


def _scaled(raw: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Multiply by the scale of each pixel; a scale of 0, or that is not finite, means missing."""
    usable = np.where(np.isfinite(scales) & (scales != 0), scales, np.nan).astype(np.float32)
    return raw.astype(np.float32) * usable.reshape(len(raw), -1)


PRODUCTS = {
    product.name: product
    for product in (
        Product("alphaearth", "int8", -128, None, _signed_squares),
        Product("tessera", "int8", None, "scales", _scaled),
    )
}
