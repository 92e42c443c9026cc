"""Longitude and latitude that look swapped, though both are in range."""

from __future__ import annotations

import functools
from importlib.resources import files

import numpy as np

from skgeo_embed._errors import SwappedCoordinateWarning, warn_caller

SAMPLED = 256  # rows, evenly taken
FEWEST_PLACES = 20
MOST_AS_GIVEN = 0.5  # share of places near land as they are given,
LEAST_SWAPPED = 0.98  # and as they would be the other way round
ANTARCTICA = -60  # degrees of latitude: its land counts as sea, where hardly any table lies
CELLS_A_DEGREE = 2
# the same words each time, so that Python shows them once for each line of the user's code
MESSAGE = (
    "longitude and latitude look swapped: as given, most of these places lie in the open sea or in "
    "Antarctica, and with the two columns exchanged nearly all lie on land. The order is "
    '(longitude, latitude): pass df[["lon", "lat"]] or X[:, ::-1], or correct the names of the '
    "columns. If the places are meant to be at sea, silence this by "
    'warnings.simplefilter("ignore", skgeo_embed.SwappedCoordinateWarning).'
)


def warn_if_swapped(lonlat: np.ndarray) -> None:
    """Warn if places, (n, 2) in degrees, lie at sea as given and on land if exchanged.

    Few places, unclear cases and values that cannot be exchanged give no warning.
    """
    rows = np.flatnonzero(np.isfinite(lonlat[:, :2]).all(axis=1))
    sample = lonlat[rows[:: max(1, len(rows) // SAMPLED)], :2]
    if len(sample) < FEWEST_PLACES or np.abs(sample).max() > 90:
        return
    lon, lat = sample.T
    if (
        _near_land(lon, lat) <= MOST_AS_GIVEN
        and _near_land(lat, lon) >= LEAST_SWAPPED
        and len(np.unique(sample, axis=0)) >= FEWEST_PLACES
    ):
        warn_caller(MESSAGE, SwappedCoordinateWarning)


def _near_land(lon: np.ndarray, lat: np.ndarray) -> float:
    """Return the share of places that lie within half a degree or so of inhabited land."""
    row = np.minimum((lat + 90) * CELLS_A_DEGREE, 180 * CELLS_A_DEGREE - 1).astype(int)
    column = ((lon + 180) * CELLS_A_DEGREE).astype(int) % (360 * CELLS_A_DEGREE)
    return float((_cells_near_land()[row, column] & (lat > ANTARCTICA)).mean())


@functools.cache
def _cells_near_land() -> np.ndarray:
    """Load which cells of half a degree are land or touch a cell that is, rows from the south."""
    with (files("skgeo_embed") / "datasets" / "data" / "near_land.npz").open("rb") as file:
        bits = np.unpackbits(np.load(file)["cells"])
    return bits.reshape(180 * CELLS_A_DEGREE, 360 * CELLS_A_DEGREE).astype(bool)
