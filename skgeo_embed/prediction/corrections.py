"""What the nearest places tell about the error of a prediction."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import BallTree

from skgeo_embed.places.sphere import EARTH_RADIUS_KM, unit_vectors

N_NEIGHBORS = (2, 4, 8, 16, 32)
SOFTENINGS = (0.05, 0.5, 2.0)  # of the distance, in typical distances between places
SHRINKAGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # how much weight "no correction" has
MIN_DISTANCE_KM = 1e-3
QUERIES = 16_384  # at a time


class Weighting(NamedTuple):
    """How neighbours correct a prediction; `label_share` 0 adds residuals, 1 averages labels."""

    n_neighbors: int
    softening: float
    shrinkage: float
    label_share: float


class NeighborCorrection:
    """Averages of the nearest places' residuals, chosen by leaving out one place at a time.

    Targets and out-of-fold predictions have shape (n, k): one column, or one for each class.
    """

    def __init__(self, lonlat: np.ndarray, target: np.ndarray, predicted: np.ndarray) -> None:
        places = _radians(lonlat)
        self._residuals, self._predicted = target - predicted, predicted
        self._tree = BallTree(places, metric="haversine")
        distance, neighbor = _others(self._tree, places)
        self.spacing_km = _spacing(distance)
        self.weighting = self._choose(distance / self.spacing_km, neighbor)

    def correct(self, lonlat: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return what is to be added to the predictions (n, k) of places."""
        correction = np.zeros(predicted.shape)
        if self.weighting is None:
            return correction
        n_neighbors, softening, shrinkage, label_share = self.weighting
        count = min(n_neighbors, len(self._residuals))
        for start in range(0, len(lonlat), QUERIES):
            rows = slice(start, start + QUERIES)
            distance, neighbor = self._tree.query(_radians(lonlat[rows]), k=count)
            weights = 1 / (distance * (EARTH_RADIUS_KM / self.spacing_km) + softening)
            residual = _mean(weights, self._residuals[neighbor])
            apart = predicted[rows] - _mean(weights, self._predicted[neighbor])
            correction[rows] = _hold(weights, shrinkage) * (residual - label_share * apart)
        return correction

    def _choose(self, distance: np.ndarray, neighbor: np.ndarray) -> Weighting | None:
        """The weighting of least squared error, if it is better than none by more than chance."""
        alone = (self._residuals**2).sum(axis=1)
        best, least, gain = None, np.inf, np.zeros(1)
        for n_neighbors in N_NEIGHBORS:
            if n_neighbors > neighbor.shape[1]:
                break
            nearest = neighbor[:, :n_neighbors]
            around, expected = self._residuals[nearest], self._predicted[nearest]
            for softening in SOFTENINGS:
                weights = 1 / (distance[:, :n_neighbors] + softening)
                residual = _mean(weights, around)
                apart = self._predicted - _mean(weights, expected)
                for shrinkage in SHRINKAGES:
                    hold = _hold(weights, shrinkage)
                    left, pull = self._residuals - hold * residual, hold * apart
                    label_share = _least_squares_share(left, pull)
                    error = ((left + label_share * pull) ** 2).sum(axis=1)
                    if error.mean() < least:
                        best = Weighting(n_neighbors, softening, shrinkage, label_share)
                        least, gain = error.mean(), alone - error
        return best if _is_no_chance(gain) else None


class SurfaceCorrection:
    """A regressor of the residuals on places, kept if it predicts those of other folds.

    It is given points of a sphere, (n, 3), in units of the typical distance between places.
    """

    def __init__(
        self, regressor: Any, lonlat: np.ndarray, target: np.ndarray, predicted: np.ndarray
    ) -> None:
        residuals = target - predicted
        if residuals.shape[1] == 1:
            residuals = residuals[:, 0]
        distance, _ = _others(BallTree(_radians(lonlat), metric="haversine"), _radians(lonlat))
        self.spacing_km = _spacing(distance)
        points = self._points(lonlat)
        folds = KFold(min(5, len(points)), shuffle=True, random_state=0)
        left = residuals - cross_val_predict(clone(regressor), points, residuals, cv=folds)
        gain = (residuals**2 - left**2).reshape(len(points), -1).sum(axis=1)
        self.regressor = clone(regressor).fit(points, residuals) if _is_no_chance(gain) else None

    def correct(self, lonlat: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return what is to be added to the predictions (n, k) of places."""
        if self.regressor is None:
            return np.zeros(predicted.shape)
        return np.reshape(self.regressor.predict(self._points(lonlat)), predicted.shape)

    def _points(self, lonlat: np.ndarray) -> np.ndarray:
        return unit_vectors(lonlat) * (EARTH_RADIUS_KM / self.spacing_km)


def _is_no_chance(gain: np.ndarray) -> bool:
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))


def _spacing(distance: np.ndarray) -> float:
    return max(float(np.median(distance[:, 0])), MIN_DISTANCE_KM)


def _radians(lonlat: np.ndarray) -> np.ndarray:
    return np.deg2rad(lonlat[:, ::-1])  # haversine takes (lat, lon)


def _others(tree: BallTree, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances (km) and rows of each training place's nearest others, (n, k)."""
    count = min(N_NEIGHBORS[-1] + 1, len(places))
    distance, neighbor = tree.query(places, k=count)
    itself = neighbor == np.arange(len(places))[:, None]
    itself[~itself.any(axis=1), -1] = True  # among many at one place it may not be listed
    kept = (len(places), count - 1)
    return distance[~itself].reshape(kept) * EARTH_RADIUS_KM, neighbor[~itself].reshape(kept)


def _mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Weighted mean over neighbours, (n, neighbours) and (n, neighbours, k) to (n, k)."""
    return np.einsum("nj,njk->nk", weights, values) / weights.sum(axis=1, keepdims=True)


def _hold(weights: np.ndarray, shrinkage: float) -> np.ndarray:
    """How far neighbours are followed: 1 where they are near, 0 far away; (n, 1)."""
    total = weights.sum(axis=1, keepdims=True)
    return total / (total + shrinkage)


def _least_squares_share(left: np.ndarray, pull: np.ndarray) -> float:
    """The share in [0, 1] of `pull` that makes ``left + share * pull`` least."""
    size = float((pull**2).sum())
    return float(np.clip(-(left * pull).sum() / size, 0, 1)) if size > 0 else 0.0
