"""Corrections of predictions by the residuals of the nearest places."""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_predict

from skgeo_embed._sphere import EARTH_RADIUS_KM, SphereTree, arc_km, unit_vectors

N_NEIGHBORS = (2, 4, 8, 16, 32)
SOFTENINGS = (0.05, 0.5, 2.0)  # added to distances, in typical distances between places
SHRINKAGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # weight of "no correction"
MIN_DISTANCE_KM = 1e-3
REACHES = (0.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 300.0, np.inf)  # in the same unit
QUERIES = 16_384  # at a time
PLACES_IN_CHOICE = 10_000  # of a larger table so many choose how neighbours count


Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Weighting(NamedTuple):
    """How neighbours correct a prediction: `label_share` 0 adds residuals, 1 averages labels."""

    n_neighbors: int
    softening: float
    shrinkage: float
    label_share: float


class KnownPlaces:
    """Distinct training places, with means over the rows of each.

    Targets and out-of-fold predictions have shape (n, k): one column, or one for each class.
    Rows count by their weights; rows without any are left out.
    """

    def __init__(
        self,
        lonlat: np.ndarray,
        target: np.ndarray,
        predicted: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> None:
        self.weights = np.ones(len(lonlat)) if weights is None else weights
        if not self.weights.all():
            kept = self.weights > 0
            lonlat, target, predicted = lonlat[kept], target[kept], predicted[kept]
            self.weights = self.weights[kept]
        self.lonlat, place = np.unique(lonlat, axis=0, return_inverse=True)
        self.place = place.ravel()  # of each row; numpy 2.0 gave it a second axis
        self.counts = np.bincount(self.place, self.weights)
        self.row_residuals = target - predicted
        self.residuals = self.sums(self.row_residuals) / self.counts[:, None]
        self.predicted = self.sums(predicted) / self.counts[:, None]
        self._tree = SphereTree(self.lonlat)
        to_nearest = self.others(1)[0]
        spacing = float(np.median(to_nearest)) if to_nearest.size else 0.0
        self.spacing_km = max(spacing, MIN_DISTANCE_KM)

    def nearest(self, lonlat: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return km to the nearest known places of each of n places, and their numbers.

        Both have shape (n, count), or (n, n_places) if fewer are known.
        """
        chord, neighbor = self._tree.nearest(lonlat, count)
        return arc_km(chord), neighbor

    def others(self, count: int, some: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return the same for some of the known places, of which each has itself left out."""
        distance_km, neighbor = self.nearest(self.lonlat[some], count + 1)
        return distance_km[:, 1:], neighbor[:, 1:]

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum weighted values over the rows of each place, (n_places, k)."""
        weighted = values.T * self.weights
        columns = (np.bincount(self.place, column, len(self.lonlat)) for column in weighted)
        return np.column_stack(list(columns))

    def tell_more_than_chance(self, gain: np.ndarray) -> bool:
        """Say whether the mean of the places' gains exceeds its standard error."""
        return _tells_more_than_chance(gain, self.counts)


class NeighborCorrection:
    """Averages of the nearest places' residuals, tuned by leaving out one place at a time.

    A place with several rows also adds the mean of what its rows have left.
    """

    def __init__(self, known: KnownPlaces) -> None:
        self._known = known
        self.reach = np.inf
        self.weighting = self._choose()
        self._own = self._own_effects()

    def limit_reach(
        self,
        lonlat: np.ndarray,
        target: np.ndarray,
        weights: np.ndarray | None,
        near: np.ndarray,
        far: np.ndarray,
        folds: list[tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """Choose how far neighbours are followed, by errors near them and in held-out blocks.

        `near` predicts rows that were held out at random, `far` those of the blocks in `folds`.
        """
        if self.weighting is None:
            return
        known, n_neighbors = self._known, self.weighting.n_neighbors
        weights = np.ones(len(lonlat)) if weights is None else weights
        distance_km, neighbor = known.others(n_neighbors)
        around = self._of_neighbors(distance_km, neighbor, known.predicted)
        parts: list[Part] = [(known.residuals, around, distance_km[:, 0], known.counts)]
        for train, test in folds:
            if not weights[train].any():
                continue
            there = KnownPlaces(lonlat[train], target[train], near[train], weights[train])
            distance_km, neighbor = there.nearest(lonlat[test], n_neighbors)
            around = self._of_neighbors(distance_km, neighbor, far[test], there)
            parts.append((target[test] - far[test], around, distance_km[:, 0], weights[test]))
        errors = np.zeros(len(REACHES))
        for some in ([parts[0]], parts[1:]):
            held = np.array([[_error_within(part, r, known.spacing_km) for r in REACHES]
                             for part in some]).sum(axis=0)  # fmt: skip
            errors += held / held[0] if held[0] else 0
        self.reach = REACHES[int(errors.argmin())]
        if self.reach == 0:
            self.weighting = None
        self._own = self._own_effects()

    def correct_held_out(
        self,
        lonlat: np.ndarray,
        target: np.ndarray,
        weights: np.ndarray | None,
        near: np.ndarray,
        predicted: np.ndarray,
        folds: list[tuple[np.ndarray, np.ndarray]],
    ) -> np.ndarray:
        """Return predictions of held-out rows, (n, k), corrected by the other rows of their folds.

        `near` predicts rows that were held out at random, `predicted` those that `folds` hold out.
        """
        corrected = predicted.copy()
        for train, test in folds:
            some = None if weights is None else weights[train]
            if some is None or some.any():
                twin = copy(self)
                twin._known = KnownPlaces(lonlat[train], target[train], near[train], some)
                twin._own = twin._own_effects()
                corrected[test] += twin.correct(lonlat[test], predicted[test])
        return corrected

    def correct(self, lonlat: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return the correction to add to the predictions (n, k) of places."""
        correction = np.zeros(predicted.shape)
        if self.weighting is None and self._own is None:
            return correction
        known = self._known
        most = 1 if self.weighting is None else self.weighting.n_neighbors + (self._own is not None)
        for start in range(0, len(lonlat), QUERIES):
            rows = slice(start, start + QUERIES)
            distance_km, neighbor = known.nearest(lonlat[rows], most)
            if self._own is None:
                correction[rows] = self._of_neighbors(distance_km, neighbor, predicted[rows])
                continue
            at_home = distance_km[:, :1] < MIN_DISTANCE_KM
            if self.weighting is not None:  # a known place's own rows count once
                n_others = distance_km.shape[1] - 1
                kept = np.where(at_home, np.arange(1, n_others + 1), np.arange(n_others))
                others = np.take_along_axis(neighbor, kept, 1)
                away = np.take_along_axis(distance_km, kept, 1)
                correction[rows] = self._of_neighbors(away, others, predicted[rows])
            correction[rows] += np.where(at_home, self._own[neighbor[:, 0]], 0)
        return correction

    def _of_neighbors(
        self,
        distance_km: np.ndarray,
        neighbor: np.ndarray,
        predicted: np.ndarray,
        known: KnownPlaces | None = None,
    ) -> np.ndarray:
        assert self.weighting is not None
        known, spacing_km = known or self._known, self._known.spacing_km
        _, softening, shrinkage, label_share = self.weighting
        distance = distance_km / spacing_km
        weights = 1 / (distance + softening)
        residual = _mean(weights, known.residuals[neighbor])
        apart = predicted - _mean(weights, known.predicted[neighbor])
        hold = _hold(weights, shrinkage) * _within(distance[:, :1], self.reach)
        return hold * (residual - label_share * apart)

    def _own_effects(self) -> np.ndarray | None:
        """Return shrunk means of the residuals after neighbours, (n_places, k), if they help."""
        known = self._known
        left = known.row_residuals
        if self.weighting is not None and len(known.lonlat) > 1:
            others = known.others(self.weighting.n_neighbors)
            left = left - self._of_neighbors(*others, known.predicted)[known.place]
        sums, counts = known.sums(left), known.counts[:, None]
        alone, weight = known.sums(left**2), known.weights[:, None]
        best, least, gain = None, np.inf, np.zeros(1)
        for shrinkage in SHRINKAGES:
            rest = counts[known.place] - weight + shrinkage
            of_others = (sums[known.place] - weight * left) / rest
            error = known.sums((left - of_others) ** 2)
            if error.sum() < least:
                best, least, gain = shrinkage, error.sum(), ((alone - error) / counts).sum(axis=1)
        if best is None or not known.tell_more_than_chance(gain):
            return None
        return sums / (counts + best)

    def _choose(self) -> Weighting | None:
        """Choose the weighting of least squared error; None if its gain may be chance."""
        known = self._known
        some = _some_places(len(known.lonlat))
        distance_km, neighbor = known.others(N_NEIGHBORS[-1], some)
        distance = distance_km / known.spacing_km
        residuals, predicted, counts = (
            values[some] for values in (known.residuals, known.predicted, known.counts)
        )
        alone = (residuals**2).sum(axis=1)
        best, least, gain = None, np.inf, np.zeros(1)
        for n_neighbors in N_NEIGHBORS:
            if n_neighbors > distance.shape[1]:
                break
            nearest = neighbor[:, :n_neighbors]
            around, expected = known.residuals[nearest], known.predicted[nearest]
            for softening in SOFTENINGS:
                weights = 1 / (distance[:, :n_neighbors] + softening)
                residual = _mean(weights, around)
                apart = predicted - _mean(weights, expected)
                for shrinkage in SHRINKAGES:
                    hold = _hold(weights, shrinkage)
                    left, pull = residuals - hold * residual, hold * apart
                    label_share = _least_squares_share(left, pull, counts)
                    error = ((left + label_share * pull) ** 2).sum(axis=1)
                    mean = float(np.average(error, weights=counts))
                    if mean < least:
                        best = Weighting(n_neighbors, softening, shrinkage, label_share)
                        least, gain = mean, alone - error
        return best if _tells_more_than_chance(gain, counts) else None


class SurfaceCorrection:
    """A regressor of residuals on places, used if it predicts the residuals of held-out folds.

    Its features are points of a sphere, (n, 3), in units of the typical distance between places.
    """

    def __init__(self, regressor: Any, known: KnownPlaces) -> None:
        residuals = known.residuals
        if residuals.shape[1] == 1:
            residuals = residuals[:, 0]
        self.scale = EARTH_RADIUS_KM / known.spacing_km
        points = self._points(known.lonlat)
        self.regressor = None
        if len(points) < 2:
            return
        folds = KFold(min(5, len(points)), shuffle=True, random_state=0)
        left = residuals - cross_val_predict(
            clone(regressor), points, residuals, cv=folds, params={}
        )
        gain = (residuals**2 - left**2).reshape(len(points), -1).sum(axis=1)
        if known.tell_more_than_chance(gain):
            self.regressor = clone(regressor)
            self.regressor.fit(points, residuals)  # PyKrige's returns nothing

    def correct(self, lonlat: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return the correction to add to the predictions (n, k) of places."""
        if self.regressor is None:
            return np.zeros(predicted.shape)
        return np.reshape(self.regressor.predict(self._points(lonlat)), predicted.shape)

    def _points(self, lonlat: np.ndarray) -> np.ndarray:
        return unit_vectors(lonlat) * self.scale


def _tells_more_than_chance(gain: np.ndarray, counts: np.ndarray) -> bool:
    """Say whether the mean of some places' gains, over their rows, exceeds its standard error."""
    if len(gain) < 2:
        return False
    mean = np.average(gain, weights=counts)
    spread = (gain - mean) * counts / counts.mean()
    return bool(mean > spread.std() / np.sqrt(len(gain)))


def _some_places(n_places: int) -> np.ndarray:
    """Draw places of a large table, or take all of a small one."""
    if n_places <= PLACES_IN_CHOICE:
        return np.arange(n_places)
    return np.sort(np.random.RandomState(0).permutation(n_places)[:PLACES_IN_CHOICE])


def _within(distance: np.ndarray, reach: float) -> np.ndarray:
    """Return the share of a correction that remains at a distance from the nearest place."""
    return np.exp(-distance / reach) if reach else np.zeros_like(distance)


def _error_within(part: Part, reach: float, spacing_km: float) -> float:
    """Return the squared error that remains if corrections fall over `reach`."""
    residuals, around, distance_km, counts = part
    left = residuals - around * _within(distance_km[:, None] / spacing_km, reach)
    return float((left**2).sum(axis=1) @ counts)


def _mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average over neighbours: (n, neighbours) and (n, neighbours, k) to (n, k)."""
    return np.einsum("nj,njk->nk", weights, values) / weights.sum(axis=1, keepdims=True)


def _hold(weights: np.ndarray, shrinkage: float) -> np.ndarray:
    """Return the trust in neighbours, (n, 1): towards 1 if they are near, 0 if they are far."""
    total = weights.sum(axis=1, keepdims=True)
    return total / (total + shrinkage)


def _least_squares_share(left: np.ndarray, pull: np.ndarray, counts: np.ndarray) -> float:
    """Return the share in [0, 1] that minimises the squares of ``left + share * pull``."""
    weighted = pull * counts[:, None]
    size = float((weighted * pull).sum())
    return float(np.clip(-(left * weighted).sum() / size, 0, 1)) if size > 0 else 0.0
