"""Fitted estimators as files in ONNX, which run without Python."""

from skgeo_embed.export.files import to_onnx
from skgeo_embed.export.pipelines import register_converters

__all__ = ["register_converters", "to_onnx"]
