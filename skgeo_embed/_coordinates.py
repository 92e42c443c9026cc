"""Reading and checking coordinates: (longitude, latitude), degrees, WGS84.

Every estimator reads its coordinates here, so that order, notation and errors are the same
everywhere. Only numpy is imported; data frames, tensors and geometries are recognised by
their attributes.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from skgeo_embed._errors import CoordinateError

_LON_WORDS = frozenset({"lon", "lng", "long", "longitude", "longitudes", "lons"})
_LAT_WORDS = frozenset({"lat", "latitude", "latitudes", "lats"})
_MAX_ROWS_NAMED = 5
EARTH_RADIUS_KM = 6371.0088  # mean radius of the WGS84 ellipsoid, IUGG
_ACCEPTED = (
    "coordinates must be (n, 2): longitude then latitude, in degrees (WGS84), "
    "or a frame with columns such as 'lon' and 'lat'"
)


class Coordinates(NamedTuple):
    """Checked coordinates and which rows of them can be used.

    Attributes
    ----------
    lonlat : ndarray of shape (n, 2), float64
        Longitude in [-180, 180) and latitude in [-90, 90], degrees. At the poles the
        longitude is 0, so that one place has one notation. Rows that are not `valid` are NaN.
    valid : ndarray of shape (n,), bool
        False where a value was missing, infinite or out of range.
    out_of_range : str or None
        What is to be said about rows that were finite but outside the valid range.
    """

    lonlat: np.ndarray
    valid: np.ndarray
    out_of_range: str | None


def read_coordinates(X: Any, *, on_invalid: str = "raise", first_row: int = 0) -> Coordinates:
    """Read (longitude, latitude) in degrees from any supported table.

    Parameters
    ----------
    X : ndarray, list, torch tensor, pandas, polars, GeoDataFrame or GeoSeries of shape (n, 2)
        Named columns are recognised by name whatever their order; unnamed ones are
        (lon, lat). Point geometries are reprojected to EPSG:4326 from their own CRS.
    on_invalid : {"raise", "nan"}, default="raise"
        What to do with NaN, infinite and out-of-range rows.
    first_row : int, default=0
        Number of the first row in messages, where `X` is part of a longer table.

    Returns
    -------
    Coordinates
        Canonical coordinates, one row per row of `X`.

    Raises
    ------
    CoordinateError
        If `X` has the wrong shape, type, column names or values; the message names the
        first bad rows and what they look like.

    Examples
    --------
    >>> from skgeo_embed._coordinates import read_coordinates
    >>> read_coordinates([[190.0, 10.0], [-170.0, 10.0]]).lonlat
    array([[-170.,   10.],
           [-170.,   10.]])
    """
    values = _to_lonlat_array(X)
    finite = np.isfinite(values).all(axis=1)
    if on_invalid == "raise" and not finite.all():
        raise CoordinateError(_missing_message(values, finite, first_row))
    lon, lat = values[:, 0], values[:, 1]
    in_range = (lon >= -180) & (lon <= 360) & (lat >= -90) & (lat <= 90)  # NaN compares False
    out_of_range = np.flatnonzero(finite & ~in_range)
    problem = None
    if len(out_of_range):
        problem = _out_of_range_message(values, out_of_range, first_row)
    if on_invalid == "raise" and problem:
        raise CoordinateError(problem)
    valid = finite & in_range
    return Coordinates(_canonical(values, valid), valid, problem)


def read_axis(values: Any, name: str) -> np.ndarray:
    """Read one axis of a grid: `name` is "lon" or "lat", the result is canonical degrees."""
    axis = _as_float64(plain(values), f"{name} axis")
    if axis.ndim != 1 or not axis.size:
        raise CoordinateError(
            f"the {name} axis must be one-dimensional and not empty, got shape {axis.shape}"
        )
    other = np.zeros_like(axis)
    pair = [axis, other] if name == "lon" else [other, axis]
    checked = read_coordinates(np.column_stack(pair)).lonlat
    return checked[:, 0] if name == "lon" else checked[:, 1]


def classify_column(name: Any) -> str | None:
    """Return "lon", "lat" or None for a column name; case, prefixes and units do not matter.

    Examples
    --------
    >>> from skgeo_embed._coordinates import classify_column
    >>> [classify_column(c) for c in ("Lng", "decimalLatitude", "station_lon_deg", "price")]
    ['lon', 'lat', 'lon', None]
    """
    if not isinstance(name, str):
        return None
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = set(re.split(r"[^a-z]+", spaced.lower()))
    is_lon, is_lat = bool(words & _LON_WORDS), bool(words & _LAT_WORDS)
    if is_lon == is_lat:
        return None
    return "lon" if is_lon else "lat"


def _to_lonlat_array(X: Any) -> np.ndarray:
    if is_geo(X):
        return _from_geometries(X)
    if hasattr(X, "columns") and hasattr(X, "shape"):
        return _from_frame(X)
    if hasattr(X, "toarray"):
        raise CoordinateError(
            "Sparse data was passed, but coordinates are dense; use X.toarray() to convert to "
            f"a dense numpy array. The {_ACCEPTED}."
        )
    array = np.asarray(plain(X))
    _check_shape(array.shape)
    return _as_float64(array, "coordinates")


def plain(X: Any) -> Any:
    """Return a torch tensor as a numpy array, and anything else as it is."""
    if type(X).__module__.partition(".")[0] == "torch" and hasattr(X, "detach"):
        return X.detach().cpu().numpy()
    return X


def _as_float64(values: Any, what: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind == "c":
        raise CoordinateError(f"Complex data not supported: {what} have dtype {array.dtype}.")
    if array.dtype.kind in "USMm":
        raise CoordinateError(
            f"{what} must be numbers in degrees, got dtype {array.dtype} "
            f"(first value {array.ravel()[:1].tolist()!r}); convert them, for example with "
            "pandas.to_numeric."
        )
    if array.dtype.kind == "O":
        for row, value in enumerate(array.ravel()):
            if isinstance(value, (str, bytes)):
                where = row // max(1, array.shape[-1]) if array.ndim == 2 else row
                raise CoordinateError(
                    f"{what} must be numbers in degrees, got the text {value!r} in row {where}; "
                    "convert it, for example with pandas.to_numeric."
                )
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        # scikit-learn's contract: objects without a number raise TypeError in its own words.
        kind = TypeError if isinstance(error, TypeError) else CoordinateError
        raise kind(f"{what} must be numbers in degrees: {error}") from error


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise CoordinateError(
            f"Expected 2D array, got {len(shape)}D array instead (shape {shape}): {_ACCEPTED}. "
            "Reshape your data either using array.reshape(-1, 2) if it holds pairs, or write a "
            "single place as [[lon, lat]]."
        )
    if shape[0] == 0:
        raise CoordinateError(
            f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required: "
            f"there is no coordinate to read. The {_ACCEPTED}."
        )
    if shape[1] != 2:
        raise CoordinateError(
            f"{shape[1]} feature(s) (shape={shape}) while {'a minimum of 2 is' * (shape[1] < 2)}"
            f"{'exactly 2 are' * (shape[1] > 2)} required. The {_ACCEPTED}. Select two "
            'columns, for example df[["lon", "lat"]] or X[:, [0, 1]], or use ColumnTransformer('
            '[("emb", encoder, ["lon", "lat"])]) to encode two columns of a wider table.'
        )


def _from_frame(X: Any) -> np.ndarray:
    names = list(X.columns)
    kinds = [classify_column(name) for name in names]
    shape = (len(X), len(names))
    if shape[1] != 2 and kinds.count("lon") == 1 and kinds.count("lat") == 1:
        pair = [names[kinds.index("lon")], names[kinds.index("lat")]]
        raise CoordinateError(
            f"got {shape[1]} feature(s) {names[:8]} (shape={shape}) while 2 are required; select "
            f"the two coordinate columns with X[{pair!r}], or use ColumnTransformer([('emb', "
            f"encoder, {pair!r})]) to encode them beside the others."
        )
    _check_shape(shape)
    if all(isinstance(name, str) for name in names):
        if sorted(map(str, kinds)) != ["lat", "lon"]:
            raise CoordinateError(
                f"the columns {names} cannot be told apart as longitude and latitude (recognised: "
                f"{[k or 'neither' for k in kinds]}); rename them to 'lon' and 'lat', or pass "
                "X.to_numpy() with longitude first."
            )
        order = [kinds.index("lon"), kinds.index("lat")]
    else:
        order = [0, 1]
    columns = [_frame_column(X, names[i]) for i in order]
    return np.column_stack(columns)


def _frame_column(X: Any, name: Any) -> np.ndarray:
    column = X[name]
    kind = getattr(column.dtype, "kind", None)
    if hasattr(column.dtype, "na_value") and kind in ("f", "i", "u", "b"):
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    if hasattr(column, "isna") and kind == "O":  # pandas' missing value is not a float
        column = column.astype(object).where(~column.isna(), np.nan)
    return _as_float64(column.to_numpy(), f"the values of column {name!r}")


def is_geo(X: Any) -> bool:
    """Say whether `X` holds geometries: a GeoDataFrame or a GeoSeries."""
    return hasattr(X, "crs") and hasattr(X, "geometry")


def _from_geometries(X: Any) -> np.ndarray:
    points = X.geometry
    if points.crs is None:
        raise CoordinateError(
            "the geometries have no CRS, so their units are unknown; say what they are with "
            "X.set_crs('EPSG:4326') (longitude/latitude in degrees) or their own EPSG code."
        )
    if len(points) == 0:
        _check_shape((0, 2))
    empty = np.asarray(points.isna() | points.is_empty)
    wrong = np.flatnonzero(~empty & np.asarray(points.geom_type != "Point"))
    if len(wrong):
        raise CoordinateError(
            f"{len(wrong)} of {len(points)} geometries are not points (first: row {wrong[0]}, a "
            f"{points.geom_type.iloc[wrong[0]]}); use X.representative_point() or X.centroid."
        )
    lonlat = np.full((len(points), 2), np.nan)
    degrees = points[~empty].to_crs("EPSG:4326")
    lonlat[~empty] = np.column_stack([degrees.x, degrees.y])
    return lonlat


def _canonical(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    lonlat = np.where(valid[:, None], values, np.nan)
    lon = lonlat[:, 0]
    lon[lon >= 180] -= 360
    lon[np.abs(lonlat[:, 1]) == 90] = 0
    return lonlat + 0.0  # -0.0 and 0.0 are one place


def _missing_message(values: np.ndarray, finite: np.ndarray, first_row: int) -> str:
    rows = np.flatnonzero(~finite)
    n_nan = int(np.isnan(values).any(axis=1).sum())
    n_inf = int(np.isinf(values).any(axis=1).sum())
    found = " and ".join(
        text
        for text, n in ((f"{n_nan} row(s) with NaN", n_nan), (f"{n_inf} with infinity", n_inf))
        if n
    )
    named = ", ".join(f"row {first_row + r}" for r in rows[:_MAX_ROWS_NAMED])
    return (
        f"coordinates contain {found}, out of {len(values)} (first: {named}); drop or impute them, "
        'or pass on_invalid="nan" to get NaN features for these rows.'
    )


def _out_of_range_message(values: np.ndarray, rows: np.ndarray, first_row: int) -> str:
    """Say which rows are outside longitude [-180, 360] or latitude ±90, and why they may be."""
    bad = values[rows]
    named = ", ".join(
        f"row {first_row + r}: lon={lon:g}, lat={lat:g}"
        for r, (lon, lat) in zip(rows[:_MAX_ROWS_NAMED], bad, strict=False)
    )
    swapped_ok = (np.abs(bad[:, 0]) <= 90) & (bad[:, 1] >= -180) & (bad[:, 1] <= 360)
    finite = values[np.isfinite(values).all(axis=1)]
    if (np.abs(bad) > 1000).any(axis=1).mean() > 0.5:
        hint = (
            "These look like projected coordinates in metres; reproject them to degrees first, "
            "for example with geopandas' to_crs('EPSG:4326') or pyproj."
        )
    elif swapped_ok.all() and (np.abs(finite[:, 0]) <= 90).all():
        hint = (
            "The columns look swapped: the order is (longitude, latitude). Reorder them, for "
            'example df[["lon", "lat"]] or X[:, ::-1].'
        )
    else:
        hint = "Check the units (degrees) and these rows."
    return (
        f"{len(rows)} of {len(values)} row(s) lie outside longitude [-180, 360] or latitude "
        f"[-90, 90]: {named}. {hint}"
    )


def great_circle_km(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Haversine distance between rows of two (n, 2) arrays of longitude and latitude."""
    lon1, lat1 = np.deg2rad(first).T
    lon2, lat2 = np.deg2rad(second).T
    chord = (
        np.sin((lat2 - lat1) / 2) ** 2
        + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))
