"""What the text of a CSV file stands for, as the model that reads it knows its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from skgeo_embed.streaming.columns import to_numbers
from skgeo_embed.streaming.sources import TableFile

BATCH_ROWS = 20_000
TRUTH = {"true": 1.0, "false": 0.0}
FROM_TEXT: dict[str, tuple[str, Callable[[pd.Series], pd.Series]]] = {
    "dates": ("2024-12-31", lambda text: pd.to_datetime(text, format="ISO8601", utc=True)),
    "durations": ("30 days", pd.to_timedelta),
}


class TextColumns:
    """Columns of a CSV file, converted alike in all batches of rows.

    Parameters
    ----------
    table : TableFile
        The file.
    names : sequence of str
        The columns.
    kinds : dict of str to str
        What columns held in `fit`, as far as it is known: "numbers", "truth" (True and False),
        "dates", "durations" or "words", which stay as they are written: 01 is not 1. Any other
        column holds numbers, or True and False, if the whole file has nothing else in it.
    decimal : {".", ","}
        Decimal mark of numbers.
    seen : str, default="in fit"
        Where columns held values of these kinds, for messages.
    """

    def __init__(
        self,
        table: TableFile,
        names: Sequence[str],
        kinds: Mapping[Any, str],
        decimal: str,
        seen: str = "in fit",
    ) -> None:
        self._path, self._decimal, self._seen = table.path, decimal, seen
        self._kinds = {name: kinds.get(name, "unknown") for name in names}
        unknown = {
            name: {"numbers", "truth"}
            for name, kind in self._kinds.items()
            if kind not in ("numbers", "truth", "words", *FROM_TEXT)
        }
        for rows, _ in table.batches(BATCH_ROWS, skip=0) if unknown else ():
            for name, possible in unknown.items():
                possible &= self._possible(table.frame(rows, [name])[name])
        self._kinds |= {name: min(found, default="words") for name, found in unknown.items()}

    def read(self, column: pd.Series, first_row: int) -> pd.Series:
        """Convert a column of a batch of rows, the first of which has a number in messages."""
        kind = self._kinds[str(column.name)]
        if kind == "words":
            return column
        if kind in FROM_TEXT:
            return self._from_text(column, kind, first_row)
        numbers, text = to_numbers(column, self._decimal)
        if len(text):
            numbers = numbers.copy()
            numbers[text] = column.iloc[text].str.strip().str.lower().map(TRUTH)
            text = text[np.isnan(numbers[text])]
        if len(text):
            raise ValueError(
                f"column {column.name!r} of {self._path} held numbers {self._seen}, and holds "
                f"{column.iloc[text[0]]!r} in row {first_row + text[0]} (the first row is 0); "
                "correct it, or leave it empty if it is missing."
            )
        if kind == "truth" and not np.isnan(numbers).any():
            numbers = numbers.astype(bool)
        return pd.Series(numbers, index=column.index)

    def _possible(self, column: pd.Series) -> set[str]:
        """Say what a column of a batch may be beside words."""
        found = set() if len(to_numbers(column, self._decimal)[1]) else {"numbers"}
        if column.notna().all() and column.str.strip().str.lower().isin(list(TRUTH)).all():
            found.add("truth")
        return found

    def _from_text(self, column: pd.Series, kind: str, first_row: int) -> pd.Series:
        example, convert = FROM_TEXT[kind]
        try:
            return convert(column)
        except (ValueError, OverflowError):
            for row, value in enumerate(column):
                try:
                    convert(pd.Series([value], dtype=object))
                except (ValueError, OverflowError) as error:
                    raise ValueError(
                        f"column {column.name!r} of {self._path} held {kind} {self._seen}, and "
                        f"holds {value!r} in row {first_row + row} (the first row is 0); write "
                        f"{kind} such as {example}."
                    ) from error
            raise


def kind_of_text(column: pd.Series, decimal: str) -> str:
    """Say what a column of text holds, as pandas would read it: numbers, truth or words."""
    present = column.dropna()
    if not len(present):
        return "words"  # a missing value stays one
    if not len(to_numbers(present, decimal)[1]):
        return "numbers"
    if not present.str.strip().str.lower().isin(list(TRUTH)).all():
        return "words"
    return "truth" if len(present) == len(column) else "numbers"


def constant_of(text: str, kind: str) -> Any:
    """Return what a text stands for, as a constant for a column that held values of a kind."""
    if kind == "words":
        return text
    if kind in FROM_TEXT:
        return FROM_TEXT[kind][1](pd.Series([text])).iloc[0]
    for convert in (int, float):
        with suppress(ValueError):
            return convert(text)
    return TRUTH.get(text.lower(), text)
