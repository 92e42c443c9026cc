"""Views of images: cut to a tower's size, and augmented for training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skgeo_embed.images.crop import crop_centre
from skgeo_embed.images.pixels import B10_INDEX, SENTINEL2_BANDS, to_float_images

PAD_FRACTION = 1 / 16
BLUR_SIGMA = (0.1, 1.5)


class Views:
    """Bring images to a tower's bands and size, at random or at their centre.

    Parameters
    ----------
    tower : torch.nn.Module
        Its `config`, if it has one, says how many bands and pixels it takes.
    crop_size : int, default=None
        Side of the square that is cut out; None cuts the tower's size, or nothing.
    augment : bool, default=True
        Whether random views are also shifted, flipped and blurred.
    """

    def __init__(
        self, tower: nn.Module, crop_size: int | None = None, *, augment: bool = True
    ) -> None:
        config = getattr(tower, "config", {})
        self.adds_b10 = config.get("in_channels") == SENTINEL2_BANDS
        self.side = config.get("image_size") or crop_size
        self.augment = augment

    def __call__(self, images: Tensor, *, random: bool) -> Tensor:
        """Scale and cut (n, bands, height, width), and augment each image if `random`.

        The cut is at a random position, or at the centre. Half of the images are flipped along
        each axis, and half are blurred (3 × 3, standard deviation 0.1 to 1.5 pixels). Images that
        are not cut are shifted by up to a sixteenth of their size, reflected at the edges.
        """
        images = to_float_images(images)
        if self.adds_b10 and images.shape[1] == SENTINEL2_BANDS - 1:
            b10 = torch.zeros_like(images[:, :1])
            images = torch.cat([images[:, :B10_INDEX], b10, images[:, B10_INDEX:]], dim=1)
        height, width = images.shape[-2:]
        size = (self.side or height, self.side or width)
        if random and self.augment:
            if size == (height, width):
                images = reflected_border(images)
            return random_blur(random_flips(random_cut(images, size)))
        return crop_centre(images, *size)

    def describe(self) -> str:
        """Return all that determines the views, as text for a hash."""
        return f"{self.side} {self.augment} {self.adds_b10} {PAD_FRACTION} {BLUR_SIGMA} 2"


def unchanged(features: Tensor, *, random: bool) -> Tensor:
    """Return cached features, which stand for views of images."""
    return features


def reflected_border(images: Tensor) -> Tensor:
    """Widen images by a sixteenth of their size on each side with reflected pixels."""
    pad_y, pad_x = (round(length * PAD_FRACTION) for length in images.shape[-2:])
    if not pad_y and not pad_x:
        return images
    return nn.functional.pad(images, (pad_x, pad_x, pad_y, pad_y), mode="reflect")


def random_cut(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut (height, width) out of each image at its own random position."""
    (height, width), n = size, len(images)
    spare_y, spare_x = images.shape[-2] - height, images.shape[-1] - width
    if not spare_y and not spare_x:
        return images
    top = torch.randint(0, spare_y + 1, (n,)).tolist()
    left = torch.randint(0, spare_x + 1, (n,)).tolist()
    return torch.stack(
        [
            image[:, y : y + height, x : x + width]
            for image, y, x in zip(images, top, left, strict=True)
        ]
    )


def random_flips(images: Tensor) -> Tensor:
    """Mirror each image left-right and top-bottom, each with probability one half."""
    for axis in (-1, -2):
        chosen = torch.rand(len(images), device=images.device) < 0.5
        images = torch.where(chosen[:, None, None, None], images.flip(axis), images)
    return images


def random_blur(images: Tensor) -> Tensor:
    """Blur each image with probability one half by its own 3 × 3 Gaussian kernel."""
    n, bands, height, width = images.shape
    if min(height, width) < 2:
        return images
    low, high = BLUR_SIGMA
    sigma = torch.empty(n, device=images.device).uniform_(low, high)
    side = torch.exp(-0.5 / sigma**2) * (torch.rand(n, device=images.device) < 0.5)
    kernel = torch.stack([side, torch.ones_like(side), side], dim=1)  # (n, 3)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    kernel = kernel.to(images.dtype).repeat_interleave(bands, dim=0)  # one group per band
    planes = images.reshape(1, n * bands, height, width)
    for weight, padding in (
        (kernel[:, None, None, :], (1, 1, 0, 0)),
        (kernel[:, None, :, None], (0, 0, 1, 1)),
    ):
        padded = nn.functional.pad(planes, padding, mode="reflect")
        planes = nn.functional.conv2d(padded, weight, groups=n * bands)
    return planes.reshape(n, bands, height, width)


def jitter_coordinates(lonlat: Tensor, degrees: float) -> Tensor:
    """Move each point by up to `degrees` in longitude and in latitude, within the valid range."""
    noise = (torch.rand_like(lonlat) * 2 - 1) * degrees
    lon, lat = (lonlat + noise).unbind(-1)
    lon = torch.remainder(lon + 180, 360) - 180
    return torch.stack([lon, lat.clamp(-90, 90)], dim=-1)
