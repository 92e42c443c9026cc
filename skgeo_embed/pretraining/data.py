"""Pairs of images and coordinates as torch datasets and loaders."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from skgeo_embed._errors import ImageError
from skgeo_embed.images.pixels import keep_integers, to_float_images
from skgeo_embed.places.reading import read_coordinates

Batch = dict[str, Tensor]


class ArrayPairs(Dataset[Batch]):
    """Images held in an array (or memory map) with their coordinates.

    A batch is read with one indexing operation; integers are scaled where they are used, see
    :func:`~skgeo_embed.images.pixels.to_float_images`.

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
        """Hash of the images: of all their bytes, or of a file's name, size and time."""
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
    """Hash of a description and of the names, sizes and times of files."""
    digest = hashlib.blake2b(description.encode())
    for path in paths:
        state = os.stat(path)
        digest.update(f"{os.path.abspath(path)} {state.st_size} {state.st_mtime_ns};".encode())
    return digest.hexdigest()[:32]


def release_pages(array: np.ndarray) -> None:
    """Tell the system that a memory map's pages, read once, need not stay in memory.

    Not of a copy-on-write map: its changes live in those pages alone.
    """
    mapping = getattr(array, "_mmap", None)
    private = getattr(array, "mode", "c") == "c"
    if mapping is not None and not private and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)


def address_of(array: np.memmap) -> int:
    """Where a memory map's mapping begins in memory."""
    return int(np.frombuffer(array._mmap, dtype=np.uint8).ctypes.data)  # type: ignore[attr-defined]


def collate_pairs(samples: Any) -> Batch:
    """Join samples of a user's dataset; batches of :class:`ArrayPairs` come joined already."""
    if isinstance(samples, dict):
        return samples
    joined = torch.utils.data.default_collate(
        [
            {
                "image": as_float_image(s["image"]),
                "point": torch.as_tensor(s["point"]),
                "row": s["row"],
            }
            for s in samples
        ]
    )
    lonlat = read_coordinates(joined["point"]).lonlat
    if not torch.isfinite(joined["image"]).all():
        raise ImageError(
            "an image of the dataset contains NaN or infinite pixels; fill or drop it."
        )
    return {**joined, "point": torch.from_numpy(lonlat)}


def as_float_image(image: Any) -> Tensor:
    """Scale one image (bands, height, width) as :func:`to_float_images` does."""
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim != 3:
        raise ImageError(
            "a dataset's image must have shape (bands, height, width), got one of shape "
            f"{array.shape}."
        )
    return torch.from_numpy(to_float_images(array))
