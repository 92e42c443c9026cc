"""Which pairs make a batch, for one process or many, from the start or after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from skgeo_embed.model_selection import SpatialBlockKFold
from skgeo_embed.nn.objectives.gather import process_count, process_rank
from skgeo_embed.pretraining.data import Batch, collate_pairs
from skgeo_embed.pretraining.features import read_rows

MAX_BLOCK_DEGREES = 10.0
BLOCKS_ACROSS = 10


def split_pairs(
    pairs: Dataset[Any], val_fraction: float, val_split: Literal["random", "blocks"], seed: int
) -> tuple[list[int], list[int]]:
    """Cut the rows into training and validation rows, row by row or by blocks of the Earth."""
    n_pairs = len(pairs)  # type: ignore[arg-type]
    n_val = round(n_pairs * val_fraction)
    generator = torch.Generator().manual_seed(seed)
    if val_split == "random" or not n_val:
        order = torch.randperm(n_pairs, generator=generator).tolist()
        return sorted(order[n_val:]), sorted(order[:n_val])
    block = _blocks_of(pairs)
    held_out = np.zeros(n_pairs, dtype=bool)
    for number in torch.randperm(int(block.max()) + 1, generator=generator).tolist():
        if held_out.sum() < n_val:
            held_out |= block == number
    return np.flatnonzero(~held_out).tolist(), np.flatnonzero(held_out).tolist()


def _blocks_of(pairs: Dataset[Any]) -> np.ndarray:
    """Number of each pair's block: of 10°, or a tenth of a region's extent."""
    lonlat = getattr(pairs, "lonlat", None)
    if lonlat is None:
        rows = range(len(pairs))  # type: ignore[arg-type]
        lonlat = np.concatenate([read_rows(pairs, [row])["point"].numpy() for row in rows])
    extent = np.ptp(lonlat, axis=0).max()
    size = min(MAX_BLOCK_DEGREES, max(extent / BLOCKS_ACROSS, 1e-6))
    blocks = SpatialBlockKFold(block_size=size).blocks(lonlat)
    return np.unique(blocks, return_inverse=True)[1]


class ShuffledBatches(Sampler[list[int]]):
    """Batches of shuffled rows; every process gets its share of each, no pair twice an epoch.

    The order follows from the seed and the epoch alone, and the position from the number of
    steps done, so a run that is resumed in the middle of an epoch goes on with the next batch.

    Parameters
    ----------
    rows : list of int
        What to draw from.
    batch_size : int
        Pairs in a batch, over all processes. What is left over in an epoch is left out: a
        smaller batch would have fewer negatives, and another loss.
    seed : int
        Of the order.
    steps_done : callable
        Returns the number of batches trained so far.
    n_views : int, default=1
        Where the dataset holds several views of a pair, index ``row * n_views + view``; each
        pair shows the next of its views every epoch.
    """

    def __init__(
        self,
        rows: list[int],
        batch_size: int,
        seed: int,
        steps_done: Callable[[], int],
        n_views: int = 1,
    ) -> None:
        self.rows = np.asarray(rows)
        self.batch_size = batch_size
        self.seed = seed
        self.steps_done = steps_done
        self.n_views = n_views

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        epoch, first = divmod(self.steps_done(), len(self))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.rows))
        first_view = np.random.default_rng(self.seed).integers(self.n_views, size=len(self.rows))
        items = self.rows * self.n_views + (first_view + epoch) % self.n_views
        share = self.batch_size // process_count()
        for batch in range(first, len(self)):
            start = batch * self.batch_size + process_rank() * share
            yield items[order[start : start + share]].tolist()


class SharedRows(Sampler[list[int]]):
    """Batches of rows in order, dealt to the processes; each gets equally many.

    Where they do not come out even, the last rows are given to two processes; `row` in the
    batch tells them apart.

    Parameters
    ----------
    rows : list of int
        What to deal.
    batch_size : int
        Rows in a batch of one process.
    n_views : int, default=1
        As for :class:`ShuffledBatches`; view 0 is shown.
    """

    def __init__(self, rows: list[int], batch_size: int, n_views: int = 1) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.n_views = n_views

    def __len__(self) -> int:
        return -(-self._share() // self.batch_size)

    def _share(self) -> int:
        return -(-len(self.rows) // process_count())

    def __iter__(self) -> Iterator[list[int]]:
        share = self._share()
        start = min(process_rank() * share, max(len(self.rows) - share, 0))
        items = [row * self.n_views for row in self.rows[start : start + share]]
        for first in range(0, len(items), self.batch_size):
            yield items[first : first + self.batch_size]


def make_loader(
    dataset: Dataset[Batch],
    sampler: Sampler[list[int]],
    num_workers: int = 0,
    *,
    pin_memory: bool = False,
) -> DataLoader[Batch]:
    """Return a loader of the sampler's batches, with the row of each pair in them."""
    return DataLoader(
        NumberedPairs(dataset),
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate_pairs,
        persistent_workers=num_workers > 0,
        pin_memory=pin_memory,
    )


class NumberedPairs(Dataset[Batch]):
    """Pairs of another dataset that know their index, whole batches where it can give them."""

    def __init__(self, dataset: Dataset[Batch]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitems__(self, indices: list[int]) -> Any:
        ordered = sorted(indices)  # a memory map is read forwards
        if hasattr(self.dataset, "__getitems__"):
            batch = self.dataset.__getitems__(ordered)
            if isinstance(batch, dict):
                return {**batch, "row": torch.tensor(ordered)}
            return [{**pair, "row": row} for pair, row in zip(batch, ordered, strict=True)]
        return [{**self.dataset[row], "row": row} for row in ordered]
