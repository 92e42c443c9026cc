"""What an engine yields, as one array."""

import numpy as np

from skgeo_embed.nn.inference.engine import InferenceEngine
from skgeo_embed.nn.inference.options import EncodingOptions


def _engine(given):
    return given if isinstance(given, InferenceEngine) else InferenceEngine(given)


def encode(given, points, **options):
    """Encode (n, 2) points with a module or an engine."""
    engine, options = _engine(given), EncodingOptions(**options)
    out = np.empty((len(points), engine.module.output_dim(options.layer)), options.dtype)
    for rows, values in engine.encode(np.asarray(points, dtype=float), options):
        out[rows] = values
    return out


def encode_grid(given, lon, lat, **options):
    """Encode every pair of two axes with a module or an engine."""
    engine, options = _engine(given), EncodingOptions(**options)
    shape = len(lat), len(lon), engine.module.output_dim(options.layer)
    out = np.empty(shape, options.dtype)
    for rows, columns, values in engine.encode_grid(lon, lat, options):
        tile = out[rows, columns]
        tile[:] = values.view(tile.shape)
    return out
