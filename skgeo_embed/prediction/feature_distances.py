"""How far rows lie from each other in features, by folds and places."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state

from skgeo_embed.prediction.rows import Fold

SAME = 1e-6  # mean distances, between rows that differ by rounding
PAIRED_ROWS = 5000  # the mean distance of more rows is estimated from a sample of so many


def to_other_folds(
    scaled: np.ndarray, folds: list[Fold], place: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean distance of each tested row to other folds and places, and which these are.

    Without folds all rows are alike, and their distance is 0.
    """
    total, count = np.zeros(len(scaled)), np.zeros(len(scaled), dtype=int)
    for train, test in folds:
        elsewhere = train[~np.isin(place[train], place[test])]
        if not len(elsewhere):
            raise ValueError(
                f"all rows of a training fold share their places with its {len(test)} test "
                "row(s), so there is nothing to compare these with; choose folds of whole "
                "places, or cv=None."
            )
        nearest = NearestNeighbors(n_neighbors=1).fit(scaled[elsewhere])
        total[test] += nearest.kneighbors(scaled[test])[0][:, 0]
        count[test] += 1
    if not folds:
        return total, np.ones(len(total), dtype=bool)
    tested = count > 0
    return np.where(tested, total / np.maximum(count, 1), np.nan), tested


def numbered_places(features: np.ndarray, lonlat: np.ndarray | None) -> np.ndarray:
    """Number the places of rows: by coordinates, or by features that are equal but for rounding."""
    if lonlat is not None:
        return np.unique(lonlat, axis=0, return_inverse=True)[1].ravel()
    directions = check_random_state(0).normal(size=(features.shape[1], 3))
    directions /= np.linalg.norm(directions, axis=0)
    labels = []
    for shadow in (features @ directions).T:
        order = np.argsort(shadow, kind="stable")
        label = np.empty(len(shadow), dtype=int)
        label[order] = np.cumsum(np.diff(shadow[order], prepend=shadow[order[0]]) > SAME)
        labels.append(label)
    return np.unique(np.column_stack(labels), axis=0, return_inverse=True)[1].ravel()


def mean_distance(scaled: np.ndarray) -> float:
    """Return the mean distance between two different rows."""
    if len(scaled) > PAIRED_ROWS:
        rows = check_random_state(0).choice(len(scaled), PAIRED_ROWS, replace=False)
        scaled = scaled[rows]
    total = sum(part.sum() for part in pairwise_distances_chunked(scaled))
    mean = total / (len(scaled) * (len(scaled) - 1))
    return mean if mean > 0 else 1.0  # all rows are alike
