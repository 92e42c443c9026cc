"""A graph of torch's operations that takes degrees as a user has them, for files in ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from skgeo_embed.nn.harmonics import SphericalHarmonics

EXAMPLE = ((2.35, 48.86), (-122.3, 38.5), (0.0, 90.0))


def _cos(angle: Tensor) -> Tensor:
    return torch.sin(angle.double() + math.pi / 2).to(angle.dtype)


def _deg2rad(degrees: Tensor) -> Tensor:
    return degrees * (math.pi / 180)


def _lerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    return start + weight * (end - start)


def _log1p(x: Tensor) -> Tensor:
    return torch.log(x.double() + 1).to(x.dtype)


def _asin(x: Tensor) -> Tensor:
    """Solve sin y = x by Newton's method, for |x| > 0.7 at the half of the angle from π/2."""
    size = x.abs()
    steep = size > 0.7
    sine = torch.where(steep, ((1 - size) / 2).sqrt(), size)
    y = sine
    for _ in range(5):  # the error is squared each time, from 0.1
        y = y - (y.sin() - sine) / y.cos()
    return torch.where(steep, math.pi / 2 - 2 * y, y) * x.sign()


# The step to ONNX translates these with constants or sums in single precision, or in many steps,
# and onnxruntime has no arcsine in double precision, and older versions no cosine.
DECOMPOSITIONS: dict[Any, Callable[..., Tensor]] = {
    torch.ops.aten.asin.default: _asin,
    torch.ops.aten.cos.default: _cos,
    torch.ops.aten.deg2rad.default: _deg2rad,
    torch.ops.aten.lerp.Tensor: _lerp,
    torch.ops.aten.log1p.default: _log1p,
}


class DegreesToFeatures(nn.Module):
    """Check longitude and latitude and encode them, all of it in operations that ONNX has.

    Rows outside longitude [-180, 360] or latitude ±90, or with missing values, become NaN.

    Parameters
    ----------
    encode : callable
        Maps checked degrees (n, 2), float64, to features (n, d).
    rounding : float
        Degrees by which a value may lie outside; it then counts as the limit.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], rounding: float) -> None:
        super().__init__()
        self.encode, self.rounding = encode, rounding

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map (n, 2) degrees in float64 to (n, d)."""
        lon, lat = lonlat.unbind(1)
        inside_lon, inside_lat = lon.clamp(-180.0, 360.0), lat.clamp(-90.0, 90.0)
        lon_fits = (lon - inside_lon).abs() <= self.rounding  # NaN compares False
        valid = lon_fits & ((lat - inside_lat).abs() <= self.rounding)
        lon, lat = torch.where(valid, inside_lon, 0.0), torch.where(valid, inside_lat, 0.0)
        lon = torch.where(lon >= 180.0, lon - 360.0, lon)
        lon = torch.where(lat.abs() == 90.0, 0.0, lon)  # a pole is one place
        features = self.encode(torch.stack([lon, lat], dim=1))
        return torch.where(valid[:, None], features, float("nan"))


@torch.no_grad()
def trace(module: DegreesToFeatures, parts: nn.Module) -> ExportedProgram:
    """Trace a graph for any number of places.

    Parameters
    ----------
    module : DegreesToFeatures
        What is traced.
    parts : torch.nn.Module
        The encoding and the network that it runs; what they compute once and keep must exist
        before a trace begins.
    """
    lonlat = torch.tensor(EXAMPLE, dtype=torch.float64)
    for part in parts.modules():
        if isinstance(part, SphericalHarmonics):
            part.at_once(lonlat, torch.float64)
    module(lonlat)
    shapes = {"lonlat": {0: Dim("n")}}
    traced = export(module.eval(), (lonlat,), dynamic_shapes=shapes, strict=False)
    return traced.run_decompositions(DECOMPOSITIONS)
