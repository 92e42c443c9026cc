"""Samples tiles at places, and reads each block once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed._region import WORLD, Region
from skgeo_embed._sphere import KM_PER_DEGREE, great_circle_km
from skgeo_embed.rasters.cache import BlockCache, Read
from skgeo_embed.rasters.crs import transformer
from skgeo_embed.rasters.decoding import decoded
from skgeo_embed.rasters.tiles import Tile

WORKERS = min(8, 2 * (os.cpu_count() or 1))
MOST_BANDS = 8192
BETWEEN_BANDS = 1000.0  # more than degrees of longitude


class Hits(NamedTuple):
    """Places inside tiles: row numbers of both, and the pixel, for each pair."""

    place: np.ndarray
    tile: np.ndarray
    row: np.ndarray
    column: np.ndarray


def sample(
    tiles: Sequence[Tile],
    lonlat: np.ndarray,
    years: np.ndarray | None,
    *,
    method: str,
    cache: BlockCache | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield row numbers of places and their values, (n, bands) float32, tile by tile.

    Places without a value get NaN. Where tiles overlap, the first in the list with a value counts.
    Blocks of tiles with a known version are kept in `cache`.
    """
    hits = _hits(tiles, lonlat, years)
    choice = _choices(hits.place)
    open_ones = np.ones(len(lonlat), dtype=bool)
    with ThreadPoolExecutor(WORKERS) as pool:
        for number in range(int(choice.max(initial=-1)) + 1):
            mine = np.flatnonzero((choice == number) & open_ones[hits.place])
            parts = _by(hits.tile[mine], mine)
            jobs = deque(
                pool.submit(
                    _of_tile,
                    tiles[tile],
                    hits.row[part],
                    hits.column[part],
                    method,
                    cache,
                )
                for tile, part in parts
            )
            for _, part in parts:
                values = jobs.popleft().result()  # popped, so that they are freed
                there = ~np.isnan(values).any(axis=1)
                places = hits.place[part][there]
                open_ones[places] = False
                yield places, values[there]
    nowhere = np.flatnonzero(open_ones)
    if len(nowhere):
        yield nowhere, np.full((len(nowhere), tiles[0].shape[0]), np.nan, dtype=np.float32)


def _choices(place: np.ndarray) -> np.ndarray:
    """Number the tiles of each place from 0, in their order."""
    if np.bincount(place).max(initial=0) < 2:
        return np.zeros(len(place), dtype=np.int64)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    first = np.repeat(starts, np.diff(np.append(starts, len(place))))
    choice = np.empty(len(place), dtype=np.int64)
    choice[order] = np.arange(len(place)) - first
    return choice


def _by(keys: np.ndarray, rows: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Split rows by their keys, each part in order."""
    if not len(rows):
        return []
    order = np.argsort(keys, kind="stable")
    found, starts = np.unique(keys[order], return_index=True)
    return list(zip(found.tolist(), np.split(rows[order], starts[1:]), strict=True))


def _hits(tiles: Sequence[Tile], lonlat: np.ndarray, years: np.ndarray | None) -> Hits:
    """Return hits, tile by tile."""
    regions = [_region(tile) for tile in tiles]
    places = Places(lonlat, float(np.median([north - south for _, south, _, north in regions])))
    found: list[Hits] = []
    for number, (tile, region) in enumerate(zip(tiles, regions, strict=True)):
        near = places.within(*region)
        if years is not None and tile.year is not None:
            near = near[years[near] == tile.year]
        if not len(near):
            continue
        row, column = _pixels(tile, lonlat[near])
        _, height, width = tile.shape
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        near = near[inside]
        found.append(Hits(near, np.full(len(near), number), row[inside], column[inside]))
    if not found:
        nothing = np.empty(0)
        return Hits(nothing.astype(int), nothing.astype(int), nothing, nothing)
    return Hits(*(np.concatenate(values) for values in zip(*found, strict=True)))


class Places:
    """Places sorted by bands of latitude, and by longitude in each.

    Parameters
    ----------
    lonlat : ndarray of shape (n, 2)
        Degrees, longitude in [-180, 180).
    height : float
        Height of a band of latitude: best about that of the boxes to look up, which then touch two
        or three bands.
    """

    def __init__(self, lonlat: np.ndarray, height: float) -> None:
        self._lat = lonlat[:, 1]
        self._height = max(height, 180 / MOST_BANDS)
        key = self._band(lonlat[:, 1]) * BETWEEN_BANDS + lonlat[:, 0]
        self._order = np.argsort(key, kind="stable")
        self._key = key[self._order]

    def _band(self, lat: Any) -> Any:
        return np.floor((lat + 90) / self._height)

    def within(self, west: float, south: float, east: float, north: float) -> np.ndarray:
        """Find the places in a box of up to 360° of longitude, which may extend beyond ±180°."""
        band = np.arange(self._band(south), self._band(north) + 1)[:, None] * BETWEEN_BANDS
        # 181, because rounding may move a longitude to 180; clipped spans do not overlap
        spans = np.clip(np.array([west, east])[:, None] + [-360, 0, 360], -180, 181)
        start, stop = (np.searchsorted(self._key, band + side).ravel() for side in spans)
        parts = [self._order[i:j] for i, j in zip(start, stop, strict=True) if i < j]
        near = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        lat = self._lat[near]
        return near[(lat >= south) & (lat <= north)]


@lru_cache(maxsize=65_536)
def _region(tile: Tile) -> Region:
    """Return a region around a tile, a little wider; of all longitudes if it may hold a pole."""
    lon, lat = transformer(tile.crs, "inverse").transform(*tile.outline())
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return WORLD
    outline = np.column_stack([lon, lat])
    # between two points of the outline it leads away from them by half their distance at most
    reach = 1e-6 + 0.6 * great_circle_km(outline[1:], outline[:-1]).max() / KM_PER_DEGREE
    south, north = max(lat.min() - reach, -90.0), min(lat.max() + reach, 90.0)
    to_south, to_north = _holds_poles(tile)
    if to_south or to_north or south == -90 or north == 90:
        return -180.0, -90.0 if to_south else south, 180.0, 90.0 if to_north else north
    lon = np.unwrap(lon, period=360)
    reach /= np.cos(np.deg2rad(max(-south, north)))
    west, east = float(lon.min() - reach), float(lon.max() + reach)
    if east - west >= 360:
        west, east = -180.0, 180.0
    return west, float(south), east, float(north)


def _holds_poles(tile: Tile) -> tuple[bool, bool]:
    """Say whether the South and the North Pole lie in a tile, or on its edge."""
    _, height, width = tile.shape
    with np.errstate(invalid="ignore"):  # a pole may lie at infinity
        row, column = _pixels(tile, np.array([[0.0, -90.0], [0.0, 90.0]]))
        inside = (row >= -1) & (row <= height + 1) & (column >= -1) & (column <= width + 1)
    return bool(inside[0]), bool(inside[1])


def _pixels(tile: Tile, lonlat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    to_tile = transformer(tile.crs, "forward")
    x, y = to_tile.transform(*lonlat.T)
    if not to_tile.target_crs.is_geographic:
        return tile.pixels(x, y)
    turn = 2 * np.pi / to_tile.target_crs.axis_info[0].unit_conversion_factor
    west = tile.corners()[0].min()  # longitude may run from 0 to 360
    row, column = tile.pixels(west + (x - west) % turn, y)
    at_pole = np.isclose(np.abs(y), turn / 4, rtol=0, atol=1e-9)
    _, height, width = tile.shape
    return _within(row, height, at_pole), _within(column, width, at_pole)


def _within(position: np.ndarray, size: int, at_pole: np.ndarray) -> np.ndarray:
    """Move places at a pole that lie on the edge of a tile into it: no tile continues beyond."""
    on_edge = at_pole & (position > -1e-6) & (position < size + 1e-6)
    return np.where(on_edge, np.clip(position, 0, np.nextafter(size, 0)), position)


def _of_tile(
    tile: Tile,
    row: np.ndarray,
    column: np.ndarray,
    method: str,
    cache: BlockCache | None,
) -> np.ndarray:
    """Read the values of one tile, (n, bands), block by block."""
    _, height, width = tile.shape
    values = np.empty((len(row), tile.shape[0]), dtype=np.float32)
    if method == "nearest":
        top, left, reach = row.astype(np.int64), column.astype(np.int64), 0
    else:
        row, column = np.clip(row - 0.5, 0, height - 1), np.clip(column - 0.5, 0, width - 1)
        top, left, reach = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64), 1
    down, right = tile.block
    block = top // down * -(-width // right) + left // right
    with tile.opened(cache) as (read, read_companion):
        for _, part in _by(block, np.arange(len(row))):
            rows = slice(int(top[part].min()), min(int(top[part].max()) + 1 + reach, height))
            columns = slice(int(left[part].min()), min(int(left[part].max()) + 1 + reach, width))
            window = Window(tile, read, read_companion, rows, columns)
            if method == "nearest":
                values[part] = window.at(top[part], left[part])
            else:
                values[part] = window.between(row[part], column[part])
    return values


class Window:
    """A part of a tile in memory."""

    def __init__(
        self,
        tile: Tile,
        read: Read,
        read_companion: Read | None,
        rows: slice,
        columns: slice,
    ) -> None:
        self._tile = tile
        self._first = rows.start, columns.start
        self._pixels = read(rows, columns)
        expected = tile.shape[0], rows.stop - rows.start, columns.stop - columns.start
        if self._pixels.shape != expected:
            raise ImageError(f"{tile.path} has changed since fit; fit again.")
        self._companion = None if read_companion is None else read_companion(rows, columns)

    def at(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return the values of pixels, (n, bands)."""
        row, column = row - self._first[0], column - self._first[1]
        companion = None if self._companion is None else self._companion[..., row, column].T
        raw = self._pixels[:, row, column].T
        values = decoded(raw, self._tile, companion)
        return values if self._tile.order is None else values[:, self._tile.order]

    def between(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return the bilinear mean of the surrounding pixels that are not missing."""
        _, height, width = self._tile.shape
        top, left = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
        total = np.zeros((len(row), self._tile.shape[0]), dtype=np.float32)
        weights = np.zeros_like(total)
        for lower, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
            of_row = row - top if lower else 1 - (row - top)
            of_column = column - left if across else 1 - (column - left)
            weight = (of_row * of_column).astype(np.float32)[:, None]
            values = self.at(
                np.minimum(top + lower, height - 1), np.minimum(left + across, width - 1)
            )
            there = ~np.isnan(values)
            total += np.where(there, values * weight, 0)
            weights += there * weight
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(weights > 1e-6, total / weights, np.nan)
