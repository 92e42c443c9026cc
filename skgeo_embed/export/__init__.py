"""Fitted estimators as files in ONNX, which run without Python."""

from skgeo_embed.export.converters import register_converters
from skgeo_embed.export.files import to_onnx

__all__ = ["register_converters", "to_onnx"]
