"""Places as unit vectors."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_vectors(lonlat: Tensor) -> Tensor:
    """Return points on the unit sphere, (n, 3), of (n, 2) degrees."""
    lon, lat = torch.deg2rad(lonlat).unbind(-1)
    return torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=-1)
