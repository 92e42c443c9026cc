"""Encode many images with a frozen vision tower."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skgeo_embed.nn.inference.devices import has_float64, resolve_device
from skgeo_embed.nn.inference.locks import ForkSafeLock
from skgeo_embed.nn.inference.options import device_here
from skgeo_embed.nn.inference.thread_choice import ThreadChoice
from skgeo_embed.nn.inference.tiles import Tiler


@dataclass(frozen=True)
class ImageOptions:
    """How an estimator encodes images, as decided in `fit`.

    Attributes
    ----------
    device : torch.device or None
        Where to compute; None is the best device of the machine.
    batch_size : int
        Images at a time.
    normalize : bool
        Scale every row to length 1.
    resize : bool
        Resize to the tower's size instead of cutting the centre out.
    """

    device: torch.device | None
    batch_size: int
    normalize: bool
    resize: bool

    def __reduce__(self) -> tuple[Any, ...]:
        device = None if self.device is None else str(self.device)
        return _options_here, (device, self.batch_size, self.normalize, self.resize)


def _options_here(
    device: str | None, batch_size: int, normalize: bool, resize: bool
) -> ImageOptions:
    return ImageOptions(device_here(device), batch_size, normalize, resize)


class ImageEngine:
    """Encode batches of images with a frozen vision tower.

    The tower is copied to a device on first use; a pickle holds only the module on the CPU.

    Parameters
    ----------
    tower : torch.nn.Module
        Maps (n, bands, height, width) to (n, d); it is set to eval mode.
    """

    def __init__(self, tower: nn.Module) -> None:
        self.tower = tower.eval().requires_grad_(False)
        self._moved: dict[torch.device, nn.Module] = {}
        self._threads = ThreadChoice()
        self._lock = ForkSafeLock()

    def __getstate__(self) -> dict[str, Any]:
        return {"tower": self.tower}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["tower"])  # type: ignore[misc]

    @torch.inference_mode()
    def encode(
        self, batches: Iterable[np.ndarray], device: torch.device | None
    ) -> Iterator[np.ndarray]:
        """Yield the (n, d) float32 of each batch of (n, bands, height, width) arrays.

        If an accelerator's memory runs out, batches are computed in smaller pieces.
        """
        target = resolve_device(device)
        tower = self.tower_on(target)
        dtype = next((p.dtype for p in tower.parameters() if p.is_floating_point()), torch.float32)
        threads = self._threads if target.type == "cpu" else None
        tiler: Tiler | None = None
        for batch in batches:
            tiler = tiler or Tiler(len(batch), threads, batch.shape[1:])
            images, parts = torch.from_numpy(batch), []
            for _, rows in tiler.tiles(1, len(batch)):
                with tiler.computing(rows):
                    given = images[rows].to(dtype).to(target)
                    parts.append(_rows_of(tower(given), tower, len(given)).cpu())
            yield torch.cat(parts).float().numpy()

    def tower_on(self, device: torch.device) -> nn.Module:
        """Return the tower on a device, copied there on first use."""
        if device.type == "cpu":
            return self.tower
        with self._lock:
            if device not in self._moved:
                moved = copy.deepcopy(self.tower)
                if not has_float64(device):
                    moved = moved.float()
                self._moved[device] = moved.to(device)
            return self._moved[device]


def _rows_of(output: Any, tower: nn.Module, n_images: int) -> Tensor:
    valid = isinstance(output, Tensor) and output.ndim == 2 and len(output) == n_images
    if not valid or output.is_complex():
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"the vision tower {type(tower).__name__} must map (n, bands, height, width) to "
            f"(n, d) real numbers, not complex ones; it returned {found} rows for {n_images} "
            "images."
        )
    if not torch.isfinite(output).all():
        raise ValueError(
            f"the vision tower {type(tower).__name__} returned NaN or infinity; check the range "
            "of the images, and that its weights are finite."
        )
    return output
