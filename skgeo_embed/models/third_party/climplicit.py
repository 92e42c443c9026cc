"""Climplicit's location encoder (Dollinger et al. 2025, arXiv 2504.05089)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skgeo_embed.models.checks import fill_network
from skgeo_embed.models.third_party.model import Layout, count_layers
from skgeo_embed.nn.location import EncodedNetwork

SEASONS = (3.0, 6.0, 9.0, 12.0)  # months that a feature without a month is made of
MONTHS = 12


class PlaceAndMonth(nn.Module):
    """Longitude and latitude from -1 to 1, and the month as an angle.

    Two columns of degrees become four such positions, one of each season; a third column is the
    month.
    """

    takes_dtype = True
    embedding_dim = 4

    def forward(self, places: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Encode (n, 2) or (n, 3) to (n, 16) or (n, 4)."""
        places = places.double()
        position = places[:, :2] / places.new_tensor([180.0, 90.0])
        if places.shape[1] == 3:
            angles = places[:, 2:]
        else:
            angles = places.new_tensor([SEASONS]).expand(places.shape[0], -1)
        angles = angles * (2 * math.pi / MONTHS)
        parts = [
            torch.cat([position, angle.sin(), angle.cos()], dim=1) for angle in angles.split(1, 1)
        ]
        return torch.cat(parts, dim=1).to(dtype or places.dtype)


class ResidualSiren(nn.Module):
    """A SIREN that averages the input of each sine with that of the layer before.

    Parameters
    ----------
    dim_in, dim_hidden, dim_out, n_layers : int
        Columns in, of the layers, and out; and how many layers there are before the last.
    """

    def __init__(self, dim_in: int, dim_hidden: int, dim_out: int, n_layers: int) -> None:
        super().__init__()
        widths = [dim_in] + [dim_hidden] * n_layers
        self.dim_in = dim_in
        self.layers = nn.ModuleList(nn.Linear(widths[i], widths[i + 1]) for i in range(n_layers))
        self.last_layer = nn.Linear(dim_hidden, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, k * dim_in) to (n, k * dim_out), k positions of each place."""
        n_places = x.shape[0]  # len() would fix it in a graph
        x = x.reshape(-1, self.dim_in)
        first, *others = self.layers
        before = first(x)
        activation = (2 * before).sinh_().mul_(30).sin_()
        for layer in others:
            weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
            # (W a + b + before) / 2, in memory that is there: fresh memory would be slow
            before.add_(bias).addmm_(activation, weight.T, beta=0.5, alpha=0.5)
            torch.sin(before, out=activation)
        return self.last_layer(activation).view(n_places, -1)


def build_climplicit(weights: dict[str, Tensor]) -> EncodedNetwork:
    """Build Climplicit's network; what predicts CHELSA is left out."""
    n_layers = count_layers(weights, "layers.")
    dim_hidden, dim_out = len(weights["layers.0.weight"]), len(weights["last_layer.weight"])
    with torch.device("meta"):
        network = ResidualSiren(PlaceAndMonth.embedding_dim, dim_hidden, dim_out, n_layers)
    facts = {"embed_dim": len(SEASONS) * dim_out, "month_dim": dim_out, "hidden_dim": dim_hidden}
    fill_network(network, weights)
    return EncodedNetwork(PlaceAndMonth(), network, {**facts, "num_hidden_layers": n_layers})


CLIMPLICIT = Layout("ClimplicitEncoder", build_climplicit, ("location_encoder.",))
