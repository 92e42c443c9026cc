"""What the history of a run measures: validation loss, retrieval and distances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from skgeo_embed._sphere import great_circle_km
from skgeo_embed.nn.objectives.loss import contrastive_loss, retrieval_ranks
from skgeo_embed.nn.sphere import unit_vectors
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.pretraining.data.batches import read_rows
from skgeo_embed.pretraining.data.views import Views

SAME_PLACE = 1e-8  # of the Earth's radius: 6 cm
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

    Row i of unit-length `images` and `places` (n, d) and of `points` in degrees is one pair. If
    several pairs have the same place, it counts once, and is found by any of its images.
    """
    losses = [
        contrastive_loss(image, place, model.logit_scale) * len(image)
        for image, place in zip(images.split(batch_size), places.split(batch_size), strict=True)
    ]
    first, place = distinct_places(points)
    place_ranks, best = retrieval_ranks(images, places[first], place, place[first])
    image_ranks, _ = retrieval_ranks(places, images, place, place)
    lonlat = points.cpu().numpy()
    found = lonlat[first[best].cpu().numpy()]
    return {
        "val_loss": float(torch.stack(losses).sum() / len(images)),
        "val_top1": float((place_ranks <= 1).float().mean()),
        "val_top5": float((place_ranks <= 5).float().mean()),
        "val_place_top1": float((image_ranks <= 1).float().mean()),
        "val_place_top5": float((image_ranks <= 5).float().mean()),
        "val_median_km": float(np.median(great_circle_km(found, lonlat))),
    }


def distinct_places(points: Tensor) -> tuple[Tensor, Tensor]:
    """Find the places in rows of degrees (n, 2); those within some centimetres are the same.

    Returns the row where each place comes first, and the place of each row.
    """
    vectors = unit_vectors(points.double()).cpu().numpy()
    rounded = pd.DataFrame(np.round(vectors / SAME_PLACE).astype(np.int64))
    place = np.array(rounded.groupby([0, 1, 2], sort=False).ngroup())
    first = np.unique(place, return_index=True)[1]
    return torch.from_numpy(first).to(points.device), torch.from_numpy(place).to(points.device)


@torch.no_grad()
def retrieval_accuracy(model: SatCLIP, pairs: Dataset[Any], views: Views, batch_size: int) -> float:
    """Return how often an image finds its own place first among the places of all pairs."""
    images, places, points = [], [], []
    rows = range(len(pairs))  # type: ignore[arg-type]
    for start in range(0, len(rows), batch_size):
        batch = read_rows(pairs, rows[start : start + batch_size])
        image, place = model(views(batch["image"], random=False), batch["point"])
        images.append(image)
        places.append(place)
        points.append(batch["point"])
    first, numbers = distinct_places(torch.cat(points))
    ranks, _ = retrieval_ranks(torch.cat(images), torch.cat(places)[first], numbers, numbers[first])
    return float((ranks == 1).float().mean())
