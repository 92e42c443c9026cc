"""Centre crops, of arrays and tensors and of windows in files."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Images = TypeVar("Images", np.ndarray, "Tensor")


def centre_of(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return the first row and column of the (height, width) in the middle of a shape."""
    return (shape[0] - size[0]) // 2, (shape[1] - size[1]) // 2


def crop_centre(images: Images, height: int, width: int) -> Images:
    """Cut height × width pixels out of the middle of images, (..., height, width)."""
    top, left = centre_of((images.shape[-2], images.shape[-1]), (height, width))
    return images[..., top : top + height, left : left + width]
