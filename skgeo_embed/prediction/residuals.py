"""What a regressor leaves unexplained, taken over from the nearest places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, check_cv, cross_val_predict
from sklearn.neighbors import BallTree
from sklearn.utils import Tags, get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metadata_routing import MetadataRouter
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skgeo_embed.encoders.fitting import fitting
from skgeo_embed.model_selection._spatial import find_coordinates
from skgeo_embed.places.reading import read_coordinates
from skgeo_embed.places.sphere import EARTH_RADIUS_KM

N_NEIGHBORS = (2, 4, 8, 16, 32)
SOFTENINGS = (0.05, 0.5, 2.0)  # of the distance, in typical distances between places
SHRINKAGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # how much weight "no residual" has
MIN_DISTANCE_KM = 1e-3
QUERIES = 16_384  # at a time


class Weighting(NamedTuple):
    """How neighbours' residuals are averaged."""

    n_neighbors: int
    softening: float
    shrinkage: float


class ResidualInterpolator(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    r"""A regressor, and the residuals of the nearest places added to its predictions.

    A model of features knows what carries over to other places; its neighbours know the rest. The
    regressor's out-of-fold residuals r are averaged over the k nearest training places by great
    circle, with weights that fall with the distance d, and shrunk to zero:

    .. math::
        \hat r = \frac{\sum_j w_j r_j}{\sum_j w_j + s / \bar d}, \qquad
        w_j = \frac{1}{d_j + c \bar d}

    where :math:`\bar d` is the median distance between a place and its nearest other one. Far from
    all training places the correction vanishes. k, c and s are chosen by leaving out one residual
    at a time; where residuals of neighbours do not tell more than noise would, there is no
    correction, and the estimator is the plain regressor.

    Parameters
    ----------
    estimator : estimator object
        Any regressor, such as a pipeline of an encoder and a ridge.
    cv : int, splitter or None, default=None
        Folds of the out-of-fold residuals; they are given the places. None is five shuffled folds.
        :class:`~skgeo_embed.model_selection.SpatialBlockKFold` makes residuals what they are where
        nobody has measured.
    lon, lat : str or int, default=None
        Columns of longitude and latitude where their names do not tell.
    n_jobs : int, default=None
        Processes for the folds.

    Attributes
    ----------
    estimator_ : estimator object
        Fitted on all rows.
    residuals_ : ndarray of shape (n,)
        Out of fold, in the units of y.
    weighting_ : Weighting or None
        Neighbours, softening c and shrinkage s; None for no correction.
    spacing_km_ : float
        Median distance to the nearest other place.
    n_features_in_, feature_names_in_
        Of the estimator, where it has them.

    References
    ----------
    .. [1] T. Hengl, G. B. M. Heuvelink, D. G. Rossiter (2007). "About regression-kriging: From
       equations to case studies". Computers & Geosciences 33. doi 10.1016/j.cageo.2007.05.001.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skgeo_embed import ResidualInterpolator, SatCLIPEncoder
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> plain = make_pipeline(SatCLIPEncoder(), Ridge())
    >>> model = ResidualInterpolator(plain).fit(X[::2], y[::2])
    >>> model.score(X[1::2], y[1::2]) > plain.fit(X[::2], y[::2]).score(X[1::2], y[1::2])
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "cv": ["cv_object"],
        "lon": "no_validation",
        "lat": "no_validation",
        "n_jobs": [int, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        cv: Any = None,
        lon: str | int | None = None,
        lat: str | int | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.lon = lon
        self.lat = lat
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, coords: Any = None) -> ResidualInterpolator:
        """Fit the regressor, and choose how its residuals are interpolated.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            The regressor's features; longitude and latitude are among the columns, unless `coords`
            gives them.
        y : array-like of shape (n,)
            Targets.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the rows, degrees, where X does not hold them.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        CoordinateError
            If there are no coordinates, or they cannot be read.
        """
        with fitting(self):
            y = column_or_1d(y, dtype=np.float64, warn=True)
            self._columns = self.lon, self.lat
            lonlat = self._places(X, coords)
            folds = check_cv(KFold(5, shuffle=True, random_state=0) if self.cv is None else self.cv)
            predicted = cross_val_predict(
                clone(self.estimator), X, y, cv=list(folds.split(lonlat, y)), n_jobs=self.n_jobs
            )
            self.residuals_ = y - column_or_1d(predicted)
            self._tree = BallTree(_radians(lonlat), metric="haversine")
            distance, neighbor = _others(self._tree, _radians(lonlat))
            self.spacing_km_ = max(float(np.median(distance[:, 0])), MIN_DISTANCE_KM)
            self.weighting_ = _choose(distance / self.spacing_km_, neighbor, self.residuals_)
            self.estimator_ = clone(self.estimator).fit(X, y)
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(self.estimator_, name):
                    setattr(self, name, getattr(self.estimator_, name))
        return self

    def predict(self, X: Any, coords: Any = None) -> np.ndarray:
        """Predict, corrected by the residuals of the nearest training places.

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
        return self.estimator_.predict(X) + self.predict_residuals(X, coords)

    def score(self, X: Any, y: Any, sample_weight: Any = None, coords: Any = None) -> float:
        """Return R² of the predictions.

        Parameters
        ----------
        X, coords
            As for `fit`.
        y : array-like of shape (n,)
            True values.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows.

        Returns
        -------
        r2 : float
            1 at best.
        """
        return float(r2_score(y, self.predict(X, coords), sample_weight=sample_weight))

    def predict_residuals(self, X: Any, coords: Any = None) -> np.ndarray:
        """Return the correction alone.

        Parameters
        ----------
        X, coords
            As for `fit`.

        Returns
        -------
        correction : ndarray of shape (n,)
            What `predict` adds to the regressor's predictions.
        """
        check_is_fitted(self)
        lonlat = self._places(X, coords)
        if self.weighting_ is None:
            return np.zeros(len(lonlat))
        parts = []
        for start in range(0, len(lonlat), QUERIES):
            places = _radians(lonlat[start : start + QUERIES])
            count = min(self.weighting_.n_neighbors, len(self.residuals_))
            distance, neighbor = self._tree.query(places, k=count)
            distance = distance * (EARTH_RADIUS_KM / self.spacing_km_)
            parts.append(_average(distance, self.residuals_[neighbor], self.weighting_))
        return np.concatenate(parts)

    def _places(self, X: Any, coords: Any) -> np.ndarray:
        lon, lat = self._columns
        if coords is not None or (lon is None and lat is None):
            return find_coordinates(X, coords)
        return read_coordinates(X, lon=lon, lat=lat).lonlat

    def get_metadata_routing(self) -> MetadataRouter:
        """Return the routing of metadata: `coords` is for this estimator itself.

        Returns
        -------
        routing : MetadataRouter
            Of this estimator.
        """
        return MetadataRouter(owner=type(self).__name__).add_self_request(self)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator).input_tags
        tags.input_tags.allow_nan = inner.allow_nan
        tags.input_tags.sparse = False
        return tags


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


def _average(distance: np.ndarray, residuals: np.ndarray, weighting: Weighting) -> np.ndarray:
    """Weighted mean of neighbours' residuals (n, k), shrunk; distances in typical spacings."""
    k = weighting.n_neighbors
    weights = 1 / (distance[:, :k] + weighting.softening)
    return (weights * residuals[:, :k]).sum(axis=1) / (weights.sum(axis=1) + weighting.shrinkage)


def _choices(most: int) -> Iterator[Weighting]:
    for n_neighbors in N_NEIGHBORS:
        if n_neighbors <= most:
            for softening in SOFTENINGS:
                for shrinkage in SHRINKAGES:
                    yield Weighting(n_neighbors, softening, shrinkage)


def _choose(distance: np.ndarray, neighbor: np.ndarray, residuals: np.ndarray) -> Weighting | None:
    """The weighting of least error on residuals left out one by one, if it beats none at all."""
    around = residuals[neighbor]
    best, least = None, np.inf
    for weighting in _choices(neighbor.shape[1]):
        error = (residuals - _average(distance, around, weighting)) ** 2
        if error.mean() < least:
            best, least = weighting, error.mean()
            gain = residuals**2 - error
    if best is None or gain.mean() <= gain.std() / np.sqrt(len(gain)):
        return None
    return best
