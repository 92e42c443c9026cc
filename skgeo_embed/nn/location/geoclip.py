"""GeoCLIP's location encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skgeo_embed.nn.location.encoder import EncodedNetwork

# Šavrič, Patterson & Jenny (2018), "The Equal Earth map projection", IJGIS 33, table 1
_A1, _A2, _A3, _A4 = 1.340264, -0.081106, 0.000893, 0.003796
_GEOCLIP_SCALE = 66.50336 / 180


def equal_earth(lonlat: Tensor) -> Tensor:
    """Project (n, 2) degrees with Equal Earth, scaled as GeoCLIP does; (n, 2) x and y.

    The projection's polynomial, differentiated, is A1 + 3 A2 θ² + 7 A3 θ⁶ + 9 A4 θ⁸.
    """
    lon, lat = torch.deg2rad(lonlat).unbind(-1)
    root = math.sqrt(3)
    theta = torch.asin(root / 2 * torch.sin(lat))
    square = theta**2
    slope = _A1 + square * (3 * _A2 + square**2 * (7 * _A3 + square * 9 * _A4))
    x = 2 * root * lon * torch.cos(theta) / (3 * slope)
    y = theta * (_A1 + square * (_A2 + square**2 * (_A3 + square * _A4)))
    return torch.stack([x, y], dim=-1) * _GEOCLIP_SCALE


class FourierCapsules(nn.Module):
    """Random Fourier features of the Equal Earth coordinates, one block a capsule.

    Parameters
    ----------
    frequencies : sequence of Tensor of shape (k, 2)
        One matrix a capsule.
    """

    def __init__(self, frequencies: Sequence[Tensor]) -> None:
        super().__init__()
        for i, matrix in enumerate(frequencies):
            self.register_buffer(f"b{i}", matrix)
        self.n_capsules = len(frequencies)
        self.embedding_dim = sum(2 * len(matrix) for matrix in frequencies)

    takes_dtype = True

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Encode (n, 2) to (n, sum of 2 k), returned as `dtype`.

        Angles reach thousands of turns, so whole turns are taken off in float64.
        """
        position = equal_earth(lonlat.double())
        blocks = []
        for i in range(self.n_capsules):
            turns = position @ self.get_buffer(f"b{i}").double().T
            angle = ((turns - turns.round()) * (2 * math.pi)).to(dtype or lonlat.dtype)
            blocks += [torch.cos(angle), torch.sin(angle)]
        return torch.cat(blocks, dim=1)


class CapsuleSum(nn.Module):
    """One multilayer perceptron a capsule; their outputs are added.

    Parameters
    ----------
    n_capsules, dim_in, dim_hidden, dim_out : int
        Number of perceptrons, and columns of each in, between and out.
    """

    def __init__(self, n_capsules: int, dim_in: int, dim_hidden: int, dim_out: int) -> None:
        super().__init__()
        self.dim_in = dim_in
        self.capsules = nn.ModuleList(
            nn.Sequential(
                nn.Linear(dim_in, dim_hidden),
                nn.ReLU(inplace=True),
                nn.Linear(dim_hidden, dim_hidden),
                nn.ReLU(inplace=True),
                nn.Linear(dim_hidden, dim_hidden),
                nn.ReLU(inplace=True),
                nn.Linear(dim_hidden, dim_out),
            )
            for _ in range(n_capsules)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_capsules * dim_in) to (n, dim_out)."""
        parts = x.split(self.dim_in, dim=1)
        total = self.capsules[0](parts[0])
        for capsule, part in zip(list(self.capsules)[1:], parts[1:], strict=True):
            total = total + capsule(part)
        return total


def geoclip_network(frequencies: Sequence[Tensor], hidden_dim: int, embed_dim: int) -> Any:
    """Build GeoCLIP's location encoder (Vivanco Cepeda et al. 2023, arXiv 2309.16020)."""
    posenc = FourierCapsules(frequencies)
    dim_in = posenc.embedding_dim // posenc.n_capsules
    nnet = CapsuleSum(posenc.n_capsules, dim_in, hidden_dim, embed_dim)
    config = {"embed_dim": embed_dim, "n_capsules": posenc.n_capsules}
    return EncodedNetwork(posenc, nnet, config)
