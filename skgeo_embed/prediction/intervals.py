"""Prediction intervals that widen with the distance to known places."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone, is_classifier
from sklearn.isotonic import isotonic_regression
from sklearn.model_selection import KFold
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skgeo_embed._sphere import EARTH_RADIUS_KM, unit_vectors
from skgeo_embed.model_selection._spatial import SpatialBlockKFold, coords_for
from skgeo_embed.prediction.base import PlacesMetaEstimator

N_NEAREST = 5
ROWS_IN_A_BAND = 100  # at least, in a band of remoteness
MOST_BANDS = 16
MIN_DISTANCE_KM = 1e-3


class SpatialConformalRegressor(PlacesMetaEstimator):
    r"""A regressor with prediction intervals that are valid both near and far from labels.

    Cross-conformal intervals [1]_ cover a given share of rows that are like the held-out ones: with
    random folds rows among known places, with blocks rows far from them. Here both kinds of folds
    are predicted, and each absolute error is kept with the remoteness of its row from the training
    places of the fold: the mean distance to the five nearest, plus the distance to their centre,
    which is large if they all lie on one side. In bands of remoteness the half-width of the
    interval is the conformal quantile of the errors, made to increase with remoteness:

    .. math::
        q(d) = \text{the } \lceil (m + 1)\, c \rceil \text{-th smallest of the } m
        \text{ errors around } d

    for confidence level c. It is interpolated between the medians of bands, and constant beyond the
    last: rows that are more remote than all held-out ones have no guarantee
    (:class:`~skgeo_embed.AreaOfApplicability` finds rows of that kind).

    Parameters
    ----------
    estimator : estimator object
        Any regressor, such as a :class:`~skgeo_embed.ResidualInterpolator` or a
        :func:`~skgeo_embed.spatial_pipeline`.
    confidence_level : float, default=0.9
        Share of true values inside their intervals, in (0, 1).
    cv : splitter or list of them, default=None
        Splitters of places; each must put every row into one test fold. None is five random folds,
        and five folds of blocks of a tenth of the extent of the places.
    lon, lat : str or int, default=None
        Names of the longitude and latitude columns, if they are not recognised.
    n_jobs : int, default=None
        Number of processes for the folds.

    Attributes
    ----------
    estimator_ : estimator object
        Fitted on all rows.
    remoteness_km_ : ndarray of shape (n_bands,)
        Median remoteness of each band.
    half_widths_ : ndarray of shape (n_bands,)
        Half-width of the interval in each band, in the units of y.
    n_features_in_, feature_names_in_
        Those of the estimator, if it has them.

    References
    ----------
    .. [1] V. Vovk (2015). "Cross-conformal predictors". Annals of Mathematics and Artificial
       Intelligence 74. doi 10.1007/s10472-013-9368-4.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skgeo_embed import SatCLIPEncoder, SpatialConformalRegressor
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> model = SpatialConformalRegressor(make_pipeline(SatCLIPEncoder(n_components=64), Ridge()))
    >>> low, high = model.fit(X[::2], y[::2]).predict_interval(X[1::2]).T
    >>> bool(0.85 < ((low <= y[1::2]) & (y[1::2] <= high)).mean() < 0.95)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
        "cv": [list, tuple, HasMethods(["split"]), None],
        "lon": "no_validation",
        "lat": "no_validation",
        "n_jobs": [int, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        confidence_level: float = 0.9,
        cv: Any = None,
        lon: str | int | None = None,
        lat: str | int | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.confidence_level = confidence_level
        self.cv = cv
        self.lon = lon
        self.lat = lat
        self.n_jobs = n_jobs

    def _fit_rows(self, X: Any, y: np.ndarray, lonlat: np.ndarray, coords: Any) -> None:
        if is_classifier(self.estimator):
            raise TypeError(
                f"intervals are for regressors, and {type(self.estimator).__name__} is a "
                "classifier; mapie.classification makes sets of classes."
            )
        y = column_or_1d(y, dtype=np.float64)
        splitters = self.cv if isinstance(self.cv, (list, tuple)) else [self.cv]
        if self.cv is None:
            splitters = [
                KFold(min(5, len(y)), shuffle=True, random_state=0),
                SpatialBlockKFold(block_size="auto"),
            ]
        folds = [fold for splitter in splitters for fold in _complete(splitter, lonlat)]
        errors = Parallel(n_jobs=self.n_jobs)(
            delayed(_errors)(self.estimator, X, y, coords, *fold) for fold in folds
        )
        remoteness = [
            _remoteness_km(_nearest(lonlat[train]), lonlat[test]) for train, test in folds
        ]
        self.remoteness_km_, self.half_widths_ = _quantiles_in_bands(
            np.concatenate(remoteness), np.concatenate(errors), self.confidence_level
        )
        self._known = _nearest(lonlat)
        self.estimator_ = clone(self.estimator)
        self.estimator_.fit(X, y, **coords_for(self.estimator_.fit, coords))

    def predict(self, X: Any, coords: Any = None) -> np.ndarray:
        """Predict by the regressor.

        Parameters
        ----------
        X, coords
            As for `fit`.

        Returns
        -------
        y : ndarray of shape (n,)
            Predictions.
        """
        check_is_fitted(self)
        found = self.estimator_.predict(X, **coords_for(self.estimator_.predict, coords))
        return column_or_1d(found)

    def predict_interval(self, X: Any, coords: Any = None) -> np.ndarray:
        """Return the interval of each row.

        Parameters
        ----------
        X, coords
            As for `fit`.

        Returns
        -------
        interval : ndarray of shape (n, 2)
            Lower and upper bound, in the units of y.
        """
        check_is_fitted(self)
        remoteness = _remoteness_km(self._known, self._places(X, coords))
        half = np.interp(np.log(remoteness), np.log(self.remoteness_km_), self.half_widths_)
        middle = self.predict(X, coords)
        return np.column_stack([middle - half, middle + half])


def _complete(splitter: Any, lonlat: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    folds = [(train, test) for train, test in splitter.split(lonlat)]
    counts = np.bincount(np.concatenate([test for _, test in folds]), minlength=len(lonlat))
    if (counts != 1).any():
        raise ValueError(
            f"{splitter} must put each row into one test fold; row {int((counts != 1).argmax())} "
            f"is in {counts[counts != 1][0]}."
        )
    return folds


def _errors(
    estimator: Any, X: Any, y: np.ndarray, coords: Any, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    known, new = (
        None if coords is None else _safe_indexing(coords, rows) for rows in (train, test)
    )
    model = clone(estimator)
    model.fit(_safe_indexing(X, train), y[train], **coords_for(model.fit, known))
    found = model.predict(_safe_indexing(X, test), **coords_for(model.predict, new))
    return np.abs(y[test] - column_or_1d(found))


def _nearest(lonlat: np.ndarray) -> tuple[np.ndarray, NearestNeighbors]:
    """Return points on the unit sphere, and the search for the five nearest."""
    points = unit_vectors(lonlat)
    return points, NearestNeighbors(n_neighbors=min(N_NEAREST, len(points))).fit(points)


def _remoteness_km(known: tuple[np.ndarray, NearestNeighbors], lonlat: np.ndarray) -> np.ndarray:
    points, nearest = known
    here = unit_vectors(lonlat)
    distance, neighbor = nearest.kneighbors(here)
    to_centre = np.linalg.norm(points[neighbor].mean(axis=1) - here, axis=1)
    remoteness = (distance.mean(axis=1) + to_centre) * EARTH_RADIUS_KM
    return np.maximum(remoteness, MIN_DISTANCE_KM)


def _quantiles_in_bands(
    distance: np.ndarray, error: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return middles of bands of equal size, and their conformal quantiles, made to increase."""
    least = int(np.ceil(level / (1 - level)))  # of fewer, no quantile reaches the level
    if len(error) < least:
        raise ValueError(
            f"confidence_level={level} needs at least {least} errors of held-out rows, got "
            f"{len(error)}; choose a lower level, or pass more rows."
        )
    n_bands = int(np.clip(len(error) // max(ROWS_IN_A_BAND, least), 1, MOST_BANDS))
    middles, quantiles = [], []
    for rows in np.array_split(np.argsort(distance, kind="stable"), n_bands):
        rank = min(int(np.ceil((len(rows) + 1) * level)), len(rows))
        middles.append(np.median(distance[rows]))
        quantiles.append(np.sort(error[rows])[rank - 1])
    middle, first = np.unique(middles, return_inverse=True)  # bands may share a middle
    together = np.bincount(first, quantiles) / np.bincount(first)
    rising = isotonic_regression(together, sample_weight=np.bincount(first))
    return middle, rising
