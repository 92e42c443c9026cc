"""Which cells of a map are wanted: land, polygons, or what a raster says."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed._errors import UsageError
from skgeo_embed.places.kinds.geometries import degrees_of_geo
from skgeo_embed.places.numbers import comes_from_package
from skgeo_embed.streaming.maps.grids import MapGrid
from skgeo_embed.streaming.maps.rasters import RASTER_SUFFIXES, OneRaster

VECTOR_SUFFIXES = (".gpkg", ".geojson", ".json", ".shp", ".fgb", ".parquet")


class Mask:
    """The cells that are wanted.

    Parameters
    ----------
    mask : None, "land", polygons or path-like
        None is all of them. Polygons are a GeoDataFrame, a GeoSeries, a shapely geometry or a list
        of them in degrees, or a file of such; a raster's cells count where its value is neither 0
        nor missing.
    grid : MapGrid
        The map's.

    Raises
    ------
    UsageError
        If it is something else.
    """

    def __init__(self, mask: Any, grid: MapGrid) -> None:
        self._kind = "all"
        self._source: Any = None
        if mask is None:
            return
        if isinstance(mask, str) and mask == "land":
            self._kind = "land"
        elif isinstance(mask, (str, PathLike)) and fspath(mask).lower().endswith(RASTER_SUFFIXES):
            self._kind, self._source = "raster", OneRaster(mask, "mask")
        else:
            self._kind = "polygons"
            self._source, self._by_degrees = _polygons(mask, grid)

    @property
    def identity(self) -> Any:
        """What tells this mask from others, by which a killed run knows it again."""
        if self._kind == "polygons":
            return [part.wkb_hex for part in self._source]
        return self._source.identity if self._kind == "raster" else self._kind

    def wanted(self, centres: np.ndarray, lonlat: np.ndarray) -> np.ndarray:
        """Say which cells are wanted, (n,) bool, by their centres and degrees of these."""
        on_earth = np.isfinite(lonlat[:, 0])
        if self._kind == "all" or not on_earth.any():
            return on_earth
        if self._kind == "land":
            from skgeo_embed.datasets._land import places_on_land

            on_earth[on_earth] = places_on_land(lonlat[on_earth])
            return on_earth
        if self._kind == "raster":
            values = self._source.values(lonlat[on_earth])
            on_earth[on_earth] = ~np.isnan(values) & (values != 0)
            return on_earth
        on_earth[on_earth] = self._in_polygons((lonlat if self._by_degrees else centres)[on_earth])
        return on_earth

    def _in_polygons(self, cells: np.ndarray) -> np.ndarray:
        import shapely

        x, y = cells.T
        around = shapely.box(x.min(), y.min(), x.max(), y.max())
        inside = np.zeros(len(x), dtype=bool)
        for part in self._source[shapely.intersects(self._source, around)]:
            if shapely.contains(part, around):
                return np.ones(len(x), dtype=bool)
            inside |= shapely.intersects_xy(part, x, y)
        return inside


def _polygons(mask: Any, grid: MapGrid) -> tuple[np.ndarray, bool]:
    """Read polygons, and say whether they are in degrees and not as they are, on the grid's map.

    Those in degrees are there also one turn to the east and west. An edge is straight in the system
    in which its polygon is stated.
    """
    try:
        import geopandas
        import shapely
    except ImportError as error:
        raise ImportError(
            'a mask of polygons needs geopandas: pip install "skgeo-embed[geo]"'
        ) from error
    if isinstance(mask, (str, PathLike)):
        path = Path(mask).expanduser()
        if not path.name.lower().endswith(VECTOR_SUFFIXES):
            raise UsageError(
                f'mask={fspath(mask)!r} is neither "land" nor a file of polygons '
                f"({', '.join(VECTOR_SUFFIXES)}) nor a raster ({', '.join(RASTER_SUFFIXES)})."
            )
        if not path.exists():
            raise FileNotFoundError(f"mask: there is no file {path}.")
        read = geopandas.read_parquet if path.suffix.lower() == ".parquet" else geopandas.read_file
        mask = read(path)
    if comes_from_package(mask, "shapely"):
        mask = [mask]
    if comes_from_package(mask, "geopandas"):
        series = mask.geometry
        if series.crs is None:
            raise UsageError("the polygons of mask have no CRS; set it with set_crs(...).")
    else:
        try:
            series = geopandas.GeoSeries(list(mask), crs="EPSG:4326")
        except TypeError as error:
            raise UsageError(
                f'mask must be "land", polygons or a raster, got {type(mask).__name__}.'
            ) from error
    series = series[~(series.isna() | series.is_empty)]
    if not (shapely.get_dimensions(np.asarray(series)) == 2).any():
        raise UsageError("mask holds no polygon.")
    by_degrees = grid.is_geographic or series.crs != grid.crs
    shapes = degrees_of_geo(series) if by_degrees else np.asarray(series, dtype=object)
    parts = shapely.get_parts(shapely.make_valid(shapes))
    if by_degrees:
        turned = [
            shapely.transform(parts, lambda xy, by=by: np.add(xy, [by, 0])) for by in (-360, 360)
        ]
        parts = np.concatenate([parts, *turned])
    shapely.prepare(parts)
    return parts, by_degrees
