"""Columns of a table with places, by what they hold, and what a model reads of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skgeo_embed.places.times import (
    DATES,
    DURATIONS,
    YEAR_PARTS,
    dates_of,
    days_of,
    kind_of_values,
    spans_a_year,
    values_of,
    year_cycles,
)

PLACE = ["(longitude)", "(latitude)"]  # no column of a table has such a name
AREA = "(area)"  # geometries in degrees, if rows are areas


def named_lonlat(X: pd.DataFrame) -> pd.DataFrame:
    """Give the two columns of the place their usual names."""
    return X.set_axis(["lon", "lat"], axis=1)


def lonlat_names(transformer: Any, names: Any) -> list[str]:
    """Name the two columns of the place."""
    return ["lon", "lat"]


def named_place_and_time(X: pd.DataFrame, part: str) -> pd.DataFrame:
    """Name the place, and take the month or the year, whichever `part` says, of a third column."""
    time = X.iloc[:, 2]
    if values_of(time) == "dates":
        time = getattr(dates_of(time).dt, part)
    return pd.DataFrame({"lon": X.iloc[:, 0], "lat": X.iloc[:, 1], X.columns[2]: time})


def place_and_time_names(transformer: Any, names: Any) -> list[str]:
    """Name the two columns of the place, and the column of the time."""
    return ["lon", "lat", names[2]]


def number_columns(X: pd.DataFrame) -> list[Any]:
    """Name the columns beside the place that are numbers, booleans, durations or empty."""
    return _columns_of(X, "numbers", "durations", "nothing")


def date_columns(X: pd.DataFrame) -> list[Any]:
    """Name the columns that are dates."""
    return _columns_of(X, "dates")


def season_columns(X: pd.DataFrame) -> list[Any]:
    """Name the columns of dates that cover all seasons, so that these differ from a trend."""
    return [name for name in date_columns(X) if spans_a_year(dates_of(X[name]))]


def text_columns(X: pd.DataFrame) -> list[Any]:
    """Name the columns that are words or categories."""
    return _columns_of(X, "words")


def _columns_of(X: pd.DataFrame, *kinds: str) -> list[Any]:
    others = [name for name in X if name not in (*PLACE, AREA)]
    return [name for name in others if _values_or_words(X[name]) in kinds]


def _values_or_words(column: pd.Series) -> str:
    return "words" if isinstance(column.dtype, pd.CategoricalDtype) else values_of(column)


def numbers_of(X: pd.DataFrame) -> pd.DataFrame:
    """Convert columns to float64: dates and durations to days, booleans to 0 and 1."""
    return X.apply(_numbers)


def seasons_of(X: pd.DataFrame) -> pd.DataFrame:
    """Make the month and cycles of the year of each column of dates."""
    parts = [year_cycles(dates_of(X[name])).add_prefix(f"{name}_") for name in X]
    return pd.concat(parts, axis=1)


def season_names(transformer: Any, names: Any) -> list[str]:
    """Name the month and the cycles of each column of dates."""
    return [f"{name}_{part}" for name in names for part in YEAR_PARTS]


def text_of(X: pd.DataFrame) -> pd.DataFrame:
    """Convert columns to text; missing values are a category too, and 1.0 is the category 1."""
    return X.apply(_words)


def category_name(column: str, category: Any) -> str:
    """Name the column of a category."""
    return f"{column}={category}"


def _numbers(column: pd.Series) -> pd.Series:
    kind = kind_of_values(column)
    try:
        if kind in DATES:
            return days_of(dates_of(column))
        if not isinstance(column.dtype, np.dtype):
            column = column.astype(object)
        if kind in DURATIONS:
            return pd.to_timedelta(column).dt.total_seconds() / 86_400
        return pd.to_numeric(column.where(column.notna(), np.nan)).astype("float64")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the column {column.name!r} held numbers in fit, and now holds something else: {error}"
        ) from error


def _words(column: pd.Series) -> pd.Series:
    values = column.astype(object)
    if pd.api.types.infer_dtype(values, skipna=True) == "string":  # far faster than one by one
        return values.where(values.notna(), "missing")
    return values.map(_word).astype(object)


def _word(value: Any) -> str:
    if pd.isna(value):
        return "missing"
    whole = isinstance(value, (float, np.floating)) and value.is_integer()
    return str(int(value)) if whole else str(value)
