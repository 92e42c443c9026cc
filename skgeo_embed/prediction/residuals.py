"""A model's predictions, corrected by the labels of the nearest places."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import KFold, StratifiedKFold, check_cv, cross_val_predict
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skgeo_embed.prediction.base import PlacesMetaEstimator
from skgeo_embed.prediction.corrections import KnownPlaces, NeighborCorrection, SurfaceCorrection


def _has_probabilities(model: ResidualInterpolator) -> bool:
    return is_classifier(model.estimator) and hasattr(model.estimator, "predict_proba")


class ResidualInterpolator(PlacesMetaEstimator):
    r"""A regressor or classifier whose predictions the nearest places correct.

    A model of features knows what carries over to other places; its neighbours know the rest. The
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
    time; where neighbours do not tell more than chance would, there is no correction, and the
    estimator stands as it is. Where places come several times, what their own rows then have left
    in common is added there, shrunk likewise.

    Of a classifier the probabilities are corrected in the same way, each class a column, by least
    Brier score, and brought back to sum to 1.

    Parameters
    ----------
    estimator : estimator object
        Any regressor, or classifier with `predict_proba`, such as a pipeline of an encoder and a
        ridge.
    interpolator : regressor, default=None
        What interpolates residuals in place of neighbours, such as
        :class:`~sklearn.gaussian_process.GaussianProcessRegressor` (up to a few thousand rows). It
        is fitted on points of a sphere, (n, 3), in units of the typical distance between places,
        and used if it predicts residuals of folds that it has not seen.
    cv : int, splitter or None, default=None
        Folds of the out-of-fold predictions; they are given the places. None is five shuffled
        folds, stratified for a classifier.
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
    residuals_ : ndarray of shape (n,), or (n, n_classes) of a classifier
        Out of fold: in the units of y, or 1 for the class of the row less the probabilities.
    weighting_ : Weighting or None
        Neighbours k, softening c, shrinkage s and share of labels b; None where neighbours tell
        nothing.
    interpolator_ : regressor or None
        Fitted on all residuals, where an `interpolator` was given; None for no correction.
    spacing_km_ : float
        Median distance between a place and the nearest other one.
    classes_ : ndarray of shape (n_classes,)
        Of a classifier.
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

    def fit(self, X: Any, y: Any, coords: Any = None) -> ResidualInterpolator:
        """Fit the estimator, and choose how its predictions are corrected.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            The estimator's features; longitude and latitude are among the columns, unless `coords`
            gives them.
        y : array-like of shape (n,)
            Targets, or classes.
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
        TypeError
            If a classifier has no `predict_proba`.
        """
        with self._whole_fit():
            y = column_or_1d(y, warn=True)
            if len(y) < 2:
                raise ValueError(f"residuals need at least 2 rows, got n_samples={len(y)}.")
            target = self._read_target(y)
            lonlat = self._fit_places(X, coords)
            predicted = cross_val_predict(
                clone(self.estimator),
                X,
                y,
                cv=list(self._folds(y).split(lonlat, y)),
                n_jobs=self.n_jobs,
                params={},  # None fails under metadata routing in scikit-learn 1.6.0
                method="predict_proba" if is_classifier(self.estimator) else "predict",
            ).reshape(target.shape)
            self.residuals_ = target - predicted
            if not is_classifier(self.estimator):
                self.residuals_ = self.residuals_[:, 0]
            known = KnownPlaces(lonlat, target, predicted)
            self.spacing_km_ = known.spacing_km
            if self.interpolator is None:
                neighbors = NeighborCorrection(known)
                self._correction, self.weighting_ = neighbors.correct, neighbors.weighting
            else:
                surface = SurfaceCorrection(self.interpolator, known)
                self._correction, self.interpolator_ = surface.correct, surface.regressor
            self.estimator_ = clone(self.estimator).fit(X, y)
            self._take_names()
        return self

    def predict(self, X: Any, coords: Any = None) -> np.ndarray:
        """Predict, corrected by the nearest training places.

        Parameters
        ----------
        X, coords
            As for `fit`.

        Returns
        -------
        y : ndarray of shape (n,)
            Predictions, or classes.
        """
        check_is_fitted(self)
        if is_classifier(self.estimator_):
            return self.classes_[self.predict_proba(X, coords).argmax(axis=1)]
        plain = column_or_1d(self.estimator_.predict(X))
        return plain + self._corrections(X, coords, plain.reshape(len(plain), 1))[:, 0]

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any, coords: Any = None) -> np.ndarray:
        """Predict probabilities of the classes, corrected by the nearest training places.

        Parameters
        ----------
        X, coords
            As for `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
            In the order of `classes_`; rows sum to 1.
        """
        check_is_fitted(self)
        plain = self.estimator_.predict_proba(X)
        corrected = np.clip(plain + self._corrections(X, coords, plain), 0, None)
        return corrected / corrected.sum(axis=1, keepdims=True)

    def _corrections(self, X: Any, coords: Any, predicted: np.ndarray) -> np.ndarray:
        return self._correction(self._places(X, coords), predicted)

    def _read_target(self, y: np.ndarray) -> np.ndarray:
        """The target as columns: y itself, or one column a class."""
        if not is_classifier(self.estimator):
            return column_or_1d(y, dtype=np.float64)[:, None]
        if not hasattr(self.estimator, "predict_proba"):
            raise TypeError(
                f"a classifier is corrected by its probabilities, and "
                f"{type(self.estimator).__name__} has no predict_proba; wrap it in "
                "CalibratedClassifierCV."
            )
        check_classification_targets(y)
        self.classes_, number = np.unique(y, return_inverse=True)
        return np.eye(len(self.classes_))[number]

    def _folds(self, y: np.ndarray) -> Any:
        if self.cv is not None:
            return check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        if is_classifier(self.estimator):
            n_splits = min(5, int(np.unique(y, return_counts=True)[1].max()))
            if n_splits > 1:
                return StratifiedKFold(n_splits, shuffle=True, random_state=0)
        return KFold(min(5, len(y)), shuffle=True, random_state=0)
