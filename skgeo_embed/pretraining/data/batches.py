"""Batches of pairs, read from any dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from skgeo_embed._errors import ImageError
from skgeo_embed.images.pixels import to_float_images
from skgeo_embed.places.reading import read_coordinates

Batch = dict[str, Tensor]


def read_rows(pairs: Dataset[Any], rows: Sequence[int]) -> Batch:
    """Read some pairs as one batch of `image`, `point` and `row`.

    Parameters
    ----------
    pairs : Dataset
        One that gives whole batches as dicts, or a user's dataset of single pairs, whose images
        are scaled and whose coordinates are checked.
    rows : sequence of int
        Which pairs.
    """
    if hasattr(pairs, "__getitems__"):
        found = pairs.__getitems__(list(rows))
        if isinstance(found, dict):
            return {**found, "row": torch.tensor(rows)}
    else:
        found = [pairs[row] for row in rows]
    images = torch.stack([as_float_image(pair["image"]) for pair in found])
    if not torch.isfinite(images).all():
        raise ImageError(
            "an image of the dataset contains NaN or infinite pixels; fill or drop it."
        )
    lonlat = read_coordinates(np.ma.stack([_as_point(pair["point"]) for pair in found])).lonlat
    return {"image": images, "point": torch.from_numpy(lonlat), "row": torch.tensor(rows)}


def _as_point(point: Any) -> np.ndarray:
    """Return longitude and latitude, with masked values as NaN."""
    return point.detach().cpu().numpy() if isinstance(point, Tensor) else np.ma.asarray(point)


def as_float_image(image: Any) -> Tensor:
    """Scale one image (bands, height, width) as :func:`to_float_images` does.

    Raises
    ------
    ImageError
        If it has another number of dimensions, or masked pixels.
    """
    if np.ma.is_masked(image):
        raise ImageError(
            f"an image of the dataset has {np.ma.count_masked(image)} masked pixels; fill them, "
            "for example with image.filled(0), or leave it out."
        )
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim != 3:
        raise ImageError(
            f"an image of the dataset has shape {array.shape}, expected (bands, height, width)."
        )
    return torch.from_numpy(to_float_images(array))
