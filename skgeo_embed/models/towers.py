"""Image towers to and from their description in config.json or in a checkpoint."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from skgeo_embed.nn.vision.clip import CLIPVisionTransformer, ModifiedResNet
from skgeo_embed.nn.vision.resnet import resnet18, resnet50
from skgeo_embed.nn.vision.small_cnn import ProjectedTower, SmallConvNet
from skgeo_embed.nn.vision.vit import VisionTransformer

CUSTOM = "custom"
ARCHITECTURES: dict[str, Any] = {
    "small_cnn": SmallConvNet,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vit_small_patch16": VisionTransformer,
    "clip_resnet": ModifiedResNet,
    "clip_vit": CLIPVisionTransformer,
}
# a SatCLIP checkpoint's `vision_layers` -> architecture here
_MOCO = {
    "moco_resnet18": "resnet18",
    "moco_resnet50": "resnet50",
    "moco_vit16": "vit_small_patch16",
}


def describe_tower(tower: nn.Module) -> dict[str, Any]:
    """Return the entry for config.json: enough to rebuild the tower, or its class name."""
    config = getattr(tower, "config", None)
    if isinstance(config, dict) and config.get("architecture") in ARCHITECTURES:
        return dict(config)
    projected = isinstance(tower, ProjectedTower)
    inner = tower.tower if projected else tower
    name = f"{type(inner).__module__}.{type(inner).__qualname__}"
    return {"architecture": CUSTOM, "class": name, "projected": projected}


def build_tower(config: dict[str, Any]) -> nn.Module:
    """Build the tower that config.json describes; it remembers the description as `config`.

    Raises
    ------
    ValueError
        If its architecture is unknown.
    """
    arguments = dict(config)
    architecture = arguments.pop("architecture", None)
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"unknown image tower {architecture!r}; this skgeo_embed knows "
            f"{', '.join(ARCHITECTURES)}"
        )
    tower = ARCHITECTURES[architecture](**arguments)
    tower.config = dict(config)
    if hasattr(tower, "image_size"):
        tower.config["image_size"] = tower.image_size
    return tower


def tower_of_checkpoint(vision_layers: Any, weights: dict[str, Tensor]) -> dict[str, Any]:
    """Describe the image tower of a SatCLIP checkpoint; sizes are read from its tensors.

    Parameters
    ----------
    vision_layers : str, int or sequence of int
        The hyper-parameter: a MoCo backbone's name, the depth of CLIP's vision transformer, or
        the depths of CLIP's ResNet.
    weights : dict of Tensor
        The tower's tensors.
    """
    if isinstance(vision_layers, str) and vision_layers in _MOCO:
        return _describe_moco(_MOCO[vision_layers], weights)
    if isinstance(vision_layers, int):
        width, in_channels, patch_size = weights["conv1.weight"].shape[:3]
        side = _side(weights["positional_embedding"])
        return {
            "architecture": "clip_vit",
            "depth": vision_layers,
            "in_channels": in_channels,
            "embed_dim": weights["proj"].shape[1],
            "image_size": side * patch_size,
            "patch_size": patch_size,
            "width": width,
        }
    if isinstance(vision_layers, (list, tuple)):
        half, in_channels = weights["conv1.weight"].shape[:2]
        return {
            "architecture": "clip_resnet",
            "depths": list(vision_layers),
            "in_channels": in_channels,
            "embed_dim": weights["attnpool.c_proj.weight"].shape[0],
            "image_size": 32 * _side(weights["attnpool.positional_embedding"]),
            "width": 2 * half,
        }
    raise ValueError(
        f"vision_layers={vision_layers!r} must be one of {', '.join(_MOCO)}, a depth (CLIP's "
        "vision transformer) or four depths (CLIP's ResNet)"
    )


def _describe_moco(architecture: str, weights: dict[str, Tensor]) -> dict[str, Any]:
    transformer = architecture == "vit_small_patch16"
    stem = weights["patch_embed.proj.weight" if transformer else "conv1.weight"]
    head = weights["head.weight" if transformer else "fc.weight"]
    config = {
        "architecture": architecture,
        "in_channels": stem.shape[1],
        "embed_dim": head.shape[0],
    }
    if transformer:
        config["image_size"] = stem.shape[2] * _side(weights["pos_embed"][0])
    return config


def _side(positions: Tensor) -> int:
    """Patches along one side, given the embedding of all of them and a class token."""
    return int(torch.tensor(len(positions) - 1.0).sqrt().round())
