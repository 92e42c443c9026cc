"""Waves of a few kilometres, which distinguish places of one city."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from skgeo_embed._sphere import EARTH_RADIUS_KM
from skgeo_embed.nn.sphere import unit_vectors

TURN = 2 * math.pi


class FineWaves(nn.Module):
    r"""Random plane waves :math:`\sqrt 2 \cos(k^\top x + b)` of the unit vector x of a place.

    These are the random Fourier features of Rahimi and Recht (2007). The wave numbers k are normal
    in three dimensions; their deviations grow at a constant ratio from :math:`2 \pi R` divided by
    the longest wavelength to the same divided by the shortest. Each wave has mean square 1. Angles
    are computed in float64.

    Parameters
    ----------
    count : int
        Number of waves.
    longest_km, shortest_km : float
        Longest and shortest wavelength, kilometres.
    """

    frequencies: Tensor
    phases: Tensor
    takes_dtype = True

    def __init__(self, count: int, longest_km: float, shortest_km: float) -> None:
        super().__init__()
        if count < 1 or not 0 < shortest_km <= longest_km:
            raise ValueError(
                "count must be at least 1 and 0 < shortest_km <= longest_km, got "
                f"count={count}, longest_km={longest_km}, shortest_km={shortest_km}"
            )
        self.longest_km, self.shortest_km = longest_km, shortest_km
        self.embedding_dim = count
        self.register_buffer("frequencies", torch.empty(count, 3))
        self.register_buffer("phases", torch.empty(count))
        if not self.phases.is_meta:  # or they are loaded later, and drawing imports a compiler
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the waves."""
        deviations = TURN * EARTH_RADIUS_KM / self.wavelengths()
        self.frequencies.normal_().mul_(deviations[:, None])
        self.phases.uniform_().mul_(TURN)

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Map (n, 2) degrees to (n, count)."""
        angles = torch.addmm(
            self.phases.double(), unit_vectors(lonlat.double()), self.frequencies.double().T
        )
        angles -= (angles / TURN).round_() * TURN  # remove whole turns before single precision
        return angles.to(dtype or lonlat.dtype).cos_().mul_(math.sqrt(2))

    def wavelengths(self) -> Tensor:
        """Return the length of each wave in kilometres, the longest first, (count,)."""
        ends = math.log(self.longest_km), math.log(self.shortest_km)
        return torch.linspace(*ends, self.embedding_dim).exp()

    def amplitudes(self) -> Tensor:
        """Return weights, (count,), with squares proportional to the wavelengths that sum to 1."""
        power = self.wavelengths()
        return (power / power.sum()).sqrt()

    def description(self) -> dict[str, Any]:
        """Return the description for a configuration."""
        return {
            "count": self.embedding_dim,
            "longest_km": self.longest_km,
            "shortest_km": self.shortest_km,
        }

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        return [f"wave{i:03d}" for i in range(self.embedding_dim)]

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.embedding_dim}, {self.longest_km:g} to {self.shortest_km:g} km"
