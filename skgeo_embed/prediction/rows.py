"""Rows of a table for learning: their labels, an order of their own, and their folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import check_cv
from sklearn.utils.validation import column_or_1d

from skgeo_embed.places.numbers import plain_column, to_numpy

Fold = tuple[np.ndarray, np.ndarray]


def read_labels(values: Any, what: str = "y") -> np.ndarray:
    """Return one number or class for each row, (n,).

    Raises
    ------
    ValueError
        If there are several columns, or values are masked or missing; the message names the first.
    """
    values = plain_column(values)
    hidden = np.ma.getmaskarray(values).ravel() if isinstance(values, np.ma.MaskedArray) else False
    labels = column_or_1d(np.ma.getdata(values) if hidden is not False else values, warn=True)
    rows = np.flatnonzero(hidden | pd.isna(labels))
    if len(rows):
        raise ValueError(
            f"{what} is missing (NaN, None or masked) in {len(rows)} row(s) (first: row "
            f"{rows[0]}); drop these rows from X too."
        )
    return labels


def order_of_rows(X: Any, target: np.ndarray, lonlat: np.ndarray) -> np.ndarray:
    """Sort rows by place, target and other columns, so that their given order does not matter."""
    return np.lexsort([*_columns(X), *target.T, *lonlat.T])


def folds_in_order(splitter: Any, order: np.ndarray, y: np.ndarray | None = None) -> list[Fold]:
    """Split rows as they come in an order of their own; folds have the given row numbers."""
    in_order = None if y is None else y[order]
    return [
        (np.sort(order[train]), np.sort(order[test]))
        for train, test in splitter.split(order, in_order)
    ]


def deal_rows(n_rows: int, n_splits: int, classes: np.ndarray | None = None) -> list[Fold]:
    """Deal rows to random folds, about as many of each class (a number) to each."""
    order = np.random.RandomState(0).permutation(n_rows)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    fold = np.empty(n_rows, dtype=int)
    fold[order] = np.arange(n_rows) % n_splits
    rows = np.arange(n_rows)
    return [(rows[fold != k], rows[fold == k]) for k in range(min(n_splits, n_rows))]


def chosen_folds(
    cv: Any, places: np.ndarray, y: Any = None, groups: Any = None, *, classifier: bool = False
) -> list[Fold]:
    """Split rows as a user says, by their places, labels or groups, or by the pairs given."""
    splitter = check_cv(cv, y, classifier=classifier)
    return [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(places, y, groups)]


def _columns(X: Any) -> list[np.ndarray]:
    """Return columns that can be sorted: numbers, and for others the rank of their text."""
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        parts = [X.iloc[:, position].to_numpy() for position in range(X.shape[1])]
    else:
        values = np.asarray(to_numpy(X))
        parts = list(values.T) if values.ndim == 2 else []
    return [
        part if part.dtype.kind in "fiubmM" else np.unique(part.astype(str), return_inverse=True)[1]
        for part in parts
    ]
