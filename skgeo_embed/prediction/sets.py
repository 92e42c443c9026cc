"""Sets of classes that grow with the distance to known places."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.model_selection._spatial import taken_by
from skgeo_embed.places.numbers import without_mask
from skgeo_embed.prediction.base import probabilities_of
from skgeo_embed.prediction.conformal import SpatialConformal
from skgeo_embed.prediction.rows import Fold, deal_rows, order_of_rows


@share_docs
class SpatialConformalClassifier(SpatialConformal):
    r"""A classifier with sets of classes that are valid both near and far from labels.

    The set of a row holds its true class with a given probability [1]_. The error of a held-out row
    is one minus the probability that the classifier gave to its true class; errors of rows among
    known places and of rows far from them are kept with their remoteness, as in
    :class:`~skgeo_embed.SpatialConformalRegressor`. The set of a new row holds each class whose
    probability is at least

    .. math::
        1 - q(d)

    where q is the conformal quantile of the errors at its remoteness d. It always holds the most
    probable class.

    Parameters
    ----------
    estimator : estimator object
        Any classifier with `predict_proba`, such as ``spatial_pipeline("classifier")``.
    confidence_level : float, default=0.9
        Share of true classes inside their sets, in (0, 1).
    {conformal}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Classes.
    estimator_ : estimator object
        Fitted on all rows.
    method_ : {"remoteness", "local"}
        How thresholds are made.
    remoteness_km_ : ndarray of shape (n_bands,)
        Median remoteness of each band.
    thresholds_ : ndarray of shape (n_bands,)
        Least probability of a class in the set, in each band, before local weights.
    {n_features_of_estimator}

    References
    ----------
    .. [1] M. Sadinle, J. Lei, L. Wasserman (2019). "Least ambiguous set-valued classifiers with
       bounded error levels". Journal of the American Statistical Association 114.
       doi 10.1080/01621459.2017.1395341.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skgeo_embed import SatCLIPEncoder, SpatialConformalClassifier
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> zone = (y // 10).astype(int).astype(str)  # steps of 10 °C
    >>> plain = make_pipeline(SatCLIPEncoder(n_components=64), LogisticRegression(max_iter=300))
    >>> model = SpatialConformalClassifier(plain).fit(X[::4], zone[::4])
    >>> sets = model.predict_set(X[1::4])
    >>> held = sets[range(len(sets)), model.classes_.searchsorted(zone[1::4])].mean()
    >>> bool(held > 0.87), sets.shape[1] == len(model.classes_)
    (True, True)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        **SpatialConformal._parameter_constraints,
    }

    classes_: np.ndarray
    thresholds_: np.ndarray

    def _fit_rows(
        self, X: Any, y: np.ndarray, lonlat: np.ndarray, coords: Any, groups: Any
    ) -> None:
        if not is_classifier(self.estimator):
            raise TypeError(
                f"sets of classes are for classifiers, and {type(self.estimator).__name__} is "
                "not one; SpatialConformalRegressor makes intervals."
            )
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        self._fit_and_calibrate(X, y, lonlat, coords, groups)
        self.thresholds_ = np.clip(1 - self._quantiles, 0, 1)

    def _random_folds(self, X: Any, y: np.ndarray, lonlat: np.ndarray) -> list[Fold]:
        number = np.searchsorted(self.classes_, y)
        order = order_of_rows(X, number[:, None], lonlat)
        return [
            (np.sort(order[train]), np.sort(order[test]))
            for train, test in deal_rows(len(y), 5, number[order])
        ]

    def _learner(self, y: np.ndarray) -> Any:
        # many classifiers refuse a fold of one class
        return self.estimator if len(np.unique(y)) > 1 else DummyClassifier(strategy="prior")

    def _errors(self, predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 1 - predicted[np.arange(len(y)), np.searchsorted(self.classes_, y)]

    def _predicted(self, model: Any, X: Any, coords: Any) -> np.ndarray:
        given = taken_by(model.predict_proba, coords=coords)
        return probabilities_of(model, X, self.classes_, **given)

    def predict(self, X: Any, coords: Any = None) -> np.ndarray:
        """Predict the most probable class.

        Parameters
        ----------
        X, coords
            As for `fit`.

        Returns
        -------
        y : ndarray of shape (n,)
            Classes.
        """
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X, coords).argmax(axis=1)]

    def predict_proba(self, X: Any, coords: Any = None) -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X, coords
            As for `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
            In the order of `classes_`.
        """
        check_is_fitted(self)
        return self._predicted(self.estimator_, without_mask(X), coords)

    def predict_set(self, X: Any, coords: Any = None) -> np.ndarray:
        """Return the set of classes of each row.

        Parameters
        ----------
        X, coords
            As for `fit`.

        Returns
        -------
        sets : ndarray of shape (n, n_classes), bool
            True for the classes in the set, in the order of `classes_`.
        """
        probability = self.predict_proba(X, coords)
        bound = self._bounds(self._places(X, coords))
        sets = 1 - probability <= bound[:, None] + 1e-12
        sets[np.arange(len(sets)), probability.argmax(axis=1)] = True
        return sets
