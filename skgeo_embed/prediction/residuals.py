"""A model's predictions, corrected by the labels of the nearest places."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone, is_classifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import column_or_1d

from skgeo_embed.prediction.base import CorrectedEstimator, of_all_classes
from skgeo_embed.prediction.corrections import KnownPlaces, NeighborCorrection, SurfaceCorrection
from skgeo_embed.prediction.rows import (
    Fold,
    chosen_folds,
    each_row_once,
    folds_in_order,
    order_of_rows,
)
from skgeo_embed.prediction.weights import weighted_fit_arguments


class ResidualInterpolator(CorrectedEstimator):
    r"""A regressor or classifier whose predictions are corrected by the nearest places.

    A model of features learns what carries over to other places; neighbours add the rest. The
    estimator's out-of-fold predictions p and their residuals r = y - p, means of the rows of a
    place, are averaged over the k nearest training places by great circle, with weights that fall
    with the distance d, and the prediction f of a new place becomes

    .. math::
        f + \frac{\sum_j w_j}{\sum_j w_j + s / \bar d}
            \bigl(\bar r - b\,(f - \bar p)\bigr), \qquad
        \bar r = \frac{\sum_j w_j r_j}{\sum_j w_j}, \qquad w_j = \frac{1}{d_j + c \bar d}

    where :math:`\bar d` is the median distance between a place and its nearest other one. With
    b = 0 neighbours' residuals are added [1]_, with b = 1 their labels are averaged. Far from all
    training places the correction vanishes. k, c, s and b are chosen by leaving out one place at a
    time. If their gain may be chance, predictions are not corrected. If places have several rows,
    the mean of what those rows have left is added there, shrunk in the same way.

    Of a classifier the probabilities are corrected, each class as a column, by least Brier score,
    and then rescaled to sum to 1.

    Parameters
    ----------
    estimator : estimator object
        Any regressor, or classifier with `predict_proba`, such as a pipeline of an encoder and a
        ridge.
    interpolator : regressor, default=None
        Regressor that interpolates residuals in place of neighbours, such as
        :class:`~sklearn.gaussian_process.GaussianProcessRegressor` or
        ``pykrige.rk.Krige(method="ordinary3d")`` (up to a few thousand rows). It
        is fitted on points of a sphere, (n, 3), in units of the typical distance between places,
        and used if it predicts the residuals of held-out folds.
    cv : int, splitter, iterable of pairs or None, default=None
        Folds of the out-of-fold predictions; splitters get the places. None is five random folds,
        stratified for a classifier, that do not depend on the order of the rows. With
        :class:`~skgeo_embed.model_selection.SpatialBlockKFold` residuals are those of predictions
        far from training places. Rows that no fold tests have no residual, and correct nothing:
        with :class:`~skgeo_embed.model_selection.SpatioTemporalKFold` only the future does.
    lon, lat : str or int, default=None
        Names of the longitude and latitude columns, if they are not recognised.
    n_jobs : int, default=None
        Number of processes for the folds.

    Attributes
    ----------
    estimator_ : estimator object
        Fitted on all rows.
    residuals_ : ndarray of shape (n,), or (n, n_classes) of a classifier
        Out-of-fold residuals: in the units of y, or 1 for the class of the row less probabilities;
        NaN of rows that no fold tests.
    weighting_ : Weighting or None
        Neighbours k, softening c, shrinkage s and share of labels b; None without a correction.
    interpolator_ : regressor or None
        The `interpolator`, fitted on all residuals; None without a correction.
    spacing_km_ : float
        Median distance between a place and the nearest other one.
    classes_ : ndarray of shape (n_classes,)
        Classes of a classifier.
    n_features_in_, feature_names_in_
        Those of the estimator, if it has them.

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
        "interpolator": [HasMethods(["fit", "predict"]), None],
        "cv": ["cv_object"],
        "lon": "no_validation",
        "lat": "no_validation",
        "n_jobs": [int, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        interpolator: Any = None,
        cv: Any = None,
        lon: str | int | None = None,
        lat: str | int | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.interpolator = interpolator
        self.cv = cv
        self.lon = lon
        self.lat = lat
        self.n_jobs = n_jobs

    def _fit_rows(
        self, X: Any, y: np.ndarray, lonlat: np.ndarray, coords: Any, groups: Any
    ) -> None:
        target, weights = self._read_target(y), self._row_weights
        folds = self._folds(X, order_of_rows(X, target, lonlat), y, lonlat, groups)
        parts = Parallel(n_jobs=self.n_jobs)(
            delayed(self._hold_out)(X, y, weights, *fold) for fold in folds
        )
        predicted = np.full(target.shape, np.nan)
        for (_, test), part in zip(folds, parts, strict=True):
            predicted[test] = part
        self.residuals_ = target - predicted
        if not is_classifier(self.estimator):
            self.residuals_ = self.residuals_[:, 0]
        tested = np.sort(np.concatenate([test for _, test in folds]))
        of_tested = None if weights is None else weights[tested]
        known = KnownPlaces(lonlat[tested], target[tested], predicted[tested], of_tested)
        self.spacing_km_ = known.spacing_km
        if self.interpolator is None:
            neighbors = NeighborCorrection(known)
            self._correction, self.weighting_ = neighbors.correct, neighbors.weighting
        else:
            surface = SurfaceCorrection(self.interpolator, known)
            self._correction, self.interpolator_ = surface.correct, surface.regressor
        self.estimator_ = self._fitted(X, y, weights)

    def _corrected(self, X: Any, coords: Any) -> np.ndarray:
        predicted = self._predicted(self.estimator_, X)
        return predicted + self._correction(self._places(X, coords), predicted)

    def _hold_out(
        self, X: Any, y: np.ndarray, weights: np.ndarray | None, train: np.ndarray, test: np.ndarray
    ) -> np.ndarray:
        some = None if weights is None else weights[train]
        model = self._fitted(_safe_indexing(X, train), y[train], some)
        return self._predicted(model, _safe_indexing(X, test))

    def _fitted(self, X: Any, y: np.ndarray, weights: np.ndarray | None) -> Any:
        return clone(self.estimator).fit(X, y, **weighted_fit_arguments(self.estimator, weights))

    def _predicted(self, model: Any, X: Any) -> np.ndarray:
        """Return predictions as a column, or a column of probabilities for each class."""
        if not hasattr(self, "classes_"):
            return column_or_1d(model.predict(X))[:, None]
        return of_all_classes(model.predict_proba(X), model.classes_, self.classes_)

    def _folds(
        self, X: Any, order: np.ndarray, y: np.ndarray, lonlat: np.ndarray, groups: Any
    ) -> list[Fold]:
        classifier = is_classifier(self.estimator)
        if self.cv is not None:
            folds = chosen_folds(self.cv, lonlat, y, groups, table=X, classifier=classifier)
            return each_row_once(folds, len(y))
        if classifier:
            n_splits = min(5, int(np.unique(y, return_counts=True)[1].max()))
            if n_splits > 1:
                splitter = StratifiedKFold(n_splits, shuffle=True, random_state=0)
                return folds_in_order(splitter, order, y)
        return folds_in_order(KFold(min(5, len(y)), shuffle=True, random_state=0), order)
