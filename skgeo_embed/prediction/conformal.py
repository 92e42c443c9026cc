"""What intervals and sets share: errors of two kinds of folds, and bounds that they stay below."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from joblib import delayed
from sklearn.base import clone
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skgeo_embed._errors import warn_caller
from skgeo_embed.model_selection._spatial import SpatialBlockKFold, taken_by
from skgeo_embed.prediction.base import PlacesMetaEstimator
from skgeo_embed.prediction.calibration import (
    Calibration,
    HeldOut,
    Remoteness,
    choose_local,
    least_units,
)
from skgeo_embed.prediction.ensemble import SpatialEnsemble
from skgeo_embed.prediction.rows import (
    Fold,
    HeldOutPredictions,
    chosen_folds,
    folds_in_order,
    order_of_rows,
)
from skgeo_embed.prediction.several_fits import Fit, run_fits
from skgeo_embed.prediction.weights import weighted_fit_arguments

ROWS_FOR_SHARED_FOLDS = 500  # with fewer rows, choices made on held-out rows overfit them


class SpatialConformal(PlacesMetaEstimator):
    """Keeps errors of held-out rows, and bounds those of new rows by them."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "confidence_level": [Interval(Real, 0, 1, closed="neither")],
        "method": [StrOptions({"auto", "remoteness", "local"})],
        "cv": ["cv_object", HasMethods(["split"])],
        **PlacesMetaEstimator._parameter_constraints,
    }

    def __init__(
        self,
        estimator: Any,
        *,
        confidence_level: float = 0.9,
        method: str = "auto",
        cv: Any = None,
        lon: str | int | None = None,
        lat: str | int | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.confidence_level = confidence_level
        self.method = method
        self.cv = cv
        self.lon = lon
        self.lat = lat
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _predicted(self, model: Any, X: Any, coords: Any) -> np.ndarray:
        """Return predictions (n,) of a fitted model, or probabilities (n, n_classes)."""
        raise NotImplementedError

    def _errors(self, predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return how wrong predictions of rows are, (n,): the larger, the worse."""
        raise NotImplementedError

    def _learner(self, y: np.ndarray) -> Any:
        """Return the estimator to be fitted on labels."""
        return self.estimator

    def _random_folds(self, X: Any, y: np.ndarray, lonlat: np.ndarray) -> list[Fold]:
        order = order_of_rows(X, y[:, None], lonlat)
        return folds_in_order(KFold(min(5, len(y)), shuffle=True, random_state=0), order)

    def _fit_and_calibrate(
        self, X: Any, y: np.ndarray, lonlat: np.ndarray, coords: Any, groups: Any
    ) -> None:
        level, n_rows = self.confidence_level, len(y)
        if n_rows < least_units(level):
            raise ValueError(_too_few(level, n_rows, "rows"))
        weights = self._row_weights
        folds, errors = self._hold_out(X, y, lonlat, coords, groups)
        tested = np.concatenate([test for _, test in folds])
        measured = [Remoteness(lonlat[train]).measure(lonlat[test]) for train, test in folds]
        remoteness, known = (np.concatenate(parts) for parts in zip(*measured, strict=True))
        place = np.unique(lonlat, axis=0, return_inverse=True)[1].ravel()
        unit = np.where(known, tested, n_rows + place[tested])
        weight = np.ones(len(tested)) if weights is None else weights[tested]
        held = HeldOut(np.concatenate(errors), remoteness, lonlat[tested], unit, weight)
        self._calibrate(held, known)
        self._known = Remoteness(lonlat)

    def _hold_out(
        self, X: Any, y: np.ndarray, lonlat: np.ndarray, coords: Any, groups: Any
    ) -> tuple[list[Fold], list[np.ndarray]]:
        """Fit on all rows and in folds; return the folds, and the errors of held-out rows."""
        table = X, y, coords, groups, self._row_weights
        learner = self._learner(y)
        whole = Fit("all rows", len(y), delayed(_fit)(learner, *table))
        shares_folds = self.cv is None and len(y) >= ROWS_FOR_SHARED_FOLDS
        if shares_folds and _ensemble_of(learner) is not None:
            (self.estimator_,) = run_fits(self, [whole])
            held_out = list(_ensemble_of(self.estimator_).held_out_.values())
            folds = [fold for held in held_out for fold in held.folds()]
            errors = [
                self._errors(held.predicted[test], y[test])
                for held in held_out
                for _, test in held.folds()
            ]
            refitted = [] if _holds_out_places(held_out[0], lonlat) else _place_folds(lonlat)
            return [*folds, *refitted], [*errors, *run_fits(self, self._fits(table, refitted))]
        folds, level = self._folds(X, y, lonlat, groups), self.confidence_level
        n_tested = len(np.unique(np.concatenate([test for _, test in folds])))
        if n_tested < least_units(level):
            raise ValueError(_too_few(level, n_tested, "rows in test folds"))
        *errors, self.estimator_ = run_fits(self, [*self._fits(table, folds), whole])
        return folds, errors

    def _fits(self, table: tuple[Any, ...], folds: list[Fold]) -> list[Fit]:
        return [
            Fit(
                f"fold {number} of {len(folds)}",
                len(train),
                delayed(_held_out_errors)(self, *table, train, test),
            )
            for number, (train, test) in enumerate(folds, 1)
        ]

    def _calibrate(self, held: HeldOut, known: np.ndarray) -> None:
        """Learn bounds at new places, and at known ones if enough held-out rows lie at those."""
        level, least = self.confidence_level, least_units(self.confidence_level)
        n_here, n_away = (len(np.unique(held.unit[rows])) for rows in (known, ~known))
        enough_here, enough_away = n_here >= least, n_away >= least
        if not (enough_here or enough_away):
            raise ValueError(_too_few(level, max(n_here, n_away), "places in test folds"))
        if not enough_away:
            warn_caller(
                f"only {n_away} places were held out as a whole, and "
                f"confidence_level={level} needs {least}: intervals and sets hold at known places, "
                "and are unbounded at new ones. Pass cv=None or folds that hold out whole places, "
                "or lower the level.",
                UserWarning,
            )
        main = held.chosen(~known) if enough_away else held.chosen(known)
        n_local = 0
        if self.method != "remoteness":
            n_local = choose_local(main, level, always=self.method == "local")
        self.method_ = "local" if n_local else "remoteness"
        here = held.chosen(known)
        self._here = Calibration(here, level, 0) if enough_here else None
        chosen = Calibration(main, level, n_local)
        self._away = chosen if enough_away else None
        self.remoteness_km_, self._quantiles = chosen.bands.middle, chosen.bands.quantile

    def _bounds(self, lonlat: np.ndarray) -> np.ndarray:
        """Return the bound of the error at each place, (n,)."""
        remoteness, known = self._known.measure(lonlat)
        if self._away is None:
            bound = np.full(len(lonlat), np.inf)
        else:
            bound = self._away.bounds(lonlat, remoteness)
        if self._here is not None and known.any():
            bound[known] = self._here.bounds(lonlat[known], remoteness[known])
        return bound

    def _folds(self, X: Any, y: np.ndarray, lonlat: np.ndarray, groups: Any) -> list[Fold]:
        if self.cv is None:
            return self._default_folds(X, y, lonlat)
        several = isinstance(self.cv, (list, tuple)) and all(hasattr(c, "split") for c in self.cv)
        return [
            fold
            for cv in (self.cv if several else [self.cv])
            for fold in chosen_folds(cv, lonlat, y, groups, table=X)
        ]

    def _default_folds(self, X: Any, y: np.ndarray, lonlat: np.ndarray) -> list[Fold]:
        """Return random folds of rows, of places if rows share them, and folds of blocks."""
        folds = self._random_folds(X, y, lonlat)
        n_places = len(np.unique(lonlat, axis=0))
        if n_places == 1:
            return folds
        if n_places < len(y):
            folds += _place_folds(lonlat)
        blocks = SpatialBlockKFold(min(5, n_places), block_size="auto")
        return folds + list(blocks.split(lonlat))


def _place_folds(lonlat: np.ndarray) -> list[Fold]:
    """Deal places to five folds at random, each with all its rows."""
    place = np.unique(lonlat, axis=0, return_inverse=True)[1].ravel()
    places, rows = np.arange(place.max() + 1), np.arange(len(place))
    splitter = KFold(min(5, len(places)), shuffle=True, random_state=0)
    held = [np.isin(place, test) for _, test in splitter.split(places)]
    return [(rows[~part], rows[part]) for part in held]


def _ensemble_of(model: Any) -> Any:
    """Return the ensemble that makes the model's predictions, such as a pipeline's last step."""
    while isinstance(model, Pipeline):
        model = model.steps[-1][1]
    return model if isinstance(model, SpatialEnsemble) else None


def _holds_out_places(random: HeldOutPredictions, lonlat: np.ndarray) -> bool:
    """Say whether random folds of rows hold out at least half of the places with all their rows."""
    dealt = random.fold >= 0
    place = np.unique(lonlat[dealt], axis=0, return_inverse=True)[1].ravel()
    pairs = np.unique(np.column_stack([place, random.fold[dealt]]), axis=0)
    return bool((np.bincount(pairs[:, 0]) == 1).mean() >= 0.5)


def _too_few(level: float, count: int, what: str) -> str:
    return (
        f"confidence_level={level} needs at least {least_units(level)} {what}, got {count}: not "
        f"even the largest error of so few reaches it. Pass more {what}, or a level of at most "
        f"{np.floor(1000 * count / (count + 1)) / 1000:g}."
    )


def _held_out_errors(
    conformal: SpatialConformal,
    X: Any,
    y: np.ndarray,
    coords: Any,
    groups: Any,
    weights: np.ndarray | None,
    train: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    some = (_rows_of(part, train) for part in (coords, groups, weights))
    model = _fit(conformal._learner(y[train]), _safe_indexing(X, train), y[train], *some)
    predicted = conformal._predicted(model, _safe_indexing(X, test), _rows_of(coords, test))
    return conformal._errors(predicted, y[test])


def _fit(
    estimator: Any, X: Any, y: np.ndarray, coords: Any, groups: Any, weights: np.ndarray | None
) -> Any:
    model = clone(estimator)
    given = taken_by(model.fit, coords=coords, groups=groups)
    return model.fit(X, y, **given, **weighted_fit_arguments(model, weights))


def _rows_of(values: Any, rows: np.ndarray) -> Any:
    return None if values is None else _safe_indexing(values, rows)
