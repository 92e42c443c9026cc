"""A weighted mean of learners of a table with places, corrected by neighbours."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from joblib import Parallel, delayed
from scipy.optimize import nnls
from sklearn.base import clone, is_classifier
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, gen_batches, indexable
from sklearn.utils.validation import column_or_1d

from skgeo_embed.model_selection._spatial import SpatialBlockKFold
from skgeo_embed.prediction.base import CorrectedEstimator
from skgeo_embed.prediction.corrections import KnownPlaces, NeighborCorrection
from skgeo_embed.prediction.ridge_path import RidgePath
from skgeo_embed.prediction.rows import Fold, deal_rows, order_of_rows
from skgeo_embed.prediction.weights import weighted_fit_arguments

N_SPLITS = 3
ROWS_IN_BLOCKS = 4000  # of a larger table so many are held out in blocks
TREES_IN_FOLDS = 20  # where a forest has more
LEAVES_IN_FOLDS = 15  # where boosted trees have more
ROWS_AT_ONCE = 16_384  # of a prediction: learners copy what they read
EQUAL_SHARES = 0.02  # strength of the penalty that draws shares towards equal ones


class SpatialEnsemble(CorrectedEstimator):
    """A weighted mean of learners, corrected by the labels of the nearest places.

    The weights of learners, and how far neighbours are followed, are chosen on rows that are held
    out in two ways: at random, which measures predictions among training places, and in whole
    blocks, which measures predictions far from them. Each kind counts half, so that
    neither is improved at the cost of the other.

    Parameters
    ----------
    learners : list of (str, estimator)
        Regressors, or classifiers with `predict_proba`. Each strength of a
        :class:`~skgeo_embed.prediction.ridge_path.RidgePath` is a candidate of its own.
    lon, lat : str or int, default=None
        Names of the longitude and latitude columns, if they are not recognised.
    n_jobs : int, default=None
        Number of processes for the folds.

    Attributes
    ----------
    learners_ : list of (str, estimator)
        Fitted on all rows.
    shares_ : dict of str to ndarray
        Weights of each learner's candidates; the weights of all learners add up to 1.
    weighting_ : Weighting or None
        How neighbours correct a prediction; None if they do not improve it.
    reach_ : float
        Distance over which the correction falls by a factor e, in typical distances between
        places.
    classes_ : ndarray of shape (n_classes,)
        Classes, if the learners are classifiers.
    n_features_in_, feature_names_in_
        Those of the first learner, if it has them.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.neighbors import KNeighborsRegressor
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> from skgeo_embed.prediction.ensemble import SpatialEnsemble
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> learners = [("linear", LinearRegression()), ("nearest", KNeighborsRegressor())]
    >>> model = SpatialEnsemble(learners).fit(X[::3], y[::3])
    >>> bool(model.score(X[1::3], y[1::3]) > 0.9)
    True
    >>> float(sum(share.sum() for share in model.shares_.values()))
    1.0
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "learners": [list],
        "lon": "no_validation",
        "lat": "no_validation",
        "n_jobs": [int, None],
    }

    def __init__(
        self,
        learners: list[tuple[str, Any]],
        *,
        lon: str | int | None = None,
        lat: str | int | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.learners = learners
        self.lon = lon
        self.lat = lat
        self.n_jobs = n_jobs

    @property
    def _leading(self) -> Any:
        return self.learners[0][1]

    def _fit_rows(
        self, X: Any, y: np.ndarray, lonlat: np.ndarray, coords: Any, groups: Any
    ) -> None:
        self._check_learners()
        target = self._read_target(y)
        order = order_of_rows(X, target, lonlat)
        X, y, lonlat, target = _safe_indexing(X, order), y[order], lonlat[order], target[order]
        weights = self._row_weights
        weights = None if weights is None else weights[order]
        random = self._random_folds(y)
        held_out = [(target, self._hold_out(X, y, weights, random), weights)]
        some = _some_rows(len(y))
        of_some = None if weights is None else weights[some]
        blocks = self._block_folds(y[some], lonlat[some])
        if blocks:
            found = self._hold_out(_safe_indexing(X, some), y[some], of_some, blocks)
            held_out.append((target[some], found, of_some))
        shares = _choose_shares(held_out)
        near, *far = (np.tensordot(shares, found, 1) for _, found, _ in held_out)
        self._correction = NeighborCorrection(KnownPlaces(lonlat, target, near, weights))
        if blocks:
            self._correction.limit_reach(
                lonlat[some], target[some], near[some], far[0], blocks, of_some
            )
        self.weighting_, self.reach_ = self._correction.weighting, self._correction.reach
        names = [name for name, _ in self.learners]
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit)(model, X, y, weights) for _, model in self.learners
        )
        self.learners_ = list(zip(names, fitted, strict=True))
        sizes = [_n_candidates(model) for model in fitted]
        parts = np.split(shares, np.cumsum(sizes)[:-1])
        self.shares_ = dict(zip(names, parts, strict=True))
        self.estimator_ = fitted[0]

    def _corrected(self, X: Any, coords: Any) -> np.ndarray:
        places = self._places(X, coords)
        (X,) = indexable(X)
        batches = gen_batches(max(1, len(places)), ROWS_AT_ONCE)  # learners refuse an empty table
        blend = np.concatenate([self._blend(_safe_indexing(X, rows)) for rows in batches])
        return blend + self._correction.correct(places, blend)

    def _blend(self, X: Any) -> np.ndarray:
        """Return the weighted mean of the learners, (n, 1) or (n, n_classes)."""
        classes = getattr(self, "classes_", None)
        parts = [
            np.tensordot(self.shares_[name], _candidates(model, X, classes), 1)
            for name, model in self.learners_
            if self.shares_[name].any()
        ]
        return np.sum(parts, axis=0)

    def _check_learners(self) -> None:
        names = [name for name, _ in self.learners]
        twice = [name for name in names if names.count(name) > 1]
        if not names or twice:
            found = f"{twice[0]!r} twice" if twice else "none"
            raise ValueError(f"learners must be at least one, with different names; got {found}.")

    def _random_folds(self, y: np.ndarray) -> list[Fold]:
        return deal_rows(len(y), N_SPLITS, self._numbers(y))

    def _block_folds(self, y: np.ndarray, lonlat: np.ndarray) -> list[Fold]:
        """Return folds of blocks; none if places or classes are too few."""
        splitter = SpatialBlockKFold(N_SPLITS, block_size="auto")
        if len(np.unique(splitter.blocks(lonlat))) < N_SPLITS:
            return []
        folds, numbers = list(splitter.split(lonlat)), self._numbers(y)
        known = numbers is None or all(np.ptp(numbers[train]) for train, _ in folds)
        return folds if known else []

    def _numbers(self, y: np.ndarray) -> np.ndarray | None:
        return np.unique(y, return_inverse=True)[1] if is_classifier(self._leading) else None

    def _hold_out(
        self, X: Any, y: np.ndarray, weights: np.ndarray | None, folds: list[Fold]
    ) -> np.ndarray:
        """Predict held-out rows with each candidate, (candidates, n, columns)."""
        classes = getattr(self, "classes_", None)
        jobs = [(model, fold) for fold in folds for _, model in self.learners]
        found = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_and_predict)(model, X, y, weights, *fold, classes) for model, fold in jobs
        )
        n_learners = len(self.learners)
        rows = [np.concatenate(found[i : i + n_learners]) for i in range(0, len(found), n_learners)]
        whole = np.empty((rows[0].shape[0], len(y), rows[0].shape[2]))
        for (_, test), part in zip(folds, rows, strict=True):
            whole[:, test] = part
        return whole


def _fit(model: Any, X: Any, y: np.ndarray, weights: np.ndarray | None) -> Any:
    return clone(model).fit(X, y, **weighted_fit_arguments(model, weights))


def _fit_and_predict(
    model: Any,
    X: Any,
    y: np.ndarray,
    weights: np.ndarray | None,
    train: np.ndarray,
    test: np.ndarray,
    classes: Any,
) -> np.ndarray:
    some = None if weights is None else weights[train]
    fitted = _fit(_lighter(model), _safe_indexing(X, train), y[train], some)
    return _candidates(fitted, _safe_indexing(X, test), classes)


def _lighter(model: Any) -> Any:
    """Return a copy with fewer or smaller trees, which suffice to weigh learners."""
    copy = clone(model)
    for part in (copy, *copy.get_params().values()):
        if isinstance(part, BaseForest):
            part.set_params(n_estimators=min(part.n_estimators, TREES_IN_FOLDS))
        elif isinstance(part, BaseHistGradientBoosting) and part.max_leaf_nodes is not None:
            part.set_params(max_leaf_nodes=min(part.max_leaf_nodes, LEAVES_IN_FOLDS))
    return copy


def _candidates(model: Any, X: Any, classes: np.ndarray | None) -> np.ndarray:
    """Predict with a fitted learner, (candidates, n, 1), or probabilities (1, n, classes)."""
    if classes is not None:
        known = model.predict_proba(X)
        found = np.zeros((1, len(known), len(classes)))
        found[0][:, np.searchsorted(classes, model.classes_)] = known
        return found
    last = model[-1] if isinstance(model, Pipeline) else model
    if not isinstance(last, RidgePath):
        return column_or_1d(model.predict(X))[None, :, None]
    if isinstance(model, Pipeline):
        X = model[:-1].transform(X)
    return last.predict_path(X).T[:, :, None]


def _n_candidates(model: Any) -> int:
    last = model[-1] if isinstance(model, Pipeline) else model
    return len(last.alphas) if isinstance(last, RidgePath) else 1


def _some_rows(n_rows: int) -> np.ndarray:
    """Draw rows of a large table, or take all of a small one."""
    if n_rows <= ROWS_IN_BLOCKS:
        return np.arange(n_rows)
    return np.sort(np.random.RandomState(0).permutation(n_rows)[:ROWS_IN_BLOCKS])


def _choose_shares(held_out: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]) -> np.ndarray:
    """Choose shares of the candidates, none negative and 1 in sum, of least error in all folds.

    Each kind of folds has targets, the candidates' predictions and weights of rows; its errors
    count relative to those of its best candidate.
    """
    n_candidates = len(held_out[0][1])
    gram = np.zeros((n_candidates, n_candidates))
    for target, found, weights in held_out:
        errors = target - found
        if weights is not None:
            errors *= np.sqrt(weights)[:, None]
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
