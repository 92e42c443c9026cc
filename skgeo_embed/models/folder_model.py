"""A folder written by this library as a model."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from skgeo_embed._files import file_sha256
from skgeo_embed.models.checks import checked_logit_scale
from skgeo_embed.models.folder import WEIGHTS_NAME, read_config, read_weights
from skgeo_embed.models.model_file import (
    ModelFile,
    Origin,
    build_content,
    build_image_tower,
    build_location,
)
from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.location import LocationEncoder

_DESCRIBED = {
    "library",
    "format_version",
    "name",
    "licence",
    "trained_on",
    "default_layer",
    "location",
    "image",
    "content",
}


class FolderModel(ModelFile):
    """config.json + model.safetensors, bundled, on disk or from the hub."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        assert origin.path is not None
        self._folder = origin.path
        self._config = read_config(self._folder)
        self.licence = self._config.get("licence")
        self.trained_on = self._config.get("trained_on")
        self.default_layer = self._config.get("default_layer", "embedding")
        self.description = self._config["location"]
        self.harmonics = str(self._config["location"].get("harmonics", "exact"))
        self.details = {k: v for k, v in self._config.items() if k not in _DESCRIBED}

    def location(self, harmonics: str) -> LocationEncoder:
        """Build the location tower."""
        weights = read_weights(self._folder, "location.")
        for name in _fine_layers(self.description):
            for part in (f"codes_{name}", f"meaning_{name}"):
                found = read_weights(self._folder, f"content.{part}")
                weights |= {f"posenc.content.{part}{rest}": v for rest, v in found.items()}
        return build_location(self.description or {}, weights, harmonics, self._folder)

    def image(self, vision_tower: nn.Module | None = None) -> nn.Module:
        """Build the image tower."""
        description: dict[str, Any] | None = self._config.get("image")
        if not description:
            return super().image(vision_tower)
        weights = read_weights(self._folder, "image.")
        return build_image_tower(description, weights, vision_tower, self._folder)

    @property
    def has_content(self) -> bool:
        """Whether the folder has content layers."""
        return bool(self._config.get("content"))

    def content(self) -> ContentLayers | None:
        """Read the content layers."""
        if not self.has_content:
            return None
        weights = read_weights(self._folder, "content.")
        return build_content(self._config["content"], weights, self._folder)

    def content_as_opened(self) -> ContentLayers | None:
        """Read the content layers later, unless the folder has changed or is gone."""
        weights = self._folder / WEIGHTS_NAME
        if weights.is_file() and file_sha256(weights) == self.origin.sha256:
            return self.content()
        warnings.warn(
            f"{self._folder} has changed or is gone since the encoder was opened, so its content "
            "columns are left out; fit again to have them.",
            UserWarning,
            stacklevel=3,
        )
        return None

    def logit_scale(self) -> float:
        """Read the temperature."""
        weights = read_weights(self._folder, "logit_scale")
        if "" not in weights:
            return super().logit_scale()
        return checked_logit_scale(weights[""], self._folder)


def _fine_layers(description: dict[str, Any] | None) -> list[str]:
    """Return the content layers that the location tower reads too; the file holds them once."""
    content = (description or {}).get("content") or {}
    layers = content.get("layers", []) if isinstance(content, dict) else []
    return [str(layer.get("name")) for layer in layers if isinstance(layer, dict)]
