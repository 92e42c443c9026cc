"""SINR's location encoder (Cole et al. 2023, arXiv 2306.02564)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skgeo_embed.nn.location.networks import ResidualLayer


class PeriodicPosition(nn.Module):
    """Sines, then cosines, of longitude and of twice the latitude."""

    takes_dtype = True
    embedding_dim = 4

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Encode (n, 2) to (n, 4)."""
        lonlat = lonlat.double()
        angle = torch.deg2rad(lonlat * lonlat.new_tensor([1.0, 2.0]))
        return torch.cat([angle.sin(), angle.cos()], dim=1).to(dtype or lonlat.dtype)


class ResidualFeatures(nn.Module):
    """The residual network below SINR's classes.

    Parameters
    ----------
    dim_in, dim_hidden, n_layers : int
        Columns in and of the layers, and how many residual ones there are.
    """

    def __init__(self, dim_in: int, dim_hidden: int, n_layers: int) -> None:
        super().__init__()
        residuals = [ResidualLayer(dim_hidden) for _ in range(n_layers)]
        self.feats = nn.Sequential(nn.Linear(dim_in, dim_hidden), nn.ReLU(), *residuals)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, dim_in) to (n, dim_hidden)."""
        return self.feats(x)
