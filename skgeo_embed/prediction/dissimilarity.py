"""What the area of applicability measures on training rows: places, folds and distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances_chunked
from sklearn.model_selection import KFold
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state

from skgeo_embed._errors import CoordinateError
from skgeo_embed.model_selection._base import SpatialSplitter
from skgeo_embed.places.numbers import without_mask
from skgeo_embed.prediction.rows import Fold, chosen_folds

SAME = 1e-6  # mean distances, between rows that differ by rounding
PAIRED_ROWS = 5000  # the mean distance of more rows is estimated from a sample of so many


def checked_importance(importance: Any, n_features: int) -> np.ndarray:
    """Return the weight of each feature, or say why `importance` cannot be that."""
    if importance is None:
        return np.ones(n_features)
    weights = np.asarray(without_mask(importance), dtype=np.float64)
    if weights.shape != (n_features,):
        raise ValueError(
            f"importance must hold a weight for each of the {n_features} features, got shape "
            f"{weights.shape}."
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError("importance must be finite, not negative, and not all zero.")
    return weights


def mean_distance(scaled: np.ndarray, most_rows: int = PAIRED_ROWS) -> float:
    """Return the mean distance between two different rows, of a sample if there are too many."""
    if len(scaled) > most_rows:
        rows = check_random_state(0).choice(len(scaled), most_rows, replace=False)
        scaled = scaled[rows]
    total = sum(part.sum() for part in pairwise_distances_chunked(scaled))
    mean = total / (len(scaled) * (len(scaled) - 1))
    return mean if mean > 0 else 1.0  # all rows are alike


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


def distances_to_other_folds(
    scaled: np.ndarray, place: np.ndarray, folds: list[Fold]
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


def folds_of_places(
    cv: Any,
    table: Any,
    y: Any,
    lonlat: np.ndarray | None,
    groups: Any,
    place: np.ndarray,
    order: np.ndarray,
) -> list[Fold]:
    """Return the folds of `cv`, or five of whole places that the rows' order does not change.

    There are none if all features are alike and no places are known.
    """
    if not place.any():
        if lonlat is None:
            return []
        raise ValueError(f"the {len(place)} rows share one place; at least 2 are needed.")
    if cv is not None:
        needs_places = isinstance(cv, SpatialSplitter) and cv.needs_places
        if lonlat is None and needs_places:
            raise CoordinateError(
                f"cv={type(cv).__name__} needs places, but X holds features; pass coords."
            )
        if lonlat is None:
            return chosen_folds(cv, np.zeros((len(place), 1)), y, groups)
        return chosen_folds(cv, lonlat, y, groups, table=table)
    _, first = np.unique(place[order], return_index=True)
    places = place[order][np.sort(first)]  # in the order of the rows' values
    rows = np.arange(len(place))
    folds = KFold(min(5, len(places)), shuffle=True, random_state=0).split(places)
    tested = [np.isin(place, places[test]) for _, test in folds]
    return [(rows[~test], rows[test]) for test in tested]
