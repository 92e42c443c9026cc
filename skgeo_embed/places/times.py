"""Dates of rows: as days, and as cycles of the year."""

from __future__ import annotations

import numpy as np
import pandas as pd

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
    angle = 2 * np.pi * (dates.dt.dayofyear - 0.5) / (365 + leap)
    waves = [wave(turns * angle) for turns in (1, 2) for wave in (np.sin, np.cos)]
    columns = [dates.dt.month.astype(float), *waves]
    return pd.concat(columns, axis=1, keys=YEAR_PARTS)
