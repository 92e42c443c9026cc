"""What an engine yields, as one array."""

import numpy as np
import torch

from skgeo_embed import SatCLIPEncoder
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


def assert_every_way_agrees(module, sphere_points, monkeypatch):
    """Points, tables and grids in single precision give what the module gives in double."""
    points = sphere_points[(np.abs(sphere_points[:, 1]) < 90) & (sphere_points[:, 0] < 180)]
    with torch.no_grad():
        expected = module.double().eval()(torch.from_numpy(points)).numpy()
    rms = np.sqrt((expected**2).mean())
    double = SatCLIPEncoder(module, dtype="float64").fit()
    np.testing.assert_allclose(double.transform(points), expected, atol=1e-12)
    single = SatCLIPEncoder(module.float()).fit()
    np.testing.assert_allclose(single.transform(points), expected, atol=2e-5 * rms, rtol=0)
    monkeypatch.setattr("skgeo_embed.nn.inference.networks.MIN_TABULATED_POINTS", 0)
    np.testing.assert_allclose(single.transform(points), expected, atol=2e-5 * rms, rtol=0)
    grid = single.transform_grid(points[:7, 0], points[:9, 1])
    same = single.transform(np.stack(np.meshgrid(points[:7, 0], points[:9, 1]), -1).reshape(-1, 2))
    np.testing.assert_allclose(grid.reshape(same.shape), same, atol=2e-5 * rms, rtol=0)
