"""What a run is trained on: images, or the features that a frozen tower made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from skgeo_embed._files import cache_folder
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.nn.vision.small_cnn import split_frozen
from skgeo_embed.pretraining.augmentation import Views
from skgeo_embed.pretraining.features import cache_features, read_rows


@dataclass(frozen=True)
class Source:
    """Pairs, and what a tower is shown of them.

    Attributes
    ----------
    pairs : Dataset
        Images, or features, with their coordinates.
    views : Views or None
        Cuts and augments images; None where they are features already.
    n_views : int
        Views of each pair in `pairs`.
    """

    pairs: Dataset[Any]
    views: Views | None
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
    """Put cached features in the place of the frozen part of the vision tower, if it has one.

    Parameters
    ----------
    model : SatCLIP
        The two towers.
    pairs, views, n_views, device, progress : object
        As for :func:`skgeo_embed.pretraining.features.cache_features`.
    feature_cache : "auto", path or None
        Where to keep the features: "auto" in the user's cache folder, if they can be cached.

    Returns
    -------
    model : SatCLIP
        What to train: the given one, or one of the tower's head that shares its weights.
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
            f"feature_cache={str(feature_cache)!r}, but the vision tower "
            f"{type(model.visual).__name__} is not frozen but for a last layer `head` or `fc`, so "
            "its features change while it trains; pass feature_cache=None, or freeze it with "
            "requires_grad_(False)."
        )
    body, head = parts
    auto = feature_cache == "auto"
    features = cache_features(
        pairs,
        body,
        views=views,
        n_views=n_views,
        folder=cache_folder("features") if auto else Path(feature_cache).expanduser(),
        device=device,
        progress=progress,
    )
    model.cpu()
    small = SatCLIP(head, model.location)
    small.logit_scale = model.logit_scale
    return small, Source(features, None, features.n_views)
