"""Gather rows of all processes, with their gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def process_rank() -> int:
    """Return the number of this process among those that train together, 0 if it is alone."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def process_count() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)  # every process's loss depends on these rows
        return total.chunk(dist.get_world_size())[dist.get_rank()]


def gather_rows(rows: Tensor) -> Tensor:
    """Stack the rows of all processes, in the order of their ranks.

    Every process must hold the same number of rows. Gradients are summed over the processes, so
    that averaging parameters' gradients afterwards, as DistributedDataParallel does, gives the
    gradient of the mean of the processes' losses.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
        This process's rows.

    Returns
    -------
    gathered : Tensor of shape (n * processes, d)
        `rows` itself if there is only one process.
    """
    if process_count() == 1:
        return rows
    return _GatherRows.apply(rows)
