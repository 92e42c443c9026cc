"""Compute tables and grids in tiles that fit into the device's memory."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import torch

from skgeo_embed.nn.inference.devices import is_out_of_memory
from skgeo_embed.nn.inference.thread_choice import ThreadChoice


class Tiler:
    """Cut tables into tiles of a limited number of cells; halve it when memory runs out.

    Parameters
    ----------
    batch_size : int
        Largest number of cells in a tile.
    threads : ThreadChoice, default=None
        Chooses the threads of each tile; None does not change them.
    kind : hashable, default=None
        Tiles of one kind have the same cost per cell.
    """

    def __init__(
        self, batch_size: int, threads: ThreadChoice | None = None, kind: Hashable = None
    ) -> None:
        self.batch_size = batch_size
        self._threads = threads
        self._kind = kind
        self.ran_out = False

    def tiles(
        self, n_rows: int, n_columns: int, max_rows: int = 1
    ) -> Iterator[tuple[slice, slice]]:
        """Yield rows and columns of one tile after the other; one that ran out comes again smaller.

        Tiles are whole rows, at most `max_rows` of them, or a part of one row.
        """
        row = column = 0
        while row < n_rows:
            whole_rows = min(self.batch_size // n_columns, max_rows) if column == 0 else 0
            rows = slice(row, min(row + max(1, whole_rows), n_rows))
            end = n_columns if whole_rows else min(column + self.batch_size, n_columns)
            columns = slice(column, end)
            self.ran_out = False
            yield rows, columns
            if self.ran_out:
                continue
            column = columns.stop % n_columns
            row = row if column else rows.stop

    @contextmanager
    def computing(self, columns: slice, rows: slice = slice(1)) -> Iterator[None]:
        """Compute a tile in this block, with the number of threads that is fastest now.

        If an accelerator's memory runs out, `ran_out` says so, and all further tiles are half as
        large.
        """
        n_cells = (rows.stop - (rows.start or 0)) * (columns.stop - columns.start)
        try:
            if self._threads is None:
                yield
            else:
                with self._threads.batch(self._kind, n_cells):
                    yield
        except RuntimeError as error:
            if not is_out_of_memory(error) or self.batch_size == 1:
                raise
            self.ran_out = True
            self._halve()

    def _halve(self) -> None:
        self.batch_size = max(1, self.batch_size // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warnings.warn(
            f"the device ran out of memory; continuing with batch_size={self.batch_size}",
            RuntimeWarning,
            stacklevel=2,
        )
