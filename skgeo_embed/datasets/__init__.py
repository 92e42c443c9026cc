"""Data sets, shipped with the package or downloaded on request."""

from __future__ import annotations

from skgeo_embed.datasets._air_temperature import load_air_temperature
from skgeo_embed.datasets._blue_marble import load_blue_marble, load_earth_tiles
from skgeo_embed.datasets._land import land_mask, load_coastlines
from skgeo_embed.datasets._s2_100k import fetch_s2_100k
from skgeo_embed.datasets._sentinel2 import load_sentinel2_patches

__all__ = [
    "fetch_s2_100k",
    "land_mask",
    "load_air_temperature",
    "load_blue_marble",
    "load_coastlines",
    "load_earth_tiles",
    "load_sentinel2_patches",
]
