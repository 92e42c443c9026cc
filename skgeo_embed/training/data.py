"""Pairs of images and coordinates as torch datasets and loaders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from skgeo_embed._coordinates import read_coordinates
from skgeo_embed._errors import ImageError
from skgeo_embed._images import to_float_images

Batch = dict[str, Tensor]


class ArrayPairs(Dataset[Batch]):
    """Images held in an array (or memory map) with their coordinates.

    A batch is read with one indexing operation, in the order of the file, so that a memory
    map is read forwards.

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
        rows = np.sort(np.asarray(indices))
        images = to_float_images(np.asarray(self.images[rows]))
        return {"image": torch.from_numpy(images), "point": torch.from_numpy(self.lonlat[rows])}


def split_pairs(
    n_pairs: int, val_fraction: float, generator: torch.Generator
) -> tuple[list[int], list[int]]:
    """Shuffle the rows and cut them into training and validation rows."""
    order = torch.randperm(n_pairs, generator=generator).tolist()
    n_val = round(n_pairs * val_fraction)
    return sorted(order[n_val:]), sorted(order[:n_val])


def make_loader(
    dataset: Dataset[Batch],
    rows: list[int],
    batch_size: int,
    generator: torch.Generator | None = None,
) -> DataLoader[Batch]:
    """Return a loader of `rows`; with a generator it shuffles and leaves out the remainder."""
    training = generator is not None
    return DataLoader(
        Subset(dataset, rows),
        batch_size=batch_size,
        shuffle=training,
        drop_last=training,  # a smaller batch would have fewer negatives, and another loss
        generator=generator,
        collate_fn=collate_pairs,
    )


def collate_pairs(samples: Any) -> Batch:
    """Join samples of a user's dataset; batches of :class:`ArrayPairs` come joined already."""
    if isinstance(samples, dict):
        return samples
    joined = torch.utils.data.default_collate(
        [
            {"image": as_float_image(s["image"]), "point": torch.as_tensor(s["point"])}
            for s in samples
        ]
    )
    lonlat = read_coordinates(joined["point"]).lonlat
    if not torch.isfinite(joined["image"]).all():
        raise ImageError(
            "an image of the dataset contains NaN or infinite pixels; fill or drop it."
        )
    return {"image": joined["image"], "point": torch.from_numpy(lonlat)}


def as_float_image(image: Any) -> Tensor:
    """Scale one image (bands, height, width) as :func:`to_float_images` does."""
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim != 3:
        raise ImageError(
            "a dataset's image must have shape (bands, height, width), got one of shape "
            f"{array.shape}."
        )
    return torch.from_numpy(to_float_images(array))
