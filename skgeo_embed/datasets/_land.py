"""Land and coastlines."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

import numpy as np

from skgeo_embed.places.reading import read_axis

_SCALE = 100  # vertices are stored in hundredths of a degree
PLACES_AT_A_TIME = 256  # with similar latitudes, so that few edges are near


def land_mask(lon: Any, lat: Any) -> np.ndarray:
    """Say which nodes of a grid lie on land.

    Lakes count as land, except the Caspian Sea. Islands of less than about 250 km² are missing.

    Parameters
    ----------
    lon : array-like of shape (n_lon,)
        Longitudes in degrees.
    lat : array-like of shape (n_lat,)
        Latitudes in degrees.

    Returns
    -------
    on_land : ndarray of shape (n_lat, n_lon), bool
        True on land.

    Raises
    ------
    CoordinateError
        If an axis is not one-dimensional, or has missing or out-of-range values.

    Notes
    -----
    From Natural Earth 1:10m (public domain), simplified to 0.05°.

    Examples
    --------
    >>> from skgeo_embed.datasets import land_mask
    >>> land_mask([-30, 10, 135], [45, -25])
    array([[False,  True,  True],
           [False, False,  True]])
    """
    longitudes, latitudes = read_axis(lon, "lon"), read_axis(lat, "lat")
    return np.array([_land_along(latitude, longitudes) for latitude in latitudes])


def _land_along(latitude: float, longitudes: Any) -> Any:
    # a point is inside where the line to the west crosses an odd number of edges
    starts, ends = _edges()
    crossed = np.flatnonzero((starts[:, 1] <= latitude) != (ends[:, 1] <= latitude))
    (x0, y0), (x1, y1) = starts[crossed].T, ends[crossed].T
    crossings = np.sort(x0 + (latitude - y0) / (y1 - y0) * (x1 - x0))
    return np.searchsorted(crossings, longitudes, side="right") % 2 == 1


def places_on_land(lonlat: np.ndarray) -> np.ndarray:
    """Say which places lie on land, (n,) bool, of degrees with longitude in [-180, 180)."""
    starts, ends = _edges()
    low, high = (choose(starts[:, 1], ends[:, 1]) for choose in (np.minimum, np.maximum))
    on_land = np.empty(len(lonlat), dtype=bool)
    order = np.argsort(lonlat[:, 1], kind="stable")
    for first in range(0, len(order), PLACES_AT_A_TIME):
        rows = order[first : first + PLACES_AT_A_TIME]
        lon, lat = lonlat[rows, 0, None], lonlat[rows, 1, None]
        near = (low <= lat.max()) & (high >= lat.min()) & (low < high)
        (x0, y0), (x1, y1) = starts[near].T, ends[near].T
        crossed = (y0 <= lat) != (y1 <= lat)
        to_the_west = x0 + (lat - y0) / (y1 - y0) * (x1 - x0) <= lon
        on_land[rows] = (crossed & to_the_west).sum(axis=1) % 2 == 1
    return on_land


def load_coastlines() -> list[np.ndarray]:
    """Load the coasts of the Earth as lines.

    Returns
    -------
    lines : list of ndarray of shape (n, 2)
        Longitude and latitude in degrees. Lines are cut at the antimeridian.

    Notes
    -----
    From Natural Earth 1:10m (public domain), simplified to 0.05°.

    Examples
    --------
    >>> from skgeo_embed.datasets import load_coastlines
    >>> lines = load_coastlines()
    >>> lines[0].shape[1]
    2
    """
    lines = []
    for ring in _rings():
        on_frame = (np.abs(ring[:, 0]) == 180) | (ring[:, 1] == -90)
        cut = np.flatnonzero(on_frame[1:] & on_frame[:-1]) + 1  # the edge of the map is not a coast
        lines += [line for line in np.split(ring, cut) if len(line) > 1]
    return lines


@functools.cache
def _rings() -> list[np.ndarray]:
    with (files("skgeo_embed.datasets") / "data" / "land.npz").open("rb") as file:
        stored = np.load(file)
        vertices = stored["vertices"] / _SCALE
        return np.split(vertices, stored["starts"][1:-1])


@functools.cache
def _edges() -> tuple[np.ndarray, np.ndarray]:
    rings = _rings()
    starts = np.concatenate([ring[:-1] for ring in rings])
    ends = np.concatenate([ring[1:] for ring in rings])
    return starts, ends
