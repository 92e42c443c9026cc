"""Reading and checking coordinates: (longitude, latitude), degrees, WGS84.

Every estimator reads its coordinates here, so that order, notation and errors are the same
everywhere. :mod:`skgeo_embed.places.kinds` finds out what was passed, once; only numpy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.columns import (
    PASS_COORDS,
    check_not_empty,
    classify_column,
    find_lonlat,
)
from skgeo_embed.places.kinds import Cells, PlaceInput, Table, recognise
from skgeo_embed.places.kinds.boxes import box_columns
from skgeo_embed.places.kinds.geometries import lonlat_of_points
from skgeo_embed.places.kinds.lazy import refuse_what_holds_no_rows
from skgeo_embed.places.numbers import comes_from_package, is_dask, to_float64, to_numpy
from skgeo_embed.places.outlines import doubtful_edges, mixed_kinds
from skgeo_embed.places.units import in_degrees, unit_of

_MAX_ROWS_NAMED = 5
FEW_WRONG = 0.05  # share of rows up to which these are wrong, and not all columns swapped
LIMITS = np.array([[-180.0, -90.0], [360.0, 90.0]])  # lowest and highest longitude and latitude
ROUNDING = 1e-9  # degrees, a tenth of a millimetre
BARELY = 1e-3  # degrees beyond the range that numbers of few digits may make


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
    areas : ndarray of shapely geometries, or None
        In degrees, where rows are areas; `lonlat` has then a place in each.
    source : PlaceInput or None
        What was passed, and which kind of input it is.
    """

    lonlat: np.ndarray
    valid: np.ndarray
    out_of_range: str | None
    areas: np.ndarray | None = None
    source: PlaceInput | None = None


def read_coordinates(
    X: Any,
    *,
    on_invalid: str = "raise",
    lon: Any = None,
    lat: Any = None,
    first_row: int = 0,
    wide: bool = False,
    remedy: str = "",
) -> Coordinates:
    """Read (longitude, latitude) in degrees from any supported table.

    Parameters
    ----------
    X : array-like of shape (n, 2), or a table with such columns
        ndarray (masked values are missing), list, torch tensor, pandas, polars, pyarrow,
        xarray, shapely points, GeoDataFrame or GeoSeries. Named columns are recognised by name
        whatever their order; unnamed ones are (lon, lat). Geometries of geopandas are
        reprojected to EPSG:4326 from their own CRS.
    on_invalid : {"raise", "nan"}, default="raise"
        What to do with NaN, infinite and out-of-range rows.
    lon, lat : str or int, default=None
        Names of the longitude and latitude columns, if they are not recognised; `X` may then
        have other columns too.
    first_row : int, default=0
        Number of the first row in messages, where `X` is part of a longer table.
    wide : bool, default=False
        Whether `X` may have other columns beside longitude and latitude.
    remedy : str, default=""
        What a user can do where the columns are not recognised; empty for what encoders say.

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
    >>> from skgeo_embed.places.reading import read_coordinates
    >>> read_coordinates([[190.0, 10.0], [-170.0, 10.0]]).lonlat
    array([[-170.,   10.],
           [-170.,   10.]])
    """
    source = recognise(X, columns_are_named=lon is not None or lat is not None)
    return _checked(
        source.lonlat(lon, lat, wide=wide, remedy=remedy), on_invalid, first_row, source
    )


def _checked(
    values: np.ndarray, on_invalid: str, first_row: int, source: PlaceInput | None = None
) -> Coordinates:
    check_not_empty(values.shape)
    values = _within_rounding(values)
    finite = np.isfinite(values).all(axis=1)
    if on_invalid == "raise" and not finite.all():
        raise CoordinateError(_missing_message(values, finite, first_row))
    in_range = _is_in_range(values)
    out_of_range = np.flatnonzero(finite & ~in_range)
    problem = None
    if len(out_of_range):
        problem = _out_of_range_message(values, out_of_range, first_row)
    if on_invalid == "raise" and problem:
        raise CoordinateError(problem)
    valid = finite & in_range
    return Coordinates(_canonical(values, valid), valid, problem, None, source)


def read_areas(areas: np.ndarray, *, on_invalid: str = "raise") -> Coordinates:
    """Check polygons, lines and points in degrees, as :func:`read_coordinates` checks points.

    Raises
    ------
    CoordinateError
        If a geometry is missing, out of range, or is ambiguous; the message names the
        first such rows.
    """
    import shapely

    problem = None
    mixed, message = mixed_kinds(areas)
    if len(mixed):
        if on_invalid == "raise":
            raise CoordinateError(message)
        problem, areas = message, areas.copy()
        areas[mixed] = None
    bounds = shapely.bounds(areas)
    lower, upper = _within_rounding(bounds[:, :2]), _within_rounding(bounds[:, 2:])
    east, north = upper.T
    finite = np.isfinite(lower).all(axis=1)
    coordinates, of = shapely.get_coordinates(areas, return_index=True)
    finite[of[~np.isfinite(coordinates).all(axis=1)]] = False
    within = (
        _is_in_range(lower) & (east <= 540 + ROUNDING) & (north <= 90)
    )  # 540: once round from 180
    if on_invalid == "raise" and not finite.all():
        corners = np.where(finite[:, None], lower, np.nan)
        raise CoordinateError(_missing_message(corners, finite, 0))
    wrong = np.flatnonzero(finite & ~within)
    if len(wrong):
        corners = np.where(_is_in_range(lower)[:, None], upper, lower)
        problem = _out_of_range_message(corners, wrong, 0)
        if on_invalid == "raise":
            raise CoordinateError(problem)
    valid = finite & within
    doubtful, message = doubtful_edges(areas, valid)
    if len(doubtful):
        if on_invalid == "raise":
            raise CoordinateError(message)
        problem = problem or message
        valid[doubtful] = False
    whole = np.full(len(areas), None, dtype=object)
    whole[valid] = shapely.make_valid(areas[valid])
    lonlat = lonlat_of_points(np.asarray(shapely.point_on_surface(whole)))
    lonlat[lonlat[:, 0] > 360, 0] -= 360
    return Coordinates(_canonical(lonlat, valid), valid, problem, whole)


def read_places(
    X: Any,
    *,
    on_invalid: str = "raise",
    lon: Any = None,
    lat: Any = None,
    wide: bool = False,
    remedy: str = "",
) -> Coordinates:
    """Read a table of points, as :func:`read_coordinates` does, or of areas.

    With `wide` the table may have other columns beside those of the place: longitude and latitude,
    a geometry, an H3 cell, or the four sides of a box.
    """
    named = lon is not None or lat is not None
    source = recognise(X, columns_are_named=named)
    if wide and not named and isinstance(source, Table):
        columns = area_columns(source)
        if columns:
            source = recognise(source.X[columns])
    areas = source.areas()
    if areas is not None:
        return read_areas(areas, on_invalid=on_invalid)._replace(source=source)
    return _checked(source.lonlat(lon, lat, wide=wide, remedy=remedy), on_invalid, 0, source)


def area_columns(table: Table) -> list[Any]:
    """Name the columns of a frame that hold areas: none if there are longitude and latitude."""
    if not comes_from_package(table.X, "pandas", "polars") or find_lonlat(table.names, None, None):
        return []
    box = box_columns(table.names)
    if box is not None:
        return box
    cells = [name for name in table.names if _holds_cells(table.X, name)]
    return cells if len(cells) == 1 else []


def _holds_cells(frame: Any, name: Any) -> bool:
    column = frame[[name]]
    known = column.dropna() if hasattr(column, "dropna") else column.drop_nulls()
    return isinstance(recognise(known[:1]), Cells)


@dataclass(frozen=True)
class Reader:
    """How an estimator reads places, decided in `fit`.

    Attributes
    ----------
    on_invalid, lon, lat
        As for :func:`read_coordinates`.
    """

    on_invalid: str = "raise"
    lon: Any = None
    lat: Any = None

    def read(self, X: Any, *, wide: bool = False) -> Coordinates:
        """Read a table of points or of areas."""
        return read_places(X, on_invalid=self.on_invalid, lon=self.lon, lat=self.lat, wide=wide)


def find_coordinates(X: Any, coords: Any = None, *, remedy: str = PASS_COORDS) -> np.ndarray:
    """Return checked degrees, (n, 2), from `coords`, or from the columns of X that hold them.

    Of an area they are those of a place inside it.

    Raises
    ------
    CoordinateError
        If there are none, they cannot be read, or there are not as many as X has rows.
    """
    if coords is None and X is None:
        raise CoordinateError("X is None; pass coords, the (n, 2) longitude and latitude.")
    if coords is None:
        return read_places(X, wide=True, remedy=remedy).lonlat
    lonlat = read_places(coords).lonlat
    n_rows = len(lonlat) if X is None else _n_rows(X)
    if len(lonlat) != n_rows:
        raise CoordinateError(f"coords has {len(lonlat)} rows, X has {n_rows}.")
    return lonlat


def _n_rows(X: Any) -> int:
    return X.shape[0] if hasattr(X, "shape") else len(X)


def read_axis(values: Any, name: str) -> np.ndarray:
    """Read one axis of a grid: `name` is "lon" or "lat", the result is canonical degrees."""
    if is_dask(values):
        raise CoordinateError(f"the {name} axis is a dask collection; pass its .compute().")
    refuse_what_holds_no_rows(values, f"the {name} axis")
    named = classify_column(getattr(values, "name", None))
    if named not in (None, name):
        raise CoordinateError(f"the {name} axis is named {values.name!r}: the axes look swapped.")
    axis = axis_in_degrees(values, name)
    other = np.zeros_like(axis)
    pair = [axis, other] if name == "lon" else [other, axis]
    checked = read_coordinates(np.column_stack(pair)).lonlat
    return checked[:, 0] if name == "lon" else checked[:, 1]


def axis_in_degrees(values: Any, name: str) -> np.ndarray:
    """Read one axis of a grid in degrees, in its own notation of longitude and not checked."""
    axis = to_float64(to_numpy(values), f"{name} axis")
    if axis.ndim != 1 or not axis.size:
        raise CoordinateError(
            f"the {name} axis must be one-dimensional and not empty, got shape {axis.shape}"
        )
    return in_degrees(axis, unit_of(values), name, f"the values of the {name} axis")


def _is_in_range(values: np.ndarray) -> np.ndarray:
    lon, lat = values[:, 0], values[:, 1]
    return (lon >= -180) & (lon <= 360) & (lat >= -90) & (lat <= 90)  # NaN compares False


def _within_rounding(values: np.ndarray) -> np.ndarray:
    """Bring back what a sum of steps, such as numpy.arange, carried just beyond the range."""
    kept = np.clip(values, *LIMITS)
    return np.where(np.abs(values - kept) <= ROUNDING, kept, values)


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
        f"coordinates contain {found}, out of {len(values)} (first: {named}); drop or impute "
        'them; an encoder with on_invalid="nan" gives NaN features for these rows.'
    )


def _out_of_range_message(values: np.ndarray, rows: np.ndarray, first_row: int) -> str:
    """Say which rows are outside longitude [-180, 360] or latitude ±90, and why they may be."""
    bad = values[rows]
    named = ", ".join(
        f"row {first_row + r}: lon={lon:.9g}, lat={lat:.9g}"
        for r, (lon, lat) in zip(rows[:_MAX_ROWS_NAMED], bad, strict=False)
    )
    swapped_ok = (np.abs(bad[:, 0]) <= 90) & (bad[:, 1] >= -180) & (bad[:, 1] <= 360)
    finite = values[np.isfinite(values).all(axis=1)]
    beyond = np.abs(bad - np.clip(bad, *LIMITS)).max()
    if beyond <= BARELY:
        hint = (
            f"They are beyond it by at most {beyond:.2g} degrees, which looks like rounding; bring "
            "them back with numpy.clip."
        )
    elif (np.abs(bad) > 1000).any(axis=1).mean() > 0.5:
        hint = (
            "These look like projected coordinates in metres; reproject them to degrees first, "
            "for example with geopandas' to_crs('EPSG:4326') or pyproj."
        )
    elif (
        swapped_ok.all()
        and (np.abs(finite[:, 0]) <= 90).all()
        and len(bad) > FEW_WRONG * len(finite)
    ):
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
