"""Points as geometries: geopandas with a CRS of their own, shapely in degrees."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.numbers import is_from


def is_geo(X: Any) -> bool:
    """Say whether `X` holds geometries: a GeoDataFrame or a GeoSeries."""
    return is_from(X, "geopandas") and hasattr(X, "crs")


def are_shapely(X: Any) -> bool:
    """Say whether `X` is a list, array or column of shapely geometries."""
    if is_from(X, "shapely"):
        return True
    if not (isinstance(X, (list, tuple, np.ndarray)) or is_from(X, "pandas")):
        return False
    if getattr(X, "ndim", 1) != 1 or not len(X):
        return False
    if getattr(getattr(X, "dtype", None), "kind", "O") != "O":
        return False
    values = X.to_numpy() if hasattr(X, "to_numpy") else X
    return any(is_from(value, "shapely") for value in values)


def lonlat_of_geo(X: Any) -> np.ndarray:
    """Reproject geopandas' points to longitude and latitude, (n, 2); missing ones are NaN."""
    points = X.geometry if hasattr(X, "geometry") else _series_of(X)
    if points.crs is None:
        raise CoordinateError(
            "the geometries have no CRS, so their units are unknown; say what they are with "
            "X.set_crs('EPSG:4326') (longitude/latitude in degrees) or their own EPSG code."
        )
    there = ~np.asarray(points.isna() | points.is_empty)
    _check_points(np.asarray(points.geom_type), there)
    lonlat = np.full((len(points), 2), np.nan)
    if there.any():
        try:
            degrees = points[there].to_crs("EPSG:4326")
        except Exception as error:
            if not is_from(error, "pyproj"):
                raise
            raise CoordinateError(
                f"the geometries' CRS ({points.crs.name}) has no known relation to longitude and "
                f"latitude: {error}. Set the right one with X.set_crs(..., allow_override=True)."
            ) from error
        lonlat[there] = np.column_stack([degrees.x, degrees.y])
    return lonlat


def _series_of(geometries: Any) -> Any:
    from geopandas import GeoSeries

    return GeoSeries(geometries)


def lonlat_of_shapely(X: Any) -> np.ndarray:
    """Read shapely points, whose x and y are taken for longitude and latitude, (n, 2)."""
    import shapely

    if is_from(X, "shapely"):
        raise CoordinateError(
            f"got a single {type(X).__name__}; pass a list of points, such as [point]."
        )
    values = np.empty(len(X), dtype=object)
    values[:] = list(X)
    kinds = [type(v).__name__ for v in values if not (v is None or is_from(v, "shapely"))]
    kinds = [kind for kind in kinds if kind not in ("float", "NAType")]
    if kinds:
        raise CoordinateError(f"geometries and other values are mixed: {kinds[0]} among them.")
    values[[not is_from(v, "shapely") for v in values]] = None
    there = ~(shapely.is_missing(values) | shapely.is_empty(values))
    names = np.array([getattr(v, "geom_type", "") for v in values])
    _check_points(names, there)
    lonlat = np.full((len(values), 2), np.nan)
    lonlat[there] = shapely.get_coordinates(values[there])
    return lonlat


def _check_points(kinds: np.ndarray, there: np.ndarray) -> None:
    wrong = np.flatnonzero(there & (kinds != "Point"))
    if len(wrong):
        raise CoordinateError(
            f"{len(wrong)} of {len(kinds)} geometries are not points (first: row {wrong[0]}, a "
            f"{kinds[wrong[0]]}); use X.representative_point() or X.centroid."
        )
