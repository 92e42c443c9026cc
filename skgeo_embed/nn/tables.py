"""The first layer of a location network, tabulated by latitude.

For hidden unit h the first layer is Σ_m cos(mφ) A_mh(θ) + sin(mφ) B_mh(θ): A and B depend on
latitude alone. On a grid they are computed once a row. For scattered points latitude is cut
into bins and A and B are interpolated between Chebyshev nodes of the bin, which leaves
`N_NODES` (2L - 1) terms a point instead of L².
"""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor

from skgeo_embed.nn.harmonics import SphericalHarmonics

N_NODES = 6
BINS_PER_POLYNOMIAL = 3  # bins of latitude for each Legendre polynomial
NEGLIGIBLE = 1e-9  # orders below this share of the largest entry are left out of a bin
CACHE_BYTES = 160 * 2**20


class LatitudeTables:
    """First-layer weights of each longitude term as a function of latitude.

    Parameters
    ----------
    posenc : SphericalHarmonics
        The encoding that feeds the layer.
    weight : Tensor of shape (hidden, L²), float64
        The layer's weight.
    """

    def __init__(self, posenc: SphericalHarmonics, weight: Tensor) -> None:
        self.posenc = posenc
        size = posenc.legendre_polys
        grouped = weight.new_zeros((size, size, 2, len(weight)))  # (m, l, cos or sin, hidden)
        for degree in range(size):
            centre = degree * degree + degree
            grouped[: degree + 1, degree, 0] = weight[:, centre : centre + degree + 1].T
            negative = weight[:, degree * degree : centre].flip(1)  # m = -1 ... -l
            grouped[1 : degree + 1, degree, 1] = negative.T
        self._by_order = grouped.flatten(2)

    def at(self, lat: Tensor) -> Tensor:
        """Return the tables at each latitude, (n_lat, L orders, 2, hidden), float64."""
        size = self.posenc.legendre_polys
        legendre = lat.new_zeros((size, size, len(lat)))  # (m, l, n_lat)
        for degree, row in enumerate(self.posenc.legendre_rows(lat)):
            legendre[: degree + 1, degree] = row
        tables = torch.bmm(legendre.transpose(1, 2), self._by_order)  # (m, n_lat, 2 hidden)
        return tables.unflatten(2, (2, -1)).transpose(0, 1)

    def waves(self, lon: Tensor, n_orders: int, dtype: torch.dtype) -> Tensor:
        """Longitude terms, cos then sin of each order: (2 · n_orders, n_lon)."""
        cos_m, sin_m = self.posenc.longitude_terms(lon, n_orders)
        return torch.stack([cos_m, sin_m], dim=1).flatten(0, 1).to(dtype)


class BinnedTables:
    """Tables at the Chebyshev nodes of every bin of latitude, built when first needed.

    Parameters
    ----------
    tables : LatitudeTables
        What is interpolated.
    dtype : torch.dtype
        Precision of the products.
    """

    def __init__(self, tables: LatitudeTables, dtype: torch.dtype) -> None:
        self._tables = tables
        self._dtype = dtype
        self.n_bins = BINS_PER_POLYNOMIAL * tables.posenc.legendre_polys
        angles = (2 * torch.arange(N_NODES, dtype=torch.float64) + 1) * math.pi / (2 * N_NODES)
        self._nodes = torch.cos(angles)
        degrees = torch.arange(N_NODES, dtype=torch.float64)[:, None]
        # ℓ_k(t) = (1/p) (1 + 2 Σ_j T_j(t_k) T_j(t)), by the discrete orthogonality of T_j
        self._basis = torch.cos(degrees * angles).T * 2 / N_NODES  # (node, degree)
        self._basis[:, 0] /= 2
        self._cache: dict[int, tuple[Tensor, int]] = {}
        self._cached_bytes = 0
        self._lock = threading.Lock()

    def bin_of(self, lat: Tensor) -> Tensor:
        """Return the bin of each latitude."""
        return ((lat + 90) * (self.n_bins / 180)).long().clamp_(0, self.n_bins - 1)

    def factors(self, lonlat: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """Return what the first layer is the product of for points of one bin.

        Returns
        -------
        terms, table : Tensor of shape (n, k) and (k, hidden)
            Their product is the first layer without its bias.
        """
        table, n_orders = self._bin(index, lonlat.device)
        lon, lat = lonlat.double().unbind(1)
        offset = ((lat + 90) * (self.n_bins / 180) - index) * 2 - 1  # -1 ... 1 in the bin
        angle = torch.arccos(offset.clamp(-1, 1))
        degrees = torch.arange(N_NODES, dtype=torch.float64, device=lat.device)[:, None]
        weights = self._basis.to(lat.device) @ torch.cos(degrees * angle)  # (node, n)
        waves = self._tables.waves(lon, n_orders, self._dtype)  # (2 orders, n)
        terms = weights.to(self._dtype)[:, None, :] * waves  # (node, 2 orders, n)
        return terms.flatten(0, 1).T, table

    def _bin(self, index: int, device: torch.device) -> tuple[Tensor, int]:
        """Return the table (nodes · 2 orders, hidden) of a bin and how many orders it keeps."""
        cached = self._cache.get(index)
        if cached is not None:
            return cached
        width = 180 / self.n_bins
        lat = -90 + width * (index + (self._nodes.to(device) + 1) / 2)
        table = self._tables.at(lat)  # (node, m, 2, hidden)
        largest = table.abs().amax(dim=(0, 2, 3))
        n_orders = int((largest > NEGLIGIBLE * largest.max()).nonzero().max()) + 1
        flat = table[:, :n_orders].reshape(-1, table.shape[-1]).to(self._dtype)
        size = flat.numel() * flat.element_size()
        with self._lock:
            if self._cached_bytes + size <= CACHE_BYTES:
                self._cache[index] = flat, n_orders
                self._cached_bytes += size
        return flat, n_orders
