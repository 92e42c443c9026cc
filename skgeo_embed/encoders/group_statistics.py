"""Mean or standard deviation of the features of points that belong together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


SINGLE_PRECISION_ROWS = 1024  # float32 values that single precision adds without loss


class GroupStatistics:
    """Sums over the points of each group; points without features do not count.

    Sums are in double precision, except for the mean of a few float32 values.

    Parameters
    ----------
    n_groups, width : int
        Number of groups, and of feature columns.
    statistic : {"mean", "std"}
        What `result` returns.
    dtype : str
        Type of the features.
    largest : int
        Number of points in the largest group.
    """

    def __init__(self, n_groups: int, width: int, statistic: str, dtype: str, largest: int) -> None:
        import torch

        exact = statistic == "mean" and dtype == "float32" and largest <= SINGLE_PRECISION_ROWS
        self._dtype = torch.float32 if exact else torch.float64
        self._count = torch.zeros(n_groups, dtype=self._dtype)
        self._sum = torch.zeros((n_groups, width), dtype=self._dtype)
        self._sum_of_squares = torch.zeros_like(self._sum) if statistic == "std" else None

    def add(self, pieces: Iterable[tuple[slice | Tensor, Tensor]], group: np.ndarray) -> None:
        """Add features batch by batch; `group` says the group of every point of all batches."""
        import torch

        groups = torch.from_numpy(group)
        for part, values in pieces:
            member, values = groups[part], torch.as_tensor(values)
            missing = torch.isnan(values[:, 0])  # a row is missing as a whole
            if missing.any():
                member, values = member[~missing], values[~missing]
            values = values.to(self._dtype)
            self._count.index_add_(0, member, torch.ones(len(member), dtype=self._dtype))
            self._sum.index_add_(0, member, values)
            if self._sum_of_squares is not None:
                self._sum_of_squares.index_add_(0, member, values * values)
            del values  # before the next batch is computed

    def result(self) -> np.ndarray:
        """Return the statistic of each group, NaN where a group has no points."""
        import torch

        count = self._count[:, None]
        mean = self._sum / count
        if self._sum_of_squares is None:
            return np.asarray(mean)
        variance = self._sum_of_squares / count - mean * mean
        return np.asarray(torch.sqrt(variance.clamp_(min=0)))
