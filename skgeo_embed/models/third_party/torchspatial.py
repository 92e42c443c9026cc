"""Location encoders of CSP (arXiv 2305.01118) and TorchSpatial (arXiv 2406.15658)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from skgeo_embed.models.checks import fill_network
from skgeo_embed.models.third_party.model import Layout, count_layers
from skgeo_embed.nn.encodings.building import make_encoding
from skgeo_embed.nn.encodings.positional import Grid
from skgeo_embed.nn.encodings.torchspatial import RandomFourier
from skgeo_embed.nn.location import EncodedNetwork

UNITS = "unit"  # the scaling of longitude / 180 and latitude / 90
ROWS = "features and predictions that the authors published"
PROGRAM = "features that the authors' program computes"
NOTHING = "nothing: built from the authors' definition, not compared with published predictions"


@dataclass(frozen=True)
class Position:
    """How a `spa_enc_type` encodes places.

    Attributes
    ----------
    kind : str
        Its name in :data:`skgeo_embed.nn.encodings.KINDS`.
    compared_with : str
        What features of such encoders were compared with.
    min_radius : float, default=None
        Smallest radius, where the authors' code does not use that of the file.
    """

    kind: str
    compared_with: str
    min_radius: float | None = None


POSITIONS = {
    "gridcell": Position("grid", PROGRAM),
    "Space2Vec-grid": Position("grid", ROWS),
    "Space2Vec-theory": Position("space2vec-theory", ROWS),
    "Sphere2Vec-sphereC": Position("sphere2vec-spherec", ROWS),
    "Sphere2Vec-sphereC+": Position("sphere2vec-spherec+", NOTHING),
    "Sphere2Vec-sphereM": Position("sphere2vec-spherem", ROWS),
    "Sphere2Vec-sphereM+": Position("sphere2vec-spherem+", NOTHING, min_radius=1.0),
    "Sphere2Vec-dfs": Position("sphere2vec-dfs", NOTHING, min_radius=1.0),
    "xyz": Position("cartesian3d", ROWS),
    "NeRF": Position("nerf", NOTHING),
    "wrap_ffn": Position("wrap_ffn", ROWS),
    "rff": Position("rff", ROWS),
}
REFUSED = {  # of TorchSpatial's list
    "rbf": "its file holds numpy objects that only unpickling would build",
    "tile_ffn": "its file does not say which rectangle its tiles cover",
    "wrap": "it has another network, whose input may hold dates",
    "spherical_harmonics": "the authors' repository lacks the module that computes them",
}


class ScaledGrid(Grid):
    """Space2Vec's grid on longitude / 180 and latitude / 90."""

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) degrees to (n, 4 F)."""
        return super().forward(lonlat / lonlat.new_tensor([180.0, 90.0]))


class DenseLayer(nn.Module):
    """Linear map and activation; in hidden layers the input may be added, and normalised."""

    def __init__(
        self, dim_in: int, dim_out: int, activation: nn.Module, norm: bool, skip: bool
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(dim_in, dim_out)
        self.activation = activation
        self.skip = skip and dim_in == dim_out
        self.layernorm = nn.LayerNorm(dim_out) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, dim_in) to (n, dim_out)."""
        y = self.activation(self.linear(x))
        return self.layernorm(y + x if self.skip else y)


class FeedForward(nn.Module):
    """The feed-forward network of both; its last layer has the activation too.

    Parameters
    ----------
    sizes : sequence of int
        Columns in, of each hidden layer, and out.
    activation : {"gelu", "leakyrelu", "relu", "sigmoid", "tanh"}
        The activation; the leaky one has slope 0.2.
    norm : bool
        Whether hidden layers end with a layer norm.
    skip : bool
        Whether hidden layers as wide as their input add it to their output.
    """

    ACTIVATIONS: ClassVar[dict[str, Callable[[], nn.Module]]] = {
        "gelu": nn.GELU,
        "leakyrelu": lambda: nn.LeakyReLU(0.2),
        "relu": nn.ReLU,
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
    }

    def __init__(self, sizes: Sequence[int], activation: str, norm: bool, skip: bool) -> None:
        super().__init__()
        if activation not in self.ACTIVATIONS:
            known = ", ".join(self.ACTIVATIONS)
            raise ValueError(f"its activation is {activation!r}; known are {known}")
        last = len(sizes) - 2
        self.layers = nn.Sequential(
            *(
                DenseLayer(
                    sizes[i],
                    sizes[i + 1],
                    self.ACTIVATIONS[activation](),
                    norm and i < last,
                    skip and i < last,
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


def build_torchspatial(
    weights: dict[str, Tensor], params: dict[str, Any], *, scaling: str
) -> EncodedNetwork:
    """Build the network: its kind is taken from `params`, and its sizes from the tensors."""
    if not isinstance(params, dict) or "spa_enc_type" not in params:
        raise ValueError("its params do not name the encoder (spa_enc_type)")
    position = _position(params["spa_enc_type"], scaling)
    weights = {key.removeprefix("ffn."): value for key, value in weights.items()}
    count = count_layers(weights, "layers.")
    sizes = [weights["layers.0.linear.weight"].shape[1]]
    sizes += [len(weights[f"layers.{i}.linear.weight"]) for i in range(count)]
    posenc = _encoding(position, weights, params, sizes[0], scaling)
    norm = any("layernorm" in key for key in weights)
    with torch.device("meta"):
        network = FeedForward(sizes, params["spa_f_act"], norm, bool(params["skip_connection"]))
    fill_network(network, weights)
    facts = {
        "embed_dim": sizes[-1],
        "hidden_dim": sizes[-2],
        "positional_encoding": position.kind,
        "compared_with": position.compared_with,
    }
    if hasattr(posenc, "n_frequencies"):
        facts["n_frequencies"] = posenc.n_frequencies
    return EncodedNetwork(posenc, network, facts)


def _position(name: Any, scaling: str) -> Position:
    """Find how places are encoded."""
    position = POSITIONS.get(name)
    if position is None:
        why = f" ({REFUSED[name]})" if name in REFUSED else ""
        raise ValueError(f"it holds a {name!r} encoder{why}; {', '.join(POSITIONS)} are supported")
    if scaling == UNITS and position.kind != "grid":
        raise ValueError(
            f"scaling={scaling!r} is for gridcell and Space2Vec-grid, and it holds a {name!r} "
            'encoder; leave it at "degrees"'
        )
    return position


def _encoding(
    position: Position, weights: dict[str, Tensor], params: dict[str, Any], width: int, scaling: str
) -> nn.Module:
    """Build the positional encoding; `weights` lose what belongs to it."""
    if position.kind == "rff":
        directions = weights.pop("position_encoder.dirvec")
        made: nn.Module = RandomFourier(
            directions.shape[1], directions, weights.pop("position_encoder.shift")
        )
    elif position.kind == "nerf":  # the authors' code has 16 frequencies, whatever params say
        made = make_encoding("nerf", n_frequencies=max(1, width // 6))
    elif position.kind in ("cartesian3d", "wrap_ffn"):
        made = make_encoding(position.kind)
    else:
        if params.get("freq_init", "geometric") != "geometric":
            raise ValueError(f"freq_init={params['freq_init']!r}, only 'geometric' is supported")
        smallest = params["min_radius"] if position.min_radius is None else position.min_radius
        scales = params["frequency_num"], smallest, params["max_radius"]
        made = (
            ScaledGrid(*scales)
            if scaling == UNITS
            else make_encoding(
                position.kind,
                n_frequencies=scales[0],
                min_radius=scales[1],
                max_radius=scales[2],
            )
        )
    if made.embedding_dim != width:
        raise ValueError(
            f"params say frequency_num={params.get('frequency_num')}, the first layer takes "
            f"{width} columns: the file was put together from different models"
        )
    return made


def torchspatial_layout(encoder: str, scaling: str) -> Layout:
    """Return how checkpoints are opened by a class, for one scaling of the coordinates."""
    build = partial(build_torchspatial, scaling=scaling)
    prefixes = ("loc_enc.spa_enc.", "spa_enc.")
    return Layout(encoder, build, prefixes, params=True, variant=scaling)
