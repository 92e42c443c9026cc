"""Closed-form positional encodings of SatCLIP, with their quirks.

All take (n, 2) degrees, longitude first, and return (n, embedding_dim). SatCLIP checkpoints depend
on their exact form, so these too feed degrees to sine and cosine as if they were radians, or shift
an angle twice.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skgeo_embed.nn.harmonics import SphericalHarmonics
from skgeo_embed.nn.sphere import unit_vectors

_GRID_LON, _GRID_LAT = 360, 180


class FixedColumns(nn.Module):
    """Base of the encodings with fixed columns."""

    NAMES: tuple[str, ...]

    @property
    def embedding_dim(self) -> int:
        """Number of columns."""
        return len(self.NAMES)

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        return list(self.NAMES)


class Direct(FixedColumns):
    """Longitude and latitude in radians, minus π: 2 columns, whose range is not -π ... π."""

    NAMES = ("lon", "lat")

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, 2)."""
        return torch.deg2rad(lonlat) - math.pi


class Cartesian3D(FixedColumns):
    """Coordinates on the unit sphere: 3 columns x, y, z."""

    NAMES = ("x", "y", "z")

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, 3)."""
        return unit_vectors(lonlat)


class Wrap(FixedColumns):
    """Cosine and sine of longitude, then of latitude: 4 columns (Mac Aodha et al. 2019)."""

    NAMES = ("cos_lon", "sin_lon", "cos_lat", "sin_lat")

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, 4)."""
        lon, lat = torch.deg2rad(lonlat).unbind(-1)
        return torch.stack([lon.cos(), lon.sin(), lat.cos(), lat.sin()], dim=-1)


class MultiScale(nn.Module):
    r"""Base of the encodings at F frequencies between two radii.

    .. math:: f_k = 1 / \left(r_{min} (r_{max} / r_{min})^{k / (F-1)}\right)

    Parameters
    ----------
    n_frequencies : int, default=16
        F.
    min_radius, max_radius : float, default=1, 360
        Smallest and largest radius, degrees.
    """

    columns_per_frequency: int

    def __init__(
        self, n_frequencies: int = 16, min_radius: float = 1.0, max_radius: float = 360.0
    ) -> None:
        super().__init__()
        radii = min_radius, max_radius
        usable = all(0 < r < math.inf and 1 / r < math.inf for r in radii)
        if n_frequencies < 1 or not usable:
            raise ValueError(
                "n_frequencies must be at least 1, min_radius and max_radius positive and "
                "finite, got "
                f"{n_frequencies}, {min_radius}, {max_radius}"
            )
        self.n_frequencies = n_frequencies
        self.min_radius, self.max_radius = float(min_radius), float(max_radius)

    @property
    def embedding_dim(self) -> int:
        """Number of columns."""
        return self.columns_per_frequency * self.n_frequencies

    def frequencies(self, device: torch.device) -> Tensor:
        """Return the F frequencies, from the one of min_radius to the one of max_radius."""
        steps = torch.arange(self.n_frequencies, dtype=torch.float64, device=device)
        growth = math.log(self.max_radius / self.min_radius) / max(self.n_frequencies - 1, 1)
        return 1 / (self.min_radius * torch.exp(steps * growth))

    def scaled(self, lonlat: Tensor) -> tuple[Tensor, Tensor]:
        """Return longitudes and latitudes times each frequency, both (n, F)."""
        lon, lat = lonlat.double().unbind(-1)
        frequencies = self.frequencies(lonlat.device)
        return lon[:, None] * frequencies, lat[:, None] * frequencies


class Grid(MultiScale):
    """Space2Vec's grid: per coordinate, per frequency, sine and cosine; 4 F columns."""

    columns_per_frequency = 4

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, 4 F)."""
        blocks = [torch.stack([c.sin(), c.cos()], dim=-1).flatten(1) for c in self.scaled(lonlat)]
        return torch.cat(blocks, dim=1).to(lonlat.dtype)

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        return [
            f"{function}_{axis}_f{k}"
            for axis in ("lon", "lat")
            for k in range(self.n_frequencies)
            for function in ("sin", "cos")
        ]


class Theory(MultiScale):
    """Space2Vec's theory: three directions 120° apart; 6 F columns.

    The columns of directions and frequencies are cut into two halves; in each half even columns
    get the sine and odd columns the cosine, as in SatCLIP.
    """

    columns_per_frequency = 6

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, 6 F)."""
        lon, lat = self.scaled(lonlat)
        half_root = math.sqrt(3) / 2
        directions = [lon, -lon / 2 + half_root * lat, -lon / 2 - half_root * lat]
        twice = [d for direction in directions for d in (direction, direction)]
        angles = torch.stack(twice, dim=-1).flatten(1)  # (n, 6 F)
        out = torch.where(self._takes_sine(lonlat.device), angles.sin(), angles.cos())
        return out.to(lonlat.dtype)

    def _takes_sine(self, device: torch.device) -> Tensor:
        half = self.embedding_dim // 2
        return (torch.arange(self.embedding_dim, device=device) % half) % 2 == 0

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        sine = self._takes_sine(torch.device("cpu")).tolist()
        plain = [f"u{u}_f{k}" for k in range(self.n_frequencies) for u in (1, 1, 2, 2, 3, 3)]
        named = [f"{'sin' if s else 'cos'}_{name}" for s, name in zip(sine, plain, strict=True)]
        return number_repeats(named)


class Sphere(MultiScale):
    """SatCLIP's Sphere2Vec family (Mai et al. 2023): products of sines and cosines, each twice.

    Parameters
    ----------
    kind : {"spherec", "spherecplus", "spherem", "spheremplus"}
        Chooses the products.
    n_frequencies, min_radius, max_radius
        See :class:`MultiScale`.
    """

    # capitals: the unscaled coordinate, degrees taken for radians
    PRODUCTS = ("cos_lat*cos_lon", "cos_lat*sin_lon")
    MIXED = ("cos_lat*cos_LON", "cos_LAT*cos_lon", "cos_lat*sin_LON", "cos_LAT*sin_lon")
    FACTORS = ("sin_lat", "cos_lat", "sin_lon", "cos_lon")
    TERMS = {
        "spherec": ("sin_lat", *PRODUCTS),
        "spherecplus": (*FACTORS, *PRODUCTS),
        "spherem": ("sin_lat", *MIXED),
        "spheremplus": (*FACTORS, *MIXED),
    }
    copies = 2

    def __init__(self, kind: str, *args: float, **kwargs: float) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.kind = kind
        self.columns_per_frequency = self.copies * len(self.TERMS[kind])

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, columns_per_frequency * F)."""
        lon, lat = self.scaled(lonlat)
        plain_lon, plain_lat = (c[:, None] for c in lonlat.double().unbind(-1))
        angles = {"lon": lon, "lat": lat, "LON": plain_lon, "LAT": plain_lat}
        factors = {
            f"{name}_{angle}": getattr(torch, name)(value)
            for name in ("sin", "cos")
            for angle, value in angles.items()
        }
        terms = []
        for term in self.TERMS[self.kind]:
            value = torch.ones_like(lat)
            for factor in term.split("*"):
                value = value * factors[factor]
            terms += [value] * self.copies
        return torch.stack(terms, dim=-1).flatten(1).to(lonlat.dtype)

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        names = [
            f"{term.replace('*', '_')}_f{k}"
            for k in range(self.n_frequencies)
            for term in self.TERMS[self.kind]
            for _ in range(self.copies)
        ]
        return number_repeats(names)


class DiscretizedHarmonics(nn.Module):
    """Analytic harmonics read from a 360 × 180 grid, as in SatCLIP's "discretized".

    With x = lon + 180, y = lat + 90 and G in single precision at longitudes
    linspace(-180, 180, 360) and latitudes linspace(-90, 90, 180), the value is
    (1-fx)(1-fy) G[⌊x⌋, ⌊y⌋] + fx (1-fy) G[⌈x⌉, ⌈y⌉], with f the fractional parts. This is
    not bilinear: it fades to zero below every whole degree of latitude. Only the grid points
    that are needed are computed.

    Parameters
    ----------
    legendre_polys : int
        L; the output has L² columns.
    """

    def __init__(self, legendre_polys: int) -> None:
        super().__init__()
        self.harmonics = SphericalHarmonics(legendre_polys)

    @property
    def embedding_dim(self) -> int:
        """Number of columns, L²."""
        return self.harmonics.embedding_dim

    def forward(self, lonlat: Tensor) -> Tensor:
        """Encode (n, 2) to (n, L²)."""
        offset = torch.tensor([180.0, 90.0], dtype=torch.float64, device=lonlat.device)
        last = torch.tensor([_GRID_LON - 1, _GRID_LAT - 1], device=lonlat.device)
        position = lonlat.double() + offset
        low, high = position.floor(), position.ceil()
        fraction = position - low
        weight = 1 - fraction[:, 1:]
        east = fraction[:, :1]
        values = [
            self._grid_values(index.long().clamp(torch.zeros_like(last), last))
            for index in (low, high)
        ]
        out = (1 - east) * weight * values[0] + east * weight * values[1]
        return out.to(lonlat.dtype)

    def _grid_values(self, index: Tensor) -> Tensor:
        device = index.device
        lon = torch.linspace(-180, 180, _GRID_LON, dtype=torch.float64, device=device)
        lat = torch.linspace(-90, 90, _GRID_LAT, dtype=torch.float64, device=device)
        points = torch.stack([lon[index[:, 0]], lat[index[:, 1]]], dim=1)
        return self.harmonics(points).float().double()

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        return self.harmonics.column_names()


def number_repeats(names: list[str]) -> list[str]:
    """Append _2, _3, ... to repeated names."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return out
