"""Prediction intervals that widen with the distance to known places."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.model_selection._spatial import taken_by
from skgeo_embed.places.numbers import without_mask
from skgeo_embed.prediction.conformal import SpatialConformal


@share_docs
class SpatialConformalRegressor(SpatialConformal):
    r"""A regressor with prediction intervals that are valid both near and far from labels.

    Cross-conformal intervals [1]_ cover a given share of rows that are like the held-out ones: with
    random folds rows among known places, with blocks rows far from them. Here both kinds of folds
    are predicted, and each absolute error is kept with the remoteness of its row from the training
    places of the fold: the mean distance to the five nearest places, plus the distance to their
    centre, which is large if they all lie on one side. In bands of remoteness the half-width of
    the interval is the conformal quantile of the errors, made to increase with remoteness:

    .. math::
        q(d) = \text{the smallest error that a share } (m + 1)\, c \, / \, m
        \text{ of } m \text{ rows around } d \text{ does not exceed}

    for confidence level c. A row counts once, however often it is held out, so at least
    c / (1 - c) rows are needed: 9 for a level of 0.9, and 19 for 0.95. Rows that share a place have
    similar errors. So at new places a place counts once, and a place that was known to the fold is
    compared with known places alone. The half-width is interpolated between the medians of bands,
    and constant beyond the last: rows that are more remote than all held-out ones have no guarantee
    (:class:`~skgeo_embed.AreaOfApplicability` finds rows of that kind).

    Errors may be larger in one part of the map than in another. With local weights, the half-width
    is multiplied by the conformal quantile of the ratios error / q around the place, weighted by a
    Gaussian of the distance as in geographically weighted conformal prediction [2]_.

    Parameters
    ----------
    estimator : estimator object
        Any regressor, such as a :class:`~skgeo_embed.ResidualInterpolator` or a
        :func:`~skgeo_embed.spatial_pipeline`.
    confidence_level : float, default=0.9
        Share of true values inside their intervals, in (0, 1).
    {conformal}

    Attributes
    ----------
    estimator_ : estimator object
        Fitted on all rows.
    method_ : {"remoteness", "local"}
        How half-widths are made.
    remoteness_km_ : ndarray of shape (n_bands,)
        Median remoteness of each band.
    half_widths_ : ndarray of shape (n_bands,)
        Half-width of the interval in each band, in the units of y, before local weights.
    {n_features_of_estimator}

    References
    ----------
    .. [1] V. Vovk (2015). "Cross-conformal predictors". Annals of Mathematics and Artificial
       Intelligence 74. doi 10.1007/s10472-013-9368-4.
    .. [2] X. Lou, P. Luo, L. Meng (2025). "GeoConformal prediction: a model-agnostic framework for
       measuring the uncertainty of spatial prediction". Annals of the American Association of
       Geographers 115:1971-1998. doi 10.1080/24694452.2025.2516091.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skgeo_embed import SatCLIPEncoder, SpatialConformalRegressor
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> model = SpatialConformalRegressor(make_pipeline(SatCLIPEncoder(n_components=64), Ridge()))
    >>> low, high = model.fit(X[::2], y[::2]).predict_interval(X[1::2]).T
    >>> bool(0.85 < ((low <= y[1::2]) & (y[1::2] <= high)).mean() < 0.95)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        **SpatialConformal._parameter_constraints,
    }

    half_widths_: np.ndarray

    def _fit_rows(
        self, X: Any, y: np.ndarray, lonlat: np.ndarray, coords: Any, groups: Any
    ) -> None:
        if is_classifier(self.estimator):
            raise TypeError(
                f"intervals are for regressors, and {type(self.estimator).__name__} is a "
                "classifier; SpatialConformalClassifier makes sets of classes."
            )
        self._fit_and_calibrate(X, column_or_1d(y, dtype=np.float64), lonlat, coords, groups)
        self.half_widths_ = self._quantiles

    def _predicted(self, model: Any, X: Any, coords: Any) -> np.ndarray:
        return column_or_1d(model.predict(X, **taken_by(model.predict, coords=coords)))

    def _errors(self, predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.abs(y - predicted)

    def predict(self, X: Any, coords: Any = None) -> np.ndarray:
        """Predict by the regressor.

        Parameters
        ----------
        X, coords
            As for `fit`.

        Returns
        -------
        y : ndarray of shape (n,)
            Predictions.
        """
        check_is_fitted(self)
        return self._predicted(self.estimator_, without_mask(X), coords)

    def predict_interval(self, X: Any, coords: Any = None) -> np.ndarray:
        """Return the interval of each row.

        Parameters
        ----------
        X, coords
            As for `fit`.

        Returns
        -------
        interval : ndarray of shape (n, 2)
            Lower and upper bound, in the units of y.
        """
        return self.interval_around(self.predict(X, coords), X, coords)

    def interval_around(self, predictions: Any, X: Any, coords: Any = None) -> np.ndarray:
        """Return the interval of each row around predictions that are already made.

        Parameters
        ----------
        predictions : array-like of shape (n,)
            What `predict` returned for these rows.
        X, coords
            As for `fit`.

        Returns
        -------
        interval : ndarray of shape (n, 2)
            Lower and upper bound, in the units of y.
        """
        check_is_fitted(self)
        half = self._bounds(self._places(X, coords))
        middle = column_or_1d(predictions)
        return np.column_stack([middle - half, middle + half])
