"""The area in which a model of places may be trusted."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from skgeo_embed._fitting import whole_fit
from skgeo_embed.places.numbers import without_mask
from skgeo_embed.places.reading import find_coordinates
from skgeo_embed.prediction.dissimilarity import (
    checked_importance,
    distances_to_other_folds,
    folds_of_places,
    mean_distance,
    numbered_places,
)
from skgeo_embed.prediction.error_profile import ErrorProfile
from skgeo_embed.prediction.inner_models import features_of_model, importance_of, last_step
from skgeo_embed.prediction.rows import order_of_rows

QUERIES = 4096  # at a time


class AreaOfApplicability(OutlierMixin, BaseEstimator):
    r"""Finds rows whose features are too unlike a model's training data.

    The dissimilarity index of a row is its distance to the nearest training row over the mean
    distance between training rows, in features that are standardised and weighted by their
    importance [1]_. Each training row is compared with those of other folds and at other places;
    rows share a place if `coords` says so, or, without `coords`, if their features are equal. The
    threshold is the largest of the places' indices that is not an outlier (at most 1.5
    interquartile ranges above the third quartile): below it, expect errors like those of the
    cross-validation at new places.

    Parameters
    ----------
    importance : array-like of shape (d,), default=None
        Weight of each feature, not negative, such as a forest's `feature_importances_` or the
        absolute coefficients of a linear model of standardised features. None gives equal weights.
    cv : int, splitter, iterable of pairs or None, default=None
        The folds of the model's cross-validation. None is five random folds of places, which do
        not depend on the order of the rows. Rows that no fold tests have no part in the threshold.

    Attributes
    ----------
    threshold_ : float
        Largest dissimilarity index inside the area.
    train_dissimilarity_ : ndarray of shape (n,)
        Indices of the training rows, to the nearest row of another fold and place; means over
        the folds of a row that is tested several times, NaN of one that is never tested.
    mean_distance_ : float
        Mean distance between training rows, in weighted standardised features.
    offset_ : float
        ``-threshold_``, in scikit-learn's words: ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Number of features; of an area made by :meth:`from_model`, those that the model's last step
        reads.
    feature_names_in_ : ndarray of shape (d,)
        Names of the features, if all are strings.

    References
    ----------
    .. [1] H. Meyer, E. Pebesma (2021). "Predicting into unknown space? Estimating the area of
       applicability of spatial prediction models". Methods in Ecology and Evolution 12.
       doi 10.1111/2041-210X.13650.

    Examples
    --------
    >>> from skgeo_embed import AreaOfApplicability, SatCLIPEncoder
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> places, _ = load_air_temperature(return_X_y=True)
    >>> encoder = SatCLIPEncoder(n_components=64).fit()
    >>> europe = places[places["lon"].between(-10, 30) & places["lat"].between(35, 60)]
    >>> area = AreaOfApplicability().fit(encoder.transform(europe))
    >>> inside = area.predict(encoder.transform([[10.0, 50.0], [-60.0, -3.0]]))
    >>> inside.tolist()  # the middle of Germany, and the Amazon
    [1, -1]
    """

    # as scikit-learn's own estimators: groups that a search hands to its splitter are not ours
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": False}

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "importance": ["array-like", None],
        "cv": ["cv_object"],
    }

    def __init__(self, *, importance: Any = None, cv: Any = None) -> None:
        self.importance = importance
        self.cv = cv

    def fit(
        self, X: Any, y: Any = None, coords: Any = None, groups: Any = None
    ) -> AreaOfApplicability:
        """Learn the features of the training rows, and the threshold.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Features that the model was trained on.
        y : array-like of shape (n,), default=None
            Values or classes of the rows, for a `cv` that reads them, such as
            ``SpatialBlockKFold(block_size="autocorrelation")``.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the rows, for a `cv` of spatial blocks, and to say which rows
            share a place.
        groups : array-like of shape (n,), default=None
            Group of each row, for a `cv` that splits by groups.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If there are fewer than two rows or places, or `importance` does not match the features.
        """
        return self._fit_features(X, y, coords, groups)

    @classmethod
    def from_model(
        cls,
        model: Any,
        X: Any,
        y: Any = None,
        *,
        coords: Any = None,
        cv: Any = None,
        groups: Any = None,
    ) -> AreaOfApplicability:
        """Fit the area of a fitted model, in the features that its last step reads.

        Features count by their importance in the last step: its `feature_importances_`, or the
        absolute values of its `coef_` times the features' deviations. For a model that
        :func:`~skgeo_embed.spatial_pipeline` builds, this is the learner with the largest share
        that has either. Without them, all features have the same weight.

        Parameters
        ----------
        model : estimator object
            A fitted pipeline, or a meta-estimator or search around one.
        X : array-like or frame of shape (n, d)
            The table that the model was fitted on.
        y : array-like of shape (n,), default=None
            As for :meth:`fit`.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the rows, if X does not say which columns hold them.
        cv, groups
            As for the constructor and :meth:`fit`.

        Returns
        -------
        area : AreaOfApplicability
            Fitted; its methods take tables like X.

        Examples
        --------
        >>> from sklearn.linear_model import Ridge
        >>> from sklearn.pipeline import make_pipeline
        >>> from skgeo_embed import AreaOfApplicability, SatCLIPEncoder
        >>> from skgeo_embed.datasets import load_air_temperature
        >>> X, y = load_air_temperature(return_X_y=True)
        >>> here = X["lon"].between(-10, 30) & X["lat"].between(35, 60)
        >>> model = make_pipeline(SatCLIPEncoder(n_components=64), Ridge()).fit(X[here], y[here])
        >>> AreaOfApplicability.from_model(model, X[here]).predict([[10.0, 50.0], [-60.0, -3.0]])
        array([ 1, -1])
        """
        features = features_of_model(model, X)
        importance = importance_of(last_step(model), features)
        lonlat = find_coordinates(X, coords)
        area = cls(importance=importance, cv=cv)
        return area._fit_features(features, y, lonlat, groups, model, X)

    @property
    def takes_tables(self) -> bool:
        """Whether methods take a model's tables, and not features."""
        return self._model is not None

    def _fit_features(
        self, X: Any, y: Any, coords: Any, groups: Any, model: Any = None, table: Any = None
    ) -> AreaOfApplicability:
        """Fit on features X, of a model's table if there is a model."""
        table = X if model is None else table
        with whole_fit(self) as twin:
            twin._model = model
            features = validate_data(twin, without_mask(X), dtype=np.float64, ensure_min_samples=2)
            twin._mean = features.mean(axis=0)
            spread = features.std(axis=0)
            weights = checked_importance(self.importance, features.shape[1])
            if not np.isfinite(spread).all():
                column = int(np.flatnonzero(~np.isfinite(spread))[0])
                raise ValueError(f"the values of column {column} are too large to be compared.")
            varies = spread > 1e-12 * np.abs(twin._mean)  # what rounding makes of a constant
            twin._weights = weights / np.where(varies, spread, 1.0)
            scaled = twin._scale(features)
            lonlat = None if coords is None else find_coordinates(scaled, coords)
            nothing = np.empty((len(scaled), 0))
            order = order_of_rows(scaled, nothing, nothing if lonlat is None else lonlat)
            twin.mean_distance_ = mean_distance(scaled[order])
            place = numbered_places(scaled / twin.mean_distance_, lonlat)
            folds = folds_of_places(self.cv, table, y, lonlat, groups, place, order)
            distance, tested = distances_to_other_folds(scaled, place, folds)
            twin.train_dissimilarity_ = distance / twin.mean_distance_
            counts = np.bincount(place[tested])
            sums = np.bincount(place[tested], twin.train_dissimilarity_[tested])
            of_places = sums[counts > 0] / counts[counts > 0]
            low, high = np.quantile(of_places, [0.25, 0.75])
            twin.threshold_ = float(of_places[of_places <= high + 1.5 * (high - low)].max())
            twin.offset_ = -twin.threshold_
            twin._nearest = NearestNeighbors(n_neighbors=1).fit(scaled)
            twin._place = place
        return self

    def dissimilarity(self, X: Any) -> np.ndarray:
        """Return the dissimilarity index of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Features.

        Returns
        -------
        index : ndarray of shape (n,)
            0 for a training row, 1 at the mean distance between training rows.
        """
        rows = self._read(X)
        distance, _ = self._nearest.kneighbors(rows)
        return distance[:, 0] / self.mean_distance_

    def local_density(self, X: Any) -> np.ndarray:
        """Count the training places that are like each row.

        It is the local point density [1]_: the number of places with a training row whose
        dissimilarity to the row is at most the threshold. A row inside the area has at least one;
        with few, its prediction rests on few.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Features.

        Returns
        -------
        density : ndarray of shape (n,), int
            Places, 0 outside the area.

        References
        ----------
        .. [1] F. Schumacher, C. Knoth, M. Ludwig, H. Meyer (2025). "Estimation of local training
           data point densities to support the assessment of spatial prediction uncertainty".
           Geoscientific Model Development 18. doi 10.5194/gmd-18-10185-2025.

        Examples
        --------
        >>> import numpy as np
        >>> from skgeo_embed import AreaOfApplicability
        >>> area = AreaOfApplicability().fit(np.arange(10.0)[:, None])
        >>> area.local_density([[4.5], [0.0], [60.0]]).tolist()
        [2, 2, 0]
        """
        rows = self._read(X)
        radius = self.threshold_ * self.mean_distance_ * (1 + 1e-9)
        density = np.empty(len(rows), dtype=int)
        for start in range(0, len(rows), QUERIES):
            part = slice(start, start + QUERIES)
            near = self._nearest.radius_neighbors(rows[part], radius, return_distance=False)
            density[part] = [len(np.unique(self._place[some])) for some in near]
        return density

    def error_profile(self, errors: Any) -> ErrorProfile:
        """Learn what error to expect at each dissimilarity index.

        Parameters
        ----------
        errors : array-like of shape (n,)
            Errors of the training rows in the model's cross-validation, in the order of `fit`:
            prediction less truth; those of rows that no fold tests do not count. Use the folds of
            `cv`, so that the index of a row says how unlike the training rows of its fold were.

        Returns
        -------
        profile : ErrorProfile
            ``profile.predict(area.dissimilarity(X))`` is the error to expect.

        Raises
        ------
        ValueError
            If there is not one finite error for each training row that a fold tests.

        Examples
        --------
        >>> from sklearn.linear_model import Ridge
        >>> from sklearn.model_selection import cross_val_predict
        >>> from sklearn.pipeline import make_pipeline
        >>> from skgeo_embed import AreaOfApplicability, SatCLIPEncoder
        >>> from skgeo_embed.datasets import load_air_temperature
        >>> from skgeo_embed.model_selection import SpatialBlockKFold
        >>> X, y = load_air_temperature(return_X_y=True)
        >>> X, y = X[::8], y[::8]
        >>> model, cv = make_pipeline(SatCLIPEncoder(n_components=64), Ridge()), SpatialBlockKFold()
        >>> area = AreaOfApplicability.from_model(model.fit(X, y), X, cv=cv)
        >>> profile = area.error_profile(cross_val_predict(model, X, y, cv=cv) - y)
        >>> low, high = profile.predict([0.05, 0.3])
        >>> bool(low <= high)
        True
        """
        check_is_fitted(self)
        errors = column_or_1d(without_mask(errors), dtype=np.float64)
        if errors.shape != self._place.shape:
            raise ValueError(
                f"errors must be one number for each of the {len(self._place)} training rows; got "
                f"{len(errors)}."
            )
        tested = np.isfinite(self.train_dissimilarity_)
        wrong = np.flatnonzero(tested & ~np.isfinite(errors))
        if len(wrong):
            raise ValueError(
                f"errors must be finite for each of the {tested.sum()} training rows that a fold "
                f"tests; row {wrong[0]} has {errors[wrong[0]]}."
            )
        place = np.unique(self._place[tested], return_inverse=True)[1].ravel()
        return ErrorProfile(self.train_dissimilarity_[tested], errors[tested], place)

    def _read(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = X if self._model is None else features_of_model(self._model, X)
        features = validate_data(self, without_mask(X), dtype=np.float64, reset=False)
        return self._scale(features)

    def score_samples(self, X: Any) -> np.ndarray:
        """Return minus the dissimilarity index: the higher, the more like the training data.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Features.

        Returns
        -------
        scores : ndarray of shape (n,)
            At most 0.
        """
        return -self.dissimilarity(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the threshold less the dissimilarity index: negative outside the area.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Features.

        Returns
        -------
        scores : ndarray of shape (n,)
            Negative outside.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Say to which rows the model is applicable.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Features.

        Returns
        -------
        inside : ndarray of shape (n,), int
            1 inside the area, -1 outside.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def _scale(self, features: np.ndarray) -> np.ndarray:
        return (features - self._mean) * self._weights
