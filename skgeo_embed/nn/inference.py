"""Running a location encoder over many points: batches, devices, precision, grids."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from skgeo_embed.nn.harmonics import SphericalHarmonics
from skgeo_embed.nn.location import EncodedNetwork, Layer, encode_positions
from skgeo_embed.nn.networks import SirenNet
from skgeo_embed.nn.tables import LatitudeTables, SphereTable

# Points for each Legendre polynomial from which tables are used: they pay from the second such call
# on, or at once from five times as many points (benchmarks/inference.py). Whether they are there
# already does not count: the same call must give the same numbers, to the last bit.
MIN_TABULATED_POINTS = 250
MIN_TABULATED_POLYS = 12  # below, the L² harmonics are no more work than reading a table
GRID_ROWS = 16  # rows of a grid at a time; more would need memory and save nothing

DTypeName = Literal["float32", "float64"]


def resolve_device(device: str | torch.device | None) -> torch.device:
    """Return the named device, or the best one that this machine has (cuda, mps, cpu).

    Raises
    ------
    ValueError
        If there is no such device.
    """
    if device is not None:
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise ValueError(
                f'device must be "cpu", "cuda", "cuda:1", "mps" or None, got {device!r}'
            ) from error
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device={device!r}: this machine or this build of torch has no CUDA")
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


class InferenceEngine:
    """Encode numpy coordinates with a frozen location encoder.

    The weights are copied to each device and precision on first use and shared by all who
    hold the engine; pickles carry the CPU module alone.

    Parameters
    ----------
    module : EncodedNetwork
        The encoder; it is put in eval mode and must not be trained afterwards.
    """

    def __init__(self, module: EncodedNetwork) -> None:
        self.module = module.eval().requires_grad_(False)
        self._networks: dict[tuple[torch.device, torch.dtype], _SineNetwork | _AnyNetwork] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"module": self.module}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["module"])  # type: ignore[misc]

    def encode(
        self,
        lonlat: np.ndarray,
        *,
        layer: Layer = "embedding",
        device: str | torch.device | None = None,
        dtype: DTypeName = "float32",
        batch_size: int | None = None,
        unit_length: bool = False,
        out: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> np.ndarray:
        """Encode (n, 2) degrees, to a new array (n, d) or to `rows` of `out`.

        Many points in float32 use the tabulated first layer, see
        :mod:`skgeo_embed.nn.tables`; float64 and few points use the harmonics themselves.
        """
        network = self._network(device, dtype)
        if out is None:
            out = np.empty((len(lonlat), self.module.output_dim(layer)), dtype=dtype)
        places = torch.arange(len(lonlat)) if rows is None else torch.from_numpy(rows)
        target = torch.from_numpy(out)

        def write(points: slice | Tensor, values: Tensor) -> None:
            values = normalize(values) if unit_length else values
            target.index_copy_(0, places[points], values.cpu())

        with torch.inference_mode():
            network.encode(
                torch.from_numpy(lonlat), layer, _batch_size(batch_size, network.device), write
            )
        return out

    def encode_grid(
        self,
        lon: np.ndarray,
        lat: np.ndarray,
        *,
        layer: Layer = "embedding",
        device: str | torch.device | None = None,
        dtype: DTypeName = "float32",
        batch_size: int | None = None,
        unit_length: bool = False,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Encode every pair of two axes, to a new array (n_lat, n_lon, d) or to `out`."""
        network = self._network(device, dtype)
        if out is None:
            out = np.empty((len(lat), len(lon), self.module.output_dim(layer)), dtype=dtype)
        target = torch.from_numpy(out)

        def write(rows: slice, columns: slice, values: Tensor) -> None:
            tile = target[rows, columns]
            tile.copy_((normalize(values) if unit_length else values).view(tile.shape))

        axes = torch.from_numpy(lon), torch.from_numpy(lat)
        with torch.inference_mode():
            network.encode_grid(*axes, layer, _batch_size(batch_size, network.device), write)
        return out

    def _network(
        self, device: str | torch.device | None, dtype: DTypeName
    ) -> _SineNetwork | _AnyNetwork:
        key = (resolve_device(device), getattr(torch, dtype))
        if key[0].type == "mps" and dtype == "float64":
            raise ValueError('device "mps" has no float64; use dtype="float32" or device="cpu"')
        structured = isinstance(self.module.posenc, SphericalHarmonics) and isinstance(
            self.module.nnet, SirenNet
        )
        with self._lock:
            if key not in self._networks:
                kind = _SineNetwork if structured else _AnyNetwork
                self._networks[key] = kind(self.module, *key)
            return self._networks[key]


def _batch_size(chosen: int | None, device: torch.device) -> int:
    """Points at a time: what was chosen, or on a CPU what its caches hold of a hidden layer."""
    return chosen or (2048 if device.type == "cpu" else 65_536)


def run_tiles(
    n_rows: int,
    n_columns: int,
    batch_size: int,
    run: Callable[[slice, slice], None],
    max_rows: int = 1,
) -> None:
    """Call `run` on tiles of a table, of whole rows or of a part of one.

    Where an accelerator's memory runs out, the batch is halved and the tile done again.
    """
    row = column = 0
    while row < n_rows:
        whole_rows = min(batch_size // n_columns, max_rows) if column == 0 else 0
        rows = slice(row, min(row + max(1, whole_rows), n_rows))
        columns = slice(column, n_columns if whole_rows else min(column + batch_size, n_columns))
        try:
            run(rows, columns)
        except torch.cuda.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size = max(1, batch_size // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            warnings.warn(
                f"the device ran out of memory; going on with batch_size={batch_size}",
                RuntimeWarning,
                stacklevel=2,
            )
            continue
        column = columns.stop % n_columns
        row = row if column else rows.stop


class _AnyNetwork:
    """A location encoder of any kind on one device, run as it is."""

    def __init__(self, module: EncodedNetwork, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.encoding_device = torch.device("cpu") if device.type == "mps" else device
        self.posenc = copy.deepcopy(module.posenc).to(self.encoding_device)
        self.nnet = copy.deepcopy(module.nnet).to(device, dtype)
        self.hidden_scale = module.hidden_scale
        self.dtype = dtype

    def encode(
        self, lonlat: Tensor, layer: Layer, batch_size: int, write: Callable[..., None]
    ) -> None:
        def run(_: slice, points: slice) -> None:
            write(points, self.embed(lonlat[points], layer))

        run_tiles(1, len(lonlat), batch_size, run)

    def encode_grid(
        self, lon: Tensor, lat: Tensor, layer: Layer, batch_size: int, write: Callable[..., None]
    ) -> None:
        def run(rows: slice, columns: slice) -> None:
            points = torch.cartesian_prod(lat[rows], lon[columns]).flip(1)
            write(rows, columns, self.embed(points, layer))

        run_tiles(len(lat), len(lon), batch_size, run, max_rows=batch_size)

    def embed(self, lonlat: Tensor, layer: Layer) -> Tensor:
        network = self.nnet if layer == "embedding" else self.nnet.hidden
        features = encode_positions(self.posenc, lonlat.to(self.encoding_device), self.dtype)
        outputs = network(features.to(self.device))  # type: ignore[operator]
        return outputs * self.hidden_scale if layer == "hidden" else outputs


class _SineNetwork:
    """A SIREN's weights on one device, w0 folded in, with the harmonics that feed it."""

    def __init__(self, module: EncodedNetwork, device: torch.device, dtype: torch.dtype) -> None:
        self.posenc: Any = module.posenc
        self.device, self.dtype = device, dtype
        # Apple's GPUs lack the float64 that the harmonics need
        self.harmonics_device = torch.device("cpu") if device.type == "mps" else device
        net: Any = module.nnet
        self._layers = [*net.layers, net.last_layer]
        self.weights = [
            self.folded(layer.weight, layer).to(device, dtype) for layer in self._layers
        ]
        self.biases = [self.folded(layer.bias, layer).to(device, dtype) for layer in self._layers]
        self.hidden_scale = module.hidden_scale
        self._tables: LatitudeTables | None = None
        self._sphere: SphereTable | None = None
        self._lock = threading.Lock()

    @staticmethod
    def folded(parameter: Tensor, layer: Any) -> Tensor:
        return parameter.double() * layer.w0

    @property
    def tables(self) -> LatitudeTables:
        """The first layer by latitude, on the CPU."""
        with self._lock:
            if self._tables is None:
                first = self._layers[0]
                weight, bias = self.folded(first.weight, first), self.folded(first.bias, first)
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
        size = self.posenc.legendre_polys
        many = size >= MIN_TABULATED_POLYS and n_points >= MIN_TABULATED_POINTS * size
        return self.dtype == torch.float32 and many

    def encode(
        self, lonlat: Tensor, layer: Layer, batch_size: int, write: Callable[..., None]
    ) -> None:
        """Hand the encoding of (n, 2) points to `write`, batch by batch."""
        if self.worth_tabulating(len(lonlat)):
            self.encode_tabulated(lonlat, layer, batch_size, write)
        else:
            self.encode_pointwise(lonlat, layer, batch_size, write)

    def encode_pointwise(
        self, lonlat: Tensor, layer: Layer, batch_size: int, write: Callable[..., None]
    ) -> None:
        """Compute the harmonics of every point."""
        memory = torch.empty(0)  # fresh memory for each batch would be slow

        def run(_: slice, points: slice) -> None:
            nonlocal memory
            batch = lonlat[points].to(self.harmonics_device)
            shape = self.posenc.embedding_dim, len(batch)
            if memory.shape != shape:
                memory = torch.empty(0)  # let go of it before asking for more
                memory = torch.empty(shape, dtype=self.dtype, device=self.harmonics_device)
            features = self.posenc(batch, out=memory).to(self.device)
            first = torch.addmm(self.biases[0], features, self.weights[0].T)
            write(points, self.finish(first, layer))

        run_tiles(1, len(lonlat), batch_size, run)

    def encode_tabulated(
        self, lonlat: Tensor, layer: Layer, batch_size: int, write: Callable[..., None]
    ) -> None:
        """Read the first layer off tables, points of one cell together."""
        sphere = self.sphere
        cells, order = sphere.cells(lonlat).sort(stable=True)
        bands, counts = torch.unique_consecutive(sphere.band_of(cells), return_counts=True)
        for band, members in zip(bands.tolist(), order.split(counts.tolist()), strict=True):

            def run(_: slice, part: slice, band: int = band, members: Tensor = members) -> None:
                points = members[part]
                write(points, self.finish(sphere.read(lonlat[points], band), layer))

            run_tiles(1, len(members), batch_size, run)

    def encode_grid(
        self, lon: Tensor, lat: Tensor, layer: Layer, batch_size: int, write: Callable[..., None]
    ) -> None:
        """Hand the encoding of every pair of two axes to `write`, tile by tile."""
        tabulated = self.worth_tabulating(len(lon) * len(lat))
        first_layer = self.sphere.read_grid if tabulated else self.first_layer_of_grid

        def run(rows: slice, columns: slice) -> None:
            write(rows, columns, self.finish(first_layer(lon[columns], lat[rows]), layer))

        run_tiles(len(lat), len(lon), batch_size, run, max_rows=GRID_ROWS)

    def first_layer_of_grid(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the first layer at every pair of two axes, (n_lat · n_lon, hidden)."""
        waves = self.tables.waves(lon).to(self.device, self.dtype)
        return (waves @ self.tables.at(lat).to(self.device, self.dtype)).flatten(0, 1)

    def finish(self, first: Tensor, layer: Layer) -> Tensor:
        """Apply what follows the linear map of the first layer, which is overwritten."""
        x = first.sin_()
        for weight, bias in zip(self.weights[1:-1], self.biases[1:-1], strict=True):
            x = torch.addmm(bias, x, weight.T).sin_()
        if layer == "hidden":
            return x if self.hidden_scale == 1 else x.mul_(self.hidden_scale)
        return torch.addmm(self.biases[-1], x, self.weights[-1].T)


def encode_images(
    tower: nn.Module,
    batches: Iterable[np.ndarray],
    device: str | torch.device | None = None,
) -> np.ndarray:
    """Run a vision tower over batches of (n, bands, height, width) float32 arrays."""
    target = resolve_device(device)
    moved = tower if target.type == "cpu" else copy.deepcopy(tower).to(target)
    with torch.inference_mode():
        outputs = [
            moved(torch.from_numpy(batch).to(target)).float().cpu().numpy() for batch in batches
        ]
    return np.concatenate(outputs)
