"""Which device computes, and what it supports."""

from __future__ import annotations

import torch

MPS_OUT_OF_MEMORY = "MPS backend out of memory"


def resolve_device(device: str | torch.device | None) -> torch.device:
    """Return the named device, or the best one that this machine has (cuda, mps, cpu).

    Raises
    ------
    ValueError
        If there is no such device.
    """
    if device is None:
        if torch.cuda.is_available():
            return resolve_device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f'device must be "cpu", "cuda", "cuda:1", "mps" or None, got {device!r}'
        ) from error
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"device={device!r}: this machine or torch build has no CUDA")
        # "cuda" and "cuda:0" are one device, which shall hold weights once
        chosen = torch.device(
            "cuda", torch.cuda.current_device() if chosen.index is None else chosen.index
        )
        if chosen.index >= torch.cuda.device_count():
            raise ValueError(
                f"device={device!r}: this machine has {torch.cuda.device_count()} CUDA device(s), "
                "numbered from cuda:0"
            )
    elif chosen.type == "meta":
        raise ValueError(f"device={device!r} cannot compute: it stores no values")
    elif chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device={device!r}: this machine or torch build has no MPS")
    return chosen


def has_float64(device: torch.device) -> bool:
    """Return whether a device supports double precision; Apple's GPUs do not."""
    return device.type != "mps"


def check_precision(device: torch.device, dtype: str) -> None:
    """Check that a device supports the precision."""
    if dtype == "float64" and not has_float64(device):
        raise ValueError(
            f'device "{device.type}" has no float64; use dtype="float32" or device="cpu"'
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an accelerator's memory ran out; a smaller batch may fit."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or MPS_OUT_OF_MEMORY in str(error)
