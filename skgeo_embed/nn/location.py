"""The location encoder: a positional encoding and a network on top of it."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from skgeo_embed.nn.harmonics import SphericalHarmonics
from skgeo_embed.nn.networks import SirenNet

Layer = Literal["embedding", "hidden"]


class LocationEncoder(nn.Module):
    """Encode longitude and latitude: spherical harmonics, then a SIREN.

    Parameters
    ----------
    legendre_polys : int, default=10
        L; the encoding has L² columns.
    embed_dim : int, default=256
        Columns of the embedding.
    hidden_dim : int, default=512
        Width of the hidden layers.
    num_hidden_layers : int, default=2
        Number of hidden layers.
    harmonics_calculation : {"analytic", "closed-form"}, default="analytic"
        Normalisation of the harmonics, see
        :class:`~skgeo_embed.nn.harmonics.SphericalHarmonics`.
    dropout : float, default=0.5
        Dropout before each sine while training; no part of the saved architecture.

    Examples
    --------
    >>> import torch
    >>> from skgeo_embed.nn.location import LocationEncoder
    >>> encoder = LocationEncoder(legendre_polys=10).eval()
    >>> encoder(torch.tensor([[7.8, 36.8], [3.3, 36.7]])).shape
    torch.Size([2, 256])
    """

    def __init__(
        self,
        legendre_polys: int = 10,
        embed_dim: int = 256,
        hidden_dim: int = 512,
        num_hidden_layers: int = 2,
        harmonics_calculation: str = "analytic",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "legendre_polys": legendre_polys,
            "embed_dim": embed_dim,
            "hidden_dim": hidden_dim,
            "num_hidden_layers": num_hidden_layers,
            "harmonics_calculation": harmonics_calculation,
        }
        self.posenc = SphericalHarmonics(legendre_polys, harmonics_calculation)
        self.nnet = SirenNet(
            self.posenc.embedding_dim,
            hidden_dim,
            embed_dim,
            num_layers=num_hidden_layers,
            dropout=dropout,
        )

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, and of the output."""
        return self.nnet.last_layer.weight.dtype

    def output_dim(self, layer: Layer) -> int:
        """Columns of the "embedding" or of the "hidden" layer."""
        return int(self.config["embed_dim" if layer == "embedding" else "hidden_dim"])

    def forward(self, lonlat: Tensor, layer: Layer = "embedding") -> Tensor:
        """Encode (n, 2) degrees, longitude first, to (n, d)."""
        features = self.posenc(lonlat, dtype=self.dtype)
        return self.nnet(features) if layer == "embedding" else self.nnet.hidden(features)
