"""Encoding each place of a table once, however many rows it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 10_000  # fewer are not worth looking through
MAX_PLACES = 1_000_000  # remembered from one part of a table to the next, some 50 MB
WORTH_COPYING = 0.9  # share of distinct places above which nothing is remembered
COPIED_ROWS = 8192  # at a time


class Repeats:
    """Fills a table of features part by part, and copies what it already holds.

    Parameters
    ----------
    out : ndarray of shape (n, d)
        Where the features go.
    encode : callable
        ``encode(lonlat, rows)`` writes the features of places to rows of `out`.
    """

    def __init__(self, out: np.ndarray, encode: Callable[[np.ndarray, np.ndarray], None]) -> None:
        self._out = out
        self._encode = encode
        self._places: pd.Index | None = None
        self._rows = np.empty(0, dtype=np.int64)

    def encode(self, lonlat: np.ndarray, rows: np.ndarray) -> None:
        """Write the features of `lonlat` (n, 2), canonical degrees, to `rows` of the table."""
        if len(lonlat) < MIN_ROWS and self._places is None:
            self._encode(lonlat, rows)
            return
        import pandas as pd

        keys: Any = np.ascontiguousarray(lonlat).view(np.complex128).ravel()  # a place, one number
        codes, places = pd.factorize(keys)
        known = np.full(len(places), -1)
        if self._places is not None:
            known = self._places.get_indexer(places)
        new = known < 0
        if new.mean() * len(places) > WORTH_COPYING * len(lonlat):
            self._encode(lonlat, rows)
            return
        first = np.empty(len(places), dtype=np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        source = rows[first]
        if new.any():
            self._encode(lonlat[first[new]], source[new])
        source[~new] = self._rows[known[~new]]
        self._copy(source[codes], rows)
        room = MAX_PLACES - len(self._rows)
        fresh = np.flatnonzero(new)[:room]
        if len(fresh):
            added = pd.Index(places[fresh])
            self._places = added if self._places is None else self._places.append(added)
            self._rows = np.concatenate([self._rows, source[fresh]])

    def _copy(self, source: np.ndarray, rows: np.ndarray) -> None:
        import torch

        table = torch.from_numpy(self._out)
        for start in range(0, len(rows), COPIED_ROWS):
            part = slice(start, start + COPIED_ROWS)
            values = table.index_select(0, torch.from_numpy(source[part]))
            table.index_copy_(0, torch.from_numpy(rows[part]), values)
