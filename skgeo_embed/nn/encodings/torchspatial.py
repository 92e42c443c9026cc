"""Positional encodings of TorchSpatial (Wu et al. 2024, arXiv 2406.15658) that SatCLIP has not.

All take (n, 2) degrees, longitude first, and return (n, embedding_dim). TorchSpatial's
Space2Vec-grid and xyz are :class:`~skgeo_embed.nn.encodings.positional.Grid` and
:class:`~skgeo_embed.nn.encodings.positional.Cartesian3D`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from skgeo_embed.nn.encodings.positional import FixedColumns, MultiScale, Sphere
from skgeo_embed.nn.sphere import unit_vectors

SEED = 0  # of random Fourier features that no file holds


class Directions(MultiScale):
    """Space2Vec-theory: along three directions 120° apart; 6 F columns.

    With f the frequencies in 1/degree and a_j the place times the unit vector of direction j, the
    columns of a frequency are sin(a_1 f), cos(a_1 f), sin(a_2 f), ..., cos(a_3 f).
    """

    columns_per_frequency = 6

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, 6 F)."""
        lon, lat = self.scaled(lonlat)
        half_root = math.sqrt(3) / 2
        along = [lon, -lon / 2 + half_root * lat, -lon / 2 - half_root * lat]
        pairs = [part for angle in along for part in (angle.sin(), angle.cos())]
        return torch.stack(pairs, dim=-1).flatten(1).to(lonlat.dtype)

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        return [
            f"{function}_u{u}_f{k}"
            for k in range(self.n_frequencies)
            for u in (1, 2, 3)
            for function in ("sin", "cos")
        ]


class Sphere2Vec(Sphere):
    """The Sphere2Vec family (Mai et al. 2023) of angles in radians, without repeated columns.

    Parameters
    ----------
    kind : str
        A value of `KINDS`, whose products are those of
        :class:`~skgeo_embed.nn.encodings.positional.Sphere`.
    n_frequencies, min_radius, max_radius
        See :class:`~skgeo_embed.nn.encodings.positional.MultiScale`. A frequency is 1 divided by
        the radius, so the wavelength is 360° times the radius.
    """

    KINDS = {
        "sphere2vec-spherec": "spherec",
        "sphere2vec-spherec+": "spherecplus",
        "sphere2vec-spherem": "spherem",
        "sphere2vec-spherem+": "spheremplus",
    }
    copies = 1

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, columns_per_frequency * F)."""
        return super().forward(torch.deg2rad(lonlat.double())).to(lonlat.dtype)


class DoubleFourier(MultiScale):
    """Sphere2Vec-dfs: products of the waves of longitude and of latitude; 4 F² + 4 F columns.

    First come the products of sin(λ f), all frequencies, then cos(λ f), with sin(φ f), then
    cos(φ f); after them for each frequency sin(φ f), cos(φ f), sin(λ f), cos(λ f).
    """

    @property
    def embedding_dim(self) -> int:
        """Number of columns."""
        return 4 * self.n_frequencies**2 + 4 * self.n_frequencies

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, 4 F² + 4 F)."""
        lon, lat = self.scaled(torch.deg2rad(lonlat.double()))
        of_lon = torch.cat([lon.sin(), lon.cos()], dim=1)
        of_lat = torch.cat([lat.sin(), lat.cos()], dim=1)
        products = (of_lon[:, :, None] * of_lat[:, None, :]).flatten(1)
        single = torch.stack([lat.sin(), lat.cos(), lon.sin(), lon.cos()], dim=-1).flatten(1)
        return torch.cat([products, single], dim=1).to(lonlat.dtype)

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        scales = range(self.n_frequencies)
        of_lon, of_lat = (
            [f"{function}_{axis}_f{k}" for function in ("sin", "cos") for k in scales]
            for axis in ("lon", "lat")
        )
        single = ("sin_lat", "cos_lat", "sin_lon", "cos_lon")
        return [f"{a}_{b}" for a in of_lon for b in of_lat] + [
            f"{name}_f{k}" for k in scales for name in single
        ]


class NeRF(nn.Module):
    """NeRF's waves of the unit vector (x, y, z); 6 F columns.

    With angles 2^k π x, 2^k π y and 2^k π z: the sines of x at all frequencies, those of y and of
    z, then the cosines in that order.

    Parameters
    ----------
    n_frequencies : int, default=16
        F.
    """

    def __init__(self, n_frequencies: int = 16) -> None:
        super().__init__()
        self.n_frequencies = n_frequencies

    @property
    def embedding_dim(self) -> int:
        """Number of columns."""
        return 6 * self.n_frequencies

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, 6 F)."""
        steps = torch.arange(self.n_frequencies, dtype=torch.float64, device=lonlat.device)
        angles = unit_vectors(lonlat.double())[:, :, None] * (math.pi * 2**steps)
        return torch.cat([angles.sin(), angles.cos()], dim=1).flatten(1).to(lonlat.dtype)

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        return [
            f"{function}_{axis}_f{k}"
            for function in ("sin", "cos")
            for axis in "xyz"
            for k in range(self.n_frequencies)
        ]


class WrappedUnits(FixedColumns):
    """Sines, then cosines, of π lon / 180 and π lat / 90: 4 columns.

    The angle of a latitude is twice what it is in
    :class:`~skgeo_embed.nn.encodings.positional.Wrap`, so that the poles and the
    equator share one point.
    """

    NAMES = ("sin_lon", "sin_2lat", "cos_lon", "cos_2lat")

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, 4)."""
        angles = torch.deg2rad(lonlat) * lonlat.new_tensor([1.0, 2.0])
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class RandomFourier(nn.Module):
    r"""Random Fourier features :math:`\sqrt{2 / F} \cos(u^\top d + b)` (Rahimi and Recht 2007).

    u is (lon / 180, lat / 90), so these waves do not close at the antimeridian. They are the same
    every time unless directions and shifts are given: d is standard normal, b uniform over a turn.

    Parameters
    ----------
    n_frequencies : int, default=16
        F, the number of columns.
    directions : Tensor of shape (2, F), default=None
        d.
    shifts : Tensor of shape (F,), default=None
        b, radians.
    """

    directions: Tensor
    shifts: Tensor

    def __init__(
        self,
        n_frequencies: int = 16,
        directions: Tensor | None = None,
        shifts: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.n_frequencies = n_frequencies
        random = np.random.RandomState(SEED)
        drawn = random.standard_normal((2, n_frequencies))
        turns = random.uniform(0, 2 * math.pi, n_frequencies)
        directions = torch.from_numpy(drawn) if directions is None else directions.double()
        shifts = torch.from_numpy(turns) if shifts is None else shifts.double()
        self.register_buffer("directions", directions, persistent=False)
        self.register_buffer("shifts", shifts, persistent=False)

    @property
    def embedding_dim(self) -> int:
        """Number of columns."""
        return self.n_frequencies

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, F)."""
        places = lonlat.double() / lonlat.new_tensor([180.0, 90.0], dtype=torch.float64)
        angles = torch.addmm(self.shifts, places, self.directions)
        return (angles.cos() * math.sqrt(2 / self.n_frequencies)).to(lonlat.dtype)

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        return [f"wave_{k}" for k in range(self.n_frequencies)]
