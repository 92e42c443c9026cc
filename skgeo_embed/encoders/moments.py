"""Mean or deviation of the features of points that belong together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


FEW = 1024  # values whose sum in single precision is as exact as they are


class Moments:
    """Sums over points of a group; points without features do not count.

    They are in double precision, but for the mean of a few float32 values, which need none.

    Parameters
    ----------
    n_groups, width : int
        Groups, and columns of the features.
    statistic : {"mean", "std"}
        What is asked for.
    dtype : str
        Of the features.
    largest : int
        Points in the largest group.
    """

    def __init__(self, n_groups: int, width: int, statistic: str, dtype: str, largest: int) -> None:
        import torch

        few = statistic == "mean" and dtype == "float32" and largest <= FEW
        self._dtype = torch.float32 if few else torch.float64
        self._count = torch.zeros(n_groups, dtype=self._dtype)
        self._sums = [
            torch.zeros((n_groups, width), dtype=self._dtype)
            for _ in range(1 + (statistic == "std"))
        ]

    def add(self, pieces: Iterable[tuple[slice | Tensor, Tensor]], group: np.ndarray) -> None:
        """Add features, batch after batch, of points whose groups are given for all of them."""
        import torch

        groups = torch.from_numpy(group)
        for part, values in pieces:
            of = groups[part]
            missing = torch.isnan(values[:, 0])  # then all of the row is
            if missing.any():
                of, values = of[~missing], values[~missing]
            values = values.to(self._dtype)
            self._count.index_add_(0, of, torch.ones(len(of), dtype=self._dtype))
            for power, total in enumerate(self._sums, start=1):
                total.index_add_(0, of, values if power == 1 else values * values)
            del values

    def result(self) -> np.ndarray:
        """Return the statistic of each group, NaN where a group has no points."""
        import torch

        count = self._count[:, None]
        mean = self._sums[0] / count
        if len(self._sums) == 1:
            return np.asarray(mean)
        return np.asarray(torch.sqrt((self._sums[1] / count - mean * mean).clamp_(min=0)))
