"""Running a location encoder over many points: batches, devices, precision, grids."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from skgeo_embed.nn.location import Layer, LocationEncoder

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
    """Encode numpy coordinates with a frozen copy of a :class:`LocationEncoder`.

    The weights are copied to each device and precision on first use and shared by all who
    hold the engine; pickles carry the CPU module alone.

    Parameters
    ----------
    module : LocationEncoder
        The encoder; it is put in eval mode and must not be trained afterwards.
    """

    def __init__(self, module: LocationEncoder) -> None:
        self.module = module.eval().requires_grad_(False)
        self._networks: dict[tuple[torch.device, torch.dtype], _SineNetwork] = {}
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
        """Encode (n, 2) degrees to (n, d), `batch_size` points at a time."""
        network = self._network(device, dtype)
        out = np.empty((len(lonlat), self.module.output_dim(layer)), dtype=dtype)
        points, target = torch.from_numpy(lonlat), torch.from_numpy(out)
        with torch.inference_mode():
            workspace = network.workspace(min(batch_size, len(lonlat)))
            for start in range(0, len(lonlat), batch_size):
                stop = min(start + batch_size, len(lonlat))
                network.encode(points[start:stop], layer, workspace, target[start:stop])
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
        """Encode every pair of two axes to (n_lat, n_lon, d).

        The first layer is, for hidden unit h, a sum over orders m of
        cos(m φ) A_mh(θ) + sin(m φ) B_mh(θ); A and B are computed once a latitude, which
        leaves 2 L terms a point instead of L².
        """
        network = self._network(device, dtype)
        out = np.empty((len(lat), len(lon), self.module.output_dim(layer)), dtype=dtype)
        target = torch.from_numpy(out)
        rows = max(1, batch_size // len(lon))
        with torch.inference_mode():
            workspace = network.workspace(min(batch_size, len(lon)))
            waves = network.waves(torch.from_numpy(lon))  # (n_lon, 2 L)
            for start in range(0, len(lat), rows):
                tables = network.latitude_tables(torch.from_numpy(lat[start : start + rows]))
                for row, table in enumerate(tables, start):  # table: (2 L, hidden)
                    for left in range(0, len(lon), batch_size):
                        right = min(left + batch_size, len(lon))
                        network.encode_row(
                            waves[left:right], table, layer, workspace, target[row, left:right]
                        )
        return out

    def _network(self, device: str | torch.device | None, dtype: DTypeName) -> _SineNetwork:
        key = (resolve_device(device), getattr(torch, dtype))
        with self._lock:
            if key not in self._networks:
                self._networks[key] = _SineNetwork(self.module, *key)
            return self._networks[key]


class _SineNetwork:
    """A SIREN's weights on one device, w0 folded in, with the harmonics that feed it."""

    def __init__(self, module: LocationEncoder, device: torch.device, dtype: torch.dtype) -> None:
        if device.type == "mps" and dtype == torch.float64:
            raise ValueError('device "mps" has no float64; use dtype="float32" or device="cpu"')
        self.posenc = module.posenc
        self.device, self.dtype = device, dtype
        # Apple's GPUs lack the float64 that the harmonics need
        self.harmonics_device = torch.device("cpu") if device.type == "mps" else device
        layers = [*module.nnet.layers, module.nnet.last_layer]
        folded = [
            (layer.weight.double() * layer.w0, layer.bias.double() * layer.w0) for layer in layers
        ]
        self.weights = [weight.to(device, dtype) for weight, _ in folded]
        self.biases = [bias.to(device, dtype) for _, bias in folded]
        self._first_weight = folded[0][0]
        self._by_order: Tensor | None = None

    def workspace(self, n_points: int) -> list[Tensor]:
        """Buffers for the features and two hidden layers; fresh memory each batch is slow."""
        widths = [len(weight) for weight in self.weights[:-1]]
        hidden = torch.empty((2, n_points, max(widths)), dtype=self.dtype, device=self.device)
        features = torch.empty(
            (self.posenc.embedding_dim, n_points), dtype=self.dtype, device=self.harmonics_device
        )
        return [features, *hidden]

    def encode(self, lonlat: Tensor, layer: Layer, workspace: list[Tensor], out: Tensor) -> None:
        """Write the encoding of (n, 2) points to `out` (n, d)."""
        n_points = len(lonlat)
        features = self.posenc(lonlat.to(self.harmonics_device), out=workspace[0][:, :n_points]).to(
            self.device
        )
        first = workspace[1][:n_points, : len(self.weights[0])]
        torch.addmm(self.biases[0], features, self.weights[0].T, out=first)
        self.finish(first, layer, workspace, out)

    def encode_row(
        self, waves: Tensor, table: Tensor, layer: Layer, workspace: list[Tensor], out: Tensor
    ) -> None:
        """Write the encoding of points on one latitude, given its table (2 L, hidden)."""
        first = workspace[1][: len(waves), : len(self.weights[0])]
        torch.addmm(self.biases[0], waves, table, out=first)
        self.finish(first, layer, workspace, out)

    def finish(self, first: Tensor, layer: Layer, workspace: list[Tensor], out: Tensor) -> None:
        """Apply what follows the linear map of the first layer."""
        x, spare = first.sin_(), workspace[2]
        for weight, bias in zip(self.weights[1:-1], self.biases[1:-1], strict=True):
            target = spare[: len(x), : len(weight)]
            torch.addmm(bias, x, weight.T, out=target).sin_()
            x, spare = target, workspace[1] if spare is workspace[2] else workspace[2]
        if layer == "embedding":
            x = torch.addmm(self.biases[-1], x, self.weights[-1].T)
        out.copy_(x)

    def waves(self, lon: Tensor) -> Tensor:
        """Longitude terms, cos then sin of each order: (n_lon, 2 L)."""
        cos_m, sin_m = self.posenc.longitude_terms(lon.to(self.harmonics_device))
        pairs = torch.stack([cos_m, sin_m], dim=1)  # (L, 2, n_lon)
        return pairs.flatten(0, 1).T.to(self.device, self.dtype)

    def latitude_tables(self, lat: Tensor) -> Tensor:
        """First-layer weights of each longitude term at each latitude: (n_lat, 2 L, hidden)."""
        lat = lat.to(self.harmonics_device)
        size = self.posenc.legendre_polys
        legendre = lat.new_zeros((size, size, len(lat)))  # (m, l, n_lat)
        for degree, row in enumerate(self.posenc.legendre_rows(lat)):
            legendre[: degree + 1, degree] = row
        tables = torch.bmm(legendre.transpose(1, 2), self._weights_by_order())
        tables = tables.unflatten(2, (2, -1))  # (m, n_lat, 2, hidden)
        return tables.permute(1, 0, 2, 3).flatten(1, 2).to(self.device, self.dtype)

    def _weights_by_order(self) -> Tensor:
        """First-layer weights regrouped by order: (L, L degrees, 2 · hidden), zero for l < m."""
        if self._by_order is None:
            size = self.posenc.legendre_polys
            weight = self._first_weight  # (hidden, L²)
            grouped = weight.new_zeros((size, size, 2, len(weight)))
            for degree in range(size):
                centre = degree * degree + degree
                grouped[: degree + 1, degree, 0] = weight[:, centre : centre + degree + 1].T
                negative = weight[:, degree * degree : centre].flip(1)  # m = -1 ... -l
                grouped[1 : degree + 1, degree, 1] = negative.T
            self._by_order = grouped.flatten(2).to(self.harmonics_device)
        return self._by_order


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
