"""TTE's location encoder: sites on the sphere, semantic registers, a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skgeo_embed.nn.location.networks import ResidualLayer
from skgeo_embed.nn.sphere import unit_vectors

REGISTER_SHARE = 0.5
NEGLIGIBLE = 60.0  # weights below exp(-60) of the largest; denormal ones would be slow
LEAST_TEMPERATURE, LARGEST_TEMPERATURE = 0.01, 10.0


class UnitVector(nn.Module):
    """Points on the unit sphere."""

    takes_dtype = True
    embedding_dim = 3

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Encode (n, 2) to (n, 3)."""
        return unit_vectors(lonlat.double()).to(dtype or lonlat.dtype)


class SitesAndRegisters(nn.Module):
    """Embeddings of sites, weighted by how near they are, and registers, by how alike.

    Parameters
    ----------
    n_sites, site_dim, n_registers, dim, hidden_dim, embed_dim, n_layers : int
        Sites and columns of their embeddings, registers and columns of theirs, columns of the
        network's hidden layers and output, and how many residual layers it has.
    """

    def __init__(
        self,
        n_sites: int,
        site_dim: int,
        n_registers: int,
        dim: int,
        hidden_dim: int,
        embed_dim: int,
        n_layers: int,
    ) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.empty(n_sites, 3))  # times the sites' sharpness
        self.embeddings = nn.Parameter(torch.empty(n_sites, site_dim))
        self.registers = nn.Parameter(torch.empty(n_registers, dim))
        self.to_logits = nn.Linear(site_dim, n_registers)  # over the temperature
        self.to_out = nn.Linear(site_dim, dim)
        self.norm = nn.LayerNorm(dim)
        residuals = [ResidualLayer(hidden_dim) for _ in range(n_layers)]
        last = nn.Linear(hidden_dim, embed_dim, bias=False)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden_dim), nn.ReLU(), *residuals, last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3) to (n, embed_dim); the original's output is this, at unit length."""
        nearness = x @ self.directions.T
        least = nearness.amax(dim=1, keepdim=True) - NEGLIGIBLE
        torch.maximum(nearness, least, out=nearness)
        site = torch.softmax(nearness, dim=1) @ self.embeddings
        registers = torch.softmax(self.to_logits(site), dim=1) @ self.registers
        mixed = torch.lerp(self.to_out(site), registers, REGISTER_SHARE)
        return self.mlp(self.norm(mixed))
