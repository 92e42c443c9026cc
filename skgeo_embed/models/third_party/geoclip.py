"""GeoCLIP's location encoder (Vivanco Cepeda et al. 2023, arXiv 2309.16020), and TaxaBind's."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from skgeo_embed._errors import ModelFormatError
from skgeo_embed.models.checks import as_format_error, fill_network
from skgeo_embed.models.folder import CONFIG_NAME
from skgeo_embed.models.third_party.model import Layout
from skgeo_embed.nn.location import EncodedNetwork

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


def geoclip_network(
    frequencies: Sequence[Tensor], hidden_dim: int, embed_dim: int
) -> EncodedNetwork:
    """Build the network without its weights, but for the frequencies."""
    posenc = FourierCapsules(frequencies)
    dim_in = posenc.embedding_dim // posenc.n_capsules
    nnet = CapsuleSum(posenc.n_capsules, dim_in, hidden_dim, embed_dim)
    config = {"embed_dim": embed_dim, "n_capsules": posenc.n_capsules}
    return EncodedNetwork(posenc, nnet, config)


def build_geoclip(weights: dict[str, Tensor]) -> EncodedNetwork:
    """Build the network, of the sizes of its tensors."""
    count = len({key.split(".")[0] for key in weights if key.startswith("LocEnc")})
    embed_dim, hidden_dim = weights["LocEnc0.head.0.weight"].shape
    left = dict(weights)  # unknown tensors are refused under their own names
    state: dict[str, Tensor] = {}
    for i in range(count):
        prefix = f"LocEnc{i}."
        state[f"posenc.b{i}"] = left.pop(f"{prefix}capsule.0.b")
        for layer, number in enumerate((1, 3, 5)):
            for part in ("weight", "bias"):
                key = f"{prefix}capsule.{number}.{part}"
                state[f"nnet.capsules.{i}.{2 * layer}.{part}"] = left.pop(key)
        for part in ("weight", "bias"):
            state[f"nnet.capsules.{i}.6.{part}"] = left.pop(f"{prefix}head.0.{part}")
    frequencies = [state[f"posenc.b{i}"] for i in range(count)]
    shapes = [tuple(matrix.shape) for matrix in frequencies]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2 or shapes[0][1] != 2:
        raise ValueError(
            f"the frequencies (LocEnc*.capsule.0.b) have shapes {shapes[:4]}, not (k, 2) each with "
            "one k"
        )
    with torch.device("meta"):
        network = geoclip_network(frequencies, hidden_dim, embed_dim)
    fill_network(network, {**state, **left})
    return network


def check_config(folder: Path) -> None:
    """Refuse the config.json of another model; TaxaBind's has no model_type, but a sigma."""
    path = folder / CONFIG_NAME
    with as_format_error(path, "GeoCLIP's config"):
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"it holds a {type(config).__name__}, not a dict")
    of_taxabind = {"sigma", "encoded_size"} <= set(config)
    if config.get("model_type") != "geoclip-location-encoder" and not of_taxabind:
        raise ModelFormatError(
            f"{path} says model_type {config.get('model_type')!r}, not 'geoclip-location-encoder'."
        )


GEOCLIP = Layout("GeoCLIPEncoder", build_geoclip, check_config=check_config)
