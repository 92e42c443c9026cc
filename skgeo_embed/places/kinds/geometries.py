"""Geometries: geopandas with a CRS of their own, shapely in degrees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.kinds.base import PlaceInput
from skgeo_embed.places.kinds.frames import Frame
from skgeo_embed.places.numbers import comes_from_package, first_value, is_missing
from skgeo_embed.places.unwrapping import unwrapped

WGS84 = 4326
EDGE_POINTS = 64  # on the longer side of a projected geometry


class GeoTable(PlaceInput):
    """A GeoDataFrame or GeoSeries, whose CRS says what its numbers are."""

    yields_to_named_columns: ClassVar[bool] = True

    @classmethod
    def recognise(cls, X: Any) -> Self | None:
        """Recognise geopandas' own classes."""
        if not (comes_from_package(X, "geopandas") and hasattr(X, "crs")):
            return None
        found = cls(X)
        found.names = list(X.columns) if hasattr(X, "columns") else None
        return found

    def areas(self) -> np.ndarray | None:
        """Return geometries in degrees, or None if all of them are points."""
        geometries = self.X.geometry if hasattr(self.X, "geometry") else _series_of(self.X)
        return None if _only_points(geometries.geom_type) else degrees_of_geo(self.X)

    def lonlat(self, lon: Any, lat: Any, *, wide: bool = False, remedy: str = "") -> np.ndarray:
        """Read points in their own CRS."""
        return lonlat_of_geo(self.X)

    def number_column(self, name: str) -> np.ndarray:
        """Read a column beside the geometry."""
        table = Frame.recognise(self.X)
        return super().number_column(name) if table is None else table.number_column(name)


class ShapelyGeometries(PlaceInput):
    """A list, array or column of shapely geometries, in degrees."""

    @classmethod
    def recognise(cls, X: Any) -> Self | None:
        """Recognise them by the first value that is not missing."""
        if comes_from_package(X, "shapely"):
            return cls(X)
        if not (isinstance(X, (list, tuple, np.ndarray)) or comes_from_package(X, "pandas")):
            return None
        if getattr(X, "ndim", 1) != 1 or not len(X):
            return None
        if getattr(getattr(X, "dtype", None), "kind", "O") != "O":
            return None
        first = first_value(X)
        return cls(X) if comes_from_package(first, "shapely") else None

    def areas(self) -> np.ndarray | None:
        """Return the geometries, or None if all of them are points."""
        if comes_from_package(self.X, "shapely"):
            return None
        only_points = _only_points(getattr(value, "geom_type", None) for value in self.X)
        return None if only_points else degrees_of_shapely(self.X)

    def lonlat(self, lon: Any, lat: Any, *, wide: bool = False, remedy: str = "") -> np.ndarray:
        """Read points, whose x and y are longitude and latitude."""
        return lonlat_of_shapely(self.X)


def lonlat_of_geo(X: Any) -> np.ndarray:
    """Reproject geopandas' points to longitude and latitude, (n, 2); missing ones are NaN."""
    geometries = _with_crs(X)
    _check_points(np.asarray(geometries.geom_type), ~np.asarray(_missing(geometries)))
    return lonlat_of_points(degrees_of_geo(X))


def degrees_of_geo(X: Any) -> np.ndarray:
    """Reproject geopandas' geometries to degrees; missing ones are None.

    What crosses the antimeridian or lies around a pole, which only a projected system can say
    without a doubt, goes on beyond ±180° and to the pole.
    """
    geometries = _with_crs(X)
    there = ~np.asarray(_missing(geometries))
    values = np.full(len(geometries), None, dtype=object)
    if there.any():
        _check_plane(geometries.crs)
        try:
            # a height that is missing would make the whole point missing
            fine = _fine_enough(_flat(geometries[there]))
            degrees = fine.to_crs("EPSG:4326")
        except Exception as error:
            if not comes_from_package(error, "pyproj"):
                raise
            raise CoordinateError(
                f"the geometries' CRS ({geometries.crs.name}) has no known relation to longitude "
                f"and latitude: {error}. Set the right one with X.set_crs(..., "
                "allow_override=True)."
            ) from error
        values[there] = np.asarray(degrees, dtype=object)
        if not geometries.crs.is_geographic:
            values[there] = unwrapped(values[there], np.asarray(fine, dtype=object))
    return values


def _fine_enough(geometries: Any) -> Any:
    """Add points to the edges of projected geometries, since their edges are curved in degrees."""
    import shapely

    if geometries.crs.is_geographic or not (shapely.get_dimensions(geometries) > 0).any():
        return geometries
    west, south, east, north = shapely.bounds(geometries).T
    step = np.maximum(np.maximum(east - west, north - south) / EDGE_POINTS, 1e-9)
    values = np.asarray(geometries, dtype=object)
    return type(geometries)(shapely.segmentize(values, step), crs=geometries.crs)


def _flat(geometries: Any) -> Any:
    import shapely

    flat = shapely.force_2d(np.asarray(geometries, dtype=object))
    return type(geometries)(flat, crs=geometries.crs)


def _missing(geometries: Any) -> Any:
    return geometries.isna() | geometries.is_empty


def _with_crs(X: Any) -> Any:
    geometries = X.geometry if hasattr(X, "geometry") else _series_of(X)
    if geometries.crs is None:
        raise CoordinateError(
            "the geometries have no CRS, so their units are unknown; say what they are with "
            "X.set_crs('EPSG:4326') (longitude/latitude in degrees) or their own EPSG code."
        )
    return geometries


def _series_of(geometries: Any, crs: Any = None) -> Any:
    try:
        from geopandas import GeoSeries
    except ImportError as error:
        raise ImportError(
            'geometries in another reference system need geopandas: pip install "skgeo-embed[geo]"'
        ) from error
    return GeoSeries(geometries, crs=crs)


def lonlat_of_shapely(X: Any) -> np.ndarray:
    """Read shapely points, whose x and y are taken for longitude and latitude, (n, 2)."""
    values = degrees_of_shapely(X)
    names = np.array([getattr(value, "geom_type", "") for value in values])
    _check_points(names, names != "")
    return lonlat_of_points(values)


def degrees_of_shapely(X: Any) -> np.ndarray:
    """Make an array of shapely geometries; missing and empty ones are None."""
    import shapely

    if comes_from_package(X, "shapely"):
        raise CoordinateError(
            f"got a single {type(X).__name__}; pass a list, such as [{X.geom_type.lower()}]."
        )
    values = np.empty(len(X), dtype=object)
    values[:] = list(X)
    others = [v for v in values if not (is_missing(v) or comes_from_package(v, "shapely"))]
    if others:
        raise CoordinateError(
            f"geometries and other values are mixed: {type(others[0]).__name__} among them."
        )
    values[[not comes_from_package(v, "shapely") for v in values]] = None
    values[shapely.is_empty(values)] = None
    return _from_own_systems(values)


def _check_plane(crs: Any) -> None:
    """Refuse systems in which x and y are no place: geocentric and vertical ones."""
    if crs.is_geocentric or len(crs.axis_info) < 2:
        raise CoordinateError(
            f"the geometries' CRS is a {crs.type_name} ({crs.name}), in which x and y are not "
            "map coordinates; transform them to longitude and latitude first (pyproj.Transformer)."
        )


def _from_own_systems(values: np.ndarray) -> np.ndarray:
    """Reproject geometries that carry the number of a reference system, as EWKB does."""
    import shapely

    systems = shapely.get_srid(values)
    for system in sorted(set(systems[~shapely.is_missing(values)]) - {0, WGS84}):
        rows = systems == system
        try:
            values[rows] = degrees_of_geo(_series_of(values[rows], f"EPSG:{system}"))
        except Exception as error:
            if not comes_from_package(error, "pyproj"):
                raise
            raise CoordinateError(
                f"{rows.sum()} geometries (first: row {np.flatnonzero(rows)[0]}) carry the SRID "
                f"{system}, which is not an EPSG code: {error}. State their CRS with "
                "geopandas.GeoSeries(X, crs=...)."
            ) from error
    return values


def lonlat_of_points(points: np.ndarray) -> np.ndarray:
    """Coordinates of shapely points, (n, 2); NaN for None."""
    import shapely

    lonlat = np.full((len(points), 2), np.nan)
    lonlat[~shapely.is_missing(points)] = shapely.get_coordinates(points)
    return lonlat


def _only_points(kinds: Iterable[Any]) -> bool:
    """Say whether all geometries are points, and which are missing."""
    return not {kind for kind in kinds if isinstance(kind, str)} - {"Point"}


def _check_points(kinds: np.ndarray, there: np.ndarray) -> None:
    wrong = np.flatnonzero(there & (kinds != "Point"))
    if len(wrong):
        raise CoordinateError(
            f"{len(wrong)} of {len(kinds)} geometries are not points (first: row {wrong[0]}, a "
            f"{kinds[wrong[0]]}); use X.representative_point() or X.centroid."
        )
