"""Comparison of encoders and baselines on a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.multiclass import type_of_target

from skgeo_embed.encoders.satclip import SatCLIPEncoder
from skgeo_embed.model_selection._spatial import SpatialBlockKFold
from skgeo_embed.places.kinds import recognise
from skgeo_embed.places.numbers import plain_column
from skgeo_embed.places.reading import read_places
from skgeo_embed.prediction.pipeline import as_pandas, spatial_pipeline
from skgeo_embed.prediction.rows import chosen_folds, folds_in_order, order_of_rows

ALPHAS = np.logspace(-1, 5, 13)
STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # C of logistic regression
N_NEIGHBORS = 5
N_FOLDS = 5
FEWEST_ROWS = 20
MOST_NUMBERED_CLASSES = 20  # more different integers are a quantity


def compare_encoders(
    X: Any,
    y: Any,
    cv: Any = None,
    *,
    groups: Any = None,
    encoders: Mapping[str, Any] | None = None,
    estimator: Any = None,
    lon: str | int | None = None,
    lat: str | int | None = None,
    each_fold: bool = False,
    verbose: bool = True,
) -> pd.DataFrame:
    """Score encoders and baselines on your table, in your folds.

    Each row of the result is one way to describe a place: raw coordinates, the labels of the
    nearest places, the default encoder untrained and trained, its content columns, your
    `encoders`, and :func:`~skgeo_embed.spatial_pipeline`, which also uses the other columns of the
    table. All are fitted and scored in the same folds, so you see how much an encoder helps on your
    data, and how much of that is due to its training.

    Parameters
    ----------
    X : array-like of shape (n, 2), or frame of shape (n, d)
        Longitude and latitude in degrees, a frame with columns of these names, or points. Only
        `spatial_pipeline` and whole models use other columns.
    y : array-like of shape (n,)
        Numbers or classes. Text, booleans and at most 20 different integers are classes, unless
        `estimator` says otherwise.
    cv : int, splitter or iterable of pairs, default=None
        Folds; splitters get X and y. None scores twice: on five random folds, which measure
        predictions between your rows, and on five folds of whole blocks,
        ``SpatialBlockKFold(5, block_size="auto")``, which measure predictions far from them. An int
        means scikit-learn's folds without shuffling.
    groups : array-like of shape (n,), default=None
        Groups for the splitter, such as the region of each row for
        :class:`~skgeo_embed.model_selection.LeaveOneRegionOut`.
    encoders : dict of str to estimator, default=None
        Rows to add, by name. A known name replaces that row, and None as its estimator leaves the
        row out. A transformer gets a frame of the places, with the columns "lon" and "lat", and
        is followed by the learner. A whole model, which has `predict`, gets the table.
    estimator : {"regressor", "classifier"} or estimator object, default=None
        Learner behind the features. "regressor" is a ridge on standardised features, tuned by
        leave-one-out; "classifier" is a logistic regression, tuned by folds of the training rows.
        None chooses by y. Neighbours and `spatial_pipeline` have their own learners.
    lon, lat : str or int, default=None
        Names of the longitude and latitude columns, if they are not recognised.
    each_fold : bool, default=False
        Add a column for each fold.
    verbose : bool, default=True
        Show a progress bar after a second. A table of a few thousand rows takes minutes, most of
        them in `spatial_pipeline`.

    Returns
    -------
    table : DataFrame
        One row for each encoder or baseline, by name. The columns are "random" and "blocks", or
        "score" if `cv` is given: the mean over folds of R², or of accuracy for classes. Each is
        followed by its standard deviation over folds, such as "score_std", and with `each_fold` by
        the score of each fold, such as "score_1". The last column is "fit_seconds", the mean time
        of a fit.

    Raises
    ------
    CoordinateError
        If there are no coordinates, or they cannot be read; a ValueError.
    ValueError
        If y has missing, infinite or only equal values, or another number of rows than X; if the
        table has fewer than 20 rows, or a fold has too few to fit or to score.
    TypeError
        If a value of `encoders` is neither a transformer nor a model, or `estimator` does not
        predict.

    See Also
    --------
    SatCLIPEncoder : Its parameter `untrained` gives the baseline for the value of training.

    Notes
    -----
    Differences below the standard deviation over folds mean little. Tuning by leave-one-out suits
    random folds; a learner that is tuned on blocks may do better in blocks (see the guide's page on
    evaluation).

    Examples
    --------
    >>> from skgeo_embed import PositionalEncoder, compare_encoders
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> rows = {"harmonics": PositionalEncoder(legendre_polys=5), "spatial_pipeline()": None}
    >>> table = compare_encoders(X[::8], y[::8], encoders=rows)
    >>> list(table.columns)
    ['random', 'random_std', 'blocks', 'blocks_std', 'fit_seconds']
    >>> list(table.index[:3])
    ['longitude, latitude', '5 nearest neighbours', 'SatCLIPEncoder(untrained=True)']
    >>> bool(table.loc["SatCLIPEncoder()", "random"] > table.loc["longitude, latitude", "random"])
    True
    """
    table, places = _read_table(X, lon, lat)
    target = _read_target(y, len(places))
    classes = _are_classes(target, estimator)
    folds = _make_folds(cv, table, places, target, groups, classes)
    if table is places:  # its columns are named "lon" and "lat"
        lon = lat = None
    pipeline = spatial_pipeline("classifier" if classes else "regressor", lon=lon, lat=lat)
    rows = _make_rows(pipeline, _learner(estimator, classes), classes)
    rows = _with_own(rows, encoders or {}, _learner(estimator, classes), classes)
    scores = {}
    with _progress(verbose, len(rows) * sum(map(len, folds.values()))) as bar:
        for name, row in rows.items():
            bar.set_description(name)
            data = places if row.of_places else table
            scores[name] = _score(name, row.model, data, target, folds, bar)
    return _frame_of(scores, each_fold)


@dataclass
class _Row:
    model: Any
    of_places: bool  # or of the table


@dataclass
class _Scores:
    of_folds: dict[str, list[float]]
    seconds: list[float]


def _read_table(X: Any, lon: Any, lat: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table for whole models, and its places as a frame of two columns."""
    lonlat = read_places(X, lon=lon, lat=lat, wide=True).lonlat
    if len(lonlat) < FEWEST_ROWS:
        raise ValueError(
            f"X has {len(lonlat)} row(s), too few to compare encoders: scores of fewer than "
            f"{FEWEST_ROWS} rows would be chance."
        )
    places = pd.DataFrame(lonlat, columns=["lon", "lat"])
    return places if recognise(X).names is None else as_pandas(X), places


def _read_target(y: Any, n_rows: int) -> np.ndarray:
    """Return numbers or classes, (n,), without missing ones."""
    y = plain_column(y)
    missing = np.ma.getmaskarray(y) if isinstance(y, np.ma.MaskedArray) else False
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values, missing = values[:, 0], np.ravel(missing)
    if values.ndim != 1:
        raise ValueError(
            f"y must be one number or class for each row, got shape {values.shape}; compare on one "
            "target at a time."
        )
    if len(values) != n_rows:
        raise ValueError(f"y has {len(values)} rows, X has {n_rows}.")
    missing = missing | pd.isna(values)
    values = pd.Series(values).infer_objects().to_numpy()  # numbers may come as objects
    if values.dtype.kind == "f":
        missing = missing | np.isinf(values)
    if np.any(missing):
        rows = np.flatnonzero(missing)
        raise ValueError(
            f"y is missing or infinite in {len(rows)} row(s) (first: "
            f"{', '.join(f'row {row}' for row in rows[:3])}); drop them from X and y."
        )
    if len(set(values.tolist())) < 2:
        raise ValueError(f"y is {values[0]} in every row, so there is nothing to learn.")
    return values


def _are_classes(y: np.ndarray, estimator: Any) -> bool:
    """Say whether y is to be classified."""
    if isinstance(estimator, str):
        if estimator not in ("regressor", "classifier"):
            raise ValueError(
                f'estimator must be "regressor", "classifier" or an estimator, got {estimator!r}.'
            )
        return estimator == "classifier"
    if estimator is not None:
        if not (is_classifier(estimator) or is_regressor(estimator)):
            raise TypeError(
                f"estimator must be a regressor or a classifier, got {type(estimator).__name__}."
            )
        return bool(is_classifier(estimator))
    different = len(set(y.tolist()))
    if y.dtype.kind in "iuf":
        return different <= MOST_NUMBERED_CLASSES and type_of_target(y) != "continuous"
    if y.dtype.kind not in "bOUS" or 2 * different > len(y):
        raise ValueError(
            f"y has {different} different values of the type {type(y[0]).__name__} in {len(y)} "
            "rows, which are neither numbers nor classes; convert them with y.astype(float), or "
            'pass estimator="classifier".'
        )
    return True


def _make_folds(
    cv: Any,
    table: pd.DataFrame,
    places: pd.DataFrame,
    y: np.ndarray,
    groups: Any,
    classes: bool,
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Return the training and test rows of each fold of each kind, which depend on no order."""
    ranks = np.unique(y, return_inverse=True)[1].reshape(-1, 1)
    order = order_of_rows(places, ranks, places.to_numpy())
    if cv is not None:
        chosen = chosen_folds(cv, places, y, groups, table=table, classifier=classes)
        folds = {"score": chosen}
    else:
        folds = {
            "random": folds_in_order(KFold(N_FOLDS, shuffle=True, random_state=0), order),
            "blocks": chosen_folds(SpatialBlockKFold(N_FOLDS, block_size="auto"), places),
        }
    for kind, pairs in folds.items():
        _check_folds(kind, pairs)
    # learners make their own folds in the order of the training rows
    return {
        kind: [(order[np.isin(order, train)], test) for train, test in pairs]
        for kind, pairs in folds.items()
    }


def _check_folds(kind: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for number, (train, test) in enumerate(pairs, 1):
        if len(train) < N_NEIGHBORS or len(test) < 2:
            raise ValueError(
                f"fold {number} of {kind!r} has {len(train)} training and {len(test)} test row(s); "
                f"each fold needs {N_NEIGHBORS} to fit and 2 to score. Choose fewer or larger "
                "folds."
            )


def _learner(estimator: Any, classes: bool) -> BaseEstimator:
    """Return the learner behind features."""
    if estimator is not None and not isinstance(estimator, str):
        return estimator
    if not classes:
        return make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
    logistic = LogisticRegression(max_iter=1000, tol=1e-3)
    folds = KFold(3, shuffle=True, random_state=0)
    return make_pipeline(StandardScaler(), GridSearchCV(logistic, {"C": STRENGTHS}, cv=folds))


def _make_rows(pipeline: Any, learner: BaseEstimator, classes: bool) -> dict[str, _Row]:
    """Return the rows that are always compared, by name."""
    neighbors = KNeighborsClassifier if classes else KNeighborsRegressor
    nearest = neighbors(N_NEIGHBORS, weights="distance", metric="haversine")
    rows = {
        "longitude, latitude": _Row(learner, of_places=True),
        f"{N_NEIGHBORS} nearest neighbours": _Row(
            make_pipeline(FunctionTransformer(_lat_lon_radians), nearest), of_places=True
        ),
    }
    encoders = {
        "SatCLIPEncoder(untrained=True)": SatCLIPEncoder(untrained=True),
        "SatCLIPEncoder()": SatCLIPEncoder(),
        'SatCLIPEncoder(layer="content")': SatCLIPEncoder(layer="content"),
    }
    for name, encoder in encoders.items():
        rows[name] = _Row(make_pipeline(encoder, learner), of_places=True)
    rows["spatial_pipeline()"] = _Row(pipeline, of_places=False)
    return rows


def _with_own(
    rows: dict[str, _Row], encoders: Mapping[str, Any], learner: BaseEstimator, classes: bool
) -> dict[str, _Row]:
    """Add, replace and leave out rows as the user says."""
    rows = dict(rows)
    for name, chosen in encoders.items():
        if chosen is not None:
            rows[name] = _own_row(name, chosen, learner, classes)
        elif name in rows:
            del rows[name]
        else:
            raise ValueError(
                f"encoders leaves out {name!r}, but there is no such row; there are "
                f"{', '.join(map(repr, rows))}."
            )
    if not rows:
        raise ValueError("encoders leaves out every row, so there is nothing to compare.")
    return rows


def _own_row(name: str, chosen: Any, learner: BaseEstimator, classes: bool) -> _Row:
    """Make a row of the user's transformer of places, or whole model of the table."""
    if not isinstance(chosen, type) and hasattr(chosen, "transform"):
        return _Row(make_pipeline(chosen, learner), of_places=True)
    if isinstance(chosen, type) or not hasattr(chosen, "predict"):
        raise TypeError(
            f"encoders[{name!r}] must be a transformer, such as SatCLIPEncoder(), or a whole model "
            f"with predict, or None to leave that row out; got {chosen!r}."
        )
    if is_classifier(chosen) != classes:
        is_what, was = ("classes", "no classifier") if classes else ("numbers", "a classifier")
        raise TypeError(
            f"y holds {is_what}, but encoders[{name!r}] is {was}; leave it out, or pass "
            'estimator="regressor" or "classifier" to say what y is.'
        )
    return _Row(chosen, of_places=False)


def _lat_lon_radians(places: pd.DataFrame) -> np.ndarray:
    """Convert places for the haversine distance."""
    return np.deg2rad(places[["lat", "lon"]].to_numpy())


def _score(
    name: str,
    model: BaseEstimator,
    data: pd.DataFrame,
    y: np.ndarray,
    folds: dict[str, list[tuple[np.ndarray, np.ndarray]]],
    bar: Any,
) -> _Scores:
    """Return the score of each fold, and the seconds of each fit."""
    from skgeo_embed.nn.inference.thread_choice import worthwhile_threads

    scores = _Scores({kind: [] for kind in folds}, [])
    for kind, pairs in folds.items():
        for pair in pairs:
            try:
                with worthwhile_threads():
                    found = cross_validate(
                        model,
                        data,
                        y,
                        cv=[pair],
                        params={},  # None fails under metadata routing in scikit-learn 1.6.0
                        error_score="raise",
                        return_estimator=True,  # until the next fit, which uses its weights
                    )
            except Exception as error:
                error.add_note(f"compare_encoders was at its row {name!r}, folds {kind!r}.")
                raise
            scores.of_folds[kind].append(float(found["test_score"][0]))
            scores.seconds.append(float(found["fit_time"][0]))
            bar.update()
    return scores


def _progress(shown: bool, total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, unit="fold", disable=not shown, delay=1)


def _frame_of(scores: dict[str, _Scores], each_fold: bool) -> pd.DataFrame:
    """Make the table: means, deviations, scores of each fold if `each_fold`, and seconds."""
    return pd.DataFrame(
        [_cells(row, each_fold) for row in scores.values()],
        index=pd.Index(list(scores), name="features"),
    )


def _cells(row: _Scores, each_fold: bool) -> dict[str, float]:
    cells: dict[str, float] = {}
    for kind, values in row.of_folds.items():
        cells |= {kind: float(np.mean(values)), f"{kind}_std": float(np.std(values))}
        if each_fold:
            cells |= {f"{kind}_{number}": value for number, value in enumerate(values, 1)}
    return {**cells, "fit_seconds": float(np.mean(row.seconds))}
