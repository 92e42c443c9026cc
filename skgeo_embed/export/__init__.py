"""Fitted estimators as files in ONNX, which run without Python."""

from skgeo_embed.export.files import to_onnx
from skgeo_embed.export.registration import register_converters
from skgeo_embed.export.trusted import SKOPS_TYPES

__all__ = ["SKOPS_TYPES", "register_converters", "to_onnx"]
