"""Pairs of images in an array and their coordinates."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from skgeo_embed.images.pixels import keep_integers
from skgeo_embed.pretraining.data.batches import Batch


class ArrayPairs(Dataset[Batch]):
    """Images in an array or a memory map, with their coordinates.

    A batch is read with one indexing operation; integers are scaled on the device that uses them,
    see :func:`~skgeo_embed.images.pixels.to_float_images`.

    Parameters
    ----------
    images : ndarray of shape (n, bands, height, width)
        Images of any numeric type.
    lonlat : ndarray of shape (n, 2)
        Canonical coordinates.
    """

    def __init__(self, images: np.ndarray, lonlat: np.ndarray) -> None:
        self.images = images
        self.lonlat = lonlat

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Batch:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        rows = np.asarray(indices)
        images = keep_integers(np.asarray(self.images[rows]))
        release_pages(self.images)
        return {"image": torch.from_numpy(images), "point": torch.from_numpy(self.lonlat[rows])}

    def fingerprint(self) -> str:
        """Return a hash of the images' bytes, or of a memory map's file name, size and time."""
        images = self.images
        # edits of a copy-on-write map are not in its file
        if isinstance(images, np.memmap) and images.filename and images.mode != "c":
            described = [images.dtype.str, images.shape, images.strides]
            start = images.__array_interface__["data"][0] - address_of(images)
            return fingerprint_of(str([*described, start]), [images.filename])
        digest = hashlib.blake2b(f"{self.images.dtype.str}{self.images.shape}".encode())
        for image in self.images:
            digest.update(np.ascontiguousarray(image).data)
        return digest.hexdigest()[:32]


def fingerprint_of(description: str, paths: Sequence[str | Path]) -> str:
    """Return a hash of a description and of the names, sizes and times of files."""
    digest = hashlib.blake2b(description.encode())
    for path in paths:
        state = os.stat(path)
        digest.update(f"{os.path.abspath(path)} {state.st_size} {state.st_mtime_ns};".encode())
    return digest.hexdigest()[:32]


def release_pages(array: np.ndarray) -> None:
    """Tell the system that a memory map's pages, read once, need not stay in memory.

    A copy-on-write map keeps its pages, because only they hold its changes.
    """
    mapping = getattr(array, "_mmap", None)
    private = getattr(array, "mode", "c") == "c"
    if mapping is not None and not private and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)


def address_of(array: np.memmap) -> int:
    """Return the address in memory where a memory map begins."""
    return int(np.frombuffer(array._mmap, dtype=np.uint8).ctypes.data)  # type: ignore[attr-defined]
