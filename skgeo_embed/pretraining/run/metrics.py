"""What the history of a run measures: validation loss, retrieval and distances."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from skgeo_embed._sphere import great_circle_km
from skgeo_embed.nn.objectives.loss import contrastive_loss, retrieval_ranks
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.pretraining.data.batches import read_rows
from skgeo_embed.pretraining.data.views import Views

FORMATS = {  # how an epoch's line shows each measure
    "train_loss": ".4f",
    "train_auxiliary": ".4f",
    "val_loss": ".4f",
    "val_top1": ".3f",
    "val_top5": ".3f",
    "val_place_top1": ".3f",
    "val_place_top5": ".3f",
    "val_median_km": ".0f",
}
HISTORY = ("epoch", *FORMATS, "temperature", "learning_rate")


def validation_metrics(
    images: Tensor, places: Tensor, points: Tensor, model: SatCLIP, batch_size: int
) -> dict[str, float]:
    """Return the mean loss of batches in order, retrieval rates, and the median distance in km.

    Row i of unit-length `images` and `places` (n, d) and of `points` in degrees is one pair.
    """
    losses = [
        contrastive_loss(image, place, model.logit_scale) * len(image)
        for image, place in zip(images.split(batch_size), places.split(batch_size), strict=True)
    ]
    place_ranks, best = retrieval_ranks(images, places)
    image_ranks, _ = retrieval_ranks(places, images)
    lonlat = points.cpu().numpy()
    return {
        "val_loss": float(torch.stack(losses).sum() / len(images)),
        "val_top1": float((place_ranks <= 1).float().mean()),
        "val_top5": float((place_ranks <= 5).float().mean()),
        "val_place_top1": float((image_ranks <= 1).float().mean()),
        "val_place_top5": float((image_ranks <= 5).float().mean()),
        "val_median_km": float(np.median(great_circle_km(lonlat[best.cpu().numpy()], lonlat))),
    }


@torch.no_grad()
def retrieval_accuracy(model: SatCLIP, pairs: Dataset[Any], views: Views, batch_size: int) -> float:
    """Return how often an image finds its own place first among the places of all pairs."""
    images, places = [], []
    rows = range(len(pairs))  # type: ignore[arg-type]
    for start in range(0, len(rows), batch_size):
        batch = read_rows(pairs, rows[start : start + batch_size])
        image, place = model(views(batch["image"], random=False), batch["point"])
        images.append(image)
        places.append(place)
    ranks, _ = retrieval_ranks(torch.cat(images), torch.cat(places))
    return float((ranks == 1).float().mean())
