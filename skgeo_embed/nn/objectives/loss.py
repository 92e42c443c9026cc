"""The contrastive loss, and retrieval ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from skgeo_embed.nn.objectives.gather import gather_rows, process_count, process_rank


def contrastive_loss(
    images: Tensor,
    places: Tensor,
    logit_scale: Tensor,
    all_images: Tensor | None = None,
    all_places: Tensor | None = None,
    first_row: int = 0,
) -> Tensor:
    r"""Symmetric cross-entropy over cosine similarities (Radford et al. 2021, arXiv 2103.00020).

    .. math::
        \tfrac12 \left[\mathrm{CE}(e^{s} I P^\top) + \mathrm{CE}(e^{s} P I^\top)\right]

    where row i of I is to be matched with row i of P.

    Parameters
    ----------
    images, places : Tensor of shape (n, d)
        Unit-length embeddings; row i of both is one pair.
    logit_scale : Tensor of shape ()
        s, the logarithm of the inverse temperature.
    all_images, all_places : Tensor of shape (N, d), default=None
        The whole batch over all processes, which rows are compared with; None for `images` and
        `places` themselves.
    first_row : int, default=0
        Row of the whole batch at which `images` and `places` begin.

    Returns
    -------
    loss : Tensor of shape ()
        The mean over the rows and over both directions.
    """
    scale = logit_scale.exp()
    to_places = scale * images @ (places if all_places is None else all_places).T  # (n, N)
    to_images = to_places.T if all_images is None else scale * places @ all_images.T
    # torch's cross-entropy would copy the transpose and keep both logarithms
    totals = _logsumexp(to_places) + _logsumexp(to_images)
    pairs = to_places.diagonal(first_row)  # the same in both
    return totals.mean() / 2 - pairs.mean()


def _logsumexp(logits: Tensor) -> Tensor:
    """Return the logarithm of the sum of exponentials of rows, at least in single precision."""
    return torch.logsumexp(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)


def gathered_contrastive_loss(images: Tensor, places: Tensor, logit_scale: Tensor) -> Tensor:
    """Return the contrastive loss of this process's rows against the rows of all processes.

    Its mean over the processes is :func:`contrastive_loss` of the whole batch, and the mean of its
    gradients is the gradient of that.

    Parameters
    ----------
    images, places, logit_scale : Tensor
        As for :func:`contrastive_loss`.
    """
    if process_count() == 1:
        return contrastive_loss(images, places, logit_scale)
    first_row = process_rank() * len(images)
    everything = gather_rows(images), gather_rows(places)
    return contrastive_loss(images, places, logit_scale, *everything, first_row)


def retrieval_ranks(
    queries: Tensor,
    keys: Tensor,
    query_place: Tensor | None = None,
    key_place: Tensor | None = None,
    *,
    chunk: int = 4096,
) -> tuple[Tensor, Tensor]:
    """Rank the best key of a query's own place among the keys of other places.

    Parameters
    ----------
    queries : Tensor of shape (n, d)
        Unit-length embeddings.
    keys : Tensor of shape (m, d)
        Unit-length embeddings.
    query_place, key_place : Tensor of shape (n,) and (m,), int64, default=None
        The place of each row. None if row i of both is one pair, and no place comes twice.
    chunk : int, default=4096
        Queries compared at a time, to bound memory.

    Returns
    -------
    ranks : Tensor of shape (n,), int64
        1 if a key of the same place is the most similar one; ties with other places count against
        it, so a constant embedding gets the worst ranks.
    best : Tensor of shape (n,), int64
        Row of the most similar key.
    """
    if query_place is None or key_place is None:
        query_place = key_place = torch.arange(len(queries), device=queries.device)
    ranks, best = [], []
    for rows, place in zip(queries.split(chunk), query_place.split(chunk), strict=True):
        similarity = rows @ keys.T  # (chunk, m)
        best.append(similarity.argmax(dim=1))
        own = place[:, None] == key_place
        found = similarity.where(own, -torch.inf).amax(dim=1, keepdim=True)
        ranks.append(1 + (~(similarity < found) & ~own).sum(dim=1))  # NaN is never found
    return torch.cat(ranks), torch.cat(best)
