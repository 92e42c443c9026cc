"""Location networks for inference: any kind by its `forward`, SIRENs on harmonics faster."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from skgeo_embed.nn.encodings.detailed import DetailedEncoding, encode_positions
from skgeo_embed.nn.inference.devices import has_float64
from skgeo_embed.nn.inference.locks import ForkSafeLock
from skgeo_embed.nn.inference.options import EncodingOptions
from skgeo_embed.nn.inference.tables import LatitudeTables, SphereTable
from skgeo_embed.nn.inference.thread_choice import ThreadChoice
from skgeo_embed.nn.inference.tiles import Tiler
from skgeo_embed.nn.location import EncodedNetwork
from skgeo_embed.nn.location.networks import MixedComponents, mixed_components

# Points per Legendre polynomial from which tables are used: they pay off from the second such
# call, or at once for five times as many points (benchmarks/inference.py). Whether they exist
# already must not matter: the same call must give the same numbers, to the last bit.
MIN_TABULATED_POINTS = 250
MIN_TABULATED_POLYS = 12  # fewer harmonics are computed as fast as a table is read
SORTED_POINTS = 500_000  # at a time, so that rows of a batch lie close together in the output
HARMONICS_BYTES = 8 * 2**20  # at a time, which halves the time of small batches
GRID_ROWS = 16  # rows of a grid at a time; more need memory and save no time


class AnyNetwork:
    """A location encoder of any kind on one device, run by its own `forward`.

    Positions are encoded on the CPU if the device lacks float64.
    """

    def __init__(self, module: EncodedNetwork, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype, self.threads = device, dtype, ThreadChoice()
        self.module = copy.deepcopy(module)
        self.module.nnet.to(device, dtype)
        self.split = not has_float64(device)
        if not self.split:
            self.module.posenc.to(device)
        elif type(module).forward is not EncodedNetwork.forward:
            raise ValueError(
                f"{type(module).__name__} has its own forward, which takes float64 degrees, and "
                f'device "{device.type}" has no float64; use device="cpu"'
            )

    def encode(
        self, lonlat: Tensor, options: EncodingOptions, tiler: Tiler
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield rows of (n, 2) points and their encoding."""
        for _, points in tiler.tiles(1, len(lonlat)):
            with tiler.computing(points):
                values = self.embed(lonlat[points], options)
            if not tiler.ran_out:
                yield points, values
                del values  # its memory is the next batch's

    def encode_grid(
        self, lon: Tensor, lat: Tensor, options: EncodingOptions, tiler: Tiler
    ) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield tiles of the encoding of every pair of two axes."""
        for rows, columns in tiler.tiles(len(lat), len(lon), max_rows=tiler.batch_size):
            with tiler.computing(columns, rows):
                points = torch.cartesian_prod(lat[rows], lon[columns]).flip(1)
                points[points[:, 1].abs() == 90, 0] = 0.0  # a pole is one place
                values = self.embed(points, options)
            if not tiler.ran_out:
                yield rows, columns, values
                del values

    def embed(self, lonlat: Tensor, options: EncodingOptions) -> Tensor:
        """Encode (n, 2) points at once."""
        if not self.split:
            values = self.module(lonlat.to(self.device), options.layer)
        else:
            features = encode_positions(self.module.posenc, lonlat, self.dtype)
            values = self.module.run_network(features.to(self.device), options.layer)
        values = self.module.first_columns(values, options.layer, options.columns)
        return normalize(values) if options.unit_length else values


class SineNetwork:
    """A SIREN's weights on one device, w0 folded in, with the harmonics that feed it."""

    def __init__(self, module: EncodedNetwork, device: torch.device, dtype: torch.dtype) -> None:
        self.posenc, details = split_encoding(module.posenc)
        self.device, self.dtype, self.threads = device, dtype, ThreadChoice()
        self.harmonics_device = device if has_float64(device) else torch.device("cpu")
        net: Any = module.nnet
        self._layers = [*net.layers, net.last_layer]
        self.weights, self.biases, _ = zip(*map(self._prepared, self._layers), strict=True)
        self._components: dict[int | None, tuple[Tensor, Tensor, Tensor | None]] = {}
        self.details = None if details is None else copy.deepcopy(details)
        if self.details is not None:
            self.details.to(self.harmonics_device)  # positions need float64
            if self.details.waves is not None:
                self.details.waves.double()  # once, and not with each call
        n_harmonics = self.posenc.embedding_dim
        self.harmonics_weight = self.weights[0][:, :n_harmonics]
        self.detail_weight = self.weights[0][:, n_harmonics:]
        self.hidden_scale = module.hidden_scale
        self._tables: LatitudeTables | None = None
        self._sphere: SphereTable | None = None
        self._lock = ForkSafeLock()

    @property
    def tables(self) -> LatitudeTables:
        """Tables of the first layer by latitude, on the CPU."""
        with self._lock:
            if self._tables is None:
                first = self._layers[0]
                weight, bias = folded(first.weight, first), folded(first.bias, first)
                weight = weight[:, : self.posenc.embedding_dim]
                self._tables = LatitudeTables(self.posenc, weight, bias)
            return self._tables

    @property
    def sphere(self) -> SphereTable:
        """Table of the first layer over the sphere."""
        tables = self.tables
        with self._lock:
            if self._sphere is None:
                self._sphere = SphereTable(tables, self.device)
            return self._sphere

    def worth_tabulating(self, n_points: int) -> bool:
        """Return whether tables are faster for so many points; MPS got `embedding_bag` late."""
        size = self.posenc.legendre_polys
        many = size >= MIN_TABULATED_POLYS and n_points >= MIN_TABULATED_POINTS * size
        return many and self.dtype == torch.float32 and self.device.type != "mps"

    def encode(
        self, lonlat: Tensor, options: EncodingOptions, tiler: Tiler
    ) -> Iterator[tuple[slice | Tensor, Tensor]]:
        """Yield rows of (n, 2) points and their encoding."""
        if self.worth_tabulating(len(lonlat)):
            return self.encode_tabulated(lonlat, options, tiler)
        return self.encode_pointwise(lonlat, options, tiler)

    def encode_pointwise(
        self, lonlat: Tensor, options: EncodingOptions, tiler: Tiler
    ) -> Iterator[tuple[slice, Tensor]]:
        """Compute the harmonics of every point."""
        harmonics = _Harmonics(self.posenc, lonlat, self.dtype, self.harmonics_device)
        for _, points in tiler.tiles(1, len(lonlat)):
            with tiler.computing(points):
                features = harmonics.at(points).to(self.device)
                first = torch.addmm(self.biases[0], features, self.harmonics_weight.T)
                del features
                values = self.finish(*self.with_details(first, lonlat[points]), options)
                del first
            if not tiler.ran_out:
                yield points, values
                del values

    def embed(self, lonlat: Tensor, options: EncodingOptions) -> Tensor:
        """Encode (n, 2) points at once."""
        features = self.posenc(lonlat.to(self.harmonics_device), dtype=self.dtype)
        first = torch.addmm(self.biases[0], features.to(self.device), self.harmonics_weight.T)
        return self.finish(*self.with_details(first, lonlat), options)

    def encode_tabulated(
        self, lonlat: Tensor, options: EncodingOptions, tiler: Tiler
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Read the first layer from tables, points of one cell together."""
        sphere = self.sphere
        for start in range(0, len(lonlat), SORTED_POINTS):
            cells, order = sphere.cells(lonlat[start : start + SORTED_POINTS]).sort(stable=True)
            bands, counts = torch.unique_consecutive(sphere.band_of(cells), return_counts=True)
            order += start
            for band, members in zip(bands.tolist(), order.split(counts.tolist()), strict=True):
                for _, part in tiler.tiles(1, len(members)):
                    with tiler.computing(part):
                        points = lonlat[members[part]]
                        first, content = self.with_details(sphere.read(points, band), points)
                        values = self.finish(first, content, options)
                        del first, content
                    if not tiler.ran_out:
                        yield members[part], values
                        del values

    def encode_grid(
        self, lon: Tensor, lat: Tensor, options: EncodingOptions, tiler: Tiler
    ) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield tiles of the encoding of every pair of two axes."""
        # terms of longitude are computed once for all rows
        if self.worth_tabulating(len(lon) * len(lat)):
            first_layer = partial(self.sphere.read_grid, self.sphere.axes(lon, lat))
        else:
            first_layer = partial(self.first_layer_of_grid, self.waves(lon), lat)
        for rows, columns in tiler.tiles(len(lat), len(lon), max_rows=GRID_ROWS):
            with tiler.computing(columns, rows):
                first, content = first_layer(rows, columns), None
                if self.details is not None:
                    points = torch.cartesian_prod(lat[rows], lon[columns]).flip(1)
                    first, content = self.with_details(first, points)
                values = self.finish(first, content, options)
                del first, content
            if not tiler.ran_out:
                yield rows, columns, values
                del values

    def waves(self, lon: Tensor) -> Tensor:
        """Return longitude terms in the network's precision, (n_lon, 2 L)."""
        return self.tables.waves(lon).to(self.dtype).to(self.device)

    def first_layer_of_grid(
        self, waves: Tensor, lat: Tensor, rows: slice, columns: slice
    ) -> Tensor:
        """Compute the first layer at pairs of two axes, (n_lat · n_lon, hidden)."""
        by_latitude = self.tables.at(lat[rows]).to(self.dtype).to(self.device)
        return (waves[columns] @ by_latitude).flatten(0, 1)

    def with_details(self, first: Tensor, lonlat: Tensor) -> tuple[Tensor, Tensor | None]:
        """Add the first layer of a feature grid and fine waves, if the network has them.

        Content columns, which a later layer reads, are returned beside it.
        """
        if self.details is None:
            return first, None
        details = self.details.details(lonlat.to(self.harmonics_device), self.dtype)
        details = details.to(self.device)
        read = self.detail_weight.shape[1]
        return first.addmm_(details[:, :read], self.detail_weight.T), details[:, read:]

    def finish(self, first: Tensor, content: Tensor | None, options: EncodingOptions) -> Tensor:
        """Apply all that follows the linear map of the first layer, which is overwritten."""
        x = first.sin_()
        n, hidden = options.columns, options.layer == "hidden"
        for number in range(1, len(self.weights) - 1):
            last = hidden and number == len(self.weights) - 2
            weight, bias, of_content = self._columns_of(number, n if last else None)
            x = torch.addmm(bias, x, weight.T)
            if of_content is not None and content is not None:
                x.addmm_(content, of_content.T)
            if self._layers[number].activation:
                x.sin_()
        if hidden:
            x = x[:, :n]  # for networks with one hidden layer
            x = x if self.hidden_scale == 1 else x.mul_(self.hidden_scale)
        else:
            x = torch.addmm(self.biases[-1][:n], x, self.weights[-1][:n].T)
        return normalize(x) if options.unit_length else x

    def _columns_of(self, number: int, columns: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return weights of a layer's first columns, or of as many components, prepared once."""
        layer = self._layers[number]
        if not isinstance(layer, MixedComponents):
            return self.weights[number][:columns], self.biases[number][:columns], None
        with self._lock:
            if columns not in self._components:
                self._components[columns] = self._prepared(layer, columns)
            return self._components[columns]

    def _prepared(
        self, layer: Any, columns: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return weight, bias and weight of content on the device, with the frequency folded in."""
        weight, bias, of_content = folded(layer.weight, layer), folded(layer.bias, layer), None
        if isinstance(layer, MixedComponents):
            if layer.content_weight is not None:
                of_content, _ = mixed_components(layer.content_weight.double(), bias, columns)
            weight, bias = mixed_components(weight, bias, columns)
        moved = (None if part is None else part.to(self.dtype).to(self.device)
                 for part in (weight, bias, of_content))  # fmt: skip
        return tuple(moved)  # type: ignore[return-value]


class _Harmonics:
    """Compute harmonics batch by batch; on a CPU, of several small batches at a time.

    Blocks share their memory, because new memory is slow.
    """

    def __init__(
        self, posenc: Any, lonlat: Tensor, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._posenc, self._lonlat = posenc, lonlat
        self._dtype, self._device = dtype, device
        self._block = slice(0, 0)
        self._memory = self._features = torch.empty(0)

    def at(self, points: slice) -> Tensor:
        """Return the harmonics of a batch, (n, L²)."""
        if not self._block.start <= points.start <= points.stop <= self._block.stop:
            self._compute(points)
        first = points.start - self._block.start
        return self._features[first : first + points.stop - points.start]

    def _compute(self, points: slice) -> None:
        columns, batch = self._posenc.embedding_dim, points.stop - points.start
        bytes_held = HARMONICS_BYTES if self._device.type == "cpu" else 0
        batches = max(1, bytes_held // (columns * self._dtype.itemsize * batch))
        block = slice(points.start, min(points.start + batches * batch, len(self._lonlat)))
        lonlat = self._lonlat[block].to(self._device)
        self._block = slice(0, 0)  # in case memory runs out
        if self._memory.shape != (columns, len(lonlat)):
            self._memory = self._features = torch.empty(0)  # free it before asking for more
            self._memory = torch.empty(
                (columns, len(lonlat)), dtype=self._dtype, device=self._device
            )
        self._features = self._posenc(lonlat, out=self._memory)
        self._block = block


def split_encoding(posenc: Any) -> tuple[Any, DetailedEncoding | None]:
    """Split a positional encoding into the part that is tabulated and the details, if any."""
    if isinstance(posenc, DetailedEncoding):
        return posenc.position, posenc
    return posenc, None


def folded(parameter: Tensor, layer: Any) -> Tensor:
    """Return a weight or bias of a sine layer times its frequency, in double precision."""
    return parameter.double() * layer.w0
