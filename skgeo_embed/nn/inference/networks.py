"""Location networks as they run: any of them as it is, and SIRENs on harmonics much faster."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from skgeo_embed.nn.encodings.feature_grid import FeatureGrid, WithFeatureGrid
from skgeo_embed.nn.inference.devices import has_float64
from skgeo_embed.nn.inference.locks import ForkSafeLock
from skgeo_embed.nn.inference.tables import LatitudeTables, SphereTable
from skgeo_embed.nn.inference.tiles import Tile, Tiler
from skgeo_embed.nn.location import EncodedNetwork, Layer
from skgeo_embed.nn.location.encoder import encode_positions

# Points for each Legendre polynomial from which tables are used: they pay from the second such call
# on, or at once from five times as many points (benchmarks/inference.py). Whether they are there
# already does not count: the same call must give the same numbers, to the last bit.
MIN_TABULATED_POINTS = 250
MIN_TABULATED_POLYS = 12  # below, the L² harmonics are no more work than reading a table
SORTED_POINTS = 500_000  # at a time, so that what is written together lies together
GRID_ROWS = 16  # rows of a grid at a time; more would need memory and save nothing


class AnyNetwork:
    """A location encoder of any kind on one device, run by its own `forward`.

    Positions are encoded on the CPU where the device lacks the float64 that they need.
    """

    def __init__(self, module: EncodedNetwork, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.module = copy.deepcopy(module)
        self.module.nnet.to(device, dtype)
        self.split = not has_float64(device)
        if not self.split:
            self.module.posenc.to(device)
        elif type(module).forward is not EncodedNetwork.forward:
            raise ValueError(
                f"{type(module).__name__} has a forward of its own, which is given float64 "
                f'degrees, and device "{device.type}" has no float64; use device="cpu"'
            )

    def encode(self, lonlat: Tensor, layer: Layer, tiler: Tiler) -> Iterator[tuple[slice, Tensor]]:
        """Yield rows of (n, 2) points and their encoding."""
        for _, points, values in tiler.run(
            1, len(lonlat), lambda _, points: self.embed(lonlat[points], layer)
        ):
            yield points, values

    def encode_grid(self, lon: Tensor, lat: Tensor, layer: Layer, tiler: Tiler) -> Iterator[Tile]:
        """Yield tiles of the encoding of every pair of two axes."""

        def compute(rows: slice, columns: slice) -> Tensor:
            points = torch.cartesian_prod(lat[rows], lon[columns]).flip(1)
            points[points[:, 1].abs() == 90, 0] = 0.0  # a pole is one place
            return self.embed(points, layer)

        return tiler.run(len(lat), len(lon), compute, max_rows=tiler.batch_size)

    def embed(self, lonlat: Tensor, layer: Layer) -> Tensor:
        """Encode (n, 2) points at once."""
        if not self.split:
            return self.module(lonlat.to(self.device), layer)
        features = encode_positions(self.module.posenc, lonlat, self.dtype)
        return self.module.run_network(features.to(self.device), layer)


class SineNetwork:
    """A SIREN's weights on one device, w0 folded in, with the harmonics that feed it."""

    def __init__(self, module: EncodedNetwork, device: torch.device, dtype: torch.dtype) -> None:
        self.posenc, grid = harmonics_and_grid(module.posenc)
        self.device, self.dtype = device, dtype
        self.harmonics_device = device if has_float64(device) else torch.device("cpu")
        net: Any = module.nnet
        self._layers = [*net.layers, net.last_layer]
        self.weights = [folded(layer.weight, layer).to(dtype).to(device) for layer in self._layers]
        self.biases = [folded(layer.bias, layer).to(dtype).to(device) for layer in self._layers]
        self.grid = None if grid is None else copy.deepcopy(grid).to(device)
        n_harmonics = self.posenc.embedding_dim
        self.harmonics_weight = self.weights[0][:, :n_harmonics]
        self.grid_weight = self.weights[0][:, n_harmonics:]
        self.hidden_scale = module.hidden_scale
        self._tables: LatitudeTables | None = None
        self._sphere: SphereTable | None = None
        self._lock = ForkSafeLock()

    @property
    def tables(self) -> LatitudeTables:
        """The first layer by latitude, on the CPU."""
        with self._lock:
            if self._tables is None:
                first = self._layers[0]
                weight, bias = folded(first.weight, first), folded(first.bias, first)
                weight = weight[:, : self.posenc.embedding_dim]
                self._tables = LatitudeTables(self.posenc, weight, bias)
            return self._tables

    @property
    def sphere(self) -> SphereTable:
        """The first layer by place."""
        tables = self.tables
        with self._lock:
            if self._sphere is None:
                self._sphere = SphereTable(tables, self.device)
            return self._sphere

    def worth_tabulating(self, n_points: int) -> bool:
        """Say whether so many points are read off tables; MPS got `embedding_bag` late."""
        size = self.posenc.legendre_polys
        many = size >= MIN_TABULATED_POLYS and n_points >= MIN_TABULATED_POINTS * size
        return many and self.dtype == torch.float32 and self.device.type != "mps"

    def encode(
        self, lonlat: Tensor, layer: Layer, tiler: Tiler
    ) -> Iterator[tuple[slice | Tensor, Tensor]]:
        """Yield rows of (n, 2) points and their encoding."""
        if self.worth_tabulating(len(lonlat)):
            return self.encode_tabulated(lonlat, layer, tiler)
        return self.encode_pointwise(lonlat, layer, tiler)

    def encode_pointwise(
        self, lonlat: Tensor, layer: Layer, tiler: Tiler
    ) -> Iterator[tuple[slice, Tensor]]:
        """Compute the harmonics of every point."""
        memory = _Memory(self.dtype, self.harmonics_device)

        def compute(_: slice, points: slice) -> Tensor:
            batch = lonlat[points].to(self.harmonics_device)
            shape = self.posenc.embedding_dim, len(batch)
            features = self.posenc(batch, out=memory.of(shape)).to(self.device)
            first = torch.addmm(self.biases[0], features, self.harmonics_weight.T)
            return self.finish(self.with_content(first, lonlat[points]), layer)

        for _, points, values in tiler.run(1, len(lonlat), compute):
            yield points, values

    def encode_tabulated(
        self, lonlat: Tensor, layer: Layer, tiler: Tiler
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Read the first layer off tables, points of one cell together."""
        sphere = self.sphere
        for start in range(0, len(lonlat), SORTED_POINTS):
            cells, order = sphere.cells(lonlat[start : start + SORTED_POINTS]).sort(stable=True)
            bands, counts = torch.unique_consecutive(sphere.band_of(cells), return_counts=True)
            order += start
            for band, members in zip(bands.tolist(), order.split(counts.tolist()), strict=True):
                compute = partial(self._read_band, lonlat, layer, band, members)
                for _, part, values in tiler.run(1, len(members), compute):
                    yield members[part], values

    def _read_band(
        self, lonlat: Tensor, layer: Layer, band: int, members: Tensor, _: slice, part: slice
    ) -> Tensor:
        points = lonlat[members[part]]
        return self.finish(self.with_content(self.sphere.read(points, band), points), layer)

    def encode_grid(self, lon: Tensor, lat: Tensor, layer: Layer, tiler: Tiler) -> Iterator[Tile]:
        """Yield tiles of the encoding of every pair of two axes."""
        tabulated = self.worth_tabulating(len(lon) * len(lat))
        first_layer = self.sphere.read_grid if tabulated else self.first_layer_of_grid

        def compute(rows: slice, columns: slice) -> Tensor:
            first = first_layer(lon[columns], lat[rows])
            if self.grid is not None:
                points = torch.cartesian_prod(lat[rows], lon[columns]).flip(1)
                first = self.with_content(first, points)
            return self.finish(first, layer)

        return tiler.run(len(lat), len(lon), compute, max_rows=GRID_ROWS)

    def first_layer_of_grid(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the first layer at every pair of two axes, (n_lat · n_lon, hidden)."""
        waves = self.tables.waves(lon).to(self.dtype).to(self.device)
        return (waves @ self.tables.at(lat).to(self.dtype).to(self.device)).flatten(0, 1)

    def with_content(self, first: Tensor, lonlat: Tensor) -> Tensor:
        """Add what the first layer makes of the feature grid, where there is one."""
        if self.grid is None:
            return first
        corners, weights = self.grid.corners(lonlat.to(self.harmonics_device))
        weights = weights.to(self.dtype).to(self.device)
        content = self.grid.read(corners.to(self.device), weights)
        return first.addmm_(content, self.grid_weight.T)

    def finish(self, first: Tensor, layer: Layer) -> Tensor:
        """Apply what follows the linear map of the first layer, which is overwritten."""
        x = first.sin_()
        for weight, bias in zip(self.weights[1:-1], self.biases[1:-1], strict=True):
            x = torch.addmm(bias, x, weight.T).sin_()
        if layer == "hidden":
            return x if self.hidden_scale == 1 else x.mul_(self.hidden_scale)
        return torch.addmm(self.biases[-1], x, self.weights[-1].T)


class _Memory:
    """Memory for the features of a batch, kept between batches: fresh memory would be slow."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._held = torch.empty(0, dtype=dtype, device=device)

    def of(self, shape: tuple[int, int]) -> Tensor:
        if self._held.shape != shape:
            self._held = self._held.new_empty(0)  # let go of it before asking for more
            self._held = torch.empty(shape, dtype=self._held.dtype, device=self._held.device)
        return self._held


def harmonics_and_grid(posenc: Any) -> tuple[Any, FeatureGrid | None]:
    """Split a positional encoding into what is tabulated and the feature grid beside it."""
    if isinstance(posenc, WithFeatureGrid):
        return posenc.position, posenc.grid
    return posenc, None


def folded(parameter: Tensor, layer: Any) -> Tensor:
    """Return a weight or bias of a sine layer with its frequency, in double precision."""
    return parameter.double() * layer.w0
