"""From what rasters store to what it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skgeo_embed._errors import ImageError

if TYPE_CHECKING:
    from skgeo_embed.rasters.tiles import Tile

ALPHAEARTH_MISSING = -128


def dequantized(
    raw: np.ndarray, tile: Tile, quantization: str | None, scale: np.ndarray | None
) -> np.ndarray:
    """Return float32 values, (n, bands), of what a tile stores; NaN where one is missing.

    "alphaearth" is (v / 127.5)² with the sign of v, -128 missing; "tessera" is v times the pixel's
    scale, missing where that is 0 or not finite. Without a name it is what the file says itself:
    its scale, offset and missing value.
    """
    if isinstance(raw, np.ma.MaskedArray):
        values = dequantized(raw.filled(0), tile, quantization, scale)
        values[np.ma.getmaskarray(raw)] = np.nan
        return values
    if quantization == "alphaearth":
        _check_int8(raw, tile, quantization)
        values = raw.astype(np.float32) / np.float32(127.5)
        values *= np.abs(values)
        values[raw == ALPHAEARTH_MISSING] = np.nan
        return values
    if quantization == "tessera":
        _check_int8(raw, tile, quantization)
        assert scale is not None
        usable = np.where(np.isfinite(scale) & (scale != 0), scale, np.nan).astype(np.float32)
        return raw.astype(np.float32) * usable.reshape(len(raw), -1)
    with np.errstate(over="ignore"):  # an error below, where it is not a missing value
        values = raw.astype(np.float32)
    if tile.nodata is not None and not np.isnan(tile.nodata):
        values[raw == tile.nodata] = np.nan
    if tile.scales is not None:
        values *= np.asarray(tile.scales, dtype=np.float32)
    if tile.offsets is not None:
        values += np.asarray(tile.offsets, dtype=np.float32)
    too_large = np.isinf(values) & np.isfinite(raw)
    if too_large.any():
        raise ImageError(
            f"{tile.path} holds {raw[too_large][0]:g}, which float32 cannot; if it stands for "
            "missing values, say so in the file (nodata)."
        )
    return values


def _check_int8(raw: np.ndarray, tile: Tile, quantization: str) -> None:
    if raw.dtype != np.int8:
        raise ImageError(
            f"{tile.path} holds {raw.dtype}, but quantization={quantization!r} is of int8; leave "
            "quantization out if its values were converted already."
        )
