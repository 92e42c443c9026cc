"""The models inside a fitted model: what the last one reads, and what each feature counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from skgeo_embed.prediction.ensemble import SpatialEnsemble


def features_of_model(model: Any, X: Any) -> np.ndarray:
    """Return the features that the last step of a fitted model reads, (n, d)."""
    table = X
    for outer in _from_outside_in(model):
        if isinstance(outer, Pipeline):
            table = outer[:-1].transform(table)
    return np.asarray(table, dtype=np.float64)


def last_step(model: Any) -> Any:
    """Return the innermost model."""
    *_, last = _from_outside_in(model)
    return last


def _from_outside_in(model: Any) -> Iterator[Any]:
    """Yield a fitted model and the models in it that predict; the innermost comes last."""
    while model is not None:
        yield model
        if isinstance(model, Pipeline):
            model = model.steps[-1][1]
        elif isinstance(model, SpatialEnsemble):
            model = _leading_learner(model)
        else:
            names = ("best_estimator_", "estimator_", "regressor_")
            model = next((vars(model)[name] for name in names if name in vars(model)), None)


def _leading_learner(ensemble: SpatialEnsemble) -> Any:
    """Return the learner with the largest share among those with importances or coefficients."""
    shares = {
        name: ensemble.shares_[name].sum()
        for name, learner in ensemble.learners_
        if any(hasattr(last_step(learner), word) for word in ("feature_importances_", "coef_"))
    }
    return dict(ensemble.learners_)[max(shares, key=shares.get)] if shares else None  # type: ignore[arg-type]


def importance_of(estimator: Any, features: np.ndarray) -> np.ndarray | None:
    """Return how much each feature counts; None if the estimator does not say."""
    weights = getattr(estimator, "feature_importances_", None)
    if weights is None and hasattr(estimator, "coef_"):
        weights = np.abs(np.atleast_2d(estimator.coef_)).mean(axis=0) * features.std(axis=0)
    if weights is None or np.shape(weights) != features.shape[1:] or not np.any(weights):
        return None
    return np.asarray(weights, dtype=np.float64)
