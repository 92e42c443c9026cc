"""Which pairs are held out, and which make a batch in each process and after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from skgeo_embed.model_selection import SpatialBlockKFold
from skgeo_embed.nn.objectives.gather import process_count, process_rank
from skgeo_embed.pretraining.data.batches import Batch, read_rows

MAX_BLOCK_DEGREES = 10.0
BLOCKS_ACROSS = 10


def split_pairs(
    pairs: Dataset[Any],
    val_fraction: float,
    val_split: Literal["random", "blocks"],
    batch_size: int,
    seed: int,
) -> tuple[list[int], list[int]]:
    """Split the rows into training and validation rows, row by row or by blocks of the Earth.

    Raises
    ------
    ValueError
        If the training rows are fewer than a batch, or one validation row is left.
    """
    n_pairs = len(pairs)  # type: ignore[arg-type]
    n_val = round(n_pairs * val_fraction)
    generator = torch.Generator().manual_seed(seed)
    if val_split == "random" or not n_val:
        order = torch.randperm(n_pairs, generator=generator).tolist()
        train, val = sorted(order[n_val:]), sorted(order[:n_val])
    else:
        block = _blocks_of(pairs)
        held_out = np.zeros(n_pairs, dtype=bool)
        for number in torch.randperm(int(block.max()) + 1, generator=generator).tolist():
            if held_out.sum() < n_val:
                held_out |= block == number
        train, val = np.flatnonzero(~held_out).tolist(), np.flatnonzero(held_out).tolist()
    _check_sizes(len(train), len(val), val_fraction, batch_size)
    return train, val


def _check_sizes(n_train: int, n_val: int, val_fraction: float, batch_size: int) -> None:
    n_pairs = n_train + n_val
    if n_train < 2:
        raise ValueError(
            f"{n_pairs} pair(s) leave {n_train} for training with val_fraction={val_fraction}, "
            "but a contrastive loss needs at least 2; give more pairs."
        )
    if val_fraction and n_val < 2:
        raise ValueError(
            f"val_fraction={val_fraction} of {n_pairs} pairs leaves {n_val} for validation, "
            "at least 2 are needed; raise it, or pass val_fraction=0."
        )
    if batch_size > n_train:
        raise ValueError(
            f"batch_size={batch_size} is larger than the {n_train} training pairs ({n_pairs} "
            f"less {n_val} for validation); pass batch_size={n_train} or less."
        )


def _blocks_of(pairs: Dataset[Any]) -> np.ndarray:
    """Return the number of each pair's block: of 10°, or of a tenth of a region's extent."""
    lonlat = getattr(pairs, "lonlat", None)
    if lonlat is None:
        rows = range(len(pairs))  # type: ignore[arg-type]
        lonlat = np.concatenate([read_rows(pairs, [row])["point"].numpy() for row in rows])
    extent = np.ptp(lonlat, axis=0).max()
    size = min(MAX_BLOCK_DEGREES, max(extent / BLOCKS_ACROSS, 1e-6))
    blocks = SpatialBlockKFold(block_size=size).blocks(lonlat)
    return np.unique(blocks, return_inverse=True)[1]


class ShuffledBatches(Sampler[list[int]]):
    """Batches of shuffled rows; each process gets its share of them, no pair twice per epoch.

    The order depends only on the seed and the epoch, so a run that resumes in the middle of an
    epoch continues with the next batch.

    Parameters
    ----------
    rows : list of int
        The rows to shuffle.
    batch_size : int
        Pairs in a batch, over all processes. The remainder of an epoch is omitted: a smaller
        batch would have fewer negatives, and so another loss.
    seed : int
        Seeds the order.
    position : callable
        Returns the epoch to begin or continue, and how many of its batches were trained already.
    n_views : int, default=1
        Views of a pair in the dataset, at index ``row * n_views + view``; each epoch shows
        the next view.
    same_batches : bool, default=False
        Give each epoch the batches of the first one.
    """

    def __init__(
        self,
        rows: list[int],
        batch_size: int,
        seed: int,
        position: Callable[[], tuple[int, int]],
        n_views: int = 1,
        *,
        same_batches: bool = False,
    ) -> None:
        self.rows = np.asarray(rows)
        self.batch_size = batch_size
        self.seed = seed
        self.position = position
        self.n_views = n_views
        self.same_batches = same_batches

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        epoch, first = self.position()
        epoch = 0 if self.same_batches else epoch
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.rows))
        first_view = np.random.default_rng(self.seed).integers(self.n_views, size=len(self.rows))
        items = self.rows * self.n_views + (first_view + epoch) % self.n_views
        share = self.batch_size // process_count()
        for batch in range(first, len(self)):
            start = batch * self.batch_size + process_rank() * share
            yield items[order[start : start + share]].tolist()


class SharedRows(Sampler[list[int]]):
    """Batches of rows in order, with equally many rows for each process.

    If the rows cannot be divided evenly, two processes get the last ones; `row` in the batch
    identifies them.

    Parameters
    ----------
    rows : list of int
        The rows to share.
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
    """Return a loader of the sampler's batches, which hold the row of each pair."""
    return DataLoader(
        NumberedPairs(dataset),
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=_unchanged,  # `read_rows` has joined the pairs
        persistent_workers=num_workers > 0,
        pin_memory=pin_memory,
    )


class NumberedPairs(Dataset[Batch]):
    """Whole batches of another dataset's pairs, with the row of each pair."""

    def __init__(self, dataset: Dataset[Batch]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitems__(self, indices: list[int]) -> Batch:
        return read_rows(self.dataset, sorted(indices))  # a memory map is read forwards


def _unchanged(batch: Any) -> Batch:
    return batch
