"""A weighted mean of learners of a table with places, corrected by neighbours."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from joblib import delayed
from scipy.optimize import nnls
from sklearn.base import clone, is_classifier
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, gen_batches, indexable
from sklearn.utils.validation import column_or_1d

from skgeo_embed.model_selection._spatial import SpatialBlockKFold
from skgeo_embed.prediction.base import CorrectedEstimator, as_probabilities, probabilities_of
from skgeo_embed.prediction.corrections import KnownPlaces, NeighborCorrection
from skgeo_embed.prediction.ridge_path import RidgePath
from skgeo_embed.prediction.rows import Fold, HeldOutPredictions, deal_rows, order_of_rows
from skgeo_embed.prediction.several_fits import Fit, fit_rows, run_fits

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
        Number of processes for the fits.
    verbose : int, default=0
        With 1, a line after each fit says how many are done, and about how long the others take.

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
    held_out_ : dict of str to HeldOutPredictions
        Predictions of training rows that were held out, corrected by the places of the others:
        "random" of all rows, and "blocks" of up to 4,000, if there are blocks. `fold` is the
        number of the fold of each row, -1 outside all folds, and `predicted` the prediction, or
        the probabilities of the classes. Models in folds have fewer or smaller trees.
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
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        learners: list[tuple[str, Any]],
        *,
        lon: str | int | None = None,
        lat: str | int | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.learners = learners
        self.lon = lon
        self.lat = lat
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def _leading(self) -> Any:
        return self.learners[0][1]

    def _fit_rows(
        self, X: Any, y: np.ndarray, lonlat: np.ndarray, coords: Any, groups: Any
    ) -> None:
        self._check_learners()
        target = self._read_target(y)
        order = order_of_rows(X, target, lonlat)
        weights = self._row_weights
        known = Rows(lonlat, target, weights).chosen(order)
        splits = self._split(y[order], known.lonlat)
        predicted, fitted = self._fit_learners(X, y, weights, order, splits)
        shares = _choose_shares(
            [(known.chosen(split.rows), predicted[kind]) for kind, split in splits.items()]
        )
        blends = {kind: np.tensordot(shares, parts, 1) for kind, parts in predicted.items()}
        near = blends["random"]
        self._correction = NeighborCorrection(
            KnownPlaces(known.lonlat, known.target, near, known.weights)
        )
        if "blocks" in splits:
            some, blocks = splits["blocks"]
            self._correction.limit_reach(*known.chosen(some), near[some], blends["blocks"], blocks)
        self.held_out_ = {}
        for kind, (rows, folds) in splits.items():
            corrected = self._correction.correct_held_out(
                *known.chosen(rows), near[rows], blends[kind], folds
            )
            self.held_out_[kind] = self._numbered(order[rows], folds, corrected, len(y))
        self.weighting_, self.reach_ = self._correction.weighting, self._correction.reach
        names = [name for name, _ in self.learners]
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

    def _split(self, y: np.ndarray, lonlat: np.ndarray) -> dict[str, Split]:
        """Return the folds of all rows at random, and those of blocks if there can be any."""
        random = deal_rows(len(y), N_SPLITS, self._numbers(y))
        splits = {"random": Split(np.arange(len(y)), random)}
        some = _some_rows(len(y))
        blocks = self._block_folds(y[some], lonlat[some])
        return splits | {"blocks": Split(some, blocks)} if blocks else splits

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

    def _fit_learners(
        self,
        X: Any,
        y: np.ndarray,
        weights: np.ndarray | None,
        order: np.ndarray,
        splits: dict[str, Split],
    ) -> tuple[dict[str, np.ndarray], list[Any]]:
        """Predict the rows of each split, (candidates, n, columns), and fit learners on all rows.

        Splits number the rows in their `order`; the other arguments have the order given to `fit`.
        """
        table, classes = (X, y, weights), getattr(self, "classes_", None)
        fits = []
        for kind, (rows, folds) in splits.items():
            for number, (train, test) in enumerate(folds, 1):
                of_fold = order[rows[train]], order[rows[test]]
                for name, model in self.learners:
                    call = delayed(_fit_and_predict)(model, *table, *of_fold, classes)
                    what = f"{name}, {kind} fold {number} of {len(folds)}"
                    fits.append(Fit(what, len(train), call))
        for name, model in self.learners:
            fits.append(Fit(f"{name}, all rows", len(y), delayed(fit_rows)(model, *table, order)))
        done = iter(run_fits(self, fits))
        predicted = {}
        for kind, (rows, folds) in splits.items():
            parts = [np.concatenate([next(done) for _ in self.learners]) for _ in folds]
            whole = np.empty((len(parts[0]), len(rows), parts[0].shape[2]))
            for (_, test), part in zip(folds, parts, strict=True):
                whole[:, test] = part
            predicted[kind] = whole
        return predicted, list(done)

    def _numbered(
        self, rows: np.ndarray, folds: list[Fold], corrected: np.ndarray, n_rows: int
    ) -> HeldOutPredictions:
        """Return held-out predictions in the order of the rows given to `fit`."""
        fold = np.full(n_rows, -1)
        for number, (_, test) in enumerate(folds):
            fold[rows[test]] = number
        if hasattr(self, "classes_"):
            corrected = as_probabilities(corrected)
        predicted = np.full((n_rows, corrected.shape[1]), np.nan)
        predicted[rows] = corrected
        return HeldOutPredictions(fold, predicted if hasattr(self, "classes_") else predicted[:, 0])


class Rows(NamedTuple):
    """Places (n, 2), targets (n, columns) and weights (n,) of rows."""

    lonlat: np.ndarray
    target: np.ndarray
    weights: np.ndarray | None

    def chosen(self, rows: np.ndarray) -> Rows:
        """Return some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Rows(self.lonlat[rows], self.target[rows], weights)


class Split(NamedTuple):
    """Rows that are dealt to folds, and the folds, which number these rows."""

    rows: np.ndarray
    folds: list[Fold]


def _fit_and_predict(
    model: Any,
    X: Any,
    y: np.ndarray,
    weights: np.ndarray | None,
    train: np.ndarray,
    test: np.ndarray,
    classes: Any,
) -> np.ndarray:
    fitted = fit_rows(_lighter(model), X, y, weights, train)
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
        return probabilities_of(model, X, classes)[None]
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


def _choose_shares(held_out: list[tuple[Rows, np.ndarray]]) -> np.ndarray:
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
