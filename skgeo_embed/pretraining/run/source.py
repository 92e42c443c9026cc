"""What a run trains on: images, or features that a frozen tower computed from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from skgeo_embed._errors import TrainingWarning, warn_caller
from skgeo_embed._files import cache_folder
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.nn.vision.frozen import split_frozen
from skgeo_embed.pretraining.data.batches import read_rows
from skgeo_embed.pretraining.data.features import (
    CacheError,
    cache_features,
    errors_of_the_cache,
)
from skgeo_embed.pretraining.data.views import Views, unchanged


def _users_cache() -> Path:
    with errors_of_the_cache("the cache folder"):
        return cache_folder("features")


@dataclass(frozen=True)
class Source:
    """Pairs, and how a tower sees them.

    Attributes
    ----------
    pairs : Dataset
        Images or cached features, with their coordinates.
    views : Views or callable
        Cuts and augments images; returns features unchanged.
    n_views : int
        Views of each pair in `pairs`.
    """

    pairs: Dataset[Any]
    views: Callable[..., Tensor]
    n_views: int = 1


def open_source(
    model: SatCLIP,
    pairs: Dataset[Any],
    views: Views,
    *,
    feature_cache: str | Path | None,
    n_views: int,
    device: torch.device,
    progress: bool,
) -> tuple[SatCLIP, Source]:
    """Replace the frozen part of the vision tower, if it has one, by cached features.

    Parameters
    ----------
    model : SatCLIP
        The two towers.
    pairs, views, n_views, device, progress : object
        As for :func:`skgeo_embed.pretraining.data.features.cache_features`.
    feature_cache : "auto", path or None
        As for the pretrainer.

    Returns
    -------
    model : SatCLIP
        What to train: the given model, or one with only the head of its vision tower.
    source : Source
        What to train it on.

    Raises
    ------
    ValueError
        If a folder is given and the tower is not frozen.
    """
    if feature_cache is None:
        return model, Source(pairs, views)
    sample = views(read_rows(pairs, range(2))["image"], random=False)
    parts = split_frozen(model.visual, sample)
    if parts is None:
        if feature_cache == "auto":
            return model, Source(pairs, views)
        raise ValueError(
            f"feature_cache={str(feature_cache)!r}, but the features of the vision tower "
            f"{type(model.visual).__name__} change while it trains: only a last layer named `head` "
            "or `fc` may be trainable. Pass feature_cache=None, or freeze the other layers with "
            "requires_grad_(False)."
        )
    body, head = parts
    in_cache = feature_cache == "auto"
    try:
        features = cache_features(
            pairs,
            body,
            views=views,
            n_views=n_views,
            folder=_users_cache() if in_cache else Path(feature_cache).expanduser(),
            device=device,
            progress=progress,
        )
    except CacheError as error:
        if not in_cache:
            raise
        warn_caller(
            f"image features cannot be kept on disk ({error}); every image passes through the "
            "frozen vision tower in every epoch. You can also set the environment variable "
            "SKGEO_EMBED_CACHE to a folder that can be written and has room.",
            TrainingWarning,
        )
        return model.cpu(), Source(pairs, views)
    model.cpu()
    small = SatCLIP(head, model.location)
    small.logit_scale = model.logit_scale
    return small, Source(features, unchanged, features.n_views)
