"""A model whose prediction is the place itself, so that a map says where its cells are."""

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin


class LonLat(RegressorMixin, BaseEstimator):
    """Predict longitude and latitude."""

    def fit(self, X, y=None) -> Self:
        self.n_features_in_ = 2
        return self

    def predict(self, X):
        return np.asarray(X, dtype=float)[:, :2]


PLACE = LonLat().fit([[0, 0]])
