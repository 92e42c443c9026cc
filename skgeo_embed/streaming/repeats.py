"""Places that many rows of a table share, encoded once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skgeo_embed._files import new_array_file
from skgeo_embed.streaming.progress import Progress
from skgeo_embed.streaming.sources import TableFile

COUNTED_ROWS = 250_000  # at a time
MOST_PLACES = 500_000
MOST_BYTES = 2**29  # of what says where they are
LEAST_REPEATS = 2  # rows a place, below which each batch by itself does as well


class EncodedPlaces(NamedTuple):
    """The distinct places of a table, and their features.

    Attributes
    ----------
    places : Index
        What the columns of places hold, in the order of the table.
    features : ndarray of shape (n_places, d)
        Of each, in a file.
    """

    places: pd.Index
    features: np.ndarray

    def of(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the features of a batch of rows, given its columns of places."""
        numbers = self.places.get_indexer(_index(rows))
        if (numbers < 0).any():  # -1 would be the last place's
            raise RuntimeError("the table changed while it was read; repeat the call.")
        return np.asarray(self.features[numbers])


def repeated_places(table: TableFile, columns: list[str], batch_rows: int) -> pd.DataFrame | None:
    """Return the rows of a table at which a place comes first, of its columns of places.

    None where places hardly repeat, where there are too many to be held, or where one batch holds
    the table, which does it by itself.
    """
    found: list[pd.DataFrame] = []
    n_rows = held = merged = 0
    for rows, _ in table.batches(COUNTED_ROWS, skip=0, columns=columns):
        found.append(table.frame(rows, columns).drop_duplicates())
        n_rows += len(rows)
        held += len(found[-1])
        if held > 2 * merged:  # each place is compared a few times, however many batches there are
            found = [pd.concat(found).drop_duplicates()]
            held = merged = len(found[0])
            if merged > MOST_PLACES or found[0].memory_usage(deep=True).sum() > MOST_BYTES:
                return None
    if n_rows <= batch_rows:
        return None
    places = pd.concat(found).drop_duplicates()
    return None if LEAST_REPEATS * len(places) > n_rows else places


def encode_places(
    places: pd.DataFrame,
    encode: Callable[[pd.DataFrame], np.ndarray],
    batch_rows: int,
    path: Path,
    verbose: bool,
) -> EncodedPlaces:
    """Encode distinct places, batch by batch, into a file that is forgotten with the run."""
    features: Any = np.empty(0)
    with Progress("encoding places", "places", total=len(places), shown=verbose) as progress:
        for start in range(0, len(places), batch_rows):
            part = encode(places.iloc[start : start + batch_rows])
            if not start:
                features = new_array_file(path, part.dtype, (len(places), part.shape[1]), path)
            features[start : start + len(part)] = part
            progress.update(len(part))
    return EncodedPlaces(_index(places), features)


def _index(frame: pd.DataFrame) -> pd.Index:
    if frame.shape[1] == 1:
        return pd.Index(frame.iloc[:, 0])
    return pd.MultiIndex.from_frame(frame)
