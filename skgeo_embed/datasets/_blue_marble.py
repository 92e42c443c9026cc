"""Tiles of global mosaics, NASA's Blue Marble among them, with their coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.utils import Bunch, check_random_state

from skgeo_embed._region import Region, read_region, region_or_bounds
from skgeo_embed._sphere import KM_PER_DEGREE
from skgeo_embed.datasets._air_temperature import DATA_FOLDER

PIXELS_AT_A_TIME = 2**20
MOST_TRIES = 10_000  # draws until a region is said to have no land
SOUTH, NORTH = -60.0, 84.0  # the mosaic shows nothing real south of 60°S
BANDS = {  # name: file, colours of the picture
    "august": ("blue_marble_august.webp", "RGB"),
    "autumn": ("blue_marble_autumn.webp", "RGB"),
    "may": ("blue_marble_may.webp", "RGB"),
    "lights": ("night_lights.webp", "L"),
    "elevation": ("elevation.webp", "L"),
}
_DESCR = """\
Tiles of {bands}, public domain (NASA Earth Observatory, Reto Stöckli; NOAA ETOPO1), with the
longitude and latitude (degrees) of their centres, drawn uniformly by area between 60°S and 84°N.
Every tile covers the same ground. A pixel of August and of the lights is 5 km wide, of autumn and
elevation 10 km, of May 20 km. Elevation is 128 + 1.2 sign(z) sqrt(|z|), z in metres."""


def load_earth_tiles(
    n_tiles: int = 2000,
    *,
    tile_size: int = 32,
    km_per_pixel: float | Sequence[float] = 5.0,
    bands: Sequence[str] = tuple(BANDS),
    region: Sequence[float] | None = None,
    land_only: bool = True,
    random_state: int | np.random.RandomState | None = None,
    return_X_y: bool = False,
    bounds: Sequence[float] | None = None,
) -> Any:
    """Cut image tiles from global mosaics of three seasons, lights and elevation.

    Centres are drawn uniformly by area on the sphere between 60°S and 84°N. A tile covers the
    same ground at any latitude: its columns are ``km_per_pixel / cos(lat)`` apart in
    longitude, so its shape does not reveal its latitude.

    Parameters
    ----------
    n_tiles : int, default=2000
        Number of tiles.
    tile_size : int, default=32
        Height and width of a tile in pixels.
    km_per_pixel : float or sequence of float, default=5.0
        Ground distance between pixels. Several distances give tiles of several scales around one
        centre, with the bands of one scale after those of another.
    bands : sequence of str, default=("august", "autumn", "may", "lights", "elevation")
        Layers to cut: Blue Marble of three seasons (three bands each), the lights of cities at
        night, and elevation.
    region : (west, south, east, north), default=None
        Degrees within which centres are drawn, between 60°S, where the imagery begins, and 84°N;
        across the antimeridian east is greater than 180, or less than west. None is all of it.
    land_only : bool, default=True
        Draw only centres on land, according to the colours of the August mosaic; lakes are water.
    random_state : int, RandomState instance or None, default=None
        Seeds the draw; the centres do not depend on the bands.
    return_X_y : bool, default=False
        Return ``(images, coords)`` instead of a Bunch.
    bounds : (west, south, east, north), default=None
        Deprecated: the earlier name of `region`.

    Returns
    -------
    tiles : Bunch
        With `images` (n_tiles, n_bands, tile_size, tile_size), uint8, north up; `coords`
        (n_tiles, 2), float64, longitude and latitude of the centres in degrees; `DESCR`.
    (images, coords) : tuple
        If `return_X_y`.

    Raises
    ------
    ImportError
        If Pillow is missing.
    ValueError
        If a number is not positive, a band is unknown, or the region has no land.

    Examples
    --------
    >>> from skgeo_embed.datasets import load_earth_tiles
    >>> tiles = load_earth_tiles(n_tiles=10, tile_size=8, random_state=0)
    >>> tiles.images.shape, tiles.coords.shape
    ((10, 11, 8, 8), (10, 2))
    """
    scales = np.atleast_1d(km_per_pixel)
    smallest = scales.min().item() if scales.size else 0
    _check_positive(n_tiles=n_tiles, tile_size=tile_size, km_per_pixel=smallest)
    if isinstance(bands, str) or not set(bands) <= set(BANDS) or not len(bands):
        raise ValueError(f"bands must be a list of {', '.join(BANDS)}, got {bands!r}.")
    drawn_region = _drawn_region(region_or_bounds(region, bounds))
    rng = check_random_state(random_state)
    coords = _draw_centres(read_mosaic(), n_tiles, land_only, rng, drawn_region)
    shown = [read_band(name) for name in bands]
    images = np.concatenate(
        [cut_tiles(picture, coords, tile_size, km) for km in scales for picture in shown], axis=1
    )
    if return_X_y:
        return images, coords
    return Bunch(images=images, coords=coords, DESCR=_DESCR.format(bands=", ".join(bands)))


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
    """Cut colour tiles of August; :func:`load_earth_tiles` has more layers.

    Parameters
    ----------
    n_tiles, tile_size, km_per_pixel, land_only, random_state, return_X_y
        As for :func:`load_earth_tiles`.
    night_lights : bool, default=False
        Add the lights of cities at night as a fourth band.

    Returns
    -------
    tiles : Bunch or tuple
        As of :func:`load_earth_tiles`.

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
    return load_earth_tiles(
        n_tiles,
        tile_size=tile_size,
        km_per_pixel=km_per_pixel,
        bands=("august", "lights") if night_lights else ("august",),
        land_only=land_only,
        random_state=random_state,
        return_X_y=return_X_y,
    )


@lru_cache(maxsize=len(BANDS))
def read_band(name: str) -> np.ndarray:
    """Return a layer, (height, width, 1 or 3) uint8, equirectangular, north up, from 180°W."""
    picture = _read_picture(*BANDS[name])
    return picture if picture.ndim == 3 else picture[:, :, None]


def read_mosaic() -> np.ndarray:
    """Return the August mosaic, whose colours tell land from water."""
    return read_band("august")


def _read_picture(name: str, mode: str) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "the global layers are image files, which need Pillow: "
            'pip install "skgeo-embed[images]"'
        ) from error
    with Image.open(DATA_FOLDER / name) as image:
        picture = np.asarray(image.convert(mode))
    picture.setflags(write=False)
    return picture


def is_land(mosaic: np.ndarray, coords: np.ndarray) -> np.ndarray:
    """Say which places are land, by the colours of the mosaic.

    Compared with the land mask of the PyPI package global-land-mask, it finds 98.6 % of the water
    and calls 0.4 % of the land water.
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
    """Return the row and column of the pixel that holds each place."""
    height, width = mosaic.shape[:2]
    row = np.floor((90 - lat) / 180 * height).astype(int).clip(0, height - 1)
    column = np.floor((lon + 180) / 360 * width).astype(int) % width
    return row, column


def _check_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}.")


def _drawn_region(region: Sequence[float] | None) -> Region:
    if region is None:
        return -180.0, SOUTH, 180.0, NORTH
    return read_region(region, lowest=SOUTH, highest=NORTH)


def _draw_centres(
    mosaic: np.ndarray,
    n_tiles: int,
    land_only: bool,
    rng: np.random.RandomState,
    region: Region,
) -> np.ndarray:
    west, south, east, north = region
    low, high = np.sin(np.deg2rad([south, north]))
    kept, tried = np.empty((0, 2)), 0
    while len(kept) < n_tiles:
        lon = rng.uniform(west, east, n_tiles)
        if east > 180:
            lon = (lon + 180) % 360 - 180
        lat = np.rad2deg(np.arcsin(rng.uniform(low, high, n_tiles)))
        drawn = np.column_stack([lon, lat])
        kept = np.concatenate([kept, drawn[is_land(mosaic, drawn)] if land_only else drawn])
        tried += n_tiles
        if tried > MOST_TRIES and not len(kept):
            raise ValueError(f"region={region!r} has no land.")
    return kept[:n_tiles]
