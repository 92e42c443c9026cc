"""CSP's location encoder (Mai et al. 2023, arXiv 2305.01118), and TorchSpatial's Space2Vec-grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from skgeo_embed.models.checks import fill_network
from skgeo_embed.models.third_party.model import Layout, count_layers
from skgeo_embed.nn.encodings.positional import Grid
from skgeo_embed.nn.location import EncodedNetwork

GRID_TYPES = ("gridcell", "Space2Vec-grid")


class ScaledGrid(Grid):
    """Space2Vec's grid on degrees, or on longitude / 180 and latitude / 90."""

    def __init__(
        self, n_frequencies: int, min_radius: float, max_radius: float, scaling: str
    ) -> None:
        super().__init__(n_frequencies, min_radius, max_radius)
        self.scaling = scaling

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) degrees to (n, 4 F)."""
        if self.scaling == "unit":
            lonlat = lonlat / lonlat.new_tensor([180.0, 90.0])
        return super().forward(lonlat)


class DenseLayer(nn.Module):
    """Linear map, activation and, in hidden layers, a layer norm after it."""

    def __init__(self, dim_in: int, dim_out: int, activation: nn.Module, norm: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(dim_in, dim_out)
        self.activation = activation
        self.layernorm = nn.LayerNorm(dim_out) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, dim_in) to (n, dim_out)."""
        return self.layernorm(self.activation(self.linear(x)))


class FeedForward(nn.Module):
    """CSP's feed-forward network; its last layer has the activation too.

    Parameters
    ----------
    sizes : sequence of int
        Columns in, of each hidden layer, and out.
    activation : {"gelu", "leakyrelu", "relu"}
        The activation; the leaky one has slope 0.2.
    norm : bool
        Whether hidden layers end with a layer norm.
    """

    ACTIVATIONS: ClassVar[dict[str, Callable[[], nn.Module]]] = {
        "gelu": nn.GELU,
        "leakyrelu": lambda: nn.LeakyReLU(0.2),
        "relu": nn.ReLU,
    }

    def __init__(self, sizes: Sequence[int], activation: str, norm: bool) -> None:
        super().__init__()
        last = len(sizes) - 2
        self.layers = nn.Sequential(
            *(
                DenseLayer(
                    sizes[i], sizes[i + 1], self.ACTIVATIONS[activation](), norm and i < last
                )
                for i in range(last + 1)
            )
        )

    def hidden(self, x: Tensor) -> Tensor:
        """Return the last hidden layer."""
        return self.layers[:-1](x)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, sizes[0]) to (n, sizes[-1])."""
        return self.layers(x)


def build_csp(
    weights: dict[str, Tensor], params: dict[str, Any], *, scaling: str
) -> EncodedNetwork:
    """Build the network; `params` say how it was made, the tensors how large it is."""
    if not isinstance(params, dict) or "spa_enc_type" not in params:
        raise ValueError("it has no params that say spa_enc_type")
    if params["spa_enc_type"] not in GRID_TYPES:
        raise ValueError(
            f"it holds a {params['spa_enc_type']!r} encoder; {' and '.join(GRID_TYPES)} are "
            "supported"
        )
    if params.get("freq_init", "geometric") != "geometric":
        raise ValueError(f"freq_init={params['freq_init']!r}, only 'geometric' is supported")
    weights = {key.removeprefix("ffn."): value for key, value in weights.items()}
    count = count_layers(weights, "layers.")
    sizes = [weights["layers.0.linear.weight"].shape[1]]
    sizes += [len(weights[f"layers.{i}.linear.weight"]) for i in range(count)]
    n_frequencies = params["frequency_num"]
    if sizes[0] != 4 * n_frequencies:
        raise ValueError(
            f"params say frequency_num={n_frequencies}, the first layer takes {sizes[0]} columns: "
            "the file was put together from different models"
        )
    posenc = ScaledGrid(n_frequencies, params["min_radius"], params["max_radius"], scaling)
    norm = any("layernorm" in key for key in weights)
    with torch.device("meta"):
        network = FeedForward(sizes, params["spa_f_act"], norm)
    fill_network(network, weights)
    facts = {"embed_dim": sizes[-1], "hidden_dim": sizes[-2], "n_frequencies": n_frequencies}
    return EncodedNetwork(posenc, network, facts)


def csp_layout(scaling: str) -> Layout:
    """Return how checkpoints are opened for one scaling of the coordinates."""
    build = partial(build_csp, scaling=scaling)
    prefixes = ("loc_enc.spa_enc.", "spa_enc.")
    return Layout("CSPEncoder", build, prefixes, params=True, variant=scaling)
