"""Which columns of a table are longitude and latitude."""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from skgeo_embed._errors import CoordinateError

_LON_WORDS = frozenset({"lon", "lng", "long", "longitude", "longitudes", "lons"})
_RADIANS = frozenset({"rad", "radian", "radians"})
_LAT_WORDS = frozenset({"lat", "latitude", "latitudes", "lats"})
ACCEPTED = (
    "coordinates must be (n, 2): longitude then latitude, in degrees (WGS84), "
    "or a frame with columns such as 'lon' and 'lat'"
)
NAME_THEM = (
    "name them with lon=... and lat=... (--lon and --lat on the command line), rename them to "
    "'lon' and 'lat', or pass X.to_numpy() with longitude first"
)
PASS_COORDS = (
    "pass coords beside X (cross-validation functions hand it on after "
    "set_split_request(coords=True)), or rename the columns to 'lon' and 'lat'"
)
WORDS = {"lon": "longitude", "lat": "latitude"}


def classify_column(name: Any) -> str | None:
    """Return "lon", "lat" or None for a column name; case, prefixes and units do not matter.

    Of the tuples that name the columns of a MultiIndex the last level counts.

    Examples
    --------
    >>> from skgeo_embed.places.columns import classify_column
    >>> [classify_column(c) for c in ("Lng", "decimalLatitude", ("site", "lon"), "price")]
    ['lon', 'lat', 'lon', None]
    """
    if isinstance(name, tuple) and name:
        name = name[-1]
    if isinstance(name, bytes):
        name = name.decode(errors="replace")
    if not isinstance(name, str):
        return None
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = set(re.split(r"[^a-z]+", spaced.lower()))
    is_lon, is_lat = bool(words & _LON_WORDS), bool(words & _LAT_WORDS)
    if is_lon == is_lat or words & _RADIANS:
        return None
    return "lon" if is_lon else "lat"


def find_lonlat(names: Sequence[Any], lon: Any, lat: Any) -> tuple[int, int] | None:
    """Positions of longitude and latitude among names, chosen or recognised; None if unclear."""
    found = []
    for kind, chosen in (("lon", lon), ("lat", lat)):
        if chosen is None:
            matches = [i for i, name in enumerate(names) if classify_column(name) == kind]
        else:
            matches = [i for i, name in enumerate(names) if _is_named(name, chosen)]
            if not matches:
                raise CoordinateError(
                    f"{kind}={chosen!r}: there is no such column; there are {_listed(names)}."
                )
        if len(matches) != 1:
            return None
        found.append(matches[0])
    if found[0] == found[1]:
        raise CoordinateError(f"lon={lon!r} and lat={lat!r} are the same column.")
    return found[0], found[1]


def unclear_columns(names: Sequence[Any], lon: Any, lat: Any, remedy: str) -> str:
    """Say which of longitude and latitude was not recognised among names, and what to do."""
    problems: list[str] = []
    lowered = [str(name).lower() for name in names]
    if {"x", "y"} <= set(lowered):
        x, y = (names[lowered.index(axis)] for axis in "xy")
        remedy = f"if {x!r} and {y!r} are degrees, {remedy}"
    for kind, chosen in (("lon", lon), ("lat", lat)):
        matches = [name for name in names if classify_column(name) == kind]
        if chosen is not None:
            named = sum(_is_named(name, chosen) for name in names)
            if named > 1:
                problems.append(f"{named} columns are named {chosen!r}")
                remedy = "rename one of them"
        elif len(matches) > 1:
            several = ", ".join(map(repr, matches))
            problems.append(f"several columns could be the {WORDS[kind]}: {several}")
        elif not matches:
            problems.append(f"there is no column that is recognised as the {WORDS[kind]}")
    return f"{'; '.join(problems)}. The columns are {_listed(names)}: {remedy}."


def are_numbered(names: Sequence[Any]) -> bool:
    """Say whether names are numbers, as pandas gives columns without names."""
    return all(isinstance(name, Integral) and not isinstance(name, bool) for name in names)


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise if coordinates do not have the shape (n, 2)."""
    if len(shape) != 2:
        raise CoordinateError(
            f"Expected 2D array, got {len(shape)}D array instead (shape {shape}): {ACCEPTED}. "
            "Reshape your data either using array.reshape(-1, 2) if it holds pairs, or write a "
            "single place as [[lon, lat]]."
        )
    check_not_empty(shape)
    if shape[1] != 2:
        wanted = "a minimum of 2 is" if shape[1] < 2 else "exactly 2 are"
        raise CoordinateError(
            f"{shape[1]} feature(s) (shape={shape}) while {wanted} required. The {ACCEPTED}. "
            'Select two columns, for example df[["lon", "lat"]] or X[:, [0, 1]], or use '
            'ColumnTransformer([("emb", encoder, ["lon", "lat"])]) to encode two columns of a '
            "wider table."
        )


def check_not_empty(shape: tuple[int, ...]) -> None:
    """Refuse tables without rows."""
    if shape[0] == 0:
        raise CoordinateError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required: "
            f"there is no coordinate to read. The {ACCEPTED}."
        )


def check_only_lonlat(
    names: list[Any], shape: tuple[int, int], found: tuple[int, int] | None
) -> None:
    """Refuse a table that has other columns beside longitude and latitude."""
    if shape[1] != 2 and found is not None:
        pair = [names[position] for position in found]
        raise CoordinateError(
            f"got {shape[1]} feature(s) {names[:8]} (shape={shape}) while 2 are required; select "
            f"the two coordinate columns with X[{pair!r}], or use ColumnTransformer([('emb', "
            f"encoder, {pair!r})]) to encode them beside the others."
        )
    check_shape(shape)


def _is_named(name: Any, chosen: Any) -> bool:
    name, chosen = (
        n.decode(errors="replace") if isinstance(n, bytes) else n for n in (name, chosen)
    )
    return name == chosen or (isinstance(name, tuple) and bool(name) and name[-1] == chosen)


def _listed(names: Sequence[Any]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{list(names)[:8]}{more}"
