"""Turns stored pixels into values."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed.rasters.tiles import Tile


def decoded(raw: np.ndarray, tile: Tile, companion: Any) -> np.ndarray:
    """Turn stored pixels into float32 values, (n, bands), with NaN for missing ones.

    Without a product, the scale, the offset and the missing value that the file states count.
    """
    if isinstance(companion, np.ma.MaskedArray):
        companion = np.ma.filled(companion.astype(np.float32), np.nan)
    if tile.product is not None:
        return tile.product.values(raw, companion, tile.path)
    values = _as_the_file_says(np.ma.filled(raw, 0), tile)
    if isinstance(raw, np.ma.MaskedArray):
        values[np.ma.getmaskarray(raw)] = np.nan
    return values


def _as_the_file_says(raw: np.ndarray, tile: Tile) -> np.ndarray:
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
