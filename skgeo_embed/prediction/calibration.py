"""How large held-out errors are: by remoteness from the labels, and around a new place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.isotonic import isotonic_regression
from sklearn.model_selection import KFold

from skgeo_embed._sphere import EARTH_RADIUS_KM, SphereTree, unit_vectors
from skgeo_embed.model_selection._spatial import SpatialBlockKFold

N_NEAREST = 5
MIN_DISTANCE_KM = 1e-3
UNITS_FOR_A_BAND = 15  # of all held-out ones, for each band of remoteness
MOST_BANDS = 16
LOCAL_ERRORS = (100, 300)  # that have weight around a place
LEAST_GAIN = 0.02  # of the pinball loss, before local weights are preferred
JUDGED = 2000  # errors, of a choice
QUERIES = 4096  # at a time


class Remoteness:
    """How far places lie from the distinct places of `lonlat`."""

    def __init__(self, lonlat: np.ndarray) -> None:
        self._tree = SphereTree(np.unique(lonlat, axis=0))

    def measure(self, lonlat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the remoteness of places in km, and which of them are known places."""
        here = unit_vectors(lonlat)
        distance, neighbor = self._tree.nearest(lonlat, N_NEAREST)
        to_centre = np.linalg.norm(self._tree.points[neighbor].mean(axis=1) - here, axis=1)
        remoteness = (distance.mean(axis=1) + to_centre) * EARTH_RADIUS_KM
        known = distance[:, 0] * EARTH_RADIUS_KM < MIN_DISTANCE_KM
        return np.maximum(remoteness, MIN_DISTANCE_KM), known


class HeldOut(NamedTuple):
    """Errors of held-out rows, each an array of shape (n,), but for `lonlat`, (n, 2).

    Errors of one `unit` (a row, or a place) count once together, as much as its `weight`.
    """

    error: np.ndarray
    remoteness: np.ndarray
    lonlat: np.ndarray
    unit: np.ndarray
    weight: np.ndarray

    def chosen(self, rows: np.ndarray) -> HeldOut:
        """Return some of the errors."""
        return HeldOut(*(part[rows] for part in self))

    def masses(self) -> tuple[np.ndarray, float]:
        """Return the weight of each error, and how many equal units all weigh as much as."""
        _, unit, counts = np.unique(self.unit, return_inverse=True, return_counts=True)
        unit = unit.ravel()
        mass = self.weight / counts[unit]
        of_units = np.bincount(unit, mass)
        total = of_units.sum()
        if total <= 0:
            return mass, 0.0
        equal = total**2 / (of_units**2).sum()
        return mass * (equal / total), float(equal)


def least_units(level: float) -> int:
    """Return of how many units the largest error reaches the level: (m + 1) level <= m."""
    return int(np.ceil(level / (1 - level) - 1e-9))  # 0.9 / (1 - 0.9) is 9.000000000000002


class RemotenessBands:
    """Conformal quantiles of errors in bands of remoteness, made to increase."""

    def __init__(self, held: HeldOut, level: float) -> None:
        order = np.lexsort([held.error, held.remoteness])
        n_units = len(np.unique(held.unit))
        most = int(np.clip(n_units // UNITS_FOR_A_BAND, 1, MOST_BANDS))
        for n_bands in range(most, 0, -1):
            bands = [held.chosen(rows) for rows in np.array_split(order, n_bands)]
            masses = [band.masses() for band in bands]
            if n_bands == 1 or min(equal for _, equal in masses) >= least_units(level):
                break
        middles = [np.median(band.remoteness) for band in bands]
        quantiles = [
            _quantiles(band.error[None], mass[None], level)[0]
            for band, (mass, _) in zip(bands, masses, strict=True)
        ]
        self.middle, first = np.unique(middles, return_inverse=True)  # bands may share a middle
        if np.isinf(quantiles).any():
            self.quantile = np.full(len(self.middle), np.inf)
            return
        together = np.bincount(first, quantiles) / np.bincount(first)
        self.quantile = isotonic_regression(together, sample_weight=np.bincount(first))

    def at(self, remoteness: np.ndarray) -> np.ndarray:
        """Return the quantile at each remoteness: interpolated, and constant beyond the bands."""
        if len(self.middle) == 1:
            return np.full(len(remoteness), self.quantile[0])
        return np.interp(np.log(remoteness), np.log(self.middle), self.quantile)


class LocalScale:
    """How errors around a place compare with the quantile of their band of remoteness.

    It is the conformal quantile of error / quantile, weighted by a Gaussian of the distance to the
    place. The bandwidth is the distance to the error in the middle of the nearest ones, whose
    numbers are `counts`, increasing.
    """

    def __init__(
        self, held: HeldOut, bands: RemotenessBands, level: float, counts: list[int]
    ) -> None:
        self._level = level
        smallest = max(1e-9 * bands.quantile[-1], np.finfo(float).tiny)
        self._ratio = held.error / np.maximum(bands.at(held.remoteness), smallest)
        self._mass, _ = held.masses()
        self._counts = [min(count, len(self._ratio)) for count in counts]
        self._tree = SphereTree(held.lonlat)

    def at(self, lonlat: np.ndarray) -> np.ndarray:
        """Return factors of the quantile at each place, (n, counts)."""
        scale = np.empty((len(lonlat), len(self._counts)))
        for start in range(0, len(lonlat), QUERIES):
            rows = slice(start, start + QUERIES)
            near = self._tree.nearest(lonlat[rows], self._counts[-1])
            for number, count in enumerate(self._counts):
                distance, neighbor = (part[:, :count] for part in near)
                bandwidth = np.maximum(distance[:, count // 2, None], 1e-12)
                mass = self._mass[neighbor] * np.exp(-0.5 * (distance / bandwidth) ** 2)
                scale[rows, number] = _quantiles(self._ratio[neighbor], mass, self._level)
        return scale


class Calibration:
    """Bounds that the errors of new rows stay below with a probability of `level`.

    `n_local` errors have weight around a place; 0 uses bands of remoteness alone.
    """

    def __init__(self, held: HeldOut, level: float, n_local: int) -> None:
        self.bands = RemotenessBands(held, level)
        self._local = LocalScale(held, self.bands, level, [n_local]) if n_local else None

    def bounds(self, lonlat: np.ndarray, remoteness: np.ndarray) -> np.ndarray:
        """Return the bound of the error of each row."""
        bound = self.bands.at(remoteness)
        return bound if self._local is None else bound * self._local.at(lonlat)[:, 0]


def choose_local(held: HeldOut, level: float, *, always: bool) -> int:
    """Choose how many errors have weight around a place; 0 is bands of remoteness alone.

    Every choice is calibrated without some places, random ones and whole blocks, and judged by the
    pinball loss of the bounds there. In blocks local weights may neither lose more nor hold less.
    """
    enough = [count for count in LOCAL_ERRORS if 2 * count <= len(held.error)]
    place = np.unique(held.lonlat, axis=0, return_inverse=True)[1].ravel()
    n_places = place.max() + 1
    if not enough or n_places < 2 * N_NEAREST:
        if always:
            raise ValueError(
                f'method="local" needs at least {2 * LOCAL_ERRORS[0]} held-out errors, at '
                f"{2 * N_NEAREST} places; there are {len(held.error)}, at {n_places}. Choose "
                '"remoteness", or "auto".'
            )
        return 0
    folds = KFold(5, shuffle=True, random_state=0).split(np.arange(n_places))
    left_out = {
        "random": [np.isin(place, test) for _, test in folds],
        "blocks": [
            np.isin(np.arange(len(place)), test)
            for _, test in SpatialBlockKFold(block_size="auto").split(held.lonlat)
        ],
    }
    order = np.lexsort([held.error, *held.lonlat.T])
    judged = np.zeros(len(order), dtype=bool)
    judged[order[:: -(-len(order) // JUDGED)]] = True
    candidates = [0, *enough]
    loss, share = np.zeros((2, len(candidates))), np.zeros(len(candidates))
    for kind, parts in enumerate(left_out.values()):
        bound = np.empty((len(place), len(candidates)))
        for part in parts:
            others, new = held.chosen(~part), part & judged
            bands = RemotenessBands(others, level)
            bound[new] = bands.at(held.remoteness[new])[:, None]
            bound[new, 1:] *= LocalScale(others, bands, level, enough).at(held.lonlat[new])
        excess = (held.error[:, None] - bound)[judged]
        loss[kind] = np.maximum(level * excess, (level - 1) * excess).mean(axis=0)
        share = (excess <= 0).mean(axis=0)  # after the loop, the share in blocks
    if not (np.isfinite(loss[:, 0]) & (loss[:, 0] > 0)).all():  # nothing to improve, or to compare
        return enough[0] if always else 0
    relative = (loss / loss[:, :1]).mean(axis=0)
    holds = (share >= min(level, share[0])) & (loss[1] <= loss[1, 0])
    if always:
        return enough[int(relative[1:].argmin())]
    relative[1:] += LEAST_GAIN
    return candidates[int(np.where(holds, relative, np.inf).argmin())]


def _quantiles(values: np.ndarray, mass: np.ndarray, level: float) -> np.ndarray:
    """Return the conformal quantile of each row of weighted values, (n, m); inf has a mass of 1."""
    order = np.argsort(values, axis=1)
    summed = np.cumsum(np.take_along_axis(mass, order, 1), axis=1)
    wanted = level * (summed[:, -1] + 1) - 1e-9
    reached = (summed >= wanted[:, None]).argmax(axis=1)
    found = np.take_along_axis(values, order, 1)[np.arange(len(values)), reached]
    return np.where(summed[:, -1] >= wanted, found, np.inf)
