"""Regressors that cannot extrapolate, on what a trend in time leaves of the target."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from skgeo_embed.prediction.ridge_path import RidgePath


class TrendRegressor(RegressorMixin, MetaEstimatorMixin, BaseEstimator):
    """A straight trend in the columns of dates, and a regressor of what it leaves.

    Trees predict beyond the last date what they have seen at it. So the slope in each column of
    dates is taken from a ridge on all columns that a linear model reads, which tells a trend from
    rows that differ in other ways, and the regressor is fitted on the rest. Without a column of
    dates it is the regressor alone.

    Parameters
    ----------
    estimator : regressor
        What is fitted on the rest.
    linear_columns, trend_columns : callable
        Take a frame, and name the columns of the ridge, and of these the ones with a trend.

    Attributes
    ----------
    slopes_ : Series
        Of the target per unit of each column with a trend.
    estimator_ : regressor
        Fitted.
    """

    def __init__(self, estimator: Any, linear_columns: Any, trend_columns: Any) -> None:
        self.estimator = estimator
        self.linear_columns = linear_columns
        self.trend_columns = trend_columns

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> Self:
        """Fit the trend, then the regressor."""
        names, trends = self.linear_columns(X), self.trend_columns(X)
        self._slopes: dict[str, float] = {}  # skops takes no Series
        if trends:
            weights = RidgePath((1.0,)).fit(X[names].to_numpy(), y).coef_[0]
            by_name = dict(zip(names, weights.tolist(), strict=True))
            self._slopes = {name: by_name[name] for name in trends}
        self.estimator_ = clone(self.estimator).fit(X, y - self._trend(X))
        return self

    @property
    def slopes_(self) -> pd.Series:
        """Slope of each column with a trend, after a fit."""
        return pd.Series(self._slopes, dtype=np.float64)

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        """Predict the sum of both."""
        check_is_fitted(self)
        return self.estimator_.predict(X) + self._trend(X)

    def _trend(self, X: pd.DataFrame) -> np.ndarray:
        slopes = np.array(list(self._slopes.values()))
        return X[list(self._slopes)].to_numpy(dtype=np.float64) @ slopes
