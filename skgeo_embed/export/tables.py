"""Columns of tables in a graph: categories, missing values, dates, and the place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

from skgeo_embed.export.columns import Columns, Part, beside
from skgeo_embed.export.graph import DOUBLE, Graph
from skgeo_embed.places.numbers import is_missing
from skgeo_embed.places.reading import LIMITS, ROUNDING
from skgeo_embed.prediction.learners import LearnerColumns, first_columns
from skgeo_embed.prediction.pipeline import TableReader
from skgeo_embed.prediction.table_columns import (
    AREA,
    PLACE,
    named_lonlat,
    named_place_and_time,
    numbers_of,
    seasons_of,
    text_of,
)

MISSING_TEXT = ""  # text in a graph cannot be missing
UNKNOWN_TEXT = "\0 a category that no table has"
ONE_OPERATOR = {np.log: "Log", np.exp: "Exp", np.sqrt: "Sqrt", np.abs: "Abs"}


def read_table(reader: TableReader, columns: Columns) -> Columns:
    """Check the place, as the first two columns, and put the others of the fit behind it."""
    graph = columns.graph
    lonlat = canonical_places(graph, columns.lonlat(*reader._lonlat))
    graph.valid_places.append(graph.Gather(lonlat, np.array([0]), axis=1))
    names = columns.names or []
    others = columns.take(names.index(name) for name in reader.columns_)
    place = Columns(graph, [Part(lonlat, "numbers", 2, (0, 1), rounding=0), Part(AREA, "input")])
    return beside(graph, [place, others], [*PLACE, AREA, *reader.columns_])


def canonical_places(graph: Graph, lonlat: str) -> str:
    """Bring degrees (n, 2) to the notation of encoders; both are NaN where a place is invalid."""
    kept = graph.Max(graph.Min(lonlat, LIMITS[1]), LIMITS[0])
    beyond = graph.Abs(graph.Sub(lonlat, kept))  # a missing one is NaN, and NaN compares False
    wrong = graph.Not(graph.LessOrEqual(beyond, ROUNDING))
    some_wrong = graph.ReduceSum(graph.Cast(wrong, to=DOUBLE), np.array([1]))
    lon, lat = graph.Split(kept, axis=1, num_outputs=2, n_outputs=2)
    lon = graph.Where(graph.GreaterOrEqual(lon, 180.0), graph.Sub(lon, 360.0), lon)
    lon = graph.Where(graph.Equal(graph.Abs(lat), 90.0), 0.0, lon)
    places = graph.Concat(lon, lat, axis=1)
    return graph.Where(graph.Greater(some_wrong, 0.0), np.nan, places)


def apply_function(step: FunctionTransformer, columns: Columns) -> Columns:
    """Do what one of our functions, or a common one of numpy, does to a table."""
    graph = columns.graph
    if step.func is None:
        return columns
    if step.func is named_lonlat:
        return Columns(graph, columns.take([0, 1]).parts, ["lon", "lat"])
    if step.func is named_place_and_time:
        return Columns(graph, columns.parts, ["lon", "lat", *(columns.names or [])[2:]])
    if step.func is text_of:
        return _filled_text(columns, ["missing"] * columns.width)
    if step.func is numbers_of:
        return columns
    numbers = columns.numbers()
    if step.func is seasons_of:
        parts = [_seasons(graph, columns.take([at]).numbers()) for at in range(columns.width)]
        return beside(graph, parts)
    if step.kw_args:
        raise TypeError(_unknown_function(step.func))
    return Columns.of(graph, elementwise(graph, step.func, numbers), columns.width)


def take_learner_columns(step: LearnerColumns, columns: Columns) -> Columns:
    """Take the columns that a learner of a spatial pipeline reads, and its few of the encoder's."""
    names = columns.names or []
    taken = columns.take(map(names.index, step.names_))
    if step.few is None:
        return taken
    encoded = columns.take(map(names.index, step.encoder_names_))
    if step.few is first_columns:
        return beside(columns.graph, [encoded.take(range(min(step.count, encoded.width))), taken])
    turn = step.few(np.eye(encoded.width), step.count)
    few = columns.graph.MatMul(encoded.numbers(), turn)
    return beside(columns.graph, [Columns.of(columns.graph, few, turn.shape[1]), taken])


def elementwise(graph: Graph, function: Any, numbers: str) -> str:
    """Apply one of numpy's functions that prices and counts are transformed with."""
    if function is np.log1p:
        return graph.Log(graph.Add(numbers, 1.0))
    if function is np.expm1:
        return graph.Sub(graph.Exp(numbers), 1.0)
    if function in ONE_OPERATOR:
        return getattr(graph, ONE_OPERATOR[function])(numbers)
    raise TypeError(_unknown_function(function))


def _unknown_function(function: Any) -> str:
    name = getattr(function, "__name__", repr(function))
    return (
        f"to_onnx cannot export the function {name}: a file has no Python. It knows numpy's log, "
        "log1p, exp, expm1, sqrt and abs; apply other functions before the model."
    )


def encode_categories(encoder: Any, columns: Columns) -> Columns:
    """Look up what the encoder makes of each known category, and of any other one."""
    graph = columns.graph
    if isinstance(encoder, OneHotEncoder):
        widths = list(encoder._n_features_outs)
    else:
        total = len(encoder.get_feature_names_out())
        widths = [total // columns.width] * columns.width
    ends = np.cumsum(widths)
    parts = []
    for number, width in enumerate(widths):
        categories = encoder.categories_[number]
        unknown = _unknown_category(categories)
        rows = _rows_of_categories(encoder, number, [*categories, unknown])
        table = rows[:, ends[number] - width : ends[number]]
        refuses = getattr(encoder, "handle_unknown", "") == "error"
        columns.expect(number, categories if refuses else [*categories, unknown])
        found = look_up(columns.take([number]), categories, table)
        parts.append(Columns.of(graph, found, width, rounding=0))
    return beside(graph, parts)


def look_up(column: Columns, keys: Any, table: np.ndarray) -> str:
    """Return the row of a table (n_keys + 1, d) for each value; its last row is for others."""
    graph = column.graph
    if holds_text(keys):
        words = np.array([MISSING_TEXT if is_missing(key) else str(key) for key in keys])
        equal = graph.Equal(column.text(), words[None])
    else:
        numbers = np.asarray(keys, dtype=np.float64)[None]
        values = column.numbers()
        equal = graph.Equal(values, numbers)
        if np.isnan(numbers).any():
            equal = graph.Or(equal, graph.And(graph.IsNaN(values), np.isnan(numbers)))
    equal = graph.Cast(equal, to=DOUBLE)
    known = graph.ReduceMax(equal, np.array([1]), keepdims=0)
    row = graph.ArgMax(equal, axis=1, keepdims=0)
    row = graph.Where(graph.Greater(known, 0.5), row, np.array(len(keys)))
    return graph.Gather(np.asarray(table, dtype=np.float64), row, axis=0)


def holds_text(keys: Any) -> bool:
    """Say whether categories are words, and not numbers.

    Raises
    ------
    TypeError
        If they are both.
    """
    kinds = {isinstance(key, str) for key in keys if not is_missing(key)}
    if len(kinds) == 2:
        raise TypeError(
            f"to_onnx cannot export a column whose categories are text and numbers: {keys!r}. "
            "Convert it to text, and fit again."
        )
    return kinds == {True}


def _unknown_category(categories: np.ndarray) -> Any:
    if holds_text(categories):
        return UNKNOWN_TEXT
    return np.nanmax([0.0, *np.asarray(categories, dtype=np.float64)]) + 1


def _rows_of_categories(encoder: Any, number: int, values: list[Any]) -> np.ndarray:
    """Encode tables that differ in one column; NaN in the last row if it is an error there."""
    others = [categories[0] for categories in encoder.categories_]
    frame = pd.DataFrame({i: [one] * len(values) for i, one in enumerate(others)}, dtype=object)
    frame[number] = pd.Series(values, dtype=object)
    refuses = getattr(encoder, "handle_unknown", "") == "error"
    if refuses:
        frame = frame[:-1]
    names = getattr(encoder, "feature_names_in_", None)
    table: Any = frame.to_numpy() if names is None else frame.set_axis(names, axis=1)
    rows = encoder.transform(table)
    rows = np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float64)
    return np.vstack([rows, np.full(rows.shape[1], np.nan)]) if refuses else rows


def fill_missing(imputer: Any, columns: Columns) -> Columns:
    """Put the imputer's statistics where values are missing, and mark these."""
    graph, statistics = columns.graph, imputer.statistics_
    marks = imputer.indicator_
    if imputer.missing_values is not np.nan and not is_missing(imputer.missing_values):
        raise TypeError(
            f"to_onnx cannot export a SimpleImputer of missing_values={imputer.missing_values!r}; "
            "mark missing values by NaN, and text by an empty one."
        )
    if holds_text(statistics):
        if marks is not None:
            raise TypeError("to_onnx cannot export a SimpleImputer of text with add_indicator.")
        return _filled_text(columns, list(statistics))
    statistics = np.asarray(statistics, dtype=np.float64)
    for position, value in enumerate(statistics):
        columns.expect(position, [value, 0.7 * value, 1.1 * value, 0.0, 1.0, -3.0, np.nan])
    kept = np.flatnonzero(~np.isnan(statistics))
    values = columns.take(kept).numbers()
    filled = graph.Where(graph.IsNaN(values), statistics[kept], values)
    parts = [Columns.of(graph, filled, len(kept), rounding=0)]
    if marks is not None and len(marks.features_):
        gaps = graph.IsNaN(columns.take(marks.features_).numbers())
        marked = graph.Cast(gaps, to=DOUBLE)
        parts.append(Columns.of(graph, marked, len(marks.features_), rounding=0))
    return beside(graph, parts)


def _filled_text(columns: Columns, words: list[str]) -> Columns:
    graph, parts = columns.graph, []
    for number, word in enumerate(words):
        column = columns.take([number])
        text = column.text()
        gap = graph.Equal(text, np.array(MISSING_TEXT))
        filled = graph.Where(gap, np.array(word), text)
        parts.append(Part(filled, "text", origin=column.parts[0].tensor))
    return Columns(graph, parts, columns.names)


def _seasons(graph: Graph, days: str) -> Columns:
    """Make the month and the cycles of the year of days since 1970, as `year_cycles` does.

    Years begin in March here, so that leap days end them. H. Hinnant (2013), "chrono-compatible
    low-level date algorithms".
    """

    def whole(numerator: str, denominator: float) -> str:
        return graph.Floor(graph.Div(numerator, denominator))

    day = graph.Add(graph.Floor(days), 719_468.0)
    era = whole(day, 146_097.0)
    of_era = graph.Sub(day, graph.Mul(era, 146_097.0))
    leap_days = graph.Sub(whole(of_era, 36_524.0), graph.Add(
        whole(of_era, 1_460.0), whole(of_era, 146_096.0)))  # fmt: skip
    year = whole(graph.Add(of_era, leap_days), 365.0)
    start = graph.Sub(graph.Add(graph.Mul(year, 365.0), whole(year, 4.0)), whole(year, 100.0))
    since_march = graph.Sub(of_era, start)
    number = whole(graph.Add(graph.Mul(since_march, 5.0), 2.0), 153.0)
    is_late = graph.GreaterOrEqual(number, 10.0)  # January or February, of the next year
    month = graph.Where(is_late, graph.Sub(number, 9.0), graph.Add(number, 3.0))
    year = graph.Add(graph.Mul(era, 400.0), graph.Add(year, graph.Cast(is_late, to=DOUBLE)))

    def divides(denominator: float) -> str:
        return graph.Equal(graph.Mul(whole(year, denominator), denominator), year)

    is_leap = graph.And(divides(4.0), graph.Or(graph.Not(divides(100.0)), divides(400.0)))
    leap = graph.Cast(is_leap, to=DOUBLE)
    of_year = graph.Where(
        is_late, graph.Sub(since_march, 305.0), graph.Add(graph.Add(since_march, 60.0), leap)
    )
    turn = graph.Div(graph.Sub(of_year, 0.5), graph.Add(leap, 365.0))
    waves = [
        graph.Sin(graph.Add(graph.Mul(turn, 2 * np.pi * turns), shift))
        for turns in (1, 2)
        for shift in (0.0, np.pi / 2)
    ]
    rounded = [graph.Div(graph.Round(graph.Mul(wave, 1e9)), 1e9) for wave in waves]
    return Columns.of(graph, graph.Concat(month, *rounded, axis=1), 5, rounding=0)


CATEGORY_ENCODERS = (OneHotEncoder, OrdinalEncoder)
