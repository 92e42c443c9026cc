"""The first layer of a location network, read from tables instead of computed from harmonics.

For hidden unit h the first layer is Σ_m cos(mφ) A_mh(θ) + sin(mφ) B_mh(θ): A and B depend on
latitude alone (`LatitudeTables`). Continued past the poles, the layer is a trigonometric
polynomial of degree L-1 in both angles. Such a function is known everywhere from its values on
a grid: a non-uniform fast Fourier transform reads it from `TAPS` × `TAPS` grid points around
each place, whereas the dense layer reads L² harmonics (`SphereTable`).
"""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from skgeo_embed.nn.harmonics import SphericalHarmonics

# Three times the grid points that the degree needs, and 7 of them in each direction: the error is
# the error of float32 sums (5e-7 of the layer's rms), see tests/nn/inference/test_tables.py
OVERSAMPLING = 3
TAPS = 7
BAND_ROWS = 32  # rows of grid cells in one table
CACHE_BYTES = 128 * 2**20
BUILD_ROWS = 8  # rows in double precision at a time


class LatitudeTables:
    """First-layer weights of each longitude term as functions of latitude.

    Parameters
    ----------
    posenc : SphericalHarmonics
        The encoding that feeds the layer.
    weight : Tensor of shape (hidden, L²), float64
        The layer's weight.
    bias : Tensor of shape (hidden,), float64
        The layer's bias, which is added to the weight of the constant harmonic.
    """

    def __init__(self, posenc: SphericalHarmonics, weight: Tensor, bias: Tensor) -> None:
        self.posenc = posenc
        size = posenc.legendre_polys
        constant = posenc(weight.new_zeros((1, 2)))[0, 0]
        grouped = weight.new_zeros((size, size, 2, len(weight)))  # (m, l, cos or sin, hidden)
        for degree in range(size):
            centre = degree * degree + degree
            grouped[: degree + 1, degree, 0] = weight[:, centre : centre + degree + 1].T
            negative = weight[:, degree * degree : centre].flip(1)  # m = -1 ... -l
            grouped[1 : degree + 1, degree, 1] = negative.T
        grouped[0, 0, 0] += bias / constant
        self.hidden = len(weight)
        self._by_order = grouped.flatten(2)

    def at(self, lat: Tensor) -> Tensor:
        """Return the tables at each latitude, (n_lat, 2 L, hidden), float64."""
        return self.combine(self.legendre(lat))

    def legendre(self, lat: Tensor) -> Tensor:
        """Return Legendre functions by order and degree, (m, l, n_lat)."""
        size = self.posenc.legendre_polys
        values = lat.new_zeros((size, size, len(lat)))
        for degree, row in enumerate(self.posenc.legendre_rows(lat)):
            values[: degree + 1, degree] = row
        return values

    def combine(self, legendre: Tensor) -> Tensor:
        """Sum functions of latitude (m, l, n_lat), weighted, over degrees: (n_lat, 2 L, hidden)."""
        tables = torch.bmm(legendre.transpose(1, 2), self._by_order)  # (m, n_lat, 2 hidden)
        return tables.unflatten(2, (2, -1)).transpose(0, 1).flatten(1, 2)

    def waves(self, lon: Tensor) -> Tensor:
        """Return longitude terms, cos then sin of each order: (n_lon, 2 L), float64."""
        return torch.stack(self.posenc.longitude_terms(lon), dim=1).flatten(0, 1).T


class GridAxes(NamedTuple):
    """Rows and columns of a sphere's table, and their weights, for a grid of places.

    Attributes
    ----------
    first_row : list of int
        The table's first row for each latitude.
    row_weights : Tensor of shape (n_lat, TAPS)
        Weights of that row and the following ones.
    taps : Tensor of shape (n_lon, TAPS)
        The table's columns for each longitude.
    column_weights : Tensor of shape (n_lon, TAPS)
        Weights of these columns.
    """

    first_row: list[int]
    row_weights: Tensor
    taps: Tensor
    column_weights: Tensor


class SphereTable:
    """The first layer on a grid of the whole sphere, and how to read it between grid points.

    Bands of latitude are computed when first needed, in float64 on the CPU, and cached on
    `device`.

    Parameters
    ----------
    tables : LatitudeTables
        Tables of the layer, on the CPU.
    device : torch.device
        Where the table is read.
    cache_bytes : int, default=128 MiB
        Size of the cached bands; further ones are computed again when needed.

    Attributes
    ----------
    bands : dict
        The cached bands by their number.

    Notes
    -----
    The grid holds the function's Fourier series divided by the transform of a window, so that the
    sum over neighbours, weighted by the window, gives the function. The window is the "exponential
    of semicircle" of A. H. Barnett, J. Magland, L. af Klinteberg (2019), "A parallel nonuniform
    fast Fourier transform library based on an exponential of semicircle kernel", SIAM Journal
    on Scientific Computing 41, with its shape parameter for this oversampling.
    """

    def __init__(
        self, tables: LatitudeTables, device: torch.device, cache_bytes: int = CACHE_BYTES
    ) -> None:
        size = tables.posenc.legendre_polys
        self.device = device
        self.cache_bytes = cache_bytes
        self.n_lat = OVERSAMPLING * size
        self.n_lon = 2 * self.n_lat
        ratio = self.n_lon / (2 * size - 1)
        self._sharpness = 0.976 * math.pi * TAPS * (1 - 1 / (2 * ratio))
        self._margin = (TAPS + 1) // 2
        self._row_length = self.n_lon + 2 * self._margin  # grid points before and after are copies
        self._tables = tables
        transform = self._window_transform(torch.arange(size) * (math.pi / self.n_lat))
        self._legendre = self._on_the_circle(transform)
        nodes = torch.arange(-self._margin, self.n_lon + self._margin).double()
        orders = transform.repeat_interleave(2)
        self._waves = tables.waves(nodes * (360 / self.n_lon) - 180) / orders
        steps = torch.arange(TAPS, dtype=torch.int32)
        self._stencil = (steps[:, None] * self._row_length + steps).flatten().to(device)
        self.bands: dict[int, Tensor] = {}
        self._latest: tuple[int, Tensor] = -1, self._stencil  # a band that the cache cannot hold
        self._lock = threading.Lock()

    def cells(self, lonlat: Tensor) -> Tensor:
        """Number the grid cell of each point, row by row from the south."""
        row, column = self._positions(lonlat)
        first_row, first_column = self._first_tap(row), self._first_tap(column)
        return first_row * self._row_length + first_column

    def band_of(self, cells: Tensor) -> Tensor:
        """Return the band of each cell."""
        return torch.div(cells, self._row_length * BAND_ROWS, rounding_mode="floor")

    def read(self, lonlat: Tensor, band: int) -> Tensor:
        """Return the first layer at points of one band, (n, hidden)."""
        row, column = self._positions(lonlat)
        first_row, row_weights = self._taps(row)
        first_column, column_weights = self._taps(column)
        corner = (first_row - band * BAND_ROWS) * self._row_length + first_column
        return F.embedding_bag(
            corner[:, None] + self._stencil,
            self._band(band).flatten(0, 1),
            mode="sum",
            per_sample_weights=(row_weights[:, :, None] * column_weights[:, None, :]).flatten(1),
        )

    def axes(self, lon: Tensor, lat: Tensor) -> GridAxes:
        """Return the table's rows and columns, with weights, for a grid of places."""
        row = self._positions(torch.stack([torch.zeros_like(lat), lat], dim=1))[0]
        first_row, row_weights = self._taps(row)
        column = self._positions(torch.stack([lon, torch.zeros_like(lon)], dim=1))[1]
        first_column, column_weights = self._taps(column)
        taps = first_column[:, None] + self._stencil[:TAPS]
        return GridAxes(first_row.tolist(), row_weights, taps, column_weights)

    def read_grid(self, axes: GridAxes, rows: slice, columns: slice) -> Tensor:
        """Return the first layer at pairs of two axes, (n_lat · n_lon, hidden)."""
        lines = []
        for first, weights in zip(axes.first_row[rows], axes.row_weights[rows], strict=True):
            start = first % BAND_ROWS
            around = self._band(first // BAND_ROWS)[start : start + TAPS]
            lines.append(torch.mv(around.flatten(1).T, weights).view(self._row_length, -1))
        starts = torch.arange(len(lines), dtype=torch.int32, device=self.device) * self._row_length
        return F.embedding_bag(
            (starts[:, None, None] + axes.taps[columns]).flatten(0, 1),
            torch.cat(lines),
            mode="sum",
            per_sample_weights=axes.column_weights[columns].repeat(len(lines), 1),
        )

    def _positions(self, lonlat: Tensor) -> tuple[Tensor, Tensor]:
        """Return row and column of each point in the grid, in float64 and fractions of a step."""
        lon, lat = lonlat.double().unbind(1)
        return (lat + 90) * (self.n_lat / 180) - 0.5, (lon + 180) * (self.n_lon / 360)

    def _first_tap(self, position: Tensor) -> Tensor:
        return torch.ceil(position - TAPS / 2).int() + self._margin

    def _taps(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first of the grid points around each position, and weights (n, TAPS)."""
        first = self._first_tap(position)
        distance = (position - (first - self._margin)).float().to(self.device)
        steps = torch.arange(TAPS, dtype=torch.float32, device=self.device)
        return first.to(self.device), self._window(distance[:, None] - steps)

    def _window(self, distance: Tensor) -> Tensor:
        square = (distance * (2 / TAPS)).square_().clamp_(max=1)
        # sqrt(1 - t²) - 1 without cancellation, which float32 could not afford
        return torch.exp(square / (1 + torch.sqrt(1 - square)) * -self._sharpness)

    def _window_transform(self, frequency: Tensor) -> Tensor:
        """Return the Fourier transform of the window, by Gauss-Legendre quadrature."""
        points, weights = (torch.from_numpy(x) for x in np.polynomial.legendre.leggauss(128))
        points, weights = points * (TAPS / 2), weights * (TAPS / 2)
        return torch.cos(frequency[:, None].double() * points) @ (self._window(points) * weights)

    def _on_the_circle(self, transform: Tensor) -> Tensor:
        """Return Legendre functions on the grid's rows over the window: (m, l, n_lat + margins).

        Beyond a pole a meridian continues as the opposite one, where order m has the sign (-1)^m.
        """
        nodes = (torch.arange(self.n_lat, dtype=torch.float64) + 0.5) * (180 / self.n_lat)
        rows = torch.arange(-self._margin, self.n_lat + self._margin)
        legendre = self._tables.legendre(nodes - 90)
        smoothed = legendre.new_empty((*legendre.shape[:2], len(rows)))
        for order, values in enumerate(legendre):  # one at a time, to save memory
            circle = torch.cat([values, values.flip(1) * (1 - 2 * (order % 2))], dim=1)
            series = torch.fft.rfft(circle)
            series[:, : len(transform)] /= transform
            series[:, len(transform) :] = 0
            smoothed[order] = torch.fft.irfft(series, n=2 * self.n_lat)[:, rows]
        return smoothed

    def _band(self, index: int) -> Tensor:
        """Return the grid's rows that the cells of a band touch: (rows, columns, hidden)."""
        with self._lock:
            if index in self.bands:
                return self.bands[index]
            if index == self._latest[0]:
                return self._latest[1]
        start = index * BAND_ROWS
        legendre = self._legendre[:, :, start : start + BAND_ROWS + TAPS - 1]
        table = torch.empty(
            (legendre.shape[2], self._row_length, self._tables.hidden), dtype=torch.float32
        )
        for row in range(0, len(table), BUILD_ROWS):
            part = slice(row, row + BUILD_ROWS)
            table[part] = self._waves @ self._tables.combine(legendre[:, :, part])
        table = table.to(self.device)
        with self._lock:
            held = sum(band.nbytes for band in self.bands.values())
            if held + table.nbytes <= self.cache_bytes:
                self.bands[index] = table
            else:
                self._latest = index, table
        return table
