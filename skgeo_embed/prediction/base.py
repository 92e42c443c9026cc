"""What meta-estimators of places share: `fit`, and predictions that places correct."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import Tags, get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skgeo_embed._errors import CoordinateError, warn_caller
from skgeo_embed._fitting import whole_fit
from skgeo_embed.places.kinds import recognise
from skgeo_embed.places.numbers import without_mask
from skgeo_embed.places.reading import find_coordinates, read_coordinates
from skgeo_embed.prediction.rows import read_labels
from skgeo_embed.prediction.weights import read_weights


class PlacesMetaEstimator(MetaEstimatorMixin, BaseEstimator):
    """An estimator around another one, which takes places from columns of X or from `coords`."""

    # as scikit-learn's own estimators: groups that a search hands to its splitter are not ours
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": False}

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "lon": "no_validation",
        "lat": "no_validation",
        "n_jobs": [int, None],
        "verbose": ["verbose"],
    }

    estimator: Any
    estimator_: Any
    lon: str | int | None
    lat: str | int | None
    _row_weights: np.ndarray | None  # during fit

    @property
    def _leading(self) -> Any:
        """Return the estimator that decides whether this is a regressor or a classifier."""
        return self.estimator

    def fit(
        self, X: Any, y: Any, coords: Any = None, groups: Any = None, sample_weight: Any = None
    ) -> Self:
        """Fit on a table with places.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Features; longitude and latitude are among the columns, unless `coords` gives them.
        y : array-like of shape (n,)
            Targets, or classes.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the rows in degrees, if X does not hold them.
        groups : array-like of shape (n,), default=None
            Group of each row, for a `cv` that splits by groups, such as
            :class:`~skgeo_embed.model_selection.LeaveOneRegionOut`.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows, not negative. They are passed on to the estimators inside, in folds
            too, and count wherever errors of rows are compared. In a
            :func:`~skgeo_embed.spatial_pipeline` pass ``model__sample_weight``.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        CoordinateError
            If there are no coordinates, or they cannot be read.
        TypeError
            If what is fitted is of a kind that this estimator cannot use, or takes no weights.
        ValueError
            If there are fewer than 2 rows, labels are missing or masked, or a parameter cannot be
            used.
        """
        return self._fit_whole(X, y, coords, groups, sample_weight)

    def _fit_whole(
        self, X: Any, y: Any, coords: Any, groups: Any, sample_weight: Any, **more: Any
    ) -> Self:
        """Fit as `fit` does; `more` is for `_fit_rows`."""
        from skgeo_embed.nn.inference.thread_choice import worthwhile_threads

        with whole_fit(self) as twin, worthwhile_threads():
            X, y = indexable(without_mask(X), read_labels(y))
            if len(y) < 2:
                raise ValueError(
                    f"{type(self).__name__} needs at least 2 rows, got n_samples={len(y)}."
                )
            twin._row_weights = read_weights(sample_weight, len(y))
            twin._columns = self.lon, self.lat
            twin._beside = coords is not None
            twin._names = None
            lonlat = twin._places(X, coords)
            twin._names = None if twin._beside else recognise(X).names
            twin._fit_rows(X, y, lonlat, coords, groups, **more)
            del twin._row_weights
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(twin.estimator_, name):
                    setattr(twin, name, getattr(twin.estimator_, name))
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None, coords: Any = None) -> float:
        """Return R² of a regressor's predictions, or the accuracy of a classifier's.

        Parameters
        ----------
        X, coords
            As for `fit`.
        y : array-like of shape (n,)
            True values, or classes.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            1 at best.
        """
        metric = accuracy_score if is_classifier(self._leading) else r2_score
        found = self.predict(X, coords)
        if sample_weight is not None:
            sample_weight = read_labels(sample_weight, "sample_weight")
        return float(metric(read_labels(y), found, sample_weight=sample_weight))

    def _fit_rows(
        self, X: Any, y: np.ndarray, lonlat: np.ndarray, coords: Any, groups: Any
    ) -> None:
        """Fit on rows and their places, and set `estimator_`."""
        raise NotImplementedError

    def _places(self, X: Any, coords: Any) -> np.ndarray:
        lon, lat = self._columns
        if self._beside and coords is None:
            raise CoordinateError(
                f"this {type(self).__name__} was fitted with coords beside X; pass coords here too."
            )
        if coords is None:
            warn_if_names_are_gone(self, X, self._names)
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
        inner = get_tags(self._leading)
        tags.estimator_type = inner.estimator_type
        tags.regressor_tags, tags.classifier_tags = inner.regressor_tags, inner.classifier_tags
        tags.target_tags.required = True
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        tags.input_tags.sparse = False
        return tags


def warn_if_names_are_gone(estimator: Any, X: Any, names: Any) -> None:
    """Warn, as scikit-learn does, if places come without names after a `fit` with names."""
    if names is not None and recognise(X).names is None:
        warn_caller(
            f"X does not have valid feature names, but {type(estimator).__name__} was fitted with "
            "feature names: its first two columns are read as longitude and latitude, in this "
            "order. Pass a frame with the columns of fit.",
            UserWarning,
        )


def _has_probabilities(model: CorrectedEstimator) -> bool:
    return is_classifier(model._leading) and hasattr(model._leading, "predict_proba")


def as_probabilities(corrected: np.ndarray) -> np.ndarray:
    """Return probabilities that sum to 1, of corrected ones, (n, n_classes)."""
    positive = np.clip(corrected, 0, None)
    return positive / positive.sum(axis=1, keepdims=True)


def probabilities_of(model: Any, X: Any, classes: np.ndarray, **given: Any) -> np.ndarray:
    """Return probabilities, (n, n_classes); they are 0 for classes that the model does not know."""
    known = model.predict_proba(X, **given)
    found = np.zeros((len(known), len(classes)))
    found[:, np.searchsorted(classes, model.classes_)] = known
    return found


class CorrectedEstimator(PlacesMetaEstimator):
    """A meta-estimator whose predictions are corrected by the nearest training places.

    Of a classifier the probabilities are corrected.
    """

    classes_: np.ndarray

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
        X = without_mask(X)
        if hasattr(self, "classes_"):
            return self.classes_[self.predict_proba(X, coords).argmax(axis=1)]
        return self._corrected(X, coords)[:, 0]

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
        return as_probabilities(self._corrected(without_mask(X), coords))

    def _corrected(self, X: Any, coords: Any) -> np.ndarray:
        """Return corrected predictions, (n, 1), or (n, n_classes) that may lie outside [0, 1]."""
        raise NotImplementedError

    def _read_target(self, y: np.ndarray) -> np.ndarray:
        """Return the target as columns: y itself, or one column for each class."""
        if not is_classifier(self._leading):
            return column_or_1d(y, dtype=np.float64)[:, None]
        if not _has_probabilities(self):
            raise TypeError(
                f"{type(self).__name__} corrects a classifier's probabilities, and "
                f"{type(self._leading).__name__} has no predict_proba; wrap it in "
                "CalibratedClassifierCV."
            )
        check_classification_targets(y)
        self.classes_, number = np.unique(y, return_inverse=True)
        return np.eye(len(self.classes_))[number]
