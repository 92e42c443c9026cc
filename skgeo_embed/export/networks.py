"""Encoders of places as graphs in ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.export.graph import Graph
from skgeo_embed.export.shrinking import shrink_constants
from skgeo_embed.places.reading import ROUNDING

if TYPE_CHECKING:
    from onnx import ModelProto

EXAMPLES = (2.35, 48.86), (-122.3, 38.5), (0.0, 90.0)


def encoder_model(encoder: CoordinateTransformer) -> ModelProto:
    """Convert a fitted encoder: "lonlat" (n, 2) to "features" (n, d)."""
    import torch

    from skgeo_embed.nn.graphs.recording import add_function
    from skgeo_embed.nn.inference.graph import DegreesToFeatures

    if encoder._sampling.statistic == "std":
        raise ValueError(
            'to_onnx needs area_statistic="mean", got "std": a file takes points, which do not '
            "deviate."
        )
    graph, function = Graph(), DegreesToFeatures(encoder.place_function(), ROUNDING)
    lonlat = graph.input("lonlat", "numbers", 2)
    features = add_function(graph, function, lonlat, torch.tensor(EXAMPLES, dtype=torch.float64))
    model = graph.to_model(
        {"features": (features, encoder.output_dtype, (encoder.n_features_out,))}
    )
    shrink_constants(model)
    return model
