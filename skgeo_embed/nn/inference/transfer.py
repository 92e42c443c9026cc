"""Copies from a card's memory to main memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

Piece = TypeVar("Piece", bound=tuple[Any, ...])


def copied_from_card(pieces: Iterator[Piece], device: torch.device) -> Iterator[Piece]:
    """Yield pieces with their values copied to the CPU; a copy is valid until the next piece.

    A card computes the next piece while the last one is copied and used. Copies alternate between
    two buffers of page-locked memory, which are several times faster than new memory.
    """
    buffers = [_Buffer(), _Buffer()]
    waiting: tuple[Any, torch.cuda.Event] | None = None
    for number, (*where, values) in enumerate(pieces):
        on_cpu = buffers[number % 2].like(values)
        on_cpu.copy_(values, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record(torch.cuda.current_stream(device))
        del values
        if waiting is not None:
            waiting[1].synchronize()
            yield waiting[0]
        waiting = (*where, on_cpu), copied
    if waiting is not None:
        waiting[1].synchronize()
        yield waiting[0]


class _Buffer:
    """Page-locked memory that grows to the largest piece."""

    def __init__(self) -> None:
        self._held = torch.empty(0)

    def like(self, values: Tensor) -> Tensor:
        """Return a part of the buffer with the shape and type of `values`."""
        if self._held.numel() < values.numel() or self._held.dtype != values.dtype:
            self._held = torch.empty(values.numel(), dtype=values.dtype, pin_memory=True)
        return self._held[: values.numel()].view(values.shape)
