"""Ridge regressions of several strengths at the cost of one."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skgeo_embed.places.numbers import without_mask

ROWS_AT_ONCE = 16_384  # a standardised copy of all rows could be larger than the table


class RidgePath(RegressorMixin, BaseEstimator):
    """Ridge regressions of several strengths from one eigendecomposition.

    Columns are standardised first. `predict` uses the middle strength; `predict_path` uses all of
    them, so that the best can be chosen on held-out rows.

    Parameters
    ----------
    alphas : tuple of float, default=(1, 10, 100, 1000, 10000)
        Strengths: penalties of squared coefficients.

    Attributes
    ----------
    coef_ : ndarray of shape (n_alphas, d)
        Coefficients of the columns before standardisation.
    intercept_ : ndarray of shape (n_alphas,)
        Intercepts.

    Examples
    --------
    >>> import numpy as np
    >>> from skgeo_embed.prediction.ridge_path import RidgePath
    >>> X = np.arange(6.0)[:, None]
    >>> RidgePath((1e-9, 6.0)).fit(X, 2 * X[:, 0]).predict_path([[5.0]]).round(2).tolist()
    [[10.0, 7.5]]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {"alphas": ["array-like"]}

    def __init__(self, alphas: tuple[float, ...] = (1.0, 10.0, 100.0, 1e3, 1e4)) -> None:
        self.alphas = alphas

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RidgePath:
        """Fit all strengths.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Features.
        y : array-like of shape (n,)
            Targets.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows: one of weight 2 counts as two rows.

        Returns
        -------
        self : object
            The fitted regressor.
        """
        self._validate_params()
        y = without_mask(y)
        X, y = validate_data(self, without_mask(X), y, dtype=np.float64, y_numeric=True)
        given = None
        if sample_weight is not None:
            given = _check_sample_weight(sample_weight, X, dtype=np.float64)
        centre = np.average(X, axis=0, weights=given)
        mean = np.average(y, weights=given)
        spread = _spread(X, centre, given)
        root, left = None if given is None else np.sqrt(given), y - mean

        def standard(rows: slice) -> np.ndarray:
            part = (X[rows] - centre) / spread
            return part if root is None else part * root[rows, None]

        left = left if root is None else left * root
        alphas = np.asarray(self.alphas)
        if X.shape[0] < X.shape[1]:  # as many unknowns as rows
            whole = standard(slice(None))
            values, vectors = np.linalg.eigh(whole @ whole.T)
            turned = (vectors.T @ left)[:, None]
            weights = whole.T @ (vectors @ (turned / (values.clip(0)[:, None] + alphas)))
        else:
            products, projected = np.zeros((X.shape[1], X.shape[1])), np.zeros(X.shape[1])
            for rows in gen_batches(len(X), ROWS_AT_ONCE):
                part = standard(rows)
                products += part.T @ part
                projected += part.T @ left[rows]
            values, vectors = np.linalg.eigh(products)
            turned = (vectors.T @ projected)[:, None]
            weights = vectors @ (turned / (values.clip(0)[:, None] + alphas))
        self.coef_ = (weights / spread[:, None]).T
        self.intercept_ = mean - self.coef_ @ centre
        return self

    def predict_path(self, X: Any) -> np.ndarray:
        """Predict with every strength.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Features.

        Returns
        -------
        y : ndarray of shape (n, n_alphas)
            Predictions.
        """
        check_is_fitted(self)
        X = validate_data(self, without_mask(X), dtype=np.float64, reset=False)
        return X @ self.coef_.T + self.intercept_

    def predict(self, X: Any) -> np.ndarray:
        """Predict with the middle strength.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Features.

        Returns
        -------
        y : ndarray of shape (n,)
            Predictions.
        """
        return self.predict_path(X)[:, len(self.alphas) // 2]


def _spread(X: np.ndarray, centre: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the deviation of each column, 1 if it is constant."""
    weights = np.ones(len(X)) if weights is None else weights
    squares = np.zeros(X.shape[1])
    for rows in gen_batches(len(X), ROWS_AT_ONCE):
        squares += weights[rows] @ (X[rows] - centre) ** 2
    spread = np.sqrt(squares / weights.sum())
    return np.where(spread > 1e-12 * np.abs(centre), spread, 1.0)
