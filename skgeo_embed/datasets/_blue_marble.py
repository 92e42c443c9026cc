"""Tiles of NASA's Blue Marble with their coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.utils import Bunch, check_random_state

from skgeo_embed.datasets._air_temperature import DATA_FOLDER
from skgeo_embed.places.sphere import KM_PER_DEGREE

PIXELS_AT_A_TIME = 2**20
SOUTH, NORTH = -60.0, 84.0  # the mosaic shows nothing real south of 60°S
_DESCR = """\
Tiles of NASA's Blue Marble Next Generation, August 2004 (public domain; credit: NASA Earth
Observatory, Reto Stöckli), and of its city lights at night, about 5 km a pixel, with the longitude
and latitude (degrees) of their centres, drawn uniformly by area between 60°S and 84°N. Every tile
covers the same ground."""


def load_blue_marble(
    n_tiles: int = 2000,
    *,
    tile_size: int = 32,
    km_per_pixel: float | Sequence[float] = 5.0,
    night_lights: bool = False,
    land_only: bool = True,
    random_state: int | np.random.RandomState | None = None,
    return_X_y: bool = False,
) -> Any:
    """Cut image tiles from a global satellite mosaic, with their centre coordinates.

    Centres are drawn uniformly by area on the sphere between 60°S and 84°N. A tile covers the
    same ground at any latitude: its columns lie ``km_per_pixel / cos(lat)`` apart in
    longitude, so that its shape does not give its latitude away.

    Parameters
    ----------
    n_tiles : int, default=2000
        Number of tiles.
    tile_size : int, default=32
        Height and width of a tile in pixels.
    km_per_pixel : float or sequence of float, default=5.0
        Ground distance between pixels; the mosaic's own is 5 km. Several give a tile of
        several scales around one centre, their bands after each other.
    night_lights : bool, default=False
        Add the lights of cities at night as a fourth band.
    land_only : bool, default=True
        Draw only centres on land (as the mosaic's colours show it; lakes are water).
    random_state : int, RandomState instance or None, default=None
        Seeds the draw.
    return_X_y : bool, default=False
        Return ``(images, coords)`` instead of a Bunch.

    Returns
    -------
    tiles : Bunch
        With `images` (n_tiles, bands, tile_size, tile_size), uint8, north up: red, green and
        blue, night lights if asked for, and these again for each further scale;
        `coords` (n_tiles, 2), float64, longitude and latitude of the centres in degrees;
        `DESCR`.
    (images, coords) : tuple
        If `return_X_y`.

    Raises
    ------
    ImportError
        If Pillow is missing.
    ValueError
        If `n_tiles`, `tile_size` or `km_per_pixel` is not positive.

    Examples
    --------
    >>> from skgeo_embed.datasets import load_blue_marble
    >>> tiles = load_blue_marble(n_tiles=10, random_state=0)
    >>> tiles.images.shape, tiles.coords.shape
    ((10, 3, 32, 32), (10, 2))
    """
    scales = np.atleast_1d(km_per_pixel)
    for name, value in (
        ("n_tiles", n_tiles),
        ("tile_size", tile_size),
        ("km_per_pixel", scales.min().item() if scales.size else 0),
    ):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}.")
    mosaic = read_mosaic()
    coords = _draw_centres(mosaic, n_tiles, land_only, check_random_state(random_state))
    shown = [mosaic, read_night_lights()] if night_lights else [mosaic]
    images = np.concatenate(
        [cut_tiles(picture, coords, tile_size, km) for km in scales for picture in shown], axis=1
    )
    if return_X_y:
        return images, coords
    return Bunch(images=images, coords=coords, DESCR=_DESCR)


@lru_cache(maxsize=1)
def read_mosaic() -> np.ndarray:
    """Return the mosaic, (height, width, 3) uint8, equirectangular, north up, from 180°W."""
    return _read_picture("blue_marble_august.webp", "RGB")


@lru_cache(maxsize=1)
def read_night_lights() -> np.ndarray:
    """Return the lights of cities, (height, width, 1) uint8, on the grid of the mosaic."""
    return _read_picture("night_lights.webp", "L")[:, :, None]


def _read_picture(name: str, mode: str) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "load_blue_marble reads an image file, which needs Pillow: "
            'pip install "skgeo-embed[images]"'
        ) from error
    with Image.open(DATA_FOLDER / name) as image:
        picture = np.asarray(image.convert(mode))
    picture.setflags(write=False)
    return picture


def is_land(mosaic: np.ndarray, coords: np.ndarray) -> np.ndarray:
    """Say which places are land by the mosaic's colours.

    Against the land mask of the PyPI package global-land-mask it finds 98.6 % of the water
    and takes 0.4 % of the land for water.
    """
    colour = mosaic[pixel_of(mosaic, coords[:, 0], coords[:, 1])].astype(int)
    red, blue = colour[:, 0], colour[:, 2]
    return ~((blue > red + 5) & (red < 70))


def cut_tiles(
    mosaic: np.ndarray, coords: np.ndarray, tile_size: int, km_per_pixel: float
) -> np.ndarray:
    """Cut a tile of constant ground footprint around each centre, (n, bands, size, size)."""
    steps = (np.arange(tile_size) - (tile_size - 1) / 2) * km_per_pixel / KM_PER_DEGREE
    tiles = np.empty((len(coords), mosaic.shape[2], tile_size, tile_size), dtype=np.uint8)
    count = max(1, PIXELS_AT_A_TIME // tile_size**2)
    for start in range(0, len(coords), count):
        lon, lat = coords[start : start + count].T[:, :, None]
        lats = np.clip(lat - steps, -90, 90)[:, :, None]  # north up; (n, size, 1)
        lons = (lon + steps / np.cos(np.deg2rad(lat)))[:, None, :]  # (n, 1, size)
        pixels = mosaic[pixel_of(mosaic, lons, lats)]  # (n, size, size, bands)
        tiles[start : start + count] = pixels.transpose(0, 3, 1, 2)
    return tiles


def pixel_of(mosaic: np.ndarray, lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the pixel that holds each place."""
    height, width = mosaic.shape[:2]
    row = np.floor((90 - lat) / 180 * height).astype(int).clip(0, height - 1)
    column = np.floor((lon + 180) / 360 * width).astype(int) % width
    return row, column


def _draw_centres(
    mosaic: np.ndarray, n_tiles: int, land_only: bool, rng: np.random.RandomState
) -> np.ndarray:
    low, high = np.sin(np.deg2rad([SOUTH, NORTH]))
    kept = np.empty((0, 2))
    while len(kept) < n_tiles:
        lon = rng.uniform(-180, 180, n_tiles)
        lat = np.rad2deg(np.arcsin(rng.uniform(low, high, n_tiles)))
        drawn = np.column_stack([lon, lat])
        kept = np.concatenate([kept, drawn[is_land(mosaic, drawn)] if land_only else drawn])
    return kept[:n_tiles]
