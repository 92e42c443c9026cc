"""Compute tables and grids in tiles that fit into the device's memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor

from skgeo_embed.nn.inference.devices import is_out_of_memory
from skgeo_embed.nn.inference.thread_choice import ThreadChoice, as_it_is

Tile = tuple[slice, slice, Tensor]


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

    def run(
        self,
        n_rows: int,
        n_columns: int,
        compute: Callable[[slice, slice], Tensor],
        max_rows: int = 1,
    ) -> Iterator[Tile]:
        """Yield rows, columns and the result of `compute` for them, tile after tile.

        Tiles are whole rows, at most `max_rows` of them, or a part of one row. If an accelerator's
        memory runs out, the size is halved for all further tiles and the tile is computed again.
        """
        row = column = 0
        while row < n_rows:
            whole_rows = min(self.batch_size // n_columns, max_rows) if column == 0 else 0
            rows = slice(row, min(row + max(1, whole_rows), n_rows))
            end = n_columns if whole_rows else min(column + self.batch_size, n_columns)
            columns = slice(column, end)
            with self._chosen_threads(rows, columns) as run:
                try:
                    values = run(partial(compute, rows, columns))
                except RuntimeError as error:
                    if not is_out_of_memory(error) or self.batch_size == 1:
                        raise
                    self._halve()
                    continue
                yield rows, columns, values
                del values  # its memory is the next tile's
            column = columns.stop % n_columns
            row = row if column else rows.stop

    def _chosen_threads(
        self, rows: slice, columns: slice
    ) -> AbstractContextManager[Callable[[Callable[[], Tensor]], Tensor]]:
        if self._threads is None:
            return nullcontext(as_it_is)
        n_cells = (rows.stop - rows.start) * (columns.stop - columns.start)
        return self._threads.batch(self._kind, n_cells)

    def _halve(self) -> None:
        self.batch_size = max(1, self.batch_size // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warnings.warn(
            f"the device ran out of memory; continuing with batch_size={self.batch_size}",
            RuntimeWarning,
            stacklevel=2,
        )
