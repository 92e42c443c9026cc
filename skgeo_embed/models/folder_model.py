"""A folder written by this library as a model."""

from __future__ import annotations

import json
import warnings
from typing import Any

from torch import Tensor, nn

from skgeo_embed.models.checks import checked_logit_scale
from skgeo_embed.models.folder import (
    DIGESTS,
    WEIGHTS_NAME,
    check_digests,
    read_config,
    read_weights,
)
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
    DIGESTS,
}


class FolderModel(ModelFile):
    """config.json + model.safetensors, bundled, on disk or from the hub."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._folder = origin.file
        self._config = read_config(self._folder)
        self.licence = self._config.get("licence")
        self.trained_on = self._config.get("trained_on")
        self.default_layer = self._config.get("default_layer", "embedding")
        self.description = self._config["location"]
        self.harmonics = str(self._config["location"].get("harmonics", "exact"))
        self.details = {k: v for k, v in self._config.items() if k not in _DESCRIBED}

    def location(self, harmonics: str) -> LocationEncoder:
        """Build the location tower."""
        weights = self._read("location.")
        for name in _fine_layers(self.description):
            for part in (f"codes_{name}", f"meaning_{name}"):
                found = self._read(f"content.{part}")
                weights |= {f"posenc.content.{part}{rest}": v for rest, v in found.items()}
        tower = build_location(self.description or {}, weights, harmonics, self._folder)
        self._check_digests()
        return tower

    def image(self, vision_tower: nn.Module | None = None) -> nn.Module:
        """Build the image tower."""
        description: dict[str, Any] | None = self._config.get("image")
        if not description:
            return super().image(vision_tower)
        weights = self._read("image.")
        tower = build_image_tower(description, weights, vision_tower, self._folder)
        self._check_digests()
        return tower

    @property
    def has_content(self) -> bool:
        """Whether the folder has content layers."""
        return bool(self._config.get("content"))

    def content(self) -> ContentLayers | None:
        """Read the content layers."""
        if not self.has_content:
            return None
        weights = self._read("content.")
        content = build_content(self._config["content"], weights, self._folder)
        self._check_digests()
        return content

    def content_description(self) -> str:
        """What makes columns of the layers, as text."""
        return json.dumps(self._config.get("content"), sort_keys=True)

    def content_as_opened(self) -> ContentLayers | None:
        """Read the content layers later, unless the folder has changed or is gone."""
        weights = self._folder / WEIGHTS_NAME
        if weights.is_file() and self.origin.is_unchanged():
            return self.content()
        warnings.warn(
            f"{self._folder} was changed or removed after the encoder was opened, so its content "
            "columns are left out; fit again to include them.",
            UserWarning,
            stacklevel=3,
        )
        return None

    def logit_scale(self) -> float:
        """Read the temperature."""
        weights = self._read("logit_scale")
        if "" not in weights:
            return super().logit_scale()
        self._check_digests()
        return checked_logit_scale(weights[""], self._folder)

    def _check_digests(self) -> None:
        """Find damage that nothing else shows; what else is wrong has a message of its own."""
        check_digests(self._config, self.origin.sha256, self._folder)

    def _read(self, prefix: str) -> dict[str, Tensor]:
        """Read tensors from the file that was hashed, and raise if it has changed."""
        with self.origin.as_found():
            return read_weights(self._folder, prefix, _packed_shapes(self._config))


def _packed_shapes(config: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the shapes that the description gives tables, by the keys of those in the file."""
    shapes = {}
    grid = config["location"].get("feature_grid")
    if isinstance(grid, dict):
        lengths = [grid.get(key) for key in ("height", "width", "channels")]
        shapes["location.posenc.grid.values"] = lengths
    for layer in [*_layers(config["location"]), *_layers(config)]:
        height = layer.get("height")
        if isinstance(height, int):
            shapes[f"content.codes_{layer.get('name')}"] = [height, 2 * height, 1]
    return shapes


def _fine_layers(description: dict[str, Any] | None) -> list[str]:
    """Return the content layers that the location tower reads too; the file holds them once."""
    return [str(layer.get("name")) for layer in _layers(description or {})]


def _layers(description: dict[str, Any]) -> list[dict[str, Any]]:
    content = description.get("content")
    layers = content.get("layers") if isinstance(content, dict) else None
    return (
        [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []
    )
