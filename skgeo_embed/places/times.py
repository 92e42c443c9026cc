"""Dates of rows: as days, and as cycles of the year."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skgeo_embed.places.numbers import plain_column

NUMBERS = {"boolean", "decimal", "floating", "integer", "mixed-integer-float"}
DATES = {"date", "datetime", "datetime64", "period"}
DURATIONS = {"timedelta", "timedelta64"}


def kind_of_values(column: pd.Series) -> str:
    """Return pandas' word for the values of a column, whatever its dtype."""
    if not isinstance(column.dtype, np.dtype):
        column = column.astype(object)
    return pd.api.types.infer_dtype(column, skipna=True)


def values_of(column: pd.Series) -> str:
    """Return what a column holds: "numbers", "dates", "durations", "words" or "nothing"."""
    if column.isna().all():
        return "nothing"
    kind = kind_of_values(column)
    if kind == "complex":
        raise ValueError(
            f"the column {column.name!r} holds complex numbers; pass their real and imaginary "
            "parts as two columns."
        )
    for name, kinds in (("numbers", NUMBERS), ("dates", DATES), ("durations", DURATIONS)):
        if kind in kinds:
            return name
    return "words"


def dates_of(column: pd.Series) -> pd.Series:
    """Convert dates, times and periods of any dtype to datetime64 in UTC; periods begin."""
    if kind_of_values(column) == "period":
        column = column.astype(object).map(lambda period: period.start_time, na_action="ignore")
    elif not isinstance(column.dtype, np.dtype):
        column = column.astype(object)
    return pd.to_datetime(column, utc=True)


def days_of(dates: pd.Series) -> pd.Series:
    """Count days since 1970."""
    return (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds() / 86_400


def spans_a_year(dates: pd.Series) -> bool:
    """Say whether dates cover all seasons; the first days of twelve months do."""
    return bool(dates.max() - dates.min() >= pd.Timedelta(days=365 - 31))


YEAR_PARTS = ("month", "sin1", "cos1", "sin2", "cos2")


def year_cycles(dates: pd.Series) -> pd.DataFrame:
    """Make the month, and sine and cosine of the day of the year, once and twice a year."""
    leap = dates.dt.is_leap_year.fillna(False).astype(float)
    angle = 2 * np.pi * (dates.dt.day_of_year - 0.5) / (365 + leap)
    # rounded, so that trees do not split days of equal season by the last bit
    waves = [wave(turns * angle).round(9) for turns in (1, 2) for wave in (np.sin, np.cos)]
    columns = [dates.dt.month.astype(float), *waves]
    return pd.concat(columns, axis=1, keys=YEAR_PARTS)


def find_times(X: Any, times: Any, name: Any, n_rows: int) -> pd.Series:
    """Return the dates or numbers of rows: those given, the named column, or the one of dates.

    Raises
    ------
    ValueError
        If there are none or several columns of dates, times are missing or neither dates nor
        numbers, or there are not as many as rows.
    """
    if times is None:
        times = _time_column(X, name)
    column = _as_series(times)
    if len(column) != n_rows:
        raise ValueError(f"times has {len(column)} rows, X has {n_rows}.")
    rows = np.flatnonzero(column.isna())
    if len(rows):
        raise ValueError(
            f"times are missing in {len(rows)} row(s) (first: row {rows[0]}); drop these rows."
        )
    kind = values_of(column)
    if kind == "dates":
        return dates_of(column)
    if kind != "numbers":
        raise ValueError(
            f"times must be dates or numbers, got {kind}, such as {column.iloc[0]!r}; convert them "
            "with pandas.to_datetime."
        )
    return column.astype("float64")


def _time_column(X: Any, name: Any) -> Any:
    columns = list(getattr(X, "columns", ()))
    if name is not None:
        if name not in columns:
            found = f"it has {', '.join(map(repr, columns))}" if columns else "it has no names"
            raise ValueError(f"X has no column {name!r}; {found}. Pass times beside X.")
        return X[name]
    dates = [other for other in columns if values_of(_as_series(X[other])) == "dates"]
    if len(dates) != 1:
        found = f"columns of dates are {', '.join(map(repr, dates))}" if dates else "X has no dates"
        raise ValueError(
            f"{found}; name the column with time=..., or pass times beside X (cross-validation "
            "functions hand them on after set_split_request(times=True)). Where neither is "
            "possible, as inside another estimator, pass the folds: cv=list(splitter.split(X))."
        )
    return X[dates[0]]


def _as_series(values: Any) -> pd.Series:
    values = plain_column(values)
    if isinstance(values, pd.Series):
        return values.reset_index(drop=True)
    return pd.Series(values if isinstance(values, pd.Index) else np.asarray(values))
