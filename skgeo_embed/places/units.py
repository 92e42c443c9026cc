"""Units that an input names itself: degrees stay, radians are converted, others are refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.columns import WORDS

_DEGREES = re.compile(r"(?:°|deg|degs|degree|degrees)(?:[ _]?(?P<axis>east|north|e|n|true))?")
_RADIANS = re.compile(r"rad|rads|radian|radians")


def unit_of(values: Any) -> str:
    """Return the unit that an xarray object or a pandas Series has in its attributes, or ""."""
    attributes = getattr(values, "attrs", None)
    unit = attributes.get("units") if isinstance(attributes, dict) else None
    return unit.strip() if isinstance(unit, str) else ""


def is_radian(unit: str) -> bool:
    """Say whether a unit is the radian."""
    return _RADIANS.fullmatch(unit.lower()) is not None


def in_degrees(numbers: np.ndarray, unit: str, kind: str, what: str) -> np.ndarray:
    """Convert longitudes or latitudes from the unit that they are said to be in.

    Parameters
    ----------
    numbers : ndarray
        Values as they are written.
    unit : str
        Such as "degrees_east" or "radian"; "" and "1" say nothing, and degrees are meant.
    kind : {"lon", "lat"}
        What the numbers are.
    what : str
        Words for the message.

    Raises
    ------
    CoordinateError
        If the unit is neither degrees nor radians, or that of the other axis.
    """
    if unit in ("", "1"):
        return numbers
    if is_radian(unit):
        return np.rad2deg(numbers)
    found = _DEGREES.fullmatch(unit.lower())
    if found is None:
        raise CoordinateError(
            f"{what} have the unit {unit!r}, and the {WORDS[kind]} must be in degrees; convert "
            'them, and set attrs["units"] = "degrees".'
        )
    if found["axis"] in {"lon": ("north", "n"), "lat": ("east", "e")}[kind]:
        raise CoordinateError(
            f"{what} have the unit {unit!r}, so they are not the {WORDS[kind]}: longitude and "
            "latitude look swapped."
        )
    return numbers
