"""Arrays in memory maps: found, described by their files, and opened again in other processes."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class MappedArray:
    """Where an array is in a file, which a pickle holds in place of its values.

    Attributes
    ----------
    path : str
        The file.
    dtype : dtype
        Of the array.
    shape, strides : tuple of int
        Of the array; it may be a part of a map, in any order.
    offset : int
        Bytes in the file before the first element.
    first, last : int
        The bytes of the file that hold the array.
    """

    path: str
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    first: int
    last: int

    def open(self) -> np.ndarray:
        """Map the file for reading.

        Raises
        ------
        OSError
            If it is gone or shorter than it was; the message names it.
        """
        if os.path.getsize(self.path) < self.last:
            raise OSError(f"{self.path} has become shorter since its images were mapped.")
        bytes_ = np.memmap(
            self.path, np.uint8, "r", offset=self.first, shape=(self.last - self.first,)
        )
        view: Any = np.ndarray(
            self.shape, self.dtype, bytes_.data, self.offset - self.first, self.strides
        ).view(np.memmap)
        # what numpy's own views of a map carry
        view._mmap, view.mode = bytes_._mmap, bytes_.mode  # type: ignore[attr-defined]
        view.filename, view.offset = bytes_.filename, bytes_.offset
        return view


def picklable(array: np.ndarray) -> np.ndarray | MappedArray:
    """Return an array, or where it is in a file if it is mapped from one.

    A copy-on-write map is returned as it is, because its changes are not in the file.
    """
    mapped = map_of(array)
    if mapped is None or mapped.mode == "c" or mapped.filename is None or not array.size:
        return array
    path = os.fspath(mapped.filename)
    start = address_of(mapped)
    length = mapped._mmap.size()  # type: ignore[attr-defined]
    address = array.__array_interface__["data"][0]
    reach = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
    low = address + sum(step for step in reach if step < 0)
    high = address + sum(step for step in reach if step > 0) + array.itemsize
    begin = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY
    try:
        same = os.path.getsize(path) == length
    except OSError:  # deleted: only this process has it still
        return array
    if not same or not start <= low < high <= start + len(mapped._mmap):  # type: ignore[attr-defined]
        return array
    at = begin - start
    return MappedArray(
        path, array.dtype, array.shape, array.strides, address + at, low + at, high + at
    )


def unpickled(held: np.ndarray | MappedArray) -> np.ndarray:
    """Return the array that :func:`picklable` was given."""
    return held.open() if isinstance(held, MappedArray) else held


def map_of(array: Any) -> np.memmap | None:
    """Return the memory map that an array is a view of, however many views lie between."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and getattr(array, "_mmap", None) is not None:
            return array
        array = array.base
    return None


def release_pages(array: np.ndarray) -> None:
    """Tell the system that a memory map's pages, read once, need not stay in memory.

    A copy-on-write map keeps its pages, because only they hold its changes.
    """
    mapped = map_of(array)
    if mapped is not None and mapped.mode != "c" and hasattr(mapped._mmap, "madvise"):  # type: ignore[attr-defined]
        mapped._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def address_of(array: np.memmap) -> int:
    """Return the address in memory where a memory map begins."""
    return int(np.frombuffer(array._mmap, dtype=np.uint8).ctypes.data)  # type: ignore[attr-defined]
