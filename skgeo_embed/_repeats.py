"""Encoding each place of a table once, however many rows it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

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
        self._lonlat = np.empty((0, 2))

    def encode(self, lonlat: np.ndarray, rows: np.ndarray) -> None:
        """Write the features of `lonlat` (n, 2), canonical degrees, to `rows` of the table."""
        if len(lonlat) < MIN_ROWS and self._places is None:
            self._encode(lonlat, rows)
            return
        import pandas as pd

        codes, places = pd.factorize(_hashes(lonlat))
        first = np.empty(len(places), dtype=np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        known = np.full(len(places), -1)
        if self._places is not None:
            known = self._places.get_indexer(pd.Index(places))
        new = known < 0
        distinct = lonlat[first]
        if new.sum() > WORTH_COPYING * len(lonlat) or not (  # two places with one hash: 1 in 10⁷
            (distinct[codes] == lonlat).all()
            and (distinct[~new] == self._lonlat[known[~new]]).all()
        ):
            self._encode(lonlat, rows)
            return
        source = rows[first]
        if new.any():
            self._encode(distinct[new], source[new])
        source[~new] = self._rows[known[~new]]
        self._copy(source[codes], rows)
        room = MAX_PLACES - len(self._rows)
        fresh = np.flatnonzero(new)[:room]
        if len(fresh):
            added = pd.Index(places[fresh])
            self._places = added if self._places is None else self._places.append(added)
            self._rows = np.concatenate([self._rows, source[fresh]])
            self._lonlat = np.concatenate([self._lonlat, distinct[fresh]])

    def _copy(self, source: np.ndarray, rows: np.ndarray) -> None:
        import torch

        table = torch.from_numpy(self._out)
        for start in range(0, len(rows), COPIED_ROWS):
            part = slice(start, start + COPIED_ROWS)
            values = table.index_select(0, torch.from_numpy(source[part]))
            table.index_copy_(0, torch.from_numpy(rows[part]), values)


def _hashes(lonlat: np.ndarray) -> np.ndarray:
    """Mix the bits of both coordinates into one number, (n,) uint64."""
    bits = np.ascontiguousarray(lonlat).view(np.uint64)
    mixed = bits[:, 0] * np.uint64(0x9E3779B97F4A7C15)  # odd constants spread low bits upwards
    mixed ^= mixed >> np.uint64(32)
    mixed += bits[:, 1]
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return mixed ^ (mixed >> np.uint64(29))
