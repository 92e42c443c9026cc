"""A cache on disk for blocks of remote rasters."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from skgeo_embed._errors import warn_caller
from skgeo_embed._files import cache_folder, write_atomically

# rows and columns to (bands, height, width), and to scales, (height, width) or with bands first
Read = Callable[[slice, slice], np.ndarray]
DIGEST_BYTES = 32
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
            key = f"{raster} {row} {column}"
            path = self._path(key)
            pixels = _load(path, key)
            if pixels is None:
                rows = slice(row * down, min((row + 1) * down, height))
                pixels = opened()(rows, slice(column * right, min((column + 1) * right, width)))
                self._store(path, key, pixels)
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

    def _store(self, path: Path, key: str, pixels: np.ndarray) -> None:
        content = io.BytesIO()
        np.save(content, np.ma.getdata(pixels), allow_pickle=False)
        if np.ma.isMaskedArray(pixels):
            np.save(content, np.ma.getmaskarray(pixels), allow_pickle=False)
        content.write(_digest(key, content.getvalue()))
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


def _digest(key: str, content: bytes) -> bytes:
    """Return the checksum of a block; it tells damage, and a file under another's name."""
    return hashlib.sha256(key.encode() + b"\0" + content).digest()


def _load(path: Path, key: str) -> np.ndarray | None:
    """Return a block from its file, and mark it as used; None if it must be fetched."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    content, digest = stored[:-DIGEST_BYTES], stored[-DIGEST_BYTES:]
    if digest != _digest(key, content):  # damaged: it is fetched and written again
        return None
    file = io.BytesIO(content)
    pixels = np.load(file, allow_pickle=False)
    if file.tell() < len(content):
        pixels = np.ma.MaskedArray(pixels, np.load(file, allow_pickle=False))
    with suppress(OSError):
        os.utime(path)
    return pixels
