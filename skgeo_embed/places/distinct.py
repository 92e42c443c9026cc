"""Places that come many times, encoded once."""

from __future__ import annotations

import numpy as np

MIN_ROWS = 10_000  # fewer are not worth looking through
WORTH_COPYING = 0.9  # share of distinct places above which every row is encoded
COPIED_ROWS = 8192  # at a time


def distinct_places(lonlat: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Find the places of a long table that comes back to them.

    Parameters
    ----------
    lonlat : ndarray of shape (n, 2) or (n, 3)
        Canonical degrees, and a time where it matters.

    Returns
    -------
    first, inverse : ndarray of int, of shapes (n_places,) and (n,); or None
        The row where each place comes first, and the place of each row. None where the table is
        short or nearly all its places are distinct.
    """
    if len(lonlat) < MIN_ROWS:
        return None
    import pandas as pd

    inverse, hashes = pd.factorize(_hashes(lonlat))
    if len(hashes) > WORTH_COPYING * len(lonlat):
        return None
    first = np.empty(len(hashes), dtype=np.int64)
    first[inverse[::-1]] = np.arange(len(inverse))[::-1]
    if not (lonlat[first[inverse]] == lonlat).all():  # two places with one hash: 1 in 10⁷
        return None
    return first, inverse


def spread_rows(table: np.ndarray, rows: np.ndarray, source: np.ndarray) -> None:
    """Copy rows `source` of a table to its rows `rows`."""
    import torch

    tensor = torch.from_numpy(table)
    for start in range(0, len(rows), COPIED_ROWS):
        part = slice(start, start + COPIED_ROWS)
        values = tensor.index_select(0, torch.from_numpy(source[part]))
        tensor.index_copy_(0, torch.from_numpy(rows[part]), values)


def _hashes(lonlat: np.ndarray) -> np.ndarray:
    """Mix the bits of a row into one number, (n,) uint64."""
    first, *others = np.ascontiguousarray(lonlat).view(np.uint64).T
    mixed = first * np.uint64(0x9E3779B97F4A7C15)  # odd constants spread low bits upwards
    for bits in others:
        mixed ^= mixed >> np.uint64(32)
        mixed += bits
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return mixed ^ (mixed >> np.uint64(29))
