"""A frozen location encoder over many places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skgeo_embed.nn.harmonics import SphericalHarmonics
from skgeo_embed.nn.inference.compact import compacted
from skgeo_embed.nn.inference.devices import check_precision, resolve_device
from skgeo_embed.nn.inference.locks import ForkSafeLock
from skgeo_embed.nn.inference.networks import AnyNetwork, SineNetwork, split_encoding
from skgeo_embed.nn.inference.options import EncodingOptions
from skgeo_embed.nn.inference.tiles import Tiler
from skgeo_embed.nn.inference.traced import TracedSines
from skgeo_embed.nn.inference.transfer import copied_from_card
from skgeo_embed.nn.location import EncodedNetwork
from skgeo_embed.nn.location.networks import SirenNet

Rows = slice | Tensor


class InferenceEngine:
    """Encode numpy coordinates with a frozen location encoder.

    The weights are copied to each device and precision on first use and shared by all estimators
    that hold the engine; a pickle holds only the module on the CPU.

    Parameters
    ----------
    module : EncodedNetwork
        The encoder, which is set to eval mode and must not be trained afterwards.
    """

    def __init__(self, module: EncodedNetwork) -> None:
        self.module = module.eval().requires_grad_(False)
        self._networks: dict[tuple[torch.device, torch.dtype], AnyNetwork | SineNetwork] = {}
        self._lock = ForkSafeLock()

    def __getstate__(self) -> dict[str, Any]:
        return {"module": self.module}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["module"])  # type: ignore[misc]

    def width(self, options: EncodingOptions) -> int:
        """Return the number of columns of the output."""
        return options.columns or self.module.output_dim(options.layer)

    @torch.inference_mode()
    def encode(self, lonlat: np.ndarray, options: EncodingOptions) -> Iterator[tuple[Rows, Tensor]]:
        """Yield rows of (n, 2) degrees and their encoding, batch after batch, on the CPU.

        Rows are a slice or row numbers; values are valid until the next batch is asked for. Many
        points in float32 use the tabulated first layer, see
        :mod:`skgeo_embed.nn.inference.tables`; float64 and few points use the harmonics.
        """
        network = self._network(options)
        tiler = _tiler(network, options, "points")
        pieces = network.encode(torch.from_numpy(lonlat), options, tiler)
        if network.device.type == "cuda":
            pieces = copied_from_card(pieces, network.device)
        for rows, values in pieces:
            yield rows, values.cpu()
            del values  # its memory is the next batch's

    @torch.inference_mode()
    def encode_grid(
        self, lon: np.ndarray, lat: np.ndarray, options: EncodingOptions
    ) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield rows, columns and (n_rows · n_columns, d) of every pair of two axes, on the CPU.

        Values are valid until the next tile is asked for.
        """
        network = self._network(options)
        tiler = _tiler(network, options, "grid")
        axes = torch.from_numpy(lon), torch.from_numpy(lat)
        pieces = network.encode_grid(*axes, options, tiler)
        if network.device.type == "cuda":
            pieces = copied_from_card(pieces, network.device)
        for rows, columns, values in pieces:
            yield rows, columns, values.cpu()
            del values

    def graph(self, options: EncodingOptions) -> Callable[[Tensor], Tensor]:
        """Return the function of (n, 2) degrees to features that a graph is traced from."""
        cpu = torch.device("cpu")
        on_cpu = replace(options, device=cpu)
        kind = TracedSines if is_sine_network(self.module) else AnyNetwork
        network = kind(compacted(self.module), cpu, getattr(torch, options.dtype))
        return partial(network.embed, options=on_cpu)

    def _network(self, options: EncodingOptions) -> AnyNetwork | SineNetwork:
        key = resolve_device(options.device), getattr(torch, options.dtype)
        check_precision(key[0], options.dtype)
        with self._lock:
            if key not in self._networks:
                kind = SineNetwork if is_sine_network(self.module) else AnyNetwork
                self._networks[key] = kind(self.module, *key)
            return self._networks[key]


def runs_own_code(module: EncodedNetwork) -> bool:
    """Return whether code of a module's own (a forward, a hook) determines its output."""
    return (
        type(module).forward is not EncodedNetwork.forward
        or "forward" in vars(module)
        or any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    )


def is_sine_network(module: EncodedNetwork) -> bool:
    """Return whether a module is a SIREN on harmonics without code of its own."""
    return (
        not runs_own_code(module)
        and isinstance(split_encoding(module.posenc)[0], SphericalHarmonics)
        and isinstance(module.nnet, SirenNet)
    )


def _tiler(network: AnyNetwork | SineNetwork, options: EncodingOptions, kind: str) -> Tiler:
    """Choose the points in a batch: the user's number, or what suits the device's caches."""
    if network.device.type != "cpu":
        return Tiler(options.batch_size or 65_536)
    suits = 8192 if options.layer == "content" else 2048
    return Tiler(options.batch_size or suits, network.threads, (kind, options))
