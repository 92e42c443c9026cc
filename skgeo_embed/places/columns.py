"""Which columns of a table are longitude and latitude."""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.numbers import is_from, to_float64

_LON_WORDS = frozenset({"lon", "lng", "long", "longitude", "longitudes", "lons"})
_RADIANS = frozenset({"rad", "radian", "radians"})
_LAT_WORDS = frozenset({"lat", "latitude", "latitudes", "lats"})
ACCEPTED = (
    "coordinates must be (n, 2): longitude then latitude, in degrees (WGS84), "
    "or a frame with columns such as 'lon' and 'lat'"
)


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


def column_names(X: Any) -> list[Any] | None:
    """Names of a table's columns, None where they have none; the table is not read."""
    if is_from(X, "pyarrow"):
        if not hasattr(X, "schema"):
            raise CoordinateError(f"got an arrow {type(X).__name__}; {ACCEPTED}.")
        return list(X.schema.names)
    if is_from(X, "xarray"):
        return _names_of_xarray(X)
    if is_from(X, "polars") and not hasattr(X, "columns") and "Struct" in str(X.dtype):
        raise CoordinateError("got a polars Series of structs; use X.struct.unnest().")
    if getattr(getattr(X, "dtype", None), "names", None):
        return list(X.dtype.names)
    if hasattr(X, "columns") and hasattr(X, "shape"):
        return list(X.columns)
    return None


def _names_of_xarray(X: Any) -> list[Any] | None:
    if not hasattr(X, "dtype"):  # a Dataset
        if len(X.sizes) > 1:
            raise CoordinateError(
                f"the Dataset has the dimensions {list(X.sizes)}, so it is a grid and no list of "
                "places; use transform_grid with its lon and lat."
            )
        return [name for name, values in X.variables.items() if values.ndim == 1]
    if X.ndim != 2:
        return None
    for coordinate in getattr(X, "coords", {}).values():
        named = coordinate.ndim == 1 and any(isinstance(v, (str, bytes)) for v in coordinate.values)
        known = named and any(classify_column(v) for v in coordinate.values)
        if not known and not (named and coordinate.name == X.dims[1]):
            continue
        if coordinate.dims == (X.dims[1],):
            return list(coordinate.values)
        raise CoordinateError(
            f"the names {list(coordinate.values)} are along the rows; use X.transpose()."
        )
    return None


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


def lonlat_of_table(X: Any, names: list[Any], lon: Any, lat: Any) -> np.ndarray:
    """Read longitude and latitude, (n, 2), from a table with named columns."""
    shape = (_n_rows(X), len(names))
    _check_table(X, names, shape)
    found = find_lonlat(names, lon, lat)
    if lon is None and lat is None:
        _check_width(names, shape, found)
        if found is None and all(_is_number(name) for name in names):
            found = 0, 1
    if found is None:
        raise CoordinateError(_unclear_message(names))
    return np.column_stack([read_column(X, names, position) for position in found])


def _n_rows(X: Any) -> int:
    if is_from(X, "xarray") and not hasattr(X, "dtype"):
        return max(values.size for values in X.variables.values())
    return len(X)


def _check_table(X: Any, names: list[Any], shape: tuple[int, int]) -> None:
    """Refuse tables that lie on their side, and columns of geometries that have no CRS."""
    if shape == (2, 2) and hasattr(X, "index"):
        rows = {classify_column(name) for name in X.index}
        if rows == {"lon", "lat"} and not any(classify_column(name) for name in names):
            raise CoordinateError("longitude and latitude are rows of this table; use X.T.")
    if hasattr(X, "iloc") and "geometry" in names and not is_from(X, "geopandas"):
        values = X.iloc[:, names.index("geometry")]
        if any(is_from(value, "shapely") for value in values):
            raise CoordinateError(
                "the column 'geometry' holds shapely geometries in a plain frame; use "
                "geopandas.GeoDataFrame(X, crs=...), which says what their numbers are."
            )


def check_shape(shape: tuple[int, ...]) -> None:
    """Refuse what is not (n, 2)."""
    if len(shape) != 2:
        raise CoordinateError(
            f"Expected 2D array, got {len(shape)}D array instead (shape {shape}): {ACCEPTED}. "
            "Reshape your data either using array.reshape(-1, 2) if it holds pairs, or write a "
            "single place as [[lon, lat]]."
        )
    check_not_empty(shape)
    if shape[1] != 2:
        raise CoordinateError(
            f"{shape[1]} feature(s) (shape={shape}) while {'a minimum of 2 is' * (shape[1] < 2)}"
            f"{'exactly 2 are' * (shape[1] > 2)} required. The {ACCEPTED}. Select two "
            'columns, for example df[["lon", "lat"]] or X[:, [0, 1]], or use ColumnTransformer('
            '[("emb", encoder, ["lon", "lat"])]) to encode two columns of a wider table.'
        )


def check_not_empty(shape: tuple[int, ...]) -> None:
    """Refuse tables without rows."""
    if shape[0] == 0:
        raise CoordinateError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required: "
            f"there is no coordinate to read. The {ACCEPTED}."
        )


def _check_width(names: list[Any], shape: tuple[int, int], found: tuple[int, int] | None) -> None:
    if shape[1] != 2 and found is not None:
        pair = [names[position] for position in found]
        raise CoordinateError(
            f"got {shape[1]} feature(s) {names[:8]} (shape={shape}) while 2 are required; select "
            f"the two coordinate columns with X[{pair!r}], or use ColumnTransformer([('emb', "
            f"encoder, {pair!r})]) to encode them beside the others."
        )
    check_shape(shape)


def _unclear_message(names: list[Any]) -> str:
    kinds = [classify_column(name) for name in names]
    several = [kind for kind in ("lon", "lat") if kinds.count(kind) > 1]
    lowered = [str(name).lower() for name in names]
    hint = "rename them to 'lon' and 'lat', say lon=... and lat=..."
    if {"x", "y"} <= set(lowered):
        x, y = (names[lowered.index(axis)] for axis in "xy")
        hint = f"if they are degrees, say lon={x!r}, lat={y!r}"
    recognised = ", ".join(
        f"{name!r} as {kind or 'neither'}" for name, kind in zip(names, kinds, strict=True)
    )
    what = f"several are {several[0]}" if several else f"recognised: {recognised}"
    return (
        f"the columns {_listed(names)} cannot be told apart as longitude and latitude ({what}); "
        f"{hint}, or pass X.to_numpy() with longitude first."
    )


def read_column(X: Any, names: list[Any], position: int) -> np.ndarray:
    """Read one column by its position, for names may come twice."""
    what = f"the values of column {names[position]!r}"
    values = _column(X, names[position], position, what)
    if values.ndim != 1:
        raise CoordinateError(
            f"{what} have the shape {values.shape}; a column has one number a row."
        )
    return values


def _column(X: Any, name: Any, position: int, what: str) -> np.ndarray:
    if is_from(X, "xarray"):
        two_dimensional = hasattr(X, "dtype")
        values = X.values[:, position] if two_dimensional else X[name].values
        return to_float64(values, what)
    if getattr(getattr(X, "dtype", None), "names", None):
        return to_float64(X[name], what)
    if is_from(X, "pyarrow"):
        return _pandas_column(X.column(position).to_pandas(), what)
    if hasattr(X, "iloc"):
        return _pandas_column(X.iloc[:, position], what)
    if hasattr(X, "to_series"):  # polars
        return to_float64(X.to_series(position).to_numpy(), what)
    return to_float64(X[name].to_numpy(), what)


def _pandas_column(column: Any, what: str) -> np.ndarray:
    kind = getattr(column.dtype, "kind", None)
    if hasattr(column.dtype, "na_value") and kind in ("f", "i", "u"):
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    if hasattr(column.dtype, "na_value") and kind == "b":
        raise CoordinateError(f"{what} must be numbers in degrees, got booleans.")
    if hasattr(column, "isna") and kind == "O":  # pandas' missing value is not a float
        column = column.astype(object).where(~column.isna(), np.nan)
    return to_float64(column.to_numpy(), what)


def _is_named(name: Any, chosen: Any) -> bool:
    name, chosen = (
        n.decode(errors="replace") if isinstance(n, bytes) else n for n in (name, chosen)
    )
    return name == chosen or (isinstance(name, tuple) and bool(name) and name[-1] == chosen)


def _is_number(name: Any) -> bool:
    return isinstance(name, Integral) and not isinstance(name, bool)


def _listed(names: Sequence[Any]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{list(names)[:8]}{more}"
