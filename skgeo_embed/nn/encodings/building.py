"""Builds a positional encoding by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from skgeo_embed.nn.encodings import KINDS, PARAMETERS
from skgeo_embed.nn.encodings.positional import (
    Cartesian3D,
    Direct,
    DiscretizedHarmonics,
    Grid,
    Sphere,
    Theory,
    Wrap,
)
from skgeo_embed.nn.encodings.torchspatial import (
    Directions,
    DoubleFourier,
    NeRF,
    RandomFourier,
    Sphere2Vec,
    WrappedUnits,
)
from skgeo_embed.nn.harmonics import SphericalHarmonics

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "direct": Direct,
    "cartesian3d": Cartesian3D,
    "wrap": Wrap,
    "grid": Grid,
    "theory": Theory,
    **{kind: partial(Sphere, kind) for kind in Sphere.TERMS},
    "space2vec-theory": Directions,
    **{name: partial(Sphere2Vec, kind) for name, kind in Sphere2Vec.KINDS.items()},
    "sphere2vec-dfs": DoubleFourier,
    "nerf": NeRF,
    "wrap_ffn": WrappedUnits,
    "rff": RandomFourier,
}


def make_encoding(
    kind: str,
    *,
    legendre_polys: int = 10,
    harmonics_calculation: str = "analytic",
    harmonics: str = "exact",
    n_frequencies: int = 16,
    min_radius: float = 1.0,
    max_radius: float = 360.0,
) -> nn.Module:
    """Build a positional encoding by name; arguments of other encodings are ignored."""
    if kind == "sphericalharmonics":
        if harmonics_calculation == "discretized":
            return DiscretizedHarmonics(legendre_polys)
        return SphericalHarmonics(legendre_polys, harmonics_calculation, harmonics)
    if kind not in BUILDERS:
        raise ValueError(f"unknown positional encoding {kind!r}; known are {', '.join(KINDS)}")
    given: dict[str, float] = {
        "n_frequencies": n_frequencies,
        "min_radius": min_radius,
        "max_radius": max_radius,
    }
    return BUILDERS[kind](**{name: given[name] for name in PARAMETERS[kind]})
