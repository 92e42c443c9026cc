"""How far values are similar: the range of a robust variogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from sklearn.utils import check_random_state, column_or_1d

from skgeo_embed._errors import warn_caller
from skgeo_embed._sphere import arc_km, unit_vectors
from skgeo_embed.places.numbers import plain_column
from skgeo_embed.places.reading import find_coordinates

FEWEST_PLACES = 20
N_ANCHORS = 1_500  # rows that pairs are made with
N_PARTNERS = 800  # rows that pairs of one anchor are made with
N_LAGS = 20
LONGEST = 0.5  # of the places' extent: lags beyond are not looked at
N_NEIGHBORS = 5
N_PERMUTATIONS = 99  # noise is smoother than all of them once in a hundred times
ROUNDS = 6  # in which lags are narrowed down to the range


@dataclass(frozen=True)
class Variogram:
    """A fitted variogram of values at places.

    Attributes
    ----------
    range_km : float
        Distance beyond which values are no longer similar.
    nugget, sill : float
        Semivariance at distance 0, and what structure adds to it.
    model : {"spherical", "exponential"}
        Which of the two fits better.
    lag_km, semivariance : ndarray of shape (n_lags,)
        What was fitted.
    levels_off : bool
        Whether the semivariance reaches a level within the lags.
    """

    range_km: float
    nugget: float
    sill: float
    model: str
    lag_km: np.ndarray
    semivariance: np.ndarray
    levels_off: bool


def autocorrelation_range(coords: Any, y: Any) -> float:
    r"""Estimate the distance beyond which values are no longer similar, in km.

    It is the range of a variogram, the mean squared difference of two values by the distance
    between their places, estimated robustly after Cressie and Hawkins [1]_ from the N pairs in a
    class of distances,

    .. math::
        2 \gamma = \Bigl(\frac{1}{N} \sum |y_i - y_j|^{1/2}\Bigr)^4 \Big/ (0.457 + 0.494 / N),

    to which spherical and exponential models with a nugget are fitted by least squares, classes of
    distance h weighted by :math:`N / h^2`. The better of the two gives the range: where the
    spherical model becomes flat, and where the exponential one has reached 95 % of its sill. Of
    classes the variogram is the share of pairs of different classes.

    Parameters
    ----------
    coords : array-like or frame of shape (n, 2)
        Longitude and latitude of the rows, degrees.
    y : array-like of shape (n,)
        Values: the target, or the residuals of a model. Words, categories and booleans are
        classes, numbers are not; rows with a missing value are left out.

    Returns
    -------
    range_km : float
        The range; 0 if neighbours are no more similar than other rows.

    Warns
    -----
    UserWarning
        If values go on to differ more up to half of the places' extent, as those with a trend do.

    Raises
    ------
    CoordinateError
        If coordinates cannot be read.
    ValueError
        If lengths differ, or there are fewer than 20 places.

    References
    ----------
    .. [1] N. Cressie, D. M. Hawkins (1980). "Robust estimation of the variogram: I". Mathematical
       Geology 12:115-125. doi 10.1007/BF01035243.

    Examples
    --------
    >>> import numpy as np
    >>> from skgeo_embed.model_selection import autocorrelation_range
    >>> rng = np.random.default_rng(0)
    >>> places = rng.uniform([5, 45], [15, 55], (800, 2))
    >>> patches = np.sin(3 * places[:, 0]) + np.sin(3 * places[:, 1])
    >>> 50 < autocorrelation_range(places, patches) < 150
    True
    >>> autocorrelation_range(places, rng.normal(size=800))
    0.0
    """
    found = fit_variogram(coords, y)
    if not found.levels_off:
        warn_caller(
            f"differences between values still increase at {found.range_km:.0f} km, half of the "
            "extent of the places, which suggests a trend; use the range of a model's residuals.",
            UserWarning,
        )
    return found.range_km


def fit_variogram(coords: Any, y: Any) -> Variogram:
    """Fit a variogram, over lags that are narrowed down until they fit its range."""
    lonlat = find_coordinates(coords)
    values, are_classes = _read_values(y)
    if len(values) != len(lonlat):
        raise ValueError(f"y has {len(values)} rows, coords has {len(lonlat)}.")
    known = values >= 0 if are_classes else np.isfinite(values)
    lonlat, values = lonlat[known], values[known]
    points = unit_vectors(lonlat)
    first = np.unique(lonlat, axis=0, return_index=True)[1]
    if len(first) < FEWEST_PLACES:
        raise ValueError(f"a variogram needs at least {FEWEST_PLACES} places, got {len(first)}.")
    if not _neighbors_are_alike(points[first], values[first], are_classes):
        return Variogram(
            0.0, float(np.var(values)), 0.0, "spherical", np.empty(0), np.empty(0), True
        )
    centre = points.mean(axis=0)
    extent = 2 * float(np.quantile(np.linalg.norm(points - centre, axis=1), 0.99))
    longest = reach = LONGEST * extent  # chords, as all lengths until the end
    found = None
    for _ in range(ROUNDS):
        chord, difference = _pairs(points, values, reach)
        lag, gamma, count = _semivariance(chord, difference, reach, are_classes)
        if len(lag) < 4:  # too few pairs as near as that
            break
        found = _fit(lag, gamma, count, reach)
        if not 0 < found.range_km < reach / 3:
            break
        reach = 2.0 * found.range_km
    assert found is not None
    return Variogram(
        float(arc_km(np.asarray(min(found.range_km, longest)))),
        found.nugget,
        found.sill,
        found.model,
        arc_km(found.lag_km),
        found.semivariance,
        found.range_km < longest,
    )


def _read_values(y: Any) -> tuple[np.ndarray, bool]:
    """Return numbers with NaN, or the codes of classes with -1, and whether they are classes."""
    y = plain_column(y)
    masked = np.ma.getmaskarray(y) if isinstance(y, np.ma.MaskedArray) else None
    values = column_or_1d(np.ma.getdata(y) if masked is not None else y)
    if values.dtype.kind in "fiu":
        numbers = values.astype(np.float64)
        return (numbers if masked is None else np.where(masked, np.nan, numbers)), False
    codes = pd.factorize(values)[0].astype(np.float64)
    return (codes if masked is None else np.where(masked, -1, codes)), True


def _neighbors_are_alike(points: np.ndarray, values: np.ndarray, are_classes: bool) -> bool:
    """Say whether neighbours differ less than in each of many permutations of the values."""
    neighbor = cKDTree(points).query(points, k=N_NEIGHBORS + 1)[1][:, 1:]
    rng = check_random_state(0)

    def difference(values: np.ndarray) -> float:
        apart = np.abs(values[neighbor] - values[:, None])
        return float((apart > 0).mean() if are_classes else np.sqrt(apart).mean())

    found = difference(values)
    return all(found < difference(rng.permutation(values)) for _ in range(N_PERMUTATIONS))


def _pairs(points: np.ndarray, values: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances of pairs of rows within reach, and how much their values differ."""
    rng = check_random_state(0)
    anchors = rng.permutation(len(points))[:N_ANCHORS]
    tree = cKDTree(points)
    crowd = tree.query_ball_point(points[anchors[:20]], reach, return_length=True).mean()
    some = np.flatnonzero(rng.uniform(size=len(points)) < 5 * N_PARTNERS / crowd)
    tree = cKDTree(points[some])
    firsts, seconds = [], []
    for anchor in anchors:
        partners = some[tree.query_ball_point(points[anchor], reach)]
        if len(partners) > N_PARTNERS:
            partners = rng.choice(partners, N_PARTNERS, replace=False)
        firsts.append(np.full(len(partners), anchor))
        seconds.append(partners)
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    chord = np.linalg.norm(points[first] - points[second], axis=1)
    apart = chord > 0
    return chord[apart], np.abs(values[first] - values[second])[apart]


def _semivariance(
    chord: np.ndarray, difference: np.ndarray, reach: float, are_classes: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lags, semivariances and numbers of pairs of the classes of distance."""
    band = np.minimum((chord / reach * N_LAGS).astype(int), N_LAGS - 1)
    count = np.bincount(band, minlength=N_LAGS)
    filled = count >= 30
    count = count[filled]
    lag = np.bincount(band, chord, N_LAGS)[filled] / count
    if are_classes:
        return lag, np.bincount(band, difference > 0, N_LAGS)[filled] / count / 2, count
    root = np.bincount(band, np.sqrt(difference), N_LAGS)[filled] / count
    return lag, root**4 / (0.457 + 0.494 / count) / 2, count


def _fit(lag: np.ndarray, gamma: np.ndarray, count: np.ndarray, reach: float) -> Variogram:
    """Fit nugget and sill for each of many ranges, and keep the range of least error."""
    best, least = Variogram(0.0, float(gamma.mean()), 0.0, "spherical", lag, gamma, True), np.inf
    weight = np.sqrt(count) / lag  # near pairs tell most about the range
    for model, shape in SHAPES.items():
        for length in np.geomspace(lag[0], 1.5 * reach, 80):
            curve = shape(lag / length)
            nugget, sill = _non_negative(np.ones_like(curve), curve, gamma, weight)
            error = float(np.sum((weight * (gamma - nugget - sill * curve)) ** 2))
            if error < least:
                least = error
                best = Variogram(length, nugget, sill, model, lag, gamma, True)
    return best


def _spherical(h: np.ndarray) -> np.ndarray:
    h = np.minimum(h, 1)
    return 1.5 * h - 0.5 * h**3


def _exponential(h: np.ndarray) -> np.ndarray:
    return 1 - np.exp(-h * -np.log(0.05))  # 95 % at h = 1


SHAPES = {"spherical": _spherical, "exponential": _exponential}


def _non_negative(
    ones: np.ndarray, curve: np.ndarray, gamma: np.ndarray, weight: np.ndarray
) -> tuple[float, float]:
    """Return the nugget and the sill, neither negative, that fit best."""
    squared = weight**2
    a, b, c = (squared @ product for product in (ones, curve, curve**2))
    d, e = squared @ gamma, squared @ (curve * gamma)
    determinant = a * c - b * b
    if determinant > 1e-12 * a * c:
        nugget, sill = (c * d - b * e) / determinant, (a * e - b * d) / determinant
        if nugget >= 0 and sill >= 0:
            return float(nugget), float(sill)
        if sill < 0:
            return float(d / a), 0.0
        return 0.0, float(e / c)
    return float(d / a), 0.0
