"""Rows of a table for learning: their labels, an order of their own, and their folds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import check_cv
from sklearn.utils.validation import column_or_1d

from skgeo_embed.model_selection._base import SpatialSplitter
from skgeo_embed.places.numbers import plain_column, to_numpy

Fold = tuple[np.ndarray, np.ndarray]


class HeldOutPredictions(NamedTuple):
    """Predictions of rows by models that were fitted without them.

    `fold`, (n,), numbers the fold that held out each row, -1 if none did. `predicted` has shape
    (n,), or (n, n_classes) of a classifier, and is NaN for the rows of no fold.
    """

    fold: np.ndarray
    predicted: np.ndarray

    def folds(self) -> list[Fold]:
        """Return the rows that each fold was fitted on, and those that it held out."""
        numbers = range(self.fold.max() + 1)
        rest = [np.flatnonzero((self.fold >= 0) & (self.fold != number)) for number in numbers]
        return [(train, np.flatnonzero(self.fold == k)) for k, train in enumerate(rest)]


class Rows(NamedTuple):
    """Places (n, 2), targets (n, columns) and weights (n,) of rows."""

    lonlat: np.ndarray
    target: np.ndarray
    weights: np.ndarray | None

    def chosen(self, rows: np.ndarray) -> Rows:
        """Return some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Rows(self.lonlat[rows], self.target[rows], weights)


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
    if lonlat.size and len(np.unique(lonlat, axis=0)) == len(lonlat):
        return np.lexsort(lonlat.T)  # without the other columns, which may be hundreds
    return np.lexsort([*_columns(X), *target.T, *lonlat.T])


def folds_in_order(splitter: Any, order: np.ndarray, y: np.ndarray | None = None) -> list[Fold]:
    """Split rows in the given order, and return folds of their original row numbers."""
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
    cv: Any,
    places: Any,
    y: Any = None,
    groups: Any = None,
    *,
    table: Any = None,
    classifier: bool = False,
) -> list[Fold]:
    """Split rows as a user says, by their places, labels or groups, or by the pairs given.

    Splitters may read other columns of the `table`, such as dates.

    Raises
    ------
    ValueError
        If there are no folds, or one names rows that are not there.
    """
    splitter = check_cv(cv, y, classifier=classifier)
    if table is not None and isinstance(splitter, SpatialSplitter):
        pairs = splitter.split(table, y, groups, coords=places)
    else:
        rows = table if isinstance(table, pd.DataFrame) else places
        pairs = splitter.split(rows, y, groups)
    folds = [(_row_numbers(a, len(places)), _row_numbers(b, len(places))) for a, b in pairs]
    if not folds:
        raise ValueError("cv gives no folds.")
    return folds


def each_row_once(folds: list[Fold], n_rows: int) -> list[Fold]:
    """Return folds that test each row once, or never.

    Raises
    ------
    ValueError
        If a row is in several test folds; the message names the first.
    """
    counts = np.bincount(np.concatenate([test for _, test in folds]), minlength=n_rows)
    if (counts > 1).any():
        row = int((counts > 1).argmax())
        raise ValueError(
            f"cv must not test a row twice; row {row} is in {counts[row]} of {len(folds)} test "
            "folds. Choose folds that do not overlap, such as KFold."
        )
    return folds


def _row_numbers(rows: Any, n_rows: int) -> np.ndarray:
    """Return row numbers, from row numbers or a boolean mask."""
    rows = np.asarray(rows)
    if rows.dtype.kind == "b" and rows.shape == (n_rows,):
        return np.flatnonzero(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(
            f"cv holds a fold of shape {rows.shape} and type {rows.dtype}; a fold is a pair of "
            f"arrays of row numbers, or of {n_rows} booleans."
        )
    if rows.size and not (rows.min() >= -n_rows and rows.max() < n_rows):
        raise ValueError(
            f"cv names row {rows[np.abs(rows).argmax()]}, and the table has {n_rows} rows: these "
            "folds are of another table. Within another estimator, which fits on parts of the "
            "table, pass a splitter instead of pairs."
        )
    return rows.astype(np.int64) % n_rows  # -1 is the last row


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
