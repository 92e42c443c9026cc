"""A weighted mean of learners of a table with places, corrected by neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import pandas as pd
from joblib import delayed
from sklearn.base import is_classifier
from sklearn.utils import (
    _safe_indexing,
    assert_all_finite,
    check_consistent_length,
    indexable,
)
from sklearn.utils.validation import _num_samples, column_or_1d

from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.model_selection._spatial import SpatialBlockKFold
from skgeo_embed.prediction.base import CorrectedEstimator, as_probabilities
from skgeo_embed.prediction.candidates import (
    candidates_of,
    choose_shares,
    fit_and_predict,
    n_candidates,
)
from skgeo_embed.prediction.corrections import NeighborCorrection, known_places
from skgeo_embed.prediction.rows import (
    Fold,
    HeldOutPredictions,
    Rows,
    deal_rows,
    order_of_rows,
    read_labels,
)
from skgeo_embed.prediction.several_fits import Fit, fit_rows, run_fits

N_SPLITS = 3
ROWS_OF_LEARNERS = 200_000  # learners see so many of a larger table; all are neighbours
ROWS_IN_BLOCKS = 4000  # so many of a larger table are held out in blocks
ROWS_AT_ONCE = 16_384  # of a prediction: learners copy what they read


@share_docs
class SpatialEnsemble(CorrectedEstimator):
    """A weighted mean of learners, corrected by the labels of the nearest places.

    The weights of learners, and how far neighbours are followed, are chosen on rows that are held
    out in two ways: at random, which measures predictions among training places, and in whole
    blocks, which measures predictions far from them. Each kind counts half, so that
    neither is improved at the cost of the other.

    Of more than 200,000 rows, learners are fitted on 200,000 that are drawn evenly, but at least
    three of each class that has so many. All rows are neighbours that correct predictions.

    Parameters
    ----------
    learners : list of (str, estimator)
        Regressors, or classifiers with `predict_proba`. Each strength of a
        :class:`~skgeo_embed.prediction.ridge_path.RidgePath` is a candidate of its own.
    {several_fits}

    Attributes
    ----------
    learners_ : list of (str, estimator)
        Fitted on all rows, or on the 200,000 that were drawn.
    shares_ : dict of str to ndarray
        Weights of each learner's candidates; the weights of all learners add up to 1.
    weighting_ : Weighting or None
        How neighbours correct a prediction; None if they do not improve it.
    reach_ : float
        Distance over which the correction falls by a factor e, in typical distances between
        places.
    held_out_ : dict of str to HeldOutPredictions
        Predictions of training rows that were held out, corrected by the places of the others:
        "random" of all rows, or of those drawn, and "blocks" of up to 4,000, if there are blocks.
        `fold` is the number of the fold of each row, -1 outside all folds, and `predicted` the
        prediction, or the probabilities of the classes. Models in folds have fewer or smaller
        trees.
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
        **CorrectedEstimator._parameter_constraints,
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

    def fit_with_neighbors(self, X: Any, y: Any, neighbors: Iterable[tuple[Any, Any]]) -> Self:
        """Fit learners on some rows, and correct predictions by these and by further ones.

        :func:`~skgeo_embed.fit_table` calls this for tables that are larger than memory.

        Parameters
        ----------
        X, y
            As for `fit`.
        neighbors : iterable of (X, y)
            Further rows, in parts that fit into memory. No learner is fitted on them.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a class of the further rows is not in `y`, or one of their labels is missing or
            infinite; or as `fit` does.
        """
        return self._fit_whole(X, y, None, None, None, neighbors=neighbors)

    def _fit_rows(
        self,
        X: Any,
        y: np.ndarray,
        lonlat: np.ndarray,
        coords: Any,
        groups: Any,
        neighbors: Iterable[tuple[Any, Any]] = (),
    ) -> None:
        self._check_learners()
        target = self._read_target(y)
        every, order = Rows(lonlat, target, self._row_weights), order_of_rows(X, target, lonlat)
        learnt = _drawn(order, every.weights, self._numbers(y))
        known = every.chosen(learnt)
        splits = self._split(y[learnt], known.lonlat)
        predicted, fitted = self._fit_learners(X, y, every.weights, learnt, splits)
        shares = choose_shares(
            [(known.chosen(split.rows), predicted[kind]) for kind, split in splits.items()]
        )
        self._keep_learners(fitted, shares)
        blends = {kind: np.tensordot(shares, parts, 1) for kind, parts in predicted.items()}
        near = blends["random"]
        others = order[~np.isin(order, learnt)]
        parts = [(known, near), (every.chosen(others), self._blend_in_parts(X, others))]
        self._correction = NeighborCorrection(
            known_places([*parts, *self._predicted_parts(neighbors)])
        )
        if "blocks" in splits:
            some, blocks = splits["blocks"]
            self._correction.limit_reach(*known.chosen(some), near[some], blends["blocks"], blocks)
        self.held_out_ = {}
        for kind, (rows, folds) in splits.items():
            corrected = self._correction.correct_held_out(
                *known.chosen(rows), near[rows], blends[kind], folds
            )
            self.held_out_[kind] = self._numbered(learnt[rows], folds, corrected, len(y))
        self.weighting_, self.reach_ = self._correction.weighting, self._correction.reach

    def _predicted_parts(
        self, neighbors: Iterable[tuple[Any, Any]]
    ) -> Iterator[tuple[Rows, np.ndarray]]:
        """Yield rows that no learner was fitted on, and their predictions."""
        for X, y in neighbors:
            labels = read_labels(y)
            check_consistent_length(X, labels)
            if not len(labels):
                continue
            if hasattr(self, "classes_"):
                strange = labels[~np.isin(labels, self.classes_)]
                if len(strange):
                    raise ValueError(
                        f"the class {strange[0]} is among the further rows, and y lacks it; put at "
                        "least one row of each class into y."
                    )
                target = (labels[:, None] == self.classes_).astype(np.float64)
            else:
                target = column_or_1d(labels, dtype=np.float64)[:, None]
                assert_all_finite(target, input_name="y")
            yield Rows(self._places(X, None), target, None), self._blend_in_parts(X)

    def _keep_learners(self, fitted: list[Any], shares: np.ndarray) -> None:
        names = [name for name, _ in self.learners]
        self.learners_ = list(zip(names, fitted, strict=True))
        sizes = [n_candidates(model) for model in fitted]
        parts = np.split(shares, np.cumsum(sizes)[:-1])
        self.shares_ = dict(zip(names, parts, strict=True))
        self.estimator_ = fitted[0]

    def _corrected(self, X: Any, coords: Any) -> np.ndarray:
        places = self._places(X, coords)
        (X,) = indexable(X)
        if not len(places):
            return self._blend(X)  # learners refuse an empty table
        blend = self._blend_in_parts(X)
        return blend + self._correction.correct(places, blend)

    def _blend_in_parts(self, X: Any, rows: np.ndarray | None = None) -> np.ndarray:
        """Return `_blend` of some rows, by default of all."""
        n_rows = _num_samples(X) if rows is None else len(rows)
        blend = np.empty((n_rows, len(self.classes_) if hasattr(self, "classes_") else 1))
        for start in range(0, n_rows, ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            some = part if rows is None else rows[part]
            blend[part] = self._blend(_safe_indexing(X, some))
        return blend

    def _blend(self, X: Any) -> np.ndarray:
        """Return the weighted mean of the learners, (n, 1) or (n, n_classes)."""
        classes = getattr(self, "classes_", None)
        parts = [
            np.tensordot(self.shares_[name], candidates_of(model, X, classes), 1)
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
        """Return random folds of all rows, and folds of blocks if the places allow blocks."""
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
                    call = delayed(fit_and_predict)(model, *table, *of_fold, classes)
                    what = f"{name}, {kind} fold {number} of {len(folds)}"
                    fits.append(Fit(what, len(train), call))
        for name, model in self.learners:
            fits.append(
                Fit(f"{name}, all rows", len(order), delayed(fit_rows)(model, *table, order))
            )
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


class Split(NamedTuple):
    """Rows that are dealt to folds, and the folds, which number these rows."""

    rows: np.ndarray
    folds: list[Fold]


def _drawn(order: np.ndarray, weights: np.ndarray | None, classes: np.ndarray | None) -> np.ndarray:
    """Draw the rows of a large table that learners are fitted on, or take all of a small one."""
    if len(order) <= ROWS_OF_LEARNERS:
        return order
    shuffled = np.random.RandomState(0).permutation(len(order))
    if weights is not None:  # rows that count for nothing last
        shuffled = shuffled[np.argsort(weights[order[shuffled]] == 0, kind="stable")]
    if classes is not None:  # first of each class, for learners to know it in all folds
        number = pd.Series(classes[order[shuffled]])
        many = number.groupby(number).cumcount() >= N_SPLITS
        shuffled = shuffled[np.argsort(many, kind="stable")]
    return order[np.sort(shuffled[:ROWS_OF_LEARNERS])]


def _some_rows(n_rows: int) -> np.ndarray:
    """Draw rows of a large table, or take all of a small one."""
    if n_rows <= ROWS_IN_BLOCKS:
        return np.arange(n_rows)
    return np.sort(np.random.RandomState(0).permutation(n_rows)[:ROWS_IN_BLOCKS])
