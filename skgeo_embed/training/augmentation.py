"""Augmentation of training batches; validation is never augmented."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skgeo_embed._images import B10_INDEX, SENTINEL2_BANDS

PAD_FRACTION = 1 / 16
BLUR_SIGMA = (0.1, 1.5)


class ImageAugmentation(nn.Module):
    """Random crop, flips and Gaussian blur, drawn anew for every image.

    The crop keeps the size: the image is reflected at its edges by a sixteenth of its size,
    then cut out at a random offset. Both flips and the blur (3 × 3, standard deviation 0.1 to
    1.5 pixels) happen to half of the images.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Augment (n, bands, height, width)."""
        return random_blur(random_flips(random_crop(images)))


def fit_to_tower(images: Tensor, tower: nn.Module, *, random: bool) -> Tensor:
    """Insert the zero B10 and cut out the size that a tower insists on, as its config says."""
    config = getattr(tower, "config", {})
    if images.shape[1] == B10_INDEX + 2 and config.get("in_channels") == SENTINEL2_BANDS:
        nothing = torch.zeros_like(images[:, :1])
        images = torch.cat([images[:, :B10_INDEX], nothing, images[:, B10_INDEX:]], dim=1)
    size = config.get("image_size")
    spare = [length - size for length in images.shape[-2:]] if size else [0, 0]
    top, left = (int(torch.randint(0, extra + 1, ())) if random else extra // 2 for extra in spare)
    height, width = (length - extra for length, extra in zip(images.shape[-2:], spare, strict=True))
    return images[:, :, top : top + height, left : left + width]


def random_crop(images: Tensor) -> Tensor:
    """Shift every image by up to a sixteenth of its size, reflecting at the edges."""
    height, width = images.shape[-2:]
    pad_y, pad_x = round(height * PAD_FRACTION), round(width * PAD_FRACTION)
    if not pad_y and not pad_x:
        return images
    padded = nn.functional.pad(images, (pad_x, pad_x, pad_y, pad_y), mode="reflect")
    top = torch.randint(0, 2 * pad_y + 1, (len(images),)).tolist()
    left = torch.randint(0, 2 * pad_x + 1, (len(images),)).tolist()
    return torch.stack(
        [
            image[:, y : y + height, x : x + width]
            for image, y, x in zip(padded, top, left, strict=True)
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
    """Move each point by up to `degrees` in longitude and in latitude, staying on the sphere."""
    noise = (torch.rand_like(lonlat) * 2 - 1) * degrees
    lon, lat = (lonlat + noise).unbind(-1)
    lon = torch.remainder(lon + 180, 360) - 180
    return torch.stack([lon, lat.clamp(-90, 90)], dim=-1)
