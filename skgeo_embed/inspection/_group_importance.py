"""How much a model's score falls if the place, its neighbours or other columns are permuted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags, check_random_state, get_tags
from sklearn.utils.validation import check_consistent_length

from skgeo_embed.inspection._earth import BLUE, axes_or_new
from skgeo_embed.places.reading import find_coordinates
from skgeo_embed.prediction.base import CorrectedEstimator
from skgeo_embed.prediction.pipeline import TableReader, as_pandas
from skgeo_embed.prediction.rows import Fold, chosen_folds, read_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEIGHBOURS = "neighbours"
OF_PLACE = ("place__", "encoder__", "content__")  # columns that spatial_pipeline makes of it
CONTENT = "content__"


def group_importance(
    model: Any,
    X: Any,
    y: Any,
    *,
    groups: Mapping[str, Sequence[Any]] | None = None,
    cv: Any = None,
    scoring: Any = None,
    n_repeats: int = 5,
    random_state: int | np.random.RandomState | None = 0,
) -> pd.DataFrame:
    """Return how much the score of held-out rows falls if a group of columns is permuted.

    In each fold the model is fitted on the training rows. Then the columns of a group are permuted
    among the test rows, all by the same permutation, so that what belongs together stays together.

    Permute longitude and latitude together, as the group "place" does. A permutation of one of them
    alone makes places that are not in the table, in the sea perhaps, and overstates how much each
    matters: with prices of houses in Ames, permuting longitude alone cost .343 of R², latitude
    alone .302, and both together .175.

    Parameters
    ----------
    model : estimator object
        A regressor or classifier of a table with places; it is cloned.
    X : array-like or frame of shape (n, d)
        The table; longitude and latitude are among its columns.
    y : array-like of shape (n,)
        Targets, or classes.
    groups : dict of str to list of columns of X, default=None
        Columns that are permuted together. None makes "place" and, if there are any, "other
        columns". Of what :func:`~skgeo_embed.spatial_pipeline` builds it also makes "neighbours",
        the places that the correction by neighbours reads, and a group for each layer of content,
        such as "content: elevation"; both are parts of "place".
    cv : int, splitter or iterable of pairs, default=None
        Folds; splitters get X. None is five random folds. In folds of blocks the
        importance is that for predictions far from the labels, where neighbours tell little.
    scoring : str, callable or None, default=None
        As in scikit-learn; None is the model's own score.
    n_repeats : int, default=5
        Permutations of each group in each fold.
    random_state : int, RandomState instance or None, default=0
        Seeds the permutations.

    Returns
    -------
    table : DataFrame
        One row for each group, the most important first, with columns `importance` (the mean fall
        of the score), `std` (its standard deviation over folds and permutations) and `score` (of
        the model, the mean over folds).

    Raises
    ------
    ValueError
        If a group names columns that X lacks, or lengths differ.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from skgeo_embed import spatial_pipeline
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> from skgeo_embed.inspection import group_importance
    >>> stations = load_air_temperature().frame[::20]
    >>> rain = stations.pop("mean_precipitation_mm")
    >>> table = group_importance(spatial_pipeline(Ridge()), stations, rain, cv=3)
    >>> sorted(table.index)
    ['neighbours', 'other columns', 'place']
    >>> bool(table.importance["place"] > table.importance["neighbours"])
    True
    """
    frame, y = as_pandas(X), read_labels(y)
    check_consistent_length(frame, y)
    scorer = check_scoring(model, scoring)
    rng = check_random_state(random_state)
    if groups is not None:
        _check_columns(groups, frame)
    scores: list[float] = []
    falls: dict[str, list[float]] = {}
    for train, test in _folds(cv, X, frame, y):
        fitted = clone(model).fit(frame.iloc[train], y[train])
        table, last = frame.iloc[test], fitted
        if groups is None and _is_spatial_pipeline(fitted):
            table, last = fitted[:-1].transform(table), fitted[-1]
        scores.append(scorer(last, table, y[test]))
        for name, columns in (_default_groups(table, last) if groups is None else groups).items():
            elsewhere = name == NEIGHBOURS and groups is None
            for _ in range(n_repeats):
                changed = _permuted(last, table, list(columns), rng, elsewhere)
                falls.setdefault(name, []).append(scores[-1] - scorer(*changed, y[test]))
    found = {name: (np.mean(fall), np.std(fall)) for name, fall in falls.items()}
    result = pd.DataFrame.from_dict(found, orient="index", columns=["importance", "std"])
    result["score"] = np.mean(scores)
    return result.rename_axis("group").sort_values("importance", ascending=False)


def _is_spatial_pipeline(model: Any) -> bool:
    return (
        isinstance(model, Pipeline)
        and isinstance(model[0], TableReader)
        and isinstance(model[-1], CorrectedEstimator)
    )


def _default_groups(table: pd.DataFrame, last: Any) -> dict[str, list[Any]]:
    if not (isinstance(last, CorrectedEstimator) and "place__lon" in table):
        others = TableReader().fit(table).columns_
        here = [name for name in table if name not in others]
        return {"place": here} | ({"other columns": others} if others else {})
    place = [name for name in map(str, table) if name.startswith(OF_PLACE)]
    others = [name for name in map(str, table) if name not in place]
    groups: dict[str, list[Any]] = {"place": place, NEIGHBOURS: ["place__lon", "place__lat"]}
    groups |= {"other columns": others} if others else {}
    for name in place:
        if name.startswith(CONTENT):
            layer = name.removeprefix(CONTENT).split("_")[0]
            groups.setdefault(f"content: {layer}", []).append(name)
    return groups


def _folds(cv: Any, X: Any, frame: pd.DataFrame, y: np.ndarray) -> list[Fold]:
    if cv is None:
        return list(KFold(5, shuffle=True, random_state=0).split(y))
    return chosen_folds(cv, find_coordinates(X, None), y, table=frame)


def _permuted(
    model: Any,
    table: pd.DataFrame,
    columns: list[Any],
    rng: np.random.RandomState,
    elsewhere: bool,
) -> tuple[Any, pd.DataFrame]:
    """Return the model and its table with columns permuted, or with its neighbours elsewhere."""
    order = rng.permutation(len(table))
    if elsewhere:
        return _NeighboursElsewhere(model, table[columns].to_numpy()[order]), table
    return model, table.assign(**{name: table[name].array[order] for name in columns})


def _check_columns(groups: Mapping[str, Sequence[Any]], frame: pd.DataFrame) -> None:
    for group, columns in groups.items():
        missing = [name for name in columns if name not in frame]
        if missing or isinstance(columns, str):
            raise ValueError(
                f"the group {group!r} must be a list of columns of X, got {columns!r}; X has "
                f"{', '.join(map(repr, frame))}."
            )


class _NeighboursElsewhere(BaseEstimator):
    """A fitted model that gives its learners and its correction different places."""

    def __init__(self, model: CorrectedEstimator, lonlat: np.ndarray) -> None:
        self.model = model
        self.lonlat = lonlat

    def predict(self, X: Any) -> np.ndarray:
        return self.model.predict(X, coords=self.lonlat)

    def predict_proba(self, X: Any) -> np.ndarray:
        return self.model.predict_proba(X, coords=self.lonlat)

    def score(self, X: Any, y: Any) -> float:
        return self.model.score(X, y, coords=self.lonlat)

    @property
    def classes_(self) -> np.ndarray:
        return self.model.classes_

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Tags:
        return get_tags(self.model)


class GroupImportanceDisplay:
    """Bars of how much the score falls if a group of columns is permuted.

    Use :meth:`from_estimator`, or give it what :func:`group_importance` returns.

    Parameters
    ----------
    table : DataFrame
        What :func:`group_importance` returns.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> from skgeo_embed.inspection import GroupImportanceDisplay
    >>> stations = load_air_temperature().frame[::10]
    >>> rain = stations.pop("mean_precipitation_mm")
    >>> display = GroupImportanceDisplay.from_estimator(DecisionTreeRegressor(), stations, rain)
    >>> sorted(display.table.index)
    ['other columns', 'place']
    """

    ax_: Axes
    figure_: Figure

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table

    @classmethod
    def from_estimator(
        cls,
        model: Any,
        X: Any,
        y: Any,
        *,
        groups: Mapping[str, Sequence[Any]] | None = None,
        cv: Any = None,
        scoring: Any = None,
        n_repeats: int = 5,
        random_state: int | np.random.RandomState | None = 0,
        ax: Axes | None = None,
    ) -> GroupImportanceDisplay:
        """Measure the importance of groups, and draw it.

        Parameters
        ----------
        model, X, y, groups, cv, scoring, n_repeats, random_state
            As for :func:`group_importance`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : GroupImportanceDisplay
            Drawn.
        """
        table = group_importance(
            model,
            X,
            y,
            groups=groups,
            cv=cv,
            scoring=scoring,
            n_repeats=n_repeats,
            random_state=random_state,
        )
        return cls(table).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> GroupImportanceDisplay:
        """Draw the bars, with one standard deviation.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        self : GroupImportanceDisplay
            With `ax_` and `figure_`.
        """
        ax, self.figure_ = axes_or_new(ax, (6, 1 + 0.4 * len(self.table)))
        self.ax_ = ax
        table = self.table[::-1]  # the first on top
        ax.barh(
            [str(name) for name in table.index], table.importance, xerr=table["std"], color=BLUE
        )
        ax.axvline(0, color="0.3", linewidth=0.8)
        score = self.table["score"].iloc[0] if len(self.table) else np.nan
        ax.set(xlabel=f"fall of the score, from {score:.3f}, if permuted")
        ax.set_title("Importance of groups", loc="left")
        return self
