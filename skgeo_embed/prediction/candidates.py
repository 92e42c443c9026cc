"""Candidates of a weighted mean of learners: their predictions in folds, and their shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import nnls
from sklearn.base import clone
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import column_or_1d

from skgeo_embed.prediction.base import probabilities_of
from skgeo_embed.prediction.ridge_path import RidgePath
from skgeo_embed.prediction.rows import Rows
from skgeo_embed.prediction.several_fits import fit_rows

TREES_IN_FOLDS = 20  # where a forest has more
LEAVES_IN_FOLDS = 15  # where boosted trees have more
EQUAL_SHARES = 0.02  # strength of the penalty that draws shares towards equal ones


def fit_and_predict(
    model: Any,
    X: Any,
    y: np.ndarray,
    weights: np.ndarray | None,
    train: np.ndarray,
    test: np.ndarray,
    classes: Any,
) -> np.ndarray:
    """Fit a lighter copy of a learner on some rows, and return its candidates of others."""
    fitted = fit_rows(_lighter(model), X, y, weights, train)
    return candidates_of(fitted, _safe_indexing(X, test), classes)


def _lighter(model: Any) -> Any:
    """Return a copy with fewer or smaller trees, which suffice to weigh learners."""
    copy = clone(model)
    for part in (copy, *copy.get_params().values()):
        if isinstance(part, BaseForest):
            part.set_params(n_estimators=min(part.n_estimators, TREES_IN_FOLDS))
        elif isinstance(part, BaseHistGradientBoosting) and part.max_leaf_nodes is not None:
            part.set_params(max_leaf_nodes=min(part.max_leaf_nodes, LEAVES_IN_FOLDS))
    return copy


def candidates_of(model: Any, X: Any, classes: np.ndarray | None) -> np.ndarray:
    """Predict with a fitted learner, (candidates, n, 1), or probabilities (1, n, classes)."""
    if classes is not None:
        return probabilities_of(model, X, classes)[None]
    last = model[-1] if isinstance(model, Pipeline) else model
    if not isinstance(last, RidgePath):
        return column_or_1d(model.predict(X))[None, :, None]
    if isinstance(model, Pipeline):
        X = model[:-1].transform(X)
    return last.predict_path(X).T[:, :, None]


def n_candidates(model: Any) -> int:
    """Count the candidates of a fitted learner: the strengths of a ridge, or itself."""
    last = model[-1] if isinstance(model, Pipeline) else model
    return len(last.alphas) if isinstance(last, RidgePath) else 1


def choose_shares(held_out: list[tuple[Rows, np.ndarray]]) -> np.ndarray:
    """Choose shares of the candidates, none negative and 1 in sum, of least error in all folds.

    Each kind of folds has rows and the candidates' predictions of them, (candidates, n, columns);
    its errors count relative to those of its best candidate.
    """
    n_candidates = len(held_out[0][1])
    gram = np.zeros((n_candidates, n_candidates))
    for rows, predicted in held_out:
        errors = rows.target - predicted
        if rows.weights is not None:
            errors *= np.sqrt(rows.weights)[:, None]
        errors = errors.reshape(n_candidates, -1)
        products = errors @ errors.T  # with shares of sum 1, the blend's error is their product
        gram += products / max(products.diagonal().min(), 1e-300)
    gram += EQUAL_SHARES * np.eye(n_candidates)
    values, vectors = np.linalg.eigh(gram)
    root = np.sqrt(values.clip(0))[:, None] * vectors.T
    sum_to_one = 1e3 * np.sqrt(values.max())
    left = np.vstack([root, np.full((1, n_candidates), sum_to_one)])
    shares, _ = nnls(left, np.append(np.zeros(n_candidates), sum_to_one))
    return shares / shares.sum()
