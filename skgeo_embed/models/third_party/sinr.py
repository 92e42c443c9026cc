"""SINR's location encoder (Cole et al. 2023, arXiv 2306.02564)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skgeo_embed.models.checks import fill_network
from skgeo_embed.models.third_party.model import Layout, count_layers
from skgeo_embed.nn.location import EncodedNetwork
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


def build_sinr(weights: dict[str, Tensor]) -> EncodedNetwork:
    """Build the network; the classes are left out."""
    n_layers = count_layers(weights) - 1
    dim_hidden = len(weights["0.weight"])
    with torch.device("meta"):
        network = ResidualFeatures(PeriodicPosition.embedding_dim, dim_hidden, n_layers)
    fill_network(network, {f"feats.{key}": value for key, value in weights.items()})
    facts = {"embed_dim": dim_hidden, "num_hidden_layers": n_layers}
    return EncodedNetwork(PeriodicPosition(), network, facts)


SINR = Layout("SINREncoder", build_sinr, ("feats.", "model.feats."))
