"""One raster: what its header says, and its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache as once
from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed.rasters.cache import BlockCache, Read
from skgeo_embed.rasters.geotiff import gdal_reader
from skgeo_embed.rasters.network import version_of
from skgeo_embed.rasters.products import Product
from skgeo_embed.rasters.stamps import Stamp, check_unchanged
from skgeo_embed.rasters.zarr_store import ZarrArray, zarr_reader


@dataclass(frozen=True)
class Stored:
    """An array of pixels where it is stored, as it was in `fit`.

    Attributes
    ----------
    path : str
        The file, store or address.
    kind : {"gdal", "zarr", "npy"}
        The reader of its pixels.
    masked : bool
        Whether what the file declares as missing is read as masked.
    where : ZarrArray or None
        Where it is in a Zarr store.
    document : str or None
        The checked document that stands for a VRT.
    version : str or None
        The version of a file at an address, if the server tells it.
    stamps : tuple
        Sizes and times of the files on this disk.
    keeps_blocks : bool
        Whether its blocks are the same as long as the version is.
    """

    path: str
    kind: str
    masked: bool = False
    where: ZarrArray | None = None
    document: str | None = None
    version: str | None = None
    stamps: tuple[Stamp, ...] = ()
    keeps_blocks: bool = False

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Open it for reading, if it is what it was in `fit`; errors of readers name it."""
        check_unchanged(self.stamps)
        found = version_of(self.path) if self.version is not None else None
        if found is not None and found != self.version:
            raise ImageError(f"{self.path} has changed since fit; fit again.")
        with READERS[self.kind](self) as read:
            yield read
        check_unchanged(self.stamps)  # it may have changed while it was read


@dataclass(frozen=True)
class Tile:
    """A raster's header.

    Attributes
    ----------
    pixels_of : Stored
        Its pixels.
    crs : str
        Its coordinate reference system.
    transform : tuple of float
        (a, b, c, d, e, f): x = a·column + b·row + c, y = d·column + e·row + f, of pixel corners.
    shape : tuple of int
        Bands, height, width.
    block : tuple of int
        Height and width of the blocks in which pixels are stored and read.
    nodata : float or None
        The value of missing pixels.
    scales, offsets : tuple of float, or None
        Those of each band, if they change values.
    names, units : tuple of (str or None), or None
        Names of the bands and units of their values; None if the file states not one.
    product : Product or None
        What the stored pixels stand for, if not for themselves.
    companion_of : Stored or None
        What decoding needs beside the pixels.
    year : int or None
        The year that the raster describes.
    order : tuple of int, or None
        The bands in the order of the first tile, if that is another.
    model : str or None
        What made the embeddings, if the file says so.
    """

    pixels_of: Stored
    crs: str
    transform: tuple[float, ...]
    shape: tuple[int, int, int]
    block: tuple[int, int]
    nodata: float | None = None
    scales: tuple[float, ...] | None = None
    offsets: tuple[float, ...] | None = None
    names: tuple[str | None, ...] | None = None
    units: tuple[str | None, ...] | None = None
    product: Product | None = None
    companion_of: Stored | None = None
    year: int | None = None
    order: tuple[int, ...] | None = None
    model: str | None = None

    @property
    def files(self) -> list[Stored]:
        """Where its pixels are, and what decoding needs beside them."""
        return [self.pixels_of] + ([] if self.companion_of is None else [self.companion_of])

    @property
    def path(self) -> str:
        """The file, store or address."""
        return self.pixels_of.path

    @property
    def keeps_blocks(self) -> bool:
        """Whether blocks of it can be kept in the cache."""
        return self.pixels_of.keeps_blocks

    def pixels(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns, with fractions, of coordinates in the tile's system."""
        a, b, c, d, e, f = self.transform
        determinant = a * e - b * d
        columns = (e * (x - c) - b * (y - f)) / determinant
        return (a * (y - f) - d * (x - c)) / determinant, columns

    def corners(self) -> tuple[np.ndarray, np.ndarray]:
        """Return coordinates of the four corners, in the tile's system."""
        return self._coordinates(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]))

    def outline(self) -> tuple[np.ndarray, np.ndarray]:
        """Return coordinates along the outline, once around, in the tile's system."""
        steps = np.linspace(0, 1, 21)
        ones = np.ones_like(steps)
        columns = np.concatenate([steps, ones, steps[::-1], 0 * ones])
        return self._coordinates(np.concatenate([0 * ones, steps, ones, steps[::-1]]), columns)

    def _coordinates(self, down: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b, c, d, e, f = self.transform
        _, height, width = self.shape
        rows, columns = down * height, across * width
        return a * columns + b * rows + c, d * columns + e * rows + f

    @contextmanager
    def opened(self, cache: BlockCache | None) -> Iterator[tuple[Read, Read | None]]:
        """Open the pixels and their companion for reading, through the cache if it can be."""
        with ExitStack() as files:

            def reader(stored: Stored) -> Read:
                if cache is None or not stored.keeps_blocks:
                    return files.enter_context(stored.opened())
                opened = once(lambda: files.enter_context(stored.opened()))
                raster = f"{stored.path} {stored.version}"
                return cache.reader(opened, raster, self.shape[1:], self.block)

            companion = self.companion_of
            yield reader(self.pixels_of), None if companion is None else reader(companion)


def _gdal(stored: Stored) -> AbstractContextManager[Read]:
    return gdal_reader(stored.path, stored.document, stored.masked)


def _zarr(stored: Stored) -> AbstractContextManager[Read]:
    assert stored.where is not None
    return zarr_reader(stored.path, stored.where, stored.masked)


@contextmanager
def _npy(stored: Stored) -> Iterator[Read]:
    pixels = open_npy(stored.path)

    def read(rows: slice, columns: slice) -> np.ndarray:
        part = np.asarray(pixels[rows, columns])
        return part if part.ndim == 2 else np.moveaxis(part, 2, 0)

    yield read


def open_npy(path: str) -> Any:
    """Map an array file into memory.

    Raises
    ------
    ImageError
        If it holds no array of numbers, or less than it says.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ImageError(f"{path} is not an array of numbers: {error}") from error


READERS: dict[str, Any] = {"gdal": _gdal, "zarr": _zarr, "npy": _npy}
