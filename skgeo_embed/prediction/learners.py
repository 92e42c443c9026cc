"""The learners of a spatial pipeline, and the columns that each of them reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.fft import dct
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from skgeo_embed.prediction.ridge_path import RidgePath
from skgeo_embed.prediction.trend import TrendRegressor

N_FOR_FEW = 64  # of a linear model that cannot memorise places
N_FOR_TREES = 20  # they split one column at a time: few columns, among which place and others
STRENGTHS = (0.01, 1.0)  # of logistic regression, the inverse of its penalty
BOOSTING: dict[str, Any] = {
    "early_stopping": False,
    "l2_regularization": 1.0,  # without it boosting diverges where a class is rare
    "max_features": 0.2,  # of the columns at each split: a third of the time, and better
    "max_bins": 128,
    "random_state": 0,
}
FOREST: dict[str, Any] = {
    "n_estimators": 50,
    "min_samples_leaf": 4,
    "max_features": 0.2,
    "random_state": 0,
}


CLASS_FOREST = {**FOREST, "min_samples_leaf": 2, "max_features": 0.33}  # a class may be rare


def regressors(few: Any) -> list[tuple[str, BaseEstimator]]:
    """Return the regressors of an ensemble; `few` makes the few columns that trees read."""
    return [
        ("linear", make_pipeline(LearnerColumns(linear_columns), RidgePath())),
        ("boosting", _with_trend(few, HistGradientBoostingRegressor(**BOOSTING))),
        ("trees", _with_trend(few, ExtraTreesRegressor(**FOREST))),
    ]


def classifiers(few: Any) -> list[tuple[str, BaseEstimator]]:
    """Return the classifiers of an ensemble; `few` makes the few columns that trees read."""
    return [
        *((f"linear, C={C:g}", _logistic(LearnerColumns(linear_columns), C)) for C in STRENGTHS),
        ("linear, few columns", _logistic(LearnerColumns(other_columns, few, N_FOR_FEW), 1.0)),
        ("boosting", _on_tree_columns(few, HistGradientBoostingClassifier(**BOOSTING))),
        ("trees", _on_tree_columns(few, ExtraTreesClassifier(**CLASS_FOREST))),
    ]


def _logistic(columns: LearnerColumns, strength: float) -> Pipeline:
    return make_pipeline(columns, StandardScaler(), LogisticRegression(C=strength, max_iter=1000))


def _on_tree_columns(few: Any, trees: BaseEstimator) -> Pipeline:
    return make_pipeline(LearnerColumns(tree_columns, few, N_FOR_TREES), trees)


def _with_trend(few: Any, trees: BaseEstimator) -> TrendRegressor:
    return TrendRegressor(_on_tree_columns(few, trees), linear_columns, day_columns)


class LearnerColumns(TransformerMixin, BaseEstimator):
    """Take the columns that a learner reads from the frame of features, as an array of float64.

    Parameters
    ----------
    names : callable
        Takes a frame and names its columns to take.
    few : callable, default=None
        Takes the encoder's columns and a count, and makes fewer columns of them, which come first.
    count : int, default=0
        How many.

    Attributes
    ----------
    names_, encoder_names_ : list of str
        Columns to take, and those of the encoder.
    """

    def __init__(self, names: Any, few: Any = None, count: int = 0) -> None:
        self.names = names
        self.few = few
        self.count = count

    def fit(self, X: pd.DataFrame, y: Any = None) -> LearnerColumns:
        """Remember the columns."""
        validate_data(self, X, skip_check_array=True)
        self.names_, self.encoder_names_ = self.names(X), encoder_columns(X)
        return self

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """Return the columns, (n, d)."""
        check_is_fitted(self)
        taken = X[self.names_].to_numpy(np.float64)
        if self.few is None:
            return taken
        few = self.few(X[self.encoder_names_], self.count)
        # an encoder's last digits may depend on the order of places, and trees split on them
        return np.hstack([few.astype(np.float32), taken])


def first_columns(X: Any, count: int) -> np.ndarray:
    """Return the first columns of an encoder."""
    return np.asarray(X, dtype=np.float64)[:, :count]


def first_components(X: Any, count: int) -> np.ndarray:
    """Return the first principal components of the default encoder, which its columns mix."""
    values = np.asarray(X, dtype=np.float64)
    return values @ dct(np.eye(values.shape[1]), norm="ortho", axis=1)[:, :count]


def encoder_columns(X: pd.DataFrame) -> list[str]:
    """Name the encoder's columns."""
    return [name for name in map(str, X) if name.startswith("encoder__")]


def linear_columns(X: pd.DataFrame) -> list[str]:
    """Name all columns but content columns, from which a linear model extrapolates badly."""
    return [name for name in map(str, X) if not name.startswith("content__")]


def other_columns(X: pd.DataFrame) -> list[str]:
    """Name the columns of the table itself."""
    return [name for name in linear_columns(X) if not name.startswith("encoder__")]


def day_columns(X: pd.DataFrame) -> list[str]:
    """Name the columns of dates in days."""
    marked = "dates__missingindicator_"
    return [name for name in map(str, X) if name.startswith("dates__") and marked not in name]


def tree_columns(X: pd.DataFrame) -> list[str]:
    """Name the table's own columns and the content columns."""
    return [name for name in map(str, X) if not name.startswith("encoder__")]
