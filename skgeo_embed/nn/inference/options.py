"""How an estimator encodes places, as decided in `fit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from skgeo_embed._errors import warn_caller
from skgeo_embed.nn.inference.devices import check_precision, resolve_device
from skgeo_embed.nn.location import Layer


@dataclass(frozen=True)
class EncodingOptions:
    """Which output of a location network is computed, where and how.

    Attributes
    ----------
    layer : {"embedding", "hidden", "content"}
        The output.
    device : torch.device or None
        Where to compute; None is the best device of the machine.
    dtype : {"float32", "float64"}
        Precision of the network and of the output.
    batch_size : int or None
        Points at a time; None takes a number that suits the device.
    unit_length : bool
        Scale every row to length 1.
    columns : int or None
        Number of columns: only the first, or those that mix as many components.
    """

    layer: Layer = "embedding"
    device: torch.device | None = None
    dtype: Literal["float32", "float64"] = "float32"
    batch_size: int | None = None
    unit_length: bool = False
    columns: int | None = None

    def __post_init__(self) -> None:
        check_precision(resolve_device(self.device), self.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        device = None if self.device is None else str(self.device)
        return _options_here, (device, {**vars(self), "device": None})

    def __getstate__(self) -> dict[str, Any]:  # of skops; pickle asks __reduce__
        return {**vars(self), "device": None if self.device is None else str(self.device)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(_options_here(state["device"], state)))


def chosen_device(device: str | torch.device | None) -> torch.device | None:
    """Check a device that a user names; None is kept, so that pickles work elsewhere."""
    checked = resolve_device(device)
    return None if device is None else checked


def device_here(device: str | None) -> torch.device | None:
    """Return the device that a pickle names; warn and return None if this machine lacks it."""
    try:
        return chosen_device(device)
    except ValueError:
        warn_caller(
            f"this was fitted for the device {device!r}, which this machine does not have; it "
            f"computes on {resolve_device(None).type} instead.",
            RuntimeWarning,
        )
        return None


def _options_here(device: str | None, others: dict[str, Any]) -> EncodingOptions:
    return EncodingOptions(**{**others, "device": device_here(device)})
