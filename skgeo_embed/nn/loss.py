"""The contrastive loss and the retrieval accuracy that goes with it."""

from __future__ import annotations

import torch
from torch import Tensor


def contrastive_loss(images: Tensor, places: Tensor, logit_scale: Tensor) -> Tensor:
    r"""Symmetric cross-entropy over cosine similarities (Radford et al. 2021, arXiv 2103.00020).

    .. math::
        \tfrac12 \left[\mathrm{CE}(e^{s} I P^\top) + \mathrm{CE}(e^{s} P I^\top)\right]

    where row i of each is to be matched with row i of the other.

    Parameters
    ----------
    images, places : Tensor of shape (n, d)
        Unit-length embeddings; row i of both is one pair.
    logit_scale : Tensor of shape ()
        s, the logarithm of the inverse temperature.

    Returns
    -------
    loss : Tensor of shape ()
        The mean over the batch and over both directions.
    """
    logits = logit_scale.exp() * images @ places.T  # (n, n)
    target = torch.arange(len(logits), device=logits.device)
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def retrieval_hits(queries: Tensor, keys: Tensor, k: int = 1, chunk: int = 4096) -> Tensor:
    """Say for each query whether the key of the same row is among its `k` most similar.

    Parameters
    ----------
    queries, keys : Tensor of shape (n, d)
        Unit-length embeddings; row i of both is one pair.
    k : int, default=1
        How many of the most similar keys count.
    chunk : int, default=4096
        Queries compared at a time, to bound memory.

    Returns
    -------
    hits : Tensor of shape (n,), bool
        Ties count as misses, so a constant embedding scores nothing.
    """
    hits = []
    for start in range(0, len(queries), chunk):
        similarity = queries[start : start + chunk] @ keys.T  # (chunk, n)
        row = torch.arange(len(similarity), device=similarity.device)
        own = similarity[row, row + start][:, None]
        hits.append((similarity >= own).sum(dim=1) <= k)
    return torch.cat(hits)
