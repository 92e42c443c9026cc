"""A cache on disk for blocks of remote rasters."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from skgeo_embed._errors import warn_caller
from skgeo_embed._files import cache_folder, write_atomically

# rows and columns to (bands, height, width), and to scales, (height, width) or with bands first
Read = Callable[[slice, slice], np.ndarray]
SECONDS = 30
FILLED = 0.9  # of the limit, after making room: so it is not made for every block


class BlockCache:
    """Keeps each block in a file; the least recently used ones make room for new ones.

    Parameters
    ----------
    limit : int
        Bytes of all files together. Processes that write at the same time count only their own
        files, so the total may exceed the limit until one of them makes room.
    """

    def __init__(self, limit: int) -> None:
        self._folder = cache_folder("rasters")
        self._limit = limit
        self._room: int | None = None
        self._lock = threading.Lock()

    def reader(
        self,
        opened: Callable[[], Read],
        raster: str,
        shape: tuple[int, int],
        block: tuple[int, int],
    ) -> Read:
        """Return a reader that goes through the cache, and opens the raster only for new blocks.

        `raster` names the raster and its version.
        """
        (height, width), (down, right) = shape, block

        def block_at(row: int, column: int) -> np.ndarray:
            path = self._path(f"{raster} {row} {column}")
            pixels = _load(path)
            if pixels is None:
                rows = slice(row * down, min((row + 1) * down, height))
                pixels = opened()(rows, slice(column * right, min((column + 1) * right, width)))
                self._store(path, pixels)
            return pixels

        def read_blocks(rows: slice, columns: slice) -> np.ndarray:
            across = range(columns.start // right, -(-columns.stop // right))
            lines = [
                _joined([block_at(row, column) for column in across], axis=-1)
                for row in range(rows.start // down, -(-rows.stop // down))
            ]
            top, left = rows.start // down * down, columns.start // right * right
            return _joined(lines, axis=-2)[
                ..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]

        return read_blocks

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self._folder / name[:2] / f"{name}.npy"

    def _store(self, path: Path, pixels: np.ndarray) -> None:
        content = io.BytesIO()
        np.save(content, np.ma.getdata(pixels), allow_pickle=False)
        if np.ma.isMaskedArray(pixels):
            np.save(content, np.ma.getmaskarray(pixels), allow_pickle=False)
        size = content.tell()
        with self._lock:
            if size > self._limit:
                return
            try:
                if self._room is None or self._room < size:
                    self._room = self._make_room(size)
                self._room -= size
                path.parent.mkdir(exist_ok=True)
                write_atomically(path, content.getbuffer())
            except OSError as error:  # reading goes on without the cache
                self._limit = 0
                _warn_unkept(error)

    def _make_room(self, size: int) -> int:
        """Remove the least recently used blocks if the cache is full; return the free bytes."""
        used = []
        for path in self._folder.glob("*/*"):  # also unfinished files of processes that died
            with suppress(FileNotFoundError):  # another process makes room as well
                stat = path.stat()
                used.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(entry[1] for entry in used)
        if total + size > self._limit:
            for _, bytes_, path in sorted(used):
                if total + size <= FILLED * self._limit:
                    break
                path.unlink(missing_ok=True)
                total -= bytes_
        return self._limit - total


def open_cache(limit: int) -> BlockCache | None:
    """Return the cache in the user's folder, or None with a warning if it cannot be written."""
    try:
        return BlockCache(limit)
    except OSError as error:
        _warn_unkept(error)
        return None


def _warn_unkept(error: OSError) -> None:
    warn_caller(
        f"blocks of remote rasters cannot be kept on disk ({error}) and are fetched in every call. "
        "Set the environment variable SKGEO_EMBED_CACHE to a writable folder, or cache_bytes=0.",
        UserWarning,
    )


def _joined(parts: list[np.ndarray], axis: int) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    masked = any(np.ma.isMaskedArray(part) for part in parts)
    return (np.ma.concatenate if masked else np.concatenate)(parts, axis=axis)


def _load(path: Path) -> np.ndarray | None:
    """Return a block from its file, and mark it as used; None if it must be fetched."""
    try:
        with path.open("rb") as file:
            pixels = np.load(file, allow_pickle=False)
            more = file.read(1)
            if more:
                file.seek(-1, os.SEEK_CUR)
                pixels = np.ma.MaskedArray(pixels, np.load(file, allow_pickle=False))
    except FileNotFoundError:
        return None
    except (ValueError, EOFError, OSError):  # damaged: it is fetched and written again
        return None
    with suppress(OSError):
        os.utime(path)
    return pixels


def version_of(address: str) -> str | None:
    """Ask the server for the version of a file: its ETag or date, and its length.

    None means that the server does not tell.
    """
    if not address.startswith(("http://", "https://")):
        return None
    # one byte, because addresses that are signed for GET refuse HEAD
    request = urllib.request.Request(address, headers={"Range": "bytes=0-0"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            headers = answer.headers
    except (urllib.error.URLError, OSError, ValueError):  # GDAL reports it when it reads the file
        return None
    changes = headers["ETag"] or headers["Last-Modified"]
    length = (headers["Content-Range"] or headers["Content-Length"] or "").rpartition("/")[2]
    return f"{changes} {length}" if changes else None
