"""Large batches in small pieces, whose activations are recomputed when they are needed.

The loss depends only on the embeddings of a batch, which are kept; the activations are recomputed
for one piece at a time in the backward pass (gradient checkpointing by rows). The gradient is that
of the whole batch, as in gradient caching (Gao et al. 2021, arXiv 2101.06983).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Embed = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


def embed_in_pieces(
    embed: Embed, image: Tensor, point: Tensor, micro_batch_size: int, model: nn.Module
) -> tuple[Tensor, ...]:
    """Apply `embed` to `micro_batch_size` rows at a time without keeping activations.

    Parameters
    ----------
    embed : callable
        Maps images and coordinates to embeddings; its random draws are repeated.
    image, point : Tensor of shape (n, ...)
        The batch.
    micro_batch_size : int
        Rows of a piece.
    model : torch.nn.Module
        Contains the batch norms, whose running statistics count each piece once, not again when it
        is recomputed. Batch norms that train use the statistics of a piece.

    Returns
    -------
    embeddings : tuple of Tensor of shape (n, d)
        Embeddings of the whole batch.
    """
    pieces = [
        checkpoint(
            embed,
            image[start : start + micro_batch_size],
            point[start : start + micro_batch_size],
            use_reentrant=False,
            context_fn=lambda: (contextlib.nullcontext(), unmoved_statistics(model)),
        )
        for start in range(0, len(image), micro_batch_size)
    ]
    return tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))


@contextlib.contextmanager
def unmoved_statistics(model: nn.Module) -> Iterator[None]:
    """Freeze the running statistics of batch norms in this block."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked = tracked
