"""Running a location encoder over many points: batches, devices, precision, grids."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from skgeo_embed.nn.harmonics import SphericalHarmonics
from skgeo_embed.nn.location import EncodedNetwork, Layer, encode_positions
from skgeo_embed.nn.networks import SirenNet
from skgeo_embed.nn.tables import N_NODES, BinnedTables, LatitudeTables

# Points from which tables pay although they have to be built. Whether they are there already
# does not count: the same call must give the same numbers, to the last bit.
MIN_TABULATED_POINTS = 20_000

DTypeName = Literal["float32", "float64"]


def resolve_device(device: str | torch.device | None) -> torch.device:
    """Return the named device, or the best one that this machine has (cuda, mps, cpu)."""
    if device is not None:
        return torch.device(device)
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
        batch_size: int = 4096,
    ) -> np.ndarray:
        """Encode (n, 2) degrees to (n, d), `batch_size` points at a time.

        Many points in float32 use the tabulated first layer, see
        :mod:`skgeo_embed.nn.tables`; float64 and few points use the harmonics themselves.
        """
        network = self._network(device, dtype)
        out = np.empty((len(lonlat), self.module.output_dim(layer)), dtype=dtype)
        points, target = torch.from_numpy(lonlat), torch.from_numpy(out)
        with torch.inference_mode():
            network.encode(points, layer, batch_size, target)
        return out

    def encode_grid(
        self,
        lon: np.ndarray,
        lat: np.ndarray,
        *,
        layer: Layer = "embedding",
        device: str | torch.device | None = None,
        dtype: DTypeName = "float32",
        batch_size: int = 4096,
    ) -> np.ndarray:
        """Encode every pair of two axes to (n_lat, n_lon, d)."""
        network = self._network(device, dtype)
        out = np.empty((len(lat), len(lon), self.module.output_dim(layer)), dtype=dtype)
        axes = torch.from_numpy(lon), torch.from_numpy(lat)
        with torch.inference_mode():
            network.encode_grid(*axes, layer, batch_size, torch.from_numpy(out))
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


class _AnyNetwork:
    """A location encoder of any kind on one device, run as it is."""

    def __init__(self, module: EncodedNetwork, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.encoding_device = torch.device("cpu") if device.type == "mps" else device
        self.posenc = copy.deepcopy(module.posenc).to(self.encoding_device)
        self.nnet = copy.deepcopy(module.nnet).to(device, dtype)
        self.dtype = dtype

    def encode(self, lonlat: Tensor, layer: Layer, batch_size: int, out: Tensor) -> None:
        network = self.nnet if layer == "embedding" else self.nnet.hidden
        for start in range(0, len(lonlat), batch_size):
            batch = lonlat[start : start + batch_size].to(self.encoding_device)
            features = encode_positions(self.posenc, batch, self.dtype).to(self.device)
            out[start : start + batch_size] = network(features)  # type: ignore[operator]

    def encode_grid(
        self, lon: Tensor, lat: Tensor, layer: Layer, batch_size: int, out: Tensor
    ) -> None:
        for row, latitude in enumerate(lat):
            points = torch.stack([lon, latitude.expand_as(lon)], dim=1)
            self.encode(points, layer, batch_size, out[row])


class _SineNetwork:
    """A SIREN's weights on one device, w0 folded in, with the harmonics that feed it."""

    def __init__(self, module: EncodedNetwork, device: torch.device, dtype: torch.dtype) -> None:
        self.posenc: Any = module.posenc
        self.device, self.dtype = device, dtype
        # Apple's GPUs lack the float64 that the harmonics need
        self.harmonics_device = torch.device("cpu") if device.type == "mps" else device
        net: Any = module.nnet
        layers = [*net.layers, net.last_layer]
        folded = [
            (layer.weight.double() * layer.w0, layer.bias.double() * layer.w0) for layer in layers
        ]
        self.weights = [weight.to(device, dtype) for weight, _ in folded]
        self.biases = [bias.to(device, dtype) for _, bias in folded]
        self._first_weight = folded[0][0]
        self.hidden_scale = module.hidden_scale

    @cached_property
    def tables(self) -> LatitudeTables:
        return LatitudeTables(self.posenc, self._first_weight.to(self.harmonics_device))

    @cached_property
    def binned(self) -> BinnedTables:
        return BinnedTables(self.tables, self.dtype)

    def worth_tabulating(self, n_points: int) -> bool:
        size = self.posenc.legendre_polys
        fewer_terms = N_NODES * (2 * size - 1) < size**2 / 2
        return self.dtype == torch.float32 and fewer_terms and n_points >= MIN_TABULATED_POINTS

    def workspace(self, n_points: int) -> list[Tensor]:
        """Two buffers for hidden layers; fresh memory for each batch would be slow."""
        width = max(len(weight) for weight in self.weights[:-1])
        return list(torch.empty((2, n_points, width), dtype=self.dtype, device=self.device))

    def encode(self, lonlat: Tensor, layer: Layer, batch_size: int, out: Tensor) -> None:
        """Write the encoding of (n, 2) points to `out` (n, d)."""
        workspace = self.workspace(min(batch_size, len(lonlat)))
        if self.worth_tabulating(len(lonlat)):
            self.encode_tabulated(lonlat, layer, workspace, out)
        else:
            self.encode_pointwise(lonlat, layer, workspace, out)

    def encode_pointwise(
        self, lonlat: Tensor, layer: Layer, workspace: list[Tensor], out: Tensor
    ) -> None:
        """Compute the harmonics of every point."""
        step = len(workspace[0])
        buffer = torch.empty(
            (self.posenc.embedding_dim, step), dtype=self.dtype, device=self.harmonics_device
        )
        for start in range(0, len(lonlat), step):
            batch = lonlat[start : start + step].to(self.harmonics_device)
            features = self.posenc(batch, out=buffer[:, : len(batch)]).to(self.device)
            first = workspace[0][: len(batch), : len(self.weights[0])]
            torch.addmm(self.biases[0], features, self.weights[0].T, out=first)
            out[start : start + step].copy_(self.finish(first, layer, workspace[1]))

    def encode_tabulated(
        self, lonlat: Tensor, layer: Layer, workspace: list[Tensor], out: Tensor
    ) -> None:
        """Look the first layer up, bin of latitude by bin."""
        bins, order = self.binned.bin_of(lonlat[:, 1]).sort(stable=True)
        step = len(workspace[0])
        for start in range(0, len(lonlat), step):
            rows = order[start : start + step]
            batch = lonlat[rows].to(self.harmonics_device)
            first = workspace[0][: len(rows), : len(self.weights[0])]
            indices, counts = torch.unique_consecutive(
                bins[start : start + step], return_counts=True
            )
            for index, part, target in zip(
                indices.tolist(),
                batch.split(counts.tolist()),
                first.split(counts.tolist()),
                strict=True,
            ):
                factors = (f.to(self.device) for f in self.binned.factors(part, index))
                torch.addmm(self.biases[0], *factors, out=target)
            out[rows] = self.finish(first, layer, workspace[1]).to(out.device)

    def encode_grid(
        self, lon: Tensor, lat: Tensor, layer: Layer, batch_size: int, out: Tensor
    ) -> None:
        """Write the encoding of every pair of two axes to `out` (n_lat, n_lon, d)."""
        size = self.posenc.legendre_polys
        waves = self.tables.waves(lon.to(self.harmonics_device), size, self.dtype)
        waves = waves.T.to(self.device)  # (n_lon, 2 L)
        step = min(batch_size, len(lon))
        workspace = self.workspace(step)
        for row, latitude in enumerate(lat.to(self.harmonics_device)):
            table = self.tables.at(latitude[None]).flatten(0, 2).to(self.device, self.dtype)
            for start in range(0, len(lon), step):
                part = waves[start : start + step]
                first = workspace[0][: len(part), : len(self.weights[0])]
                torch.addmm(self.biases[0], part, table, out=first)
                out[row, start : start + step] = self.finish(first, layer, workspace[1])

    def finish(self, first: Tensor, layer: Layer, spare: Tensor) -> Tensor:
        """Apply what follows the linear map of the first layer; `first` is overwritten."""
        x, other = first.sin_(), spare
        for weight, bias in zip(self.weights[1:-1], self.biases[1:-1], strict=True):
            target = other[: len(x), : len(weight)]
            torch.addmm(bias, x, weight.T, out=target).sin_()
            x, other = target, x
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
