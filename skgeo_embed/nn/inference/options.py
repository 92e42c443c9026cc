"""How places are encoded: what an estimator decides in `fit` and hands on whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from skgeo_embed._errors import warn_caller
from skgeo_embed.nn.inference.devices import check_precision, resolve_device
from skgeo_embed.nn.location import Layer


@dataclass(frozen=True)
class EncodingOptions:
    """What comes out of a location network, and where and how it is computed.

    Attributes
    ----------
    layer : {"embedding", "hidden", "content"}
        The output.
    device : torch.device or None
        Where to compute; None is the best one that the process has.
    dtype : {"float32", "float64"}
        Of the network and of the output.
    batch_size : int or None
        Points at a time; None takes what suits the device.
    unit_length : bool
        Scale every row to length 1.
    columns : int or None
        Only the first of them, or of the components that they mix.
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


def chosen_device(device: str | torch.device | None) -> torch.device | None:
    """Check a device that a user names; None stays open, so that pickles travel."""
    checked = resolve_device(device)
    return None if device is None else checked


def device_here(device: str | None) -> torch.device | None:
    """Return the device that a pickle names, or say that it is not here and leave it open."""
    try:
        return chosen_device(device)
    except ValueError:
        warn_caller(
            f"this was fitted for the device {device!r}, which is not here; it computes on "
            f"{resolve_device(None).type} instead.",
            RuntimeWarning,
        )
        return None


def _options_here(device: str | None, others: dict[str, Any]) -> EncodingOptions:
    return EncodingOptions(**{**others, "device": device_here(device)})
