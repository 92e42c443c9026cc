"""What the splitters by place share: places of the rows, and a buffer around test rows."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.model_selection import BaseCrossValidator

from skgeo_embed._sphere import nearest_km

Split = tuple[np.ndarray, np.ndarray]


class SpatialSplitter(BaseCrossValidator):
    """Base of the splitters by place."""

    @property
    def needs_places(self) -> bool:
        """Whether folds depend on longitude and latitude."""
        return True


class BufferedSplitter(SpatialSplitter):
    """Base of the splitters that keep a buffer between test and training rows."""

    buffer_km: float

    def _without_buffer(self, train: np.ndarray, test: np.ndarray, lonlat: np.ndarray) -> Split:
        """Drop the training rows that lie within `buffer_km` of a test row."""
        if self.buffer_km:
            train = train[nearest_km(lonlat[train], lonlat[test]) > self.buffer_km]
            if not len(train):
                raise ValueError(
                    f"buffer_km={self.buffer_km} leaves no training point, because all are within "
                    "this distance of a test point; choose a smaller buffer."
                )
        return train, test

    def _check_buffer(self) -> None:
        if not isinstance(self.buffer_km, Real) or not self.buffer_km >= 0:
            raise ValueError(f"buffer_km must be a number of at least 0, got {self.buffer_km!r}.")


class KFoldSplitter(SpatialSplitter):
    """Base of the splitters with a given number of folds."""

    n_splits: int

    def get_n_splits(
        self, X: Any = None, y: Any = None, groups: Any = None, coords: Any = None
    ) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups, coords : object
            Not used; searches hand on what they hand to `split`.

        Returns
        -------
        n_splits : int
            Number of folds.
        """
        return self.n_splits

    def _check_n_splits(self) -> None:
        if not isinstance(self.n_splits, Integral) or self.n_splits < 2:
            raise ValueError(f"n_splits must be an integer of at least 2, got {self.n_splits!r}.")
