"""GPS2Vec's input: distances to the cells of a point's UTM zone (Yin et al. 2019, 2021)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

N_CELLS = 20
DECAY_METRES = 20_000.0
SOUTH, NORTH = -80.0, 84.0
BANDS = "CDEFGHJKLMNPQRSTUVWXX"
_TOP_GAP = 1e-8  # the top edge of a zone still belongs to its band
_EDGE_STEP = 0.1
# Svalbard's wide zones in band X and Norway's 32V: zone -> first and last meridian
_WIDE = {"32V": (3, 12), "31X": (0, 9), "33X": (9, 21), "35X": (21, 33), "37X": (33, 42)}


def zone_names(lonlat: np.ndarray) -> np.ndarray:
    """Name the UTM zone of each place, such as "48 N", with the exceptions of Norway and Svalbard.

    Latitudes outside 80°S to 84°N get an empty name.
    """
    lon, lat = lonlat.T
    inside = (lat >= SOUTH) & (lat <= NORTH)
    number = np.floor((lon + 180) / 6).astype(int) % 60 + 1
    number[(lat >= 56) & (lat < 64) & (lon >= 3) & (lon < 12)] = 32
    svalbard = (lat >= 72) & (lat <= 84) & (lon >= 0) & (lon < 42)
    number[svalbard] = np.array([31, 33, 35, 37])[np.digitize(lon[svalbard], [9, 21, 33])]
    band = np.clip((np.where(inside, lat, 0) - SOUTH) // 8, 0, len(BANDS) - 1).astype(int)
    names = np.char.add(np.char.add(number.astype(str), " "), np.array(list(BANDS))[band])
    return np.where(inside, names, "")


def distance_grid(lonlat: np.ndarray, zone: str) -> np.ndarray:
    """Return exp(-distance / 20 km) to the 20 × 20 cells of `zone`, (n, easting, northing)."""
    utm = import_utm()
    number, band = int(zone.split()[0]), zone.split()[1]
    easting, northing, _, _ = utm.from_latlon(
        lonlat[:, 1], lonlat[:, 0], force_zone_number=number, force_zone_letter=band
    )
    columns, rows = _cell_centres(number, band)
    across = (easting[:, None] - columns) ** 2
    along = (northing[:, None] - rows) ** 2
    return np.exp(-np.sqrt(across[:, :, None] + along[:, None, :]) / DECAY_METRES)


@lru_cache(maxsize=2048)
def _cell_centres(number: int, band: str) -> tuple[np.ndarray, np.ndarray]:
    """Eastings and northings of the cell centres of a zone.

    Columns run from the westernmost easting of the zone's west edge to its mirror image about
    the central meridian; rows from the lowest northing of its bottom edge to the highest of its
    top edge, both sampled every 0.1°.
    """
    utm = import_utm()
    west, east = _WIDE.get(f"{number}{band}", (6 * number - 186, 6 * number - 180))
    bottom = SOUTH + 8 * BANDS.index(band)
    top = bottom + (12 if band == "X" else 8) - _TOP_GAP
    steps = np.full(round((east - west) / _EDGE_STEP) + 1, _EDGE_STEP)
    steps[0] = west
    edge = np.add.accumulate(steps)  # adding up 0.1 may end just below the east edge, as theirs
    edge = edge[edge < east]

    def project(lat: float) -> Any:
        return utm.from_latlon(
            np.full_like(edge, lat), edge, force_zone_number=number, force_zone_letter=band
        )

    low, high = project(bottom), project(top)
    first = min(low[0][0], high[0][0])
    step_x = (1_000_000 - 2 * first) / N_CELLS
    row_min, row_max = low[1].min(), high[1].max()
    step_y = (row_max - row_min) / N_CELLS
    middle = np.arange(N_CELLS) + 0.5
    return first + step_x * middle, row_min + step_y * middle


def import_utm() -> Any:
    """Import utm, an optional package."""
    try:
        import utm
    except ImportError as error:
        raise ImportError(
            'GPS2VecEncoder needs utm: pip install "skgeo-embed[third-party]"'
        ) from error
    return utm
