"""The cells of a map: how many, in which reference system, and where on the Earth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed._errors import UsageError
from skgeo_embed._region import WORLD, read_region
from skgeo_embed.rasters.crs import transformer

BLOCK = 128  # cells on each side of a block, which is computed at once
EDGE_POINTS = 200  # on each side of a region that is projected
TORN = 0.2  # a step between neighbours of this share of the whole means that the region is torn
SAME_CELL = 1e-3  # of a cell, between a centre and what degrees of it lead back to
LENGTH = re.compile(r"\s*(\d+(?:\.\d+)?(?:e-?\d+)?)\s*(km|m|deg|°)\s*")
METRES = {"km": 1000.0, "m": 1.0}
Block = tuple[slice, slice]


@dataclass(frozen=True)
class MapGrid:
    """Cells of a map.

    Attributes
    ----------
    height, width : int
        Numbers of rows and columns.
    transform : tuple of float
        (a, b, c, d, e, f): x = a·column + b·row + c, y = d·column + e·row + f, of cell corners.
    crs : str
        The coordinate reference system, as WKT.
    """

    height: int
    width: int
    transform: tuple[float, float, float, float, float, float]
    crs: str

    @cached_property
    def is_geographic(self) -> bool:
        """Whether x and y are degrees of longitude and latitude."""
        return bool(_read_crs(self.crs).is_geographic)

    @property
    def is_rotated(self) -> bool:
        """Whether rows do not run along an axis."""
        return self.transform[1] != 0 or self.transform[3] != 0

    @property
    def dims(self) -> tuple[str, str]:
        """Names of the axes, rows first."""
        return ("lat", "lon") if self.is_geographic else ("y", "x")

    @property
    def has_axes_of_degrees(self) -> bool:
        """Whether rows have one latitude and columns one longitude, of WGS84."""
        return self._is_wgs84 and not self.is_rotated

    def blocks(self) -> list[Block]:
        """List the blocks of rows and columns that are computed at a time."""
        return [
            (slice(top, min(top + BLOCK, self.height)), slice(left, min(left + BLOCK, self.width)))
            for top in range(0, self.height, BLOCK)
            for left in range(0, self.width, BLOCK)
        ]

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return y of the rows' centres and x of the columns', of a grid that is not rotated."""
        a, _, c, _, e, f = self.transform
        return f + e * (np.arange(self.height) + 0.5), c + a * (np.arange(self.width) + 0.5)

    def centres(self, block: Block) -> np.ndarray:
        """Return x and y of the centres of a block's cells, (n, 2), row by row."""
        down, across = (np.arange(part.start, part.stop) for part in block)
        row, column = np.meshgrid(down, across, indexing="ij")
        return self._coordinates(row.ravel(), column.ravel())

    def sample_of_centres(self, count: int) -> np.ndarray:
        """Return x and y of the centres of some cells, spread evenly over the grid."""
        n_cells = self.height * self.width
        cells = np.unique(np.linspace(0, n_cells - 1, min(count, n_cells)).astype(np.int64))
        return self._coordinates(*np.divmod(cells, self.width))

    def _coordinates(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        a, b, c, d, e, f = self.transform
        row, column = row + 0.5, column + 0.5
        return np.column_stack([a * column + b * row + c, d * column + e * row + f])

    def lonlat(self, centres: np.ndarray) -> np.ndarray:
        """Return degrees of centres, (n, 2), longitude in [-180, 180); NaN if off the Earth."""
        if self._is_wgs84:
            lonlat = centres.copy()
        else:
            lonlat = np.column_stack(transformer(self.crs, "inverse").transform(*centres.T))
            back = np.column_stack(transformer(self.crs, "forward").transform(*lonlat.T))
            size = max(np.hypot(*self.transform[0:4:3]), np.hypot(*self.transform[1:5:3]))
            lost = ~(np.abs(back - centres) <= SAME_CELL * size).all(axis=1)
            if self.is_geographic:  # its longitudes may go on beyond 180
                turn = 360 / _degrees_in(self.crs)
                lost &= ~(np.abs((back - centres) % turn).min(axis=1) <= SAME_CELL * size)
            lonlat[lost] = np.nan
        lonlat[:, 0] = np.where(lonlat[:, 0] >= 180, lonlat[:, 0] - 360, lonlat[:, 0])
        lonlat[np.abs(lonlat[:, 1]) > 90] = np.nan
        return lonlat

    @cached_property
    def _is_wgs84(self) -> bool:
        return bool(_read_crs(self.crs).to_authority() in (("EPSG", "4326"), ("OGC", "CRS84")))


def map_grid(region: Any, resolution: Any, crs: Any, like: Any) -> MapGrid:
    """Make the grid that a user describes.

    Parameters
    ----------
    region : (west, south, east, north) or None
        Degrees; None is the world, or the area of use of `crs`.
    resolution : float or str or None
        Size of a cell: a number in the units of `crs`, or a text such as "1km".
    crs : object or None
        A CRS as pyproj reads it; None is longitude and latitude in degrees (EPSG:4326).
    like : path-like, DataArray, Dataset or None
        A raster whose grid is taken instead.

    Raises
    ------
    UsageError
        If they are invalid; a ValueError.
    """
    if like is not None:
        given = {"region": region, "resolution": resolution, "crs": crs}
        twice = [name for name, value in given.items() if value is not None]
        if twice:
            raise UsageError(
                f"like= gives the whole grid, so {' and '.join(twice)} cannot be given too."
            )
        return _grid_of(like)
    try:
        rectangle = None if region is None else read_region(region)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if crs is None:
        return _degree_grid(rectangle or WORLD, resolution)
    system = _read_crs(crs)
    if system.is_geographic and not _is_plain_degrees(system):
        raise UsageError(
            f"crs={crs!r} ({system.name}) is not in degrees from Greenwich and the equator, as a "
            "region is; choose EPSG:4326 or a projected one."
        )
    if system.is_geographic:
        grid = _degree_grid(rectangle or WORLD, resolution)
        return MapGrid(grid.height, grid.width, grid.transform, system.to_wkt())
    return _projected_grid(system, rectangle, resolution)


def _degree_grid(region: Sequence[float], resolution: Any) -> MapGrid:
    step = _size(1.0 if resolution is None else resolution, None)
    west, south, east, north = region
    width, height = (max(1, round(side / step)) for side in (east - west, north - south))
    transform = ((east - west) / width, 0.0, west, 0.0, -(north - south) / height, north)
    return MapGrid(height, width, transform, _read_crs("EPSG:4326").to_wkt())


def _projected_grid(system: Any, region: Sequence[float] | None, resolution: Any) -> MapGrid:
    if resolution is None:
        raise UsageError('a map with crs= needs a resolution, such as resolution="1km".')
    step = _size(resolution, system)
    if region is None:
        if system.area_of_use is None:
            raise UsageError(f"{system.name} states no area of use; pass region=.")
        region = read_region(system.area_of_use.bounds)
    west, south, east, north = region
    steps = np.linspace(0, 1, EDGE_POINTS)
    lon = np.concatenate([steps, np.ones(EDGE_POINTS), steps[::-1], np.zeros(EDGE_POINTS)])
    lat = np.concatenate([np.zeros(EDGE_POINTS), steps, np.ones(EDGE_POINTS), steps[::-1]])
    lon, lat = west + lon * (east - west), south + lat * (north - south)
    outline = np.column_stack(transformer(system.to_wkt(), "forward").transform(lon, lat))
    if not np.isfinite(outline).all():
        raise UsageError(
            f"the region {tuple(region)!r} extends beyond the area where {system.name} is defined; "
            "choose a smaller region, or another CRS."
        )
    low, high = outline.min(axis=0), outline.max(axis=0)
    if (np.abs(np.diff(outline, axis=0)).max(axis=0) > TORN * (high - low)).any():
        raise UsageError(
            f"the region {tuple(region)!r} is split at the edge of the projection {system.name}; "
            "choose a CRS with its centre nearer to the region, or a map in degrees."
        )
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    width, height = (int(count) for count in np.maximum(last - first, 1))
    transform = (step, 0.0, float(first[0] * step), 0.0, -step, float((first[1] + height) * step))
    return MapGrid(height, width, transform, system.to_wkt())


def _size(resolution: Any, system: Any) -> float:
    """Read the size of a cell in the units of a projected system, or in degrees if it is None."""
    units = "degree" if system is None else system.axis_info[0].unit_name
    wanted = f'resolution must be a positive number ({units}), or a text such as "1km" with crs='
    if isinstance(resolution, str):
        found = LENGTH.fullmatch(resolution)
        if found is None:
            raise UsageError(f"{wanted}; got {resolution!r}.")
        size, is_length = float(found[1]), found[2] in METRES
        if is_length and system is None:
            raise UsageError(
                f"resolution={resolution!r} is a length, and the cells of this map are in degrees; "
                'pass a projected crs too, such as crs="EPSG:3035", or degrees.'
            )
        if not is_length and system is not None:
            raise UsageError(f"resolution={resolution!r}, but {system.name} is in {units}.")
        if is_length:
            size *= METRES[found[2]] / system.axis_info[0].unit_conversion_factor
    elif isinstance(resolution, Real) and not isinstance(resolution, bool):
        size = float(resolution)
    else:
        raise UsageError(f"{wanted}; got {resolution!r}.")
    if not 0 < size < np.inf:
        raise UsageError(f"{wanted}; got {resolution!r}.")
    return size


def _grid_of(like: Any) -> MapGrid:
    if hasattr(like, "coords") and hasattr(like, "sizes"):
        return _grid_of_xarray(like)
    if not isinstance(like, (str, PathLike)):
        raise UsageError(f"like must be a path or an xarray object, got {type(like).__name__}.")
    from skgeo_embed.rasters.headers import headers

    if not Path(like).expanduser().exists():
        raise FileNotFoundError(f"like: there is no file {fspath(like)}.")
    found = {
        (tile.shape[1:], tile.transform, tile.crs)
        for tile in headers(str(Path(like).expanduser()), year=None, product=None, remote=False)
    }
    if len(found) > 1:
        raise UsageError(f"like: {fspath(like)} holds {len(found)} rasters, each of its own grid.")
    ((height, width), transform, crs) = next(iter(found))
    return MapGrid(height, width, transform, _read_crs(crs).to_wkt())  # type: ignore[arg-type]


def _grid_of_xarray(like: Any) -> MapGrid:
    from skgeo_embed.rasters.zarr_position import crs_of, mappings, steps_of, values_of
    from skgeo_embed.rasters.zarr_store import AXES

    names = next(
        (
            pair
            for pair in AXES
            if all(name in like.coords and like[name].ndim == 1 for name in pair)
        ),
        None,
    )
    if names is None:
        raise UsageError(
            f"like must have axes y and x, or lat and lon; it has {', '.join(map(str, like.dims))}."
        )
    data, array = like, like
    if hasattr(like, "data_vars"):
        on_axes = (v for v in like.data_vars.values() if set(names) <= set(v.dims))
        array = next(on_axes, like)
    else:
        data = like.coords.to_dataset()
    crs = crs_of(data, array, names, "like")
    y, x = (values_of(array, name, crs, "like") for name in names)
    for attributes in mappings(data, array):
        numbers = str(attributes.get("GeoTransform", "")).split()
        try:
            c, a, b, f, d, e = map(float, numbers)
        except ValueError:
            continue  # the axes say the same
        if _is_of_axis(c, a, x) and _is_of_axis(f, e, y):  # to the bit, if it is still right
            return MapGrid(len(y), len(x), (a, b, c, d, e, f), crs.to_wkt())
    (a, c), (e, f) = steps_of(array, names, crs, "like")
    return MapGrid(len(y), len(x), (a, 0.0, c, 0.0, e, f), crs.to_wkt())


def _is_of_axis(first: float, step: float, axis: np.ndarray) -> bool:
    """Say whether a transform is that of an axis; a part of a raster may keep that of the whole."""
    centres = first + step * (np.array([0, len(axis) - 1]) + 0.5)
    return bool((np.abs(centres - axis[[0, -1]]) <= SAME_CELL * abs(step)).all())


def _read_crs(crs: Any) -> Any:
    try:
        import pyproj
    except ImportError as error:
        raise ImportError('maps need pyproj: pip install "skgeo-embed[maps]"') from error
    try:
        system = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise UsageError(f"crs={crs!r} cannot be read: {error}") from error
    if not (system.is_geographic or system.is_projected):
        raise UsageError(
            f"crs={crs!r} is a {system.type_name} ({system.name}), and x and y in it are not those "
            "of a map; choose EPSG:4326 or a projected one."
        )
    return system


def _is_plain_degrees(system: Any) -> bool:
    """Say whether x and y are degrees, from Greenwich and around the poles of the Earth."""
    return not (system.is_derived or system.prime_meridian.longitude) and all(
        abs(axis.unit_conversion_factor - np.pi / 180) < 1e-12 for axis in system.axis_info[:2]
    )


def _degrees_in(crs: str) -> float:
    """Return how many degrees a unit of a geographic system has."""
    return float(np.rad2deg(_read_crs(crs).axis_info[0].unit_conversion_factor))
