"""Quantised products, one row each; users may add rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError


@dataclass(frozen=True)
class Product:
    """A product whose values are stored as small integers, and how they are decoded.

    An instance can be passed as the `quantization` of :class:`~skgeo_embed.RasterEncoder`, or be
    given a name for it by :func:`register_product`.

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
        float32 values, (n, bands). It must be a function of a module, not of a line or a notebook
        cell's body, for encoders to be pickled.

    Raises
    ------
    ValueError
        If the name is empty, the dtype is not one of numbers, or does not have the missing one.

    Examples
    --------
    >>> import numpy as np
    >>> from skgeo_embed.rasters import Product
    >>> def percent(raw, companion):
    ...     return raw.astype(np.float32) / 100
    >>> product = Product("percent", "uint8", missing=255, companion=None, decode=percent)
    >>> product.decode(np.array([[50, 100]], dtype=np.uint8), None)
    array([[0.5, 1. ]], dtype=float32)
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

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a product needs a name, got {self.name!r}")
        if not _holds_numbers(self.dtype):
            raise ValueError(f"{self.dtype!r} is not a dtype of stored pixels")
        kind = np.dtype(self.dtype)
        if self.missing is not None and kind.kind in "iu":
            least, largest = np.iinfo(kind).min, np.iinfo(kind).max
            if not least <= self.missing <= largest:
                raise ValueError(
                    f"missing={self.missing} does not fit {self.dtype}, which holds {least} to "
                    f"{largest}; correct it in the product {self.name!r}"
                )

    def values(self, raw: np.ndarray, companion: Any, path: str) -> np.ndarray:
        """Decode the pixels of a file to new float32 values, NaN where they are missing or masked.

        Raises
        ------
        ImageError
            If `decode` returns something else than a number for each pixel.
        """
        self.check_dtype(raw.dtype, path)
        missing = np.ma.getmaskarray(raw).copy()
        raw = np.ma.filled(raw, 0)
        if self.missing is not None:
            missing |= raw == self.missing
        try:
            values = np.array(self.decode(raw.copy(), companion), dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ImageError(f"quantization={self.name!r} cannot decode {path}: {error}") from error
        if values.shape != raw.shape or (np.isinf(values) & np.isfinite(raw) & ~missing).any():
            what = "infinite values"
            if values.shape != raw.shape:
                what = f"values of shape {values.shape}"
            raise ImageError(
                f"quantization={self.name!r} decodes pixels of shape {raw.shape} in {path} to "
                f"{what}; decode must return a float32 value for each, NaN where there is none."
            )
        values[missing] = np.nan
        return values

    def check_dtype(self, found: Any, path: str) -> None:
        """Refuse pixels of another type than the product's."""
        if np.dtype(found) != np.dtype(self.dtype):
            raise ImageError(
                f"{path} holds {np.dtype(found)}, but quantization={self.name!r} expects "
                f"{self.dtype}; leave quantization out if the values were converted already."
            )


def _holds_numbers(dtype: str) -> bool:
    try:
        # ml_dtypes, which onnx imports, teaches numpy more: no raster holds its int4 (kind "V")
        return np.dtype(dtype).kind in "iuf"
    except TypeError:
        return False


def _signed_squares(raw: np.ndarray, companion: None) -> np.ndarray:
    values = raw.astype(np.float32) / np.float32(127.5)
    return values * np.abs(values)


def scaled(raw: np.ndarray, scales: np.ndarray, missing: float = 0.0) -> np.ndarray:
    """Multiply by the scale of each pixel; a scale of `missing`, 0, NaN or infinity gives NaN."""
    there = np.isfinite(scales) & (scales != 0) & (scales != missing)
    usable = np.where(there, scales, np.nan).astype(np.float32)
    return raw.astype(np.float32) * usable.reshape(len(raw), -1)


PRODUCTS = {
    product.name: product
    for product in (
        Product("alphaearth", "int8", -128, None, _signed_squares),
        Product("tessera", "int8", None, "scales", scaled),
    )
}


def register_product(product: Product, *, overwrite: bool = False) -> None:
    """Give a product a name that :class:`~skgeo_embed.RasterEncoder` takes as `quantization`.

    The name holds in this process; a fitted encoder carries the product itself, so that its pickle
    works elsewhere.

    Parameters
    ----------
    product : Product
        The product, under its `name`.
    overwrite : bool, default=False
        Replace another product of that name.

    Raises
    ------
    ValueError
        If the name is taken.
    TypeError
        If it is not a Product.

    Examples
    --------
    >>> import numpy as np
    >>> from skgeo_embed.rasters import Product, register_product
    >>> def percent(raw, companion):
    ...     return raw.astype(np.float32) / 100
    >>> register_product(Product("percent", "uint8", 255, None, percent), overwrite=True)
    """
    if not isinstance(product, Product):
        raise TypeError(f"expected a Product, got {type(product).__name__}")
    if product.name in PRODUCTS and not overwrite:
        raise ValueError(
            f"there is a product {product.name!r} already; choose another name, or pass "
            "overwrite=True"
        )
    PRODUCTS[product.name] = product


def find_product(quantization: Any) -> Product | None:
    """Return the product that a user names or passes; None gives None.

    Raises
    ------
    ValueError
        If there is no product of that name.
    """
    if quantization is None or isinstance(quantization, Product):
        return quantization
    if quantization not in PRODUCTS:
        known = ", ".join(map(repr, sorted(PRODUCTS)))
        raise ValueError(
            f"The 'quantization' parameter of RasterEncoder must be a str among {{{known}}}, a "
            f"skgeo_embed.rasters.Product or None. Got {quantization!r} instead; register_product "
            "adds a name."
        )
    return PRODUCTS[quantization]
