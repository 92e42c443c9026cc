"""Checked images: (n, bands, height, width), scaled to float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError, warn_caller
from skgeo_embed.images.crop import Images, crop_centre
from skgeo_embed.places.numbers import to_numpy

B10_INDEX = 10
SENTINEL2_BANDS = 13
LARGEST_REFLECTANCE = 50.0  # of clouds and glint it is 2; digital numbers begin at hundreds
INTEGER_PIXELS = frozenset(map(np.dtype, ("uint8", "uint16", "int16", "int32")))
NO_PIXEL = 1e20  # float rasters mark missing pixels by values from here on
_ACCEPTED = "images must be an array or tensor of shape (n, bands, height, width)"


def check_image_array(images: Any, *, name: str = "images") -> Any:
    """Check rank and type of an image array without copying it, so that a memmap stays one.

    Raises
    ------
    ImageError
        If it is not four-dimensional, is empty, or does not hold numbers; a ValueError.
    """
    images = to_numpy(images)
    if isinstance(images, np.ma.MaskedArray):
        images = _unmasked(images, name)
    if not isinstance(images, np.ndarray):
        try:
            images = np.asarray(images)
        except ValueError as error:
            raise ImageError(f"{_ACCEPTED}; these differ in size ({error}).") from error
    if images.ndim != 4:
        hint = ""
        if images.ndim == 3:
            hint = " A single image? Use images[None]. One band each? Use images[:, None]."
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


def _unmasked(images: np.ma.MaskedArray, name: str) -> np.ndarray:
    missing = int(np.ma.count_masked(images))
    if missing:
        raise ImageError(
            f"{name} is a masked array with {missing} masked values; fill them, for example with "
            "images.filled(0), or leave their images out."
        )
    return images.data


def to_float_images(images: Images) -> Images:
    """Scale pixels to float32: uint8 by 1/255, other integers by 1/10000, floats as they are.

    1/10000 is the quantification value of Sentinel-2 L1C and L2A digital numbers. Tensors are
    scaled on their device, to the same bits as arrays.
    """
    if isinstance(images, np.ndarray):
        kind, floats = images.dtype.name, np.ascontiguousarray(images, dtype=np.float32)
    else:
        kind, floats = str(images.dtype).removeprefix("torch."), images.float()
    if "int" not in kind:
        return floats
    return floats / (255 if kind == "uint8" else 10000)


def keep_integers(batch: np.ndarray) -> np.ndarray:
    """Scale pixels, but leave integers that torch knows as they are: they take less memory."""
    return batch if batch.dtype in INTEGER_PIXELS else to_float_images(batch)


def check_finite_images(images: np.ndarray, *, chunk_bytes: int = 64 * 2**20) -> None:
    """Raise ImageError if a pixel is NaN, infinite or 1e20 and more; the message names images."""
    if images.dtype.kind != "f":
        return
    step = max(1, chunk_bytes // max(1, images[0].nbytes))
    bad: list[int] = []
    for start in range(0, len(images), step):
        with np.errstate(invalid="ignore"):
            # a comparison with NaN is False; half precision cannot hold the limit
            part = images[start : start + step]
            measured = np.abs(part.astype(np.float32, copy=False)) < NO_PIXEL
        bad += (start + np.flatnonzero(~measured.all(axis=(1, 2, 3)))).tolist()
    if bad:
        raise ImageError(
            f"{len(bad)} of {len(images)} images contain pixels that are NaN, infinite, or "
            f"{NO_PIXEL:g} and more (first: {', '.join(map(str, bad[:5]))}); fill or drop them "
            "before fitting."
        )


def prepare_batch(
    images: Sequence[np.ndarray],
    *,
    in_channels: int | None = None,
    image_size: int | None = None,
    resize: bool = False,
    first: int = 0,
) -> np.ndarray:
    """Scale images and bring them to the bands and the size that a tower takes.

    Twelve bands for a tower of thirteen are Sentinel-2 L2A without B10: zeros are inserted at
    index 10, as in SatCLIP. Images are cropped at their centre, or resized bilinearly. Errors
    count images from `first`.
    """
    prepared = []
    for position, image in enumerate(images, start=first):
        check_pixels(image, f"image {position}")
        image = add_missing_band(to_float_images(image), in_channels)
        prepared.append(fit_size(image, image_size, resize))
    shapes = {image.shape for image in prepared}
    if len(shapes) > 1:
        raise ImageError(
            f"the images of a batch differ in shape ({sorted(shapes)[:3]}), and the tower accepts "
            "any; crop them to one shape, or pass batch_size=1."
        )
    return np.stack(prepared)


def check_pixels(image: np.ndarray, name: str) -> None:
    """Raise ImageError if a pixel is NaN, infinite or 1e20 and more."""
    if image.dtype.kind != "f":
        return
    if not np.isfinite(image).all():
        raise ImageError(f"{name} contains NaN or infinite pixels; fill them or leave it out.")
    largest = float(np.abs(image).max())
    if largest >= NO_PIXEL:
        raise ImageError(
            f"{name} has pixels of {largest:g}, which mark missing data; fill them or leave it out."
        )


def looks_like_digital_numbers(image: np.ndarray, in_channels: int | None) -> bool:
    """Say whether Sentinel-2 pixels are floats that were not divided by 10000."""
    unscaled = image.dtype.kind == "f" and in_channels == SENTINEL2_BANDS
    return unscaled and bool(image.max() > LARGEST_REFLECTANCE)


def warn_of_digital_numbers(name: str, largest: float) -> None:
    """Warn that floats are read as reflectance."""
    warn_caller(
        f"{name} has float values up to {largest:g}, which look like Sentinel-2 digital numbers; "
        "floats are read as reflectance. Divide them by 10000, or convert them to an integer type.",
        UserWarning,
    )


def add_missing_band(image: np.ndarray, in_channels: int | None) -> np.ndarray:
    """Insert a zero B10 into 12 Sentinel-2 bands for a tower that takes 13."""
    bands = len(image)
    if in_channels is None or bands == in_channels:
        return image
    if bands == 12 and in_channels == 13:
        return np.insert(image, B10_INDEX, 0.0, axis=0)
    hint = ""
    if in_channels == 13:
        hint = (
            " Pass the 13 bands of Sentinel-2 L1C (B01-B12 with B8A and B10), or the 12 of L2A "
            "(without B10)."
        )
    raise ImageError(f"the image tower takes {in_channels} bands, got images with {bands}.{hint}")


def fit_size(image: np.ndarray, image_size: int | None, resize: bool) -> np.ndarray:
    """Crop the centre, or resize, if a tower takes one size only."""
    height, width = image.shape[1:]
    if image_size is None or (height, width) == (image_size, image_size):
        return image
    if resize:
        import torch

        pixels = torch.from_numpy(image)[None]
        size = (image_size, image_size)
        scaled = torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)
        return scaled[0].numpy()
    if min(height, width) < image_size:
        raise ImageError(
            f"the image tower takes {image_size} × {image_size} pixels, but the images have "
            f"{height} × {width}; pass resize=True to enlarge them."
        )
    return crop_centre(image, image_size, image_size)
