"""Regions: rectangles of degrees, written (west, south, east, north)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skgeo_embed._errors import warn_caller

Region = tuple[float, float, float, float]
WORLD: Region = (-180.0, -90.0, 180.0, 90.0)


def read_region(region: Any, *, lowest: float = -90.0, highest: float = 90.0) -> Region:
    """Check a region, and return it with east above west: above 180 across the antimeridian.

    Parameters
    ----------
    region : sequence of float
        West, south, east and north. Longitudes are in [-180, 360]; where east is less than west,
        the region crosses the antimeridian.
    lowest, highest : float
        Latitudes between which the region must lie.

    Raises
    ------
    ValueError
        If it is not a region of the Earth; the message says what is expected.
    """
    try:
        west, south, east, north = (float(edge) for edge in region)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"region must be four numbers (west, south, east, north) in degrees, got {region!r}."
        ) from error
    wide = 0 < (east - west if east >= west else east + 360 - west) <= 360
    if not (wide and min(west, east) >= -180 and max(west, east) <= 360):
        raise ValueError(
            "region must be (west, south, east, north) in degrees: longitudes from -180 to 360, "
            "east different from west and at most 360 degrees from it; "
            f"got {tuple(region)!r}. Across the antimeridian write "
            "(170, -20, 190, -10) or (170, -20, -170, -10)."
        )
    if not lowest <= south < north <= highest:
        raise ValueError(
            "region must be (west, south, east, north) in degrees: south below north, both from "
            f"{lowest:g} to {highest:g}; got {tuple(region)!r}."
        )
    return west, south, east if east > west else east + 360, north


def region_or_bounds(region: Sequence[float] | None, bounds: Any) -> Sequence[float] | None:
    """Return `region`, or, with a warning, what was passed under its earlier name `bounds`."""
    if bounds is None:
        return region
    if region is not None:
        raise ValueError("pass region only; bounds is its earlier name.")
    warn_caller("bounds is called region now; bounds will be removed.", FutureWarning)
    return bounds
