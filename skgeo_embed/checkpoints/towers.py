"""Image towers to and from their description in config.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skgeo_embed._errors import ModelFormatError
from skgeo_embed.nn.towers import SmallConvNet

if TYPE_CHECKING:
    from torch import nn

CUSTOM = "custom"


def describe_tower(tower: nn.Module) -> dict[str, Any]:
    """Return the entry for config.json: enough to rebuild the tower, or its class name."""
    config = getattr(tower, "config", None)
    if isinstance(tower, SmallConvNet) and isinstance(config, dict):
        return dict(config)
    inner = getattr(tower, "tower", tower)
    return {"architecture": CUSTOM, "class": f"{type(inner).__module__}.{type(inner).__qualname__}"}


def build_tower(config: dict[str, Any]) -> nn.Module:
    """Build the tower that config.json describes, without weights.

    Raises
    ------
    ModelFormatError
        If it is a class of the user's own, or unknown.
    """
    arguments = dict(config)
    architecture = arguments.pop("architecture", None)
    if architecture == "small_cnn":
        return SmallConvNet(**arguments)
    if architecture == CUSTOM:
        raise ModelFormatError(
            f"the image tower is a module of your own ({config.get('class')}), which a file cannot "
            "rebuild; build it and pass it as SatCLIPImageEncoder(model, vision_tower=module), its "
            "weights are loaded into it."
        )
    raise ModelFormatError(
        f"unknown image tower {architecture!r}; this skgeo_embed knows 'small_cnn'."
    )
