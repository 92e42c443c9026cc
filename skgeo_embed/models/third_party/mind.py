"""MIND's location encoder: a wide residual SIREN on the Equal Earth projection."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skgeo_embed.models.checks import fill_network
from skgeo_embed.models.third_party.geoclip import equal_earth
from skgeo_embed.models.third_party.model import Layout, count_layers
from skgeo_embed.nn.location import EncodedNetwork

REFERENCE_YEAR, YEARS_OF_A_UNIT = 2021.0, 4.0


class ProjectedPlace(nn.Module):
    """Equal Earth coordinates, and waves of the year if the network takes one.

    Parameters
    ----------
    year_frequencies : Tensor of shape (k,), default=None
        Frequencies of the waves; None takes no year.
    """

    takes_dtype = True

    def __init__(self, year_frequencies: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("year_frequencies", year_frequencies)
        n_waves = 0 if year_frequencies is None else len(year_frequencies)
        self.embedding_dim = 2 + 2 * n_waves

    def forward(self, places: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Encode (n, 2), or (n, 3) with a year, to (n, 2) or (n, 2 + 2 k)."""
        places = places.double()
        position = equal_earth(places[:, :2])
        if self.embedding_dim > 2:
            since = (places[:, 2:] - REFERENCE_YEAR) / YEARS_OF_A_UNIT
            angle = since * self.get_buffer("year_frequencies").double()
            position = torch.cat([position, angle.sin(), angle.cos()], dim=1)
        return position.to(dtype or places.dtype)


class ResidualSines(nn.Module):
    """Sine layers whose outputs add up, and a linear head.

    Parameters
    ----------
    dim_in, dim_hidden, n_blocks, dim_out : int
        Columns in and of the layers, how many there are after the first, and columns out.
    """

    def __init__(self, dim_in: int, dim_hidden: int, n_blocks: int, dim_out: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim_in, dim_hidden)
        self.blocks = nn.ModuleList(nn.Linear(dim_hidden, dim_hidden) for _ in range(n_blocks))
        self.head = nn.Linear(dim_hidden, dim_out) if dim_out else None

    def hidden(self, x: Tensor) -> Tensor:
        """Return the trunk, (n, dim_hidden)."""
        h = torch.sin(30 * self.first(x))
        for block in self.blocks:
            h = block(h).sin_().add_(h)
        return h

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, dim_in) to (n, dim_out), or to the trunk without a head."""
        trunk = self.hidden(x)
        return trunk if self.head is None else self.head(trunk)


def build_mind(weights: dict[str, Tensor]) -> EncodedNetwork:
    """Build MIND's network in the precision of its file; a year if its first layer takes one."""
    state = {
        key.replace(".linear.", "."): value for key, value in weights.items() if key != "year_freqs"
    }
    dim_hidden, dim_in = state["first.weight"].shape
    waves = weights.get("year_freqs")
    takes_year = waves is not None and dim_in == 2 + 2 * len(waves)
    if dim_in != 2 and not takes_year:
        raise ValueError(f"the first layer takes {dim_in} columns, not 2, or 18 with a year")
    n_blocks = count_layers(weights, "blocks.")
    dim_out = len(state["head.weight"]) if "head.weight" in state else 0
    with torch.device("meta"):
        network = ResidualSines(dim_in, dim_hidden, n_blocks, dim_out)
    facts = {
        "embed_dim": dim_out or dim_hidden,
        "hidden_dim": dim_hidden,
        "num_hidden_layers": 1 + n_blocks,
        "takes_year": takes_year,
    }
    fill_network(network, state)
    return EncodedNetwork(ProjectedPlace(waves if takes_year else None), network, facts)


MIND = Layout("MINDEncoder", build_mind)
