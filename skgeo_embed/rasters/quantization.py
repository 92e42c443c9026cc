"""Values of quantised rasters."""

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
    """Turn stored pixels into float32 values, (n, bands), with NaN for missing ones.

    "alphaearth" is (v / 127.5)² with the sign of v, and -128 is missing; "tessera" is v times the
    pixel's scale, missing if the scale is 0 or not finite. None applies the scale, the offset and
    the missing value that the file states.
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
    with np.errstate(over="ignore"):  # an error is raised below, unless the value is missing
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
            f"{tile.path} holds {raw[too_large][0]:g}, which float32 cannot represent; if it marks "
            "missing values, declare it as nodata in the file."
        )
    return values


def _check_int8(raw: np.ndarray, tile: Tile, quantization: str) -> None:
    if raw.dtype != np.int8:
        raise ImageError(
            f"{tile.path} holds {raw.dtype}, but quantization={quantization!r} expects int8; leave "
            "quantization out if the values were converted already."
        )
