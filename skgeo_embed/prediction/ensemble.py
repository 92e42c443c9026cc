"""Several learners of a table with places, their neighbours, and how much each of them counts."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from joblib import Parallel, delayed
from scipy.optimize import nnls
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, indexable

from skgeo_embed.model_selection._spatial import SpatialBlockKFold
from skgeo_embed.prediction.base import PlacesMetaEstimator
from skgeo_embed.prediction.corrections import KnownPlaces, NeighborCorrection
from skgeo_embed.prediction.ridge_path import RidgePath

Fold = tuple[np.ndarray, np.ndarray]
N_SPLITS = 3
EQUAL_SHARES = 0.02  # how strongly shares are drawn to equal ones, of what the target varies


def _is_classifying(model: SpatialEnsemble) -> bool:
    return is_classifier(model._leading)


class SpatialEnsemble(PlacesMetaEstimator):
    """A weighted mean of learners, corrected by the labels of the nearest places.

    How much each learner counts, and how far neighbours are followed, is chosen on rows that are
    held out in two ways: at random, which shows how a model does among its neighbours, and in
    whole blocks, which shows how it does where nobody has measured. Each kind counts half, so that
    neither is bought at the price of the other.

    Parameters
    ----------
    learners : list of (str, estimator)
        Regressors, or classifiers with `predict_proba`. Each strength of a
        :class:`~skgeo_embed.prediction.ridge_path.RidgePath` is a candidate of its own.
    lon, lat : str or int, default=None
        Names of the longitude and latitude columns, if they are not recognised.
    n_jobs : int, default=None
        Processes for the folds.

    Attributes
    ----------
    learners_ : list of (str, estimator)
        Fitted on all rows.
    shares_ : dict of str to ndarray
        Of each learner, one for each of its candidates; all add up to 1.
    weighting_ : Weighting or None
        How neighbours correct a prediction; None where they tell nothing.
    reach_ : float
        How far neighbours are followed, in typical distances between places: their correction
        falls by a factor e over it.
    classes_ : ndarray of shape (n_classes,)
        Of classifiers.
    n_features_in_, feature_names_in_
        Of the learners, where they have them.

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

    def fit(self, X: Any, y: Any, coords: Any = None) -> SpatialEnsemble:
        """Fit the learners, and choose what each of them and the neighbours count.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Features; longitude and latitude are among the columns, unless `coords` gives them.
        y : array-like of shape (n,)
            Targets, or classes.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the rows, degrees, where X does not hold them.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        CoordinateError
            If there are no coordinates, or they cannot be read.
        ValueError
            If there are fewer than 2 rows, no learners, or two of one name.
        """
        with self._whole_fit():
            self._check_learners()
            X, y = indexable(X, column_or_1d(y, warn=True))
            if len(y) < 2:
                raise ValueError(f"an ensemble needs at least 2 rows, got n_samples={len(y)}.")
            lonlat = self._fit_places(X, coords)
            target = self._read_target(y)
            order = _one_order(X, target, lonlat)
            X, y, lonlat, target = _safe_indexing(X, order), y[order], lonlat[order], target[order]
            folds = self._folds(y, lonlat)
            held_out = {kind: self._hold_out(X, y, some) for kind, some in folds.items()}
            shares = _choose_shares(target, list(held_out.values()))
            blends = {kind: np.tensordot(shares, found, 1) for kind, found in held_out.items()}
            self._correction = NeighborCorrection(KnownPlaces(lonlat, target, blends["random"]))
            if "blocks" in folds:
                self._correction.limit_reach(
                    lonlat, target, blends["random"], blends["blocks"], folds["blocks"]
                )
            self.weighting_, self.reach_ = self._correction.weighting, self._correction.reach
            fitted = Parallel(n_jobs=self.n_jobs)(
                delayed(_fit)(model, X, y) for _, model in self.learners
            )
            self.learners_ = [
                (name, model) for (name, _), model in zip(self.learners, fitted, strict=True)
            ]
            sizes = [_n_candidates(model) for model in fitted]
            parts = np.split(shares, np.cumsum(sizes)[:-1])
            self.shares_ = dict(zip((name for name, _ in self.learners), parts, strict=True))
            self.estimator_ = fitted[0]
            self._take_names()
        return self

    def predict(self, X: Any, coords: Any = None) -> np.ndarray:
        """Predict with all learners, corrected by the nearest training places.

        Parameters
        ----------
        X, coords
            As for `fit`.

        Returns
        -------
        y : ndarray of shape (n,)
            Predictions, or classes.
        """
        check_is_fitted(self)
        if _is_classifying(self):
            return self.classes_[self.predict_proba(X, coords).argmax(axis=1)]
        return self._corrected(X, coords)[:, 0]

    @available_if(_is_classifying)
    def predict_proba(self, X: Any, coords: Any = None) -> np.ndarray:
        """Predict probabilities of the classes, corrected by the nearest training places.

        Parameters
        ----------
        X, coords
            As for `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
            In the order of `classes_`; rows sum to 1.
        """
        found = np.clip(self._corrected(X, coords), 0, None)
        return found / found.sum(axis=1, keepdims=True)

    def _corrected(self, X: Any, coords: Any) -> np.ndarray:
        check_is_fitted(self)
        classes = getattr(self, "classes_", None)
        parts = [
            np.tensordot(self.shares_[name], _candidates(model, X, classes), 1)
            for name, model in self.learners_
            if self.shares_[name].any()
        ]
        blend = np.sum(parts, axis=0)
        return blend + self._correction.correct(self._places(X, coords), blend)

    def _check_learners(self) -> None:
        names = [name for name, _ in self.learners]
        twice = [name for name in names if names.count(name) > 1]
        if not names or twice:
            found = f"{twice[0]!r} twice" if twice else "none"
            raise ValueError(f"learners must have names that differ, at least one; got {found}.")

    def _read_target(self, y: np.ndarray) -> np.ndarray:
        """The target as columns: y itself, or one column a class."""
        if not _is_classifying(self):
            return column_or_1d(y, dtype=np.float64)[:, None]
        check_classification_targets(y)
        self.classes_, number = np.unique(y, return_inverse=True)
        return np.eye(len(self.classes_))[number]

    def _folds(self, y: np.ndarray, lonlat: np.ndarray) -> dict[str, list[Fold]]:
        """Folds of both kinds; none of blocks where places or classes are too few for it."""
        numbers = np.unique(y, return_inverse=True)[1] if _is_classifying(self) else None
        folds = {"random": _random_folds(len(y), numbers)}
        splitter = SpatialBlockKFold(N_SPLITS, block_size="auto")
        if len(np.unique(splitter.blocks(lonlat))) >= N_SPLITS:
            blocks = list(splitter.split(lonlat))
            if numbers is None or all(np.ptp(numbers[train]) for train, _ in blocks):
                folds["blocks"] = blocks
        return folds

    def _hold_out(self, X: Any, y: np.ndarray, folds: list[Fold]) -> np.ndarray:
        """What each candidate predicts for rows that it has not seen, (candidates, n, columns)."""
        classes = getattr(self, "classes_", None)
        jobs = [(model, fold) for fold in folds for _, model in self.learners]
        found = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_and_predict)(model, X, y, *fold, classes) for model, fold in jobs
        )
        n_learners = len(self.learners)
        rows = [np.concatenate(found[i : i + n_learners]) for i in range(0, len(found), n_learners)]
        whole = np.empty((rows[0].shape[0], len(y), rows[0].shape[2]))
        for (_, test), part in zip(folds, rows, strict=True):
            whole[:, test] = part
        return whole


def _one_order(X: Any, target: np.ndarray, lonlat: np.ndarray) -> np.ndarray:
    """An order of the rows that does not hang on how they came: by place, target, other numbers."""
    keys = [*target.T, *lonlat.T]
    values = np.asarray(X)
    if values.ndim == 2 and values.dtype.kind in "fiub":
        keys = [*values.T, *keys]
    return np.lexsort(keys)


def _fit(model: Any, X: Any, y: np.ndarray) -> Any:
    return clone(model).fit(X, y)


def _fit_and_predict(
    model: Any, X: Any, y: np.ndarray, train: np.ndarray, test: np.ndarray, classes: Any
) -> np.ndarray:
    fitted = _fit(model, _safe_indexing(X, train), y[train])
    return _candidates(fitted, _safe_indexing(X, test), classes)


def _candidates(model: Any, X: Any, classes: np.ndarray | None) -> np.ndarray:
    """What a fitted learner predicts, (candidates, n, 1), or probabilities (1, n, classes)."""
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


def _random_folds(n_rows: int, classes: np.ndarray | None) -> list[Fold]:
    """Folds at random, of each class about as many rows in each."""
    order = np.random.RandomState(0).permutation(n_rows)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    fold = np.empty(n_rows, dtype=int)
    fold[order] = np.arange(n_rows) % N_SPLITS
    rows = np.arange(n_rows)
    return [(rows[fold != k], rows[fold == k]) for k in range(min(N_SPLITS, n_rows))]


def _choose_shares(target: np.ndarray, held_out: list[np.ndarray]) -> np.ndarray:
    """Shares of the candidates, not negative and 1 in sum, of least error in all kinds of folds.

    Errors of a kind count relative to those of its best candidate.
    """
    n_candidates = len(held_out[0])
    gram = np.zeros((n_candidates, n_candidates))
    for found in held_out:
        errors = (target - found).reshape(n_candidates, -1)
        products = errors @ errors.T  # with shares of sum 1, the blend's error is their product
        gram += products / max(products.diagonal().min(), 1e-300)
    gram += EQUAL_SHARES * np.eye(n_candidates)
    values, vectors = np.linalg.eigh(gram)
    root = np.sqrt(values.clip(0))[:, None] * vectors.T
    sum_to_one = 1e3 * np.sqrt(values.max())
    left = np.vstack([root, np.full((1, n_candidates), sum_to_one)])
    shares, _ = nnls(left, np.append(np.zeros(n_candidates), sum_to_one))
    return shares / shares.sum()
