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
from skgeo_embed.model_selection._spatial import SpatialBlockKFold, taken_by
from skgeo_embed.places.numbers import without_mask
from skgeo_embed.prediction.base import PlacesMetaEstimator
from skgeo_embed.prediction.rows import (
    Fold,
    chosen_folds,
    each_row_once,
    folds_in_order,
    order_of_rows,
)

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
        q(d) = \text{the quantile } (m + 1)\, c \, / \, m \text{ of the errors of } m
        \text{ rows around } d

    for confidence level c. A row counts once even if both kinds of folds give it an error, so at
    least c / (1 - c) rows are needed: 9 for a level of 0.9, and 19 for 0.95. The half-width is
    interpolated between the medians of bands, and constant beyond the last: rows that are more
    remote than all held-out ones have no guarantee (:class:`~skgeo_embed.AreaOfApplicability`
    finds rows of that kind).

    Parameters
    ----------
    estimator : estimator object
        Any regressor, such as a :class:`~skgeo_embed.ResidualInterpolator` or a
        :func:`~skgeo_embed.spatial_pipeline`.
    confidence_level : float, default=0.9
        Share of true values inside their intervals, in (0, 1).
    cv : int, splitter, list of splitters or iterable of pairs, default=None
        Folds; splitters get the places, and each must put every row into one test fold. None is
        five random folds that do not depend on the order of the rows, and five folds of blocks of
        a tenth of the extent of the places.
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
        "cv": ["cv_object", HasMethods(["split"])],
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

    def _fit_rows(
        self, X: Any, y: np.ndarray, lonlat: np.ndarray, coords: Any, groups: Any
    ) -> None:
        if is_classifier(self.estimator):
            raise TypeError(
                f"intervals are for regressors, and {type(self.estimator).__name__} is a "
                "classifier; mapie.classification makes sets of classes."
            )
        y = column_or_1d(y, dtype=np.float64)
        _check_number(len(y), self.confidence_level)
        folds = self._folds(X, y, lonlat, groups)
        errors = Parallel(n_jobs=self.n_jobs)(
            delayed(_errors)(self.estimator, X, y, coords, groups, *fold) for fold in folds
        )
        remoteness = [
            _remoteness_km(_nearest(lonlat[train]), lonlat[test]) for train, test in folds
        ]
        self.remoteness_km_, self.half_widths_ = _quantiles_in_bands(
            np.concatenate(remoteness),
            np.concatenate(errors),
            np.concatenate([test for _, test in folds]),
            self.confidence_level,
        )
        self._known = _nearest(lonlat)
        self.estimator_ = clone(self.estimator)
        self.estimator_.fit(X, y, **taken_by(self.estimator_.fit, coords=coords, groups=groups))

    def _folds(self, X: Any, y: np.ndarray, lonlat: np.ndarray, groups: Any) -> list[Fold]:
        if self.cv is None:
            random = KFold(min(5, len(y)), shuffle=True, random_state=0)
            return [
                *folds_in_order(random, order_of_rows(X, y[:, None], lonlat)),
                *SpatialBlockKFold(block_size="auto").split(lonlat),
            ]
        several = isinstance(self.cv, (list, tuple)) and all(hasattr(c, "split") for c in self.cv)
        return [
            fold
            for cv in (self.cv if several else [self.cv])
            for fold in each_row_once(chosen_folds(cv, lonlat, y, groups), len(y))
        ]

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
        given = taken_by(self.estimator_.predict, coords=coords)
        return column_or_1d(self.estimator_.predict(without_mask(X), **given))

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
        return self.interval_around(self.predict(X, coords), X, coords)

    def interval_around(self, predictions: Any, X: Any, coords: Any = None) -> np.ndarray:
        """Return the interval of each row around predictions that are already made.

        Parameters
        ----------
        predictions : array-like of shape (n,)
            What `predict` returned for these rows.
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
        middle = column_or_1d(predictions)
        return np.column_stack([middle - half, middle + half])


def _errors(
    estimator: Any,
    X: Any,
    y: np.ndarray,
    coords: Any,
    groups: Any,
    train: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    model = clone(estimator)
    known = taken_by(model.fit, coords=_rows_of(coords, train), groups=_rows_of(groups, train))
    model.fit(_safe_indexing(X, train), y[train], **known)
    new = taken_by(model.predict, coords=_rows_of(coords, test))
    return np.abs(y[test] - column_or_1d(model.predict(_safe_indexing(X, test), **new)))


def _rows_of(values: Any, rows: np.ndarray) -> Any:
    return None if values is None else _safe_indexing(values, rows)


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


def _least_rows(level: float) -> int:
    """Return of how many rows the largest error reaches the level: (m + 1) level <= m."""
    return int(np.ceil(level / (1 - level) - 1e-9))  # 0.9 / (1 - 0.9) is 9.000000000000002


def _check_number(n_rows: int, level: float) -> None:
    least = _least_rows(level)
    if n_rows < least:
        raise ValueError(
            f"confidence_level={level} needs at least {least} rows, got {n_rows}: not even the "
            f"largest error of so few reaches it. Pass more rows, or a level of at most "
            f"{np.floor(1000 * n_rows / (n_rows + 1)) / 1000:g}."
        )


def _quantiles_in_bands(
    distance: np.ndarray, error: np.ndarray, row: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return middles of bands of equal size, and their conformal quantiles, made to increase.

    A row that is held out in several kinds of folds has several errors, but counts once.
    """
    n_kinds = len(error) // len(np.unique(row))
    fewest = max(ROWS_IN_A_BAND, n_kinds * _least_rows(level))
    n_bands = int(np.clip(len(error) // fewest, 1, MOST_BANDS))
    middles, quantiles = [], []
    for rows in np.array_split(np.argsort(distance, kind="stable"), n_bands):
        n_different = len(np.unique(row[rows]))
        share = min((n_different + 1) * level / n_different, 1.0)
        rank = int(np.ceil(share * len(rows) - 1e-9))
        middles.append(np.median(distance[rows]))
        quantiles.append(np.sort(error[rows])[rank - 1])
    middle, first = np.unique(middles, return_inverse=True)  # bands may share a middle
    together = np.bincount(first, quantiles) / np.bincount(first)
    rising = isotonic_regression(together, sample_weight=np.bincount(first))
    return middle, rising
