"""skgeo_embed: learned features for longitude/latitude columns in scikit-learn pipelines."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_ERRORS = (
    "CoordinateError",
    "ImageError",
    "InvalidCoordinateWarning",
    "ModelAccessError",
    "ModelDownloadError",
    "ModelFormatError",
    "ModelNotFoundError",
    "SkgeoEmbedError",
    "TrainingDivergedError",
    "TrainingWarning",
)
_PUBLIC = {
    **dict.fromkeys(_ERRORS, "skgeo_embed._errors"),
    "CSPEncoder": "skgeo_embed._baselines",
    "GPS2VecEncoder": "skgeo_embed._baselines",
    "GeoCLIPEncoder": "skgeo_embed._baselines",
    "ImageGeolocator": "skgeo_embed._geolocator",
    "PositionalEncoder": "skgeo_embed._positional",
    "SatCLIPEncoder": "skgeo_embed._satclip",
    "SatCLIPImageEncoder": "skgeo_embed._satclip_image",
    "SatCLIPPretrainer": "skgeo_embed._pretrainer",
    "show_versions": "skgeo_embed._versions",
}
_SUBPACKAGES = ("datasets", "inspection", "model_selection")

__all__ = [
    "CSPEncoder",
    "CoordinateError",
    "GPS2VecEncoder",
    "GeoCLIPEncoder",
    "ImageError",
    "ImageGeolocator",
    "InvalidCoordinateWarning",
    "ModelAccessError",
    "ModelDownloadError",
    "ModelFormatError",
    "ModelNotFoundError",
    "PositionalEncoder",
    "SatCLIPEncoder",
    "SatCLIPImageEncoder",
    "SatCLIPPretrainer",
    "SkgeoEmbedError",
    "TrainingDivergedError",
    "TrainingWarning",
    "__version__",
    "show_versions",
]

if TYPE_CHECKING:
    from skgeo_embed._baselines import CSPEncoder, GeoCLIPEncoder, GPS2VecEncoder
    from skgeo_embed._errors import (
        CoordinateError,
        ImageError,
        InvalidCoordinateWarning,
        ModelAccessError,
        ModelDownloadError,
        ModelFormatError,
        ModelNotFoundError,
        SkgeoEmbedError,
        TrainingDivergedError,
        TrainingWarning,
    )
    from skgeo_embed._geolocator import ImageGeolocator
    from skgeo_embed._positional import PositionalEncoder
    from skgeo_embed._pretrainer import SatCLIPPretrainer
    from skgeo_embed._satclip import SatCLIPEncoder
    from skgeo_embed._satclip_image import SatCLIPImageEncoder
    from skgeo_embed._versions import show_versions


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
    elif name in _SUBPACKAGES:
        value = importlib.import_module(f"skgeo_embed.{name}")
    else:
        raise AttributeError(f"module 'skgeo_embed' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBPACKAGES})
