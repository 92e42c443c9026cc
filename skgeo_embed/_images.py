"""Reading and checking images: (n, bands, height, width), scaled to reflectance-like floats."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError

_ACCEPTED = "images must be an array or tensor of shape (n, bands, height, width)"


def check_image_array(images: Any, *, name: str = "images") -> Any:
    """Check rank and type of an image array without copying it (a memmap stays one).

    Raises
    ------
    ImageError
        If it is not four-dimensional, empty, or not of numbers; a ValueError.
    """
    if type(images).__module__.partition(".")[0] == "torch" and hasattr(images, "detach"):
        images = images.detach().cpu().numpy()
    if not isinstance(images, np.ndarray):
        try:
            images = np.asarray(images)
        except ValueError as error:
            raise ImageError(f"{_ACCEPTED}; the given ones differ in size ({error}).") from error
    if images.ndim != 4:
        hint = ""
        if images.ndim == 3:
            hint = " One band each? Use images[:, None]. A single image? Use images[None]."
        raise ImageError(f"{_ACCEPTED}, got {name} of shape {images.shape}.{hint}")
    if images.dtype.kind not in "fiub":
        raise ImageError(f"{_ACCEPTED} of numbers, got dtype {images.dtype}.")
    if 0 in images.shape:
        raise ImageError(f"{_ACCEPTED}, got an empty one: {name} has shape {images.shape}.")
    bands, height, width = images.shape[1:]
    if width <= 16 < min(bands, height):
        raise ImageError(
            f"{_ACCEPTED}, got {name} of shape {images.shape}, which looks like (n, height, width, "
            "bands); use images.transpose(0, 3, 1, 2)."
        )
    return images


def to_float_images(batch: np.ndarray) -> np.ndarray:
    """Scale a batch to float32: uint8 by 1/255, other integers by 1/10000, floats as they are.

    1/10000 is the quantification value of Sentinel-2 L1C and L2A digital numbers.
    """
    if batch.dtype == np.uint8:
        return batch.astype(np.float32) / np.float32(255)
    if batch.dtype.kind in "iu":
        return batch.astype(np.float32) / np.float32(10000)
    return np.ascontiguousarray(batch, dtype=np.float32)


def check_finite_images(images: np.ndarray, *, chunk_bytes: int = 64 * 2**20) -> None:
    """Raise ImageError if any pixel is NaN or infinite, naming the first images that have one."""
    if images.dtype.kind != "f":
        return
    step = max(1, chunk_bytes // max(1, images[0].nbytes))
    bad: list[int] = []
    for start in range(0, len(images), step):
        finite = np.isfinite(images[start : start + step]).all(axis=(1, 2, 3))
        bad += (start + np.flatnonzero(~finite)).tolist()
    if bad:
        raise ImageError(
            f"{len(bad)} of {len(images)} images contain NaN or infinite pixels (first: "
            f"{', '.join(map(str, bad[:5]))}); fill or drop them before fitting."
        )
