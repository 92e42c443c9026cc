"""Build the two towers of a run from names, descriptions or the user's module."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from skgeo_embed._errors import ImageError
from skgeo_embed.images.crop import crop_centre
from skgeo_embed.images.pixels import prepare_batch
from skgeo_embed.models.opening import open_backbone
from skgeo_embed.models.registry import BACKBONES
from skgeo_embed.models.towers import ARCHITECTURES, build_tower
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.nn.vision.frozen import freeze_all_but_last
from skgeo_embed.nn.vision.small_cnn import ProjectedTower
from skgeo_embed.pretraining.data.batches import as_float_image
from skgeo_embed.pretraining.recipe import Recipe


def build_model(
    recipe: Recipe, vision_tower: Any, pairs: Dataset[Any], crop_size: int | None, seed: int
) -> SatCLIP:
    """Build both towers of a run, with weights drawn from its seed."""
    torch.manual_seed(seed)
    image = pairs[0]["image"]
    tower = make_tower(vision_tower, image, recipe.embed_dim, crop_size)
    return SatCLIP(tower, recipe.build_location(), recipe.temperature)


def make_tower(tower: Any, image: Any, embed_dim: int, crop_size: int | None) -> nn.Module:
    """Build or copy the vision tower, and check that it takes images like `image`.

    Parameters
    ----------
    tower : str, dict or torch.nn.Module
        A name, the description of an architecture, or a module, which is copied.
    image : array-like of shape (bands, height, width)
        One of the images.
    embed_dim : int
        Columns of the embedding.
    crop_size : int or None
        Side of the square that is cut out of images.

    Raises
    ------
    ImageError
        If it cannot take the image.
    ValueError
        If the name is unknown, or the module does not return (n, d).
    """
    sample = as_float_image(image)
    if isinstance(tower, nn.Module):
        return _own_tower(tower, _centre(sample, crop_size), embed_dim)
    built = _named_tower(tower, len(sample), embed_dim)
    config: Any = built.config
    size = config.get("image_size")
    if size and crop_size and size != crop_size:
        raise ValueError(
            f"crop_size={crop_size}, but the vision tower {tower!r} takes {size} × {size} pixels; "
            "omit crop_size."
        )
    cut = _centre(sample, None if size else crop_size).numpy()
    prepare_batch([cut], in_channels=config["in_channels"], image_size=size)
    return built


def _centre(image: Tensor, side: int | None) -> Tensor:
    height, width = image.shape[-2:]
    if side is None:
        return image
    if min(height, width) < side:
        raise ImageError(f"images of {height} × {width} pixels are smaller than crop_size={side}.")
    return crop_centre(image, side, side)


def _named_tower(tower: Any, bands: int, embed_dim: int) -> nn.Module:
    pretrained = {backbone.architecture: name for name, backbone in BACKBONES.items()}
    if isinstance(tower, str) and (tower in BACKBONES or tower in pretrained):
        return freeze_all_but_last(open_backbone(pretrained.get(tower, tower), embed_dim))
    described = dict(tower) if isinstance(tower, dict) else {"architecture": tower}
    if described.get("architecture") not in ARCHITECTURES:
        raise ValueError(
            "vision_tower must be a torch.nn.Module, one of "
            f"{', '.join(map(repr, [*ARCHITECTURES, *BACKBONES]))}, or a dict with such an "
            f'"architecture" and its arguments; got {tower!r}.'
        )
    try:
        return build_tower({"in_channels": bands, "embed_dim": embed_dim, **described})
    except TypeError as error:
        raise ValueError(f"vision_tower={tower!r} has wrong arguments: {error}") from error


def _own_tower(tower: nn.Module, sample: Tensor, embed_dim: int) -> nn.Module:
    tower = copy.deepcopy(tower)
    name, was_training = type(tower).__name__, tower.training
    try:
        with torch.no_grad():
            shape = tuple(tower.eval()(torch.stack([sample, sample])).shape)
    except RuntimeError as error:
        raise ImageError(
            f"the vision tower {name} cannot take images of shape "
            f"{tuple(sample.shape)} (bands, height, width): {error}"
        ) from error
    tower.train(was_training)
    if len(shape) != 2:
        raise ValueError(
            f"the vision tower {name} must map (n, bands, height, width) to (n, d); it returned "
            f"shape {shape} for 2 images."
        )
    return tower if shape[1] == embed_dim else ProjectedTower(tower, shape[1], embed_dim)
