"""A model's predictions, corrected by the labels of the nearest places."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from joblib import delayed
from sklearn.base import is_classifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import column_or_1d

from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.prediction.base import CorrectedEstimator, probabilities_of
from skgeo_embed.prediction.corrections import KnownPlaces, NeighborCorrection, SurfaceCorrection
from skgeo_embed.prediction.rows import (
    Fold,
    chosen_folds,
    each_row_once,
    folds_in_order,
    order_of_rows,
)
from skgeo_embed.prediction.several_fits import Fit, fit_rows, run_fits


@share_docs
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
        Folds of the out-of-fold predictions; splitters get X. None is five random folds,
        stratified for a classifier, that do not depend on the order of the rows. With
        :class:`~skgeo_embed.model_selection.SpatialBlockKFold` residuals are those of predictions
        far from training places. Rows that no fold tests have no residual, and correct nothing:
        with :class:`~skgeo_embed.model_selection.SpatioTemporalKFold` only the future does.
    {several_fits}

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
    {n_features_of_estimator}

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
        **CorrectedEstimator._parameter_constraints,
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
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.interpolator = interpolator
        self.cv = cv
        self.lon = lon
        self.lat = lat
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _fit_rows(
        self, X: Any, y: np.ndarray, lonlat: np.ndarray, coords: Any, groups: Any
    ) -> None:
        target, weights = self._read_target(y), self._row_weights
        folds = self._folds(X, order_of_rows(X, target, lonlat), y, lonlat, groups)
        table, classes = (self.estimator, X, y, weights), getattr(self, "classes_", None)
        fits = [
            Fit(
                f"fold {number} of {len(folds)}",
                len(train),
                delayed(_fit_and_predict)(*table, train, test, classes),
            )
            for number, (train, test) in enumerate(folds, 1)
        ]
        whole = Fit("all rows", len(y), delayed(fit_rows)(*table, np.arange(len(y))))
        *parts, self.estimator_ = run_fits(self, [*fits, whole])
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

    def _corrected(self, X: Any, coords: Any) -> np.ndarray:
        if hasattr(self, "classes_"):
            predicted = self.estimator_.predict_proba(X)
        else:
            predicted = column_or_1d(self.estimator_.predict(X))[:, None]
        return predicted + self._correction(self._places(X, coords), predicted)

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


def _fit_and_predict(
    model: Any,
    X: Any,
    y: np.ndarray,
    weights: np.ndarray | None,
    train: np.ndarray,
    test: np.ndarray,
    classes: np.ndarray | None,
) -> np.ndarray:
    fitted, held_out = fit_rows(model, X, y, weights, train), _safe_indexing(X, test)
    if classes is None:
        return column_or_1d(fitted.predict(held_out))[:, None]
    return probabilities_of(fitted, held_out, classes)
