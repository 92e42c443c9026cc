"""Networks that map a positional encoding to an embedding."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


def dropout(x: Tensor, p: float, factor: float = 1.0) -> Tensor:
    """Set elements to 0 with probability `p` and scale the others by factor / (1 - p).

    On a CPU one draw serves four elements, so that `p` is rounded to 1/65536: torch draws one
    number per element, which took a fifth of a training step.
    """
    if x.device.type != "cpu":
        return nn.functional.dropout(x, p) * factor
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= round(p * 2**16) - 2**15
    return x * kept.to(x.dtype).mul_(factor / (1 - p))


class Siren(nn.Module):
    r"""One sine layer, :math:`\sin(w_0 (W x + b))` (Sitzmann et al. 2020, arXiv 2006.09661).

    Parameters
    ----------
    dim_in, dim_out : int
        Columns in and out.
    w0 : float, default=1.0
        Frequency of the sine.
    is_first : bool, default=False
        Initialise uniformly within 1 / dim_in instead of sqrt(6 / dim_in) / w0.
    activation : bool, default=True
        False leaves the layer linear.
    dropout : float, default=0.0
        Probability of dropout between the linear map and the sine while training.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        w0: float = 1.0,
        is_first: bool = False,
        activation: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        bound = 1 / dim_in if is_first else math.sqrt(6 / dim_in) / w0
        self.w0 = w0
        self.activation = activation
        self.dropout = dropout
        self.weight = nn.Parameter(torch.empty(dim_out, dim_in).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(dim_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, dim_in) to (n, dim_out)."""
        x = nn.functional.linear(x, self.weight, self.bias)
        if not self.activation:
            return x
        if self.training and self.dropout:
            return torch.sin(dropout(x, self.dropout, self.w0))
        return torch.sin(x * self.w0 if self.w0 != 1.0 else x)


class MixedComponents(Siren):
    r"""A linear layer whose columns mix principal components evenly.

    Column i is :math:`\sum_j M_{ij} z_j` of components :math:`z = W x + b`, the largest first,
    where M is the orthogonal matrix of a discrete cosine transform (DCT-II). A `StandardScaler`
    would give all components the same variance, so that a ridge would trust the smallest as much
    as the largest; columns that hold all components keep their proportions. Fewer columns are the
    first components, mixed in the same way.

    Parameters
    ----------
    dim_in, dim_out : int
        Columns in and out.
    dim_content : int, default=0
        Content columns, which components are computed from too.
    """

    def __init__(self, dim_in: int, dim_out: int, dim_content: int = 0) -> None:
        super().__init__(dim_in, dim_out, activation=False)
        self.content_weight: nn.Parameter | None = None
        if dim_content:
            self.content_weight = nn.Parameter(torch.zeros(dim_out, dim_content))

    def forward(self, x: Tensor, content: Any = None) -> Tensor:
        """Map (n, dim_in), and content (n, dim_content), to (n, dim_out)."""
        mixed = nn.functional.linear(x, *mixed_components(self.weight, self.bias))
        if self.content_weight is None:
            return mixed
        mix = cosine_transform(len(self.weight)).to(self.weight)
        return mixed + nn.functional.linear(content, mix @ self.content_weight)


def mixed_components(
    weight: Tensor, bias: Tensor, columns: int | None = None
) -> tuple[Tensor, Tensor]:
    """Mix the first components' weights (k, dim_in) and biases into as many columns."""
    weight, bias = weight[:columns], bias[:columns]
    mix = cosine_transform(len(weight)).to(weight)
    return mix @ weight, mix @ bias


def first_components(values: Tensor, columns: int) -> Tensor:
    """Reduce all mixed columns to so many, which hold as many components."""
    components = values @ cosine_transform(values.shape[1]).to(values)
    return components[:, :columns] @ cosine_transform(columns).to(values).T


def cosine_transform(size: int) -> Tensor:
    """Return the orthogonal matrix of the DCT-II, transposed: (size, size) in double precision."""
    steps = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi / size * (steps[:, None] + 0.5) * steps) * math.sqrt(2 / size)
    matrix[:, 0] /= math.sqrt(2)
    return matrix


class SirenNet(nn.Module):
    """Sine layers and a linear last layer.

    Parameters
    ----------
    dim_in, dim_hidden, dim_out : int
        Columns in, in each hidden layer, and out.
    num_layers : int, default=2
        Number of hidden layers.
    w0_initial : float, default=30.0
        Frequency of the first layer; the others have 1.
    dropout : float, default=0.5
        Dropout between each hidden layer's linear map and its sine while training.
    dim_sines : int, default=None
        Columns of the hidden layers except the last, which is then a :class:`MixedComponents`;
        with None all are sine layers of `dim_hidden` columns.
    dim_content : int, default=0
        Content columns after the first `dim_in`, which these components read.
    """

    def __init__(
        self,
        dim_in: int,
        dim_hidden: int,
        dim_out: int,
        num_layers: int = 2,
        *,
        w0_initial: float = 30.0,
        dropout: float = 0.5,
        dim_sines: int | None = None,
        dim_content: int = 0,
    ) -> None:
        super().__init__()
        if dim_content and dim_sines is None:
            raise ValueError("only components read content; pass sine_dim too")
        self.dim_in = dim_in
        if dim_sines is not None and num_layers < 2:
            raise ValueError(
                "components need a layer of sines first; pass num_hidden_layers=2 or more"
            )
        width = dim_hidden if dim_sines is None else dim_sines
        self.layers = nn.ModuleList(
            Siren(
                width if i else dim_in,
                width,
                w0=1.0 if i else w0_initial,
                is_first=i == 0,
                dropout=dropout,
            )
            for i in range(num_layers if dim_sines is None else num_layers - 1)
        )
        if dim_sines is not None:
            self.layers.append(MixedComponents(dim_sines, dim_hidden, dim_content))
        self.last_layer = Siren(dim_hidden, dim_out, activation=False)

    def hidden(self, x: Tensor) -> Tensor:
        """Return the last hidden layer, (n, dim_hidden)."""
        x, content = x[:, : self.dim_in], x[:, self.dim_in :]
        for layer in self.layers:
            x = layer(x, content) if isinstance(layer, MixedComponents) else layer(x)
        return x

    def embed(self, hidden: Tensor) -> Tensor:
        """Map the last hidden layer to (n, dim_out)."""
        return self.last_layer(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, dim_in) to (n, dim_out)."""
        return self.embed(self.hidden(x))


class MLP(nn.Module):
    """Linear layers with ReLU; as in SatCLIP, one hidden layer is applied several times.

    Parameters
    ----------
    dim_in, dim_hidden, dim_out : int
        Columns in, in each hidden layer, and out.
    num_layers : int
        How often the hidden layer is applied.
    """

    def __init__(self, dim_in: int, dim_hidden: int, dim_out: int, num_layers: int) -> None:
        super().__init__()
        repeated = nn.Linear(dim_hidden, dim_hidden)
        layers: list[nn.Module] = [nn.Linear(dim_in, dim_hidden), nn.ReLU()]
        layers += [repeated, nn.ReLU()] * num_layers
        self.features = nn.Sequential(*layers, nn.Linear(dim_hidden, dim_out))

    def hidden(self, x: Tensor) -> Tensor:
        """Return the last hidden layer, (n, dim_hidden)."""
        return self.features[:-1](x)

    def embed(self, hidden: Tensor) -> Tensor:
        """Map the last hidden layer to (n, dim_out)."""
        return self.features[-1](hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, dim_in) to (n, dim_out)."""
        return self.features(x)


class ResidualLayer(nn.Module):
    """x + relu(w2 dropout(relu(w1 x)))."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, dim)
        self.w2 = nn.Linear(dim, dim)
        self.dropout = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, dim) to (n, dim)."""
        return x + torch.relu_(self.w2(self.dropout(torch.relu_(self.w1(x)))))


class FCNet(nn.Module):
    """The residual network of Mac Aodha et al. (2019, arXiv 1906.05272).

    Parameters
    ----------
    dim_in, dim_hidden, dim_out : int
        Columns in, in the residual layers, and out.
    """

    def __init__(self, dim_in: int, dim_hidden: int, dim_out: int) -> None:
        super().__init__()
        residuals = [ResidualLayer(dim_hidden) for _ in range(4)]
        self.feats = nn.Sequential(nn.Linear(dim_in, dim_hidden), nn.ReLU(), *residuals)
        self.class_emb = nn.Linear(dim_hidden, dim_out, bias=False)

    def hidden(self, x: Tensor) -> Tensor:
        """Return the last residual layer, (n, dim_hidden)."""
        return self.feats(x)

    def embed(self, hidden: Tensor) -> Tensor:
        """Map the last residual layer to (n, dim_out)."""
        return self.class_emb(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, dim_in) to (n, dim_out)."""
        return self.embed(self.hidden(x))


NETWORKS = ("siren", "mlp", "fcnet", "linear")


def make_network(
    name: str,
    dim_in: int,
    dim_hidden: int,
    dim_out: int,
    num_layers: int,
    dropout: float,
    w0: float = 30.0,
    dim_sines: int | None = None,
    dim_content: int = 0,
) -> nn.Module:
    """Build a network by its name in SatCLIP."""
    if dim_sines is not None and name != "siren":
        raise ValueError(f"sine_dim={dim_sines} is for a siren network, not for {name!r}")
    if name == "siren":
        return SirenNet(
            dim_in,
            dim_hidden,
            dim_out,
            num_layers,
            w0_initial=w0,
            dropout=dropout,
            dim_sines=dim_sines,
            dim_content=dim_content,
        )
    if name == "mlp":
        return MLP(dim_in, dim_hidden, dim_out, num_layers)
    if name == "fcnet":
        return FCNet(dim_in, dim_hidden, dim_out)
    if name == "linear":
        return nn.Linear(dim_in, dim_out)
    raise ValueError(f"unknown network {name!r}; known are {', '.join(NETWORKS)}")
