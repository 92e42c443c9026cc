"""Fits a model of places on a table that may be larger than memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.pipeline import Pipeline

from skgeo_embed._errors import CoordinateError, UsageError
from skgeo_embed.places.numbers import is_dask
from skgeo_embed.prediction.ensemble import SpatialEnsemble
from skgeo_embed.prediction.rows import read_labels
from skgeo_embed.streaming.columns import to_numbers
from skgeo_embed.streaming.files import check_arrow, check_source
from skgeo_embed.streaming.progress import Progress
from skgeo_embed.streaming.sources import open_table
from skgeo_embed.streaming.table_run import Unchanged
from skgeo_embed.streaming.text_columns import TextColumns, kind_of_text

BATCH_ROWS = 20_000
UNNAMED_INDEX = re.compile(r"__index_level_\d+__")  # as pandas writes it into Parquet files


def fit_table(
    model: Any,
    source: Any,
    target: str,
    *,
    n_rows: int = 200_000,
    delimiter: str | None = None,
    decimal: str = ".",
    encoding: str = "utf-8",
    verbose: bool = True,
) -> Any:
    """Fit a model on a table that may be larger than memory.

    The model is fitted on rows that are drawn evenly. The predictions of a
    :func:`~skgeo_embed.spatial_pipeline` are corrected by the labels of all rows, which are read a
    batch or a partition at a time; about 200 bytes of each row stay in memory. A model of another
    kind, also one around a `spatial_pipeline`, learns from the drawn rows alone.

    Parameters
    ----------
    model : estimator object
        Such as ``spatial_pipeline()``. It is cloned, and stays unfitted.
    source : path-like or dask DataFrame
        A .parquet, .csv, .csv.gz or .csv.zst file, or a dask DataFrame, whose partitions are
        computed one at a time, three times in all. All columns but `target` are the model's. Those
        of a CSV file are numbers, True and False, or words, as the drawn rows hold them.
    target : str
        The column to predict.
    n_rows : int, default=200_000
        How many rows are drawn, at least 2; of a classifier, one row of each class more if these
        lack it.
    delimiter : str, default=None
        Between the columns of a CSV file; None takes the comma, semicolon or tab that its first
        line has most of.
    decimal : {".", ","}, default="."
        Decimal mark of a CSV file's numbers.
    encoding : str, default="utf-8"
        How a CSV file's text is encoded.
    verbose : bool, default=True
        Show a bar on a terminal, or print a line every ten seconds.

    Returns
    -------
    fitted : estimator object
        A fitted clone of the model.

    Raises
    ------
    ValueError
        If there is no such column, columns have the same name, a label is missing or infinite, or
        text stands where the drawn rows have numbers; the message names the first row.
    CoordinateError
        If coordinates are missing or impossible; a ValueError.
    RuntimeError
        If the file changes while it is read.

    See Also
    --------
    predict_table : Adds a fitted model's predictions to a table of any size.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skgeo_embed import fit_table, spatial_pipeline
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> path = Path(tempfile.mkdtemp()) / "stations.parquet"
    >>> stations = load_air_temperature().frame[["lon", "lat", "mean_temperature_c"]]
    >>> stations[::10].to_parquet(path)
    >>> model = fit_table(spatial_pipeline(), path, "mean_temperature_c", n_rows=200)
    >>> bool(model.score(stations[["lon", "lat"]], stations["mean_temperature_c"]) > 0.9)
    True
    """
    if decimal not in (".", ","):
        raise UsageError(f'decimal must be "." or ",", got {decimal!r}.')
    if isinstance(n_rows, bool) or not isinstance(n_rows, Integral) or n_rows < 2:
        raise UsageError(f"n_rows must be an integer of at least 2, got {n_rows!r}.")
    table: _DaskTable | _FileTable
    if is_dask(source):
        table = _DaskTable(source)
    else:
        table = _FileTable(source, delimiter, decimal, encoding)
    _check_names(table.names, target)
    drawn = _draw_rows(table, target, int(n_rows), model)
    sample = pd.concat([frame[drawn[rows]] for rows, frame in _numbered(table)], ignore_index=True)
    X, y = _split_off(table.typed(sample), target)
    if is_classifier(model):
        y = table.classes(y)
    fitted = clone(model)
    corrected = isinstance(fitted, Pipeline) and isinstance(fitted[-1], SpatialEnsemble)
    with _named("the rows that were drawn"):
        if drawn.all() or not corrected:
            return fitted.fit(X, y)
        steps = fitted[:-1]
        features = steps.fit_transform(X, y)
    fitted.steps[:-1] = steps.steps  # a pipeline with a memory fits copies of its steps
    fitted[-1].fit_with_neighbors(features, y, _neighbors(table, target, ~drawn, steps, verbose))
    return fitted


def _check_names(names: list[Any], target: str) -> None:
    """Raise if the target is not a column, or columns have the same name."""
    if target not in names:
        raise UsageError(f"there is no column {target!r}; there are {', '.join(map(repr, names))}.")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"there are several columns {twice[0]!r}; rename all but one.")


class _FileTable:
    """A CSV or Parquet file, a batch at a time."""

    def __init__(
        self, source: str | PathLike[str], delimiter: str | None, decimal: str, encoding: str
    ) -> None:
        if hasattr(source, "columns"):
            raise UsageError(
                f"got a {type(source).__name__}; pass the path of a file or a dask DataFrame, or "
                "call model.fit(X, y) for a table that is in memory."
            )
        path = check_source(source)
        check_arrow(path)
        self._as_begun = Unchanged(path, "nothing was fitted. Repeat the call")
        self._table, self.decimal = open_table(path, delimiter, encoding), decimal
        self._is_text = self._table.kind == "csv"
        self._text: TextColumns | None = None
        self.names = [name for name in self._table.names if not UNNAMED_INDEX.fullmatch(name)]
        if b"geo" in self._table.metadata():
            raise UsageError(
                f"{path} holds geometries (GeoParquet); write longitude and latitude into columns "
                "lon and lat of a plain Parquet file, or read it with geopandas and call model.fit."
            )

    def frames(self, columns: list[str]) -> Iterator[pd.DataFrame]:
        for rows, _ in self._table.batches(BATCH_ROWS, 0, columns):
            self._as_begun.check()
            yield self._table.frame(rows, columns)
        self._as_begun.check()  # a table that was cut has fewer batches

    def typed(self, frame: pd.DataFrame, first_row: int = 0) -> pd.DataFrame:
        """Return what the text of a CSV file stands for; the first call decides on each column."""
        if not self._is_text:
            return frame
        if self._text is None:
            kinds = {name: kind_of_text(frame[name], self.decimal) for name in self.names}
            seen = "in the rows that were drawn"
            self._text = TextColumns(self._table, self.names, kinds, self.decimal, seen)
        read = {str(name): self._text.read(frame[name], first_row) for name in frame}
        return frame.assign(**read)

    def classes(self, y: pd.Series) -> pd.Series:
        """Return classes; those that are whole numbers in a CSV file are integers."""
        if not self._is_text or y.dtype.kind != "f":
            return y
        whole = (y == y.round()).all() and (y.abs() < 2**53).all()
        return y.astype(np.int64) if whole else y


class _DaskTable:
    """A dask DataFrame, a partition at a time."""

    def __init__(self, source: Any) -> None:
        if getattr(source, "ndim", 0) != 2 or not hasattr(source, "columns"):
            raise UsageError(
                f"got a dask {type(source).__name__}; pass a dask DataFrame, whose columns have "
                "names, or the path of a file."
            )
        self._source, self.decimal = source, "."
        self.names = list(source.columns)

    def frames(self, columns: list[str]) -> Iterator[pd.DataFrame]:
        for part in self._source[columns].partitions:
            yield part.compute()

    def typed(self, frame: pd.DataFrame, first_row: int = 0) -> pd.DataFrame:
        """Return the frame, whose columns have types."""
        return frame

    def classes(self, y: pd.Series) -> pd.Series:
        """Return classes as they are."""
        return y


def _numbered(
    table: _FileTable | _DaskTable, columns: list[str] | None = None
) -> Iterator[tuple[slice, pd.DataFrame]]:
    """Yield frames of some columns, by default all, and the numbers of their rows."""
    start = 0
    for frame in table.frames(table.names if columns is None else columns):
        yield slice(start, start + len(frame)), frame
        start += len(frame)


def _draw_rows(table: _FileTable | _DaskTable, target: str, n_rows: int, model: Any) -> np.ndarray:
    """Say of each row whether it is drawn; classes have at least one row that is."""
    count = 0
    first_of_class: dict[Any, int] = {}
    for rows, frame in _numbered(table, [target]):
        count = rows.stop
        labels = frame[target]
        missing = np.flatnonzero(pd.isna(labels))
        if len(missing):
            raise ValueError(
                f"the column {target!r} is missing in row {rows.start + missing[0]}, and perhaps "
                "in others; drop such rows. The first row is 0."
            )
        if is_regressor(model):
            _check_numbers(labels, table.decimal, rows.start)
        if is_classifier(model):
            values, first = np.unique(read_labels(labels), return_index=True)
            for value, row in zip(values, first, strict=True):
                first_of_class.setdefault(value, rows.start + row)
    if not count:
        raise ValueError("the table has no rows.")
    drawn = np.zeros(count, dtype=bool)
    drawn[np.random.RandomState(0).permutation(count)[:n_rows]] = True
    drawn[list(first_of_class.values())] = True
    return drawn


def _check_numbers(labels: pd.Series, decimal: str, first_row: int) -> None:
    """Raise if a label is text or infinite."""
    numbers = to_numbers(labels, decimal)[0]
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise ValueError(
            f"the column {labels.name!r} must hold finite numbers, got {labels.iloc[wrong[0]]!r} "
            f"in row {first_row + wrong[0]}; correct it. The first row is 0."
        )


def _neighbors(
    table: _FileTable | _DaskTable,
    target: str,
    wanted: np.ndarray,
    steps: Pipeline,
    verbose: bool,
) -> Iterator[tuple[Any, Any]]:
    """Yield features and labels of the wanted rows."""
    with Progress("reading neighbours", "rows", total=len(wanted), shown=verbose) as progress:
        for rows, frame in _numbered(table):
            if wanted[rows].any():
                some = table.typed(frame, rows.start)[wanted[rows]].reset_index(drop=True)
                X, y = _split_off(some, target)
                with _named(f"rows {rows.start} to {rows.stop - 1} but those that were drawn"):
                    features = steps.transform(X)
                yield features, y
            progress.update(len(frame))


def _split_off(frame: pd.DataFrame, target: str) -> tuple[pd.DataFrame, pd.Series]:
    return frame.drop(columns=target), frame[target]


@contextmanager
def _named(rows: str) -> Iterator[None]:
    """Add to an error which rows of a table it is about; its message counts these from 0."""
    try:
        yield
    except CoordinateError as error:
        raise CoordinateError(f"in {rows}: {error}") from error
