"""Pairs of images in an array and their coordinates."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from skgeo_embed.images.pixels import keep_integers
from skgeo_embed.pretraining.data.batches import Batch
from skgeo_embed.pretraining.data.mapped import MappedArray, picklable, release_pages, unpickled


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

    def __getstate__(self) -> dict[str, Any]:
        """Leave the values out: a spawned process maps the file again."""
        return {**vars(self), "images": picklable(self.images)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "images": unpickled(state["images"])})

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
        held = picklable(self.images) if isinstance(self.images, np.memmap) else None
        if isinstance(held, MappedArray):
            described = [held.dtype.str, held.shape, held.strides, held.offset]
            return fingerprint_of(str(described), [held.path])
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
