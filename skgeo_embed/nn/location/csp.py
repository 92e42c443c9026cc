"""CSP's location encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor, nn

from skgeo_embed.nn.encodings.positional import Grid


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
