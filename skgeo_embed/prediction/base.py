"""What meta-estimators of places share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import MetadataRouter

from skgeo_embed._errors import CoordinateError
from skgeo_embed._fitting import whole_fit
from skgeo_embed.places.reading import find_coordinates, read_coordinates


class PlacesMetaEstimator(MetaEstimatorMixin, BaseEstimator):
    """An estimator around another one, which takes places from columns of X or from `coords`."""

    estimator: Any
    estimator_: Any
    lon: str | int | None
    lat: str | int | None

    @property
    def _leading(self) -> Any:
        """The estimator whose kind is that of the whole."""
        return self.estimator

    def score(self, X: Any, y: Any, sample_weight: Any = None, coords: Any = None) -> float:
        """Return R² of the predictions, of a classifier the accuracy.

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
        return float(metric(y, found, sample_weight=sample_weight))

    @contextmanager
    def _whole_fit(self) -> Iterator[None]:
        """A fit that is whole or nothing, by one thread where several would only wait."""
        from skgeo_embed.nn.inference.thread_choice import worthwhile_threads

        with whole_fit(self), worthwhile_threads():
            yield

    def _fit_places(self, X: Any, coords: Any) -> np.ndarray:
        self._columns = self.lon, self.lat
        self._beside = coords is not None
        return self._places(X, coords)

    def _places(self, X: Any, coords: Any) -> np.ndarray:
        lon, lat = self._columns
        if self._beside and coords is None:
            raise CoordinateError("this was fitted with coords beside X; pass coords here too.")
        if coords is not None or (lon is None and lat is None):
            return find_coordinates(X, coords)
        return read_coordinates(X, lon=lon, lat=lat).lonlat

    def _take_names(self) -> None:
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))

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
