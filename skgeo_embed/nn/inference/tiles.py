"""Tables and grids piece by piece, in pieces that the device's memory holds."""

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
    """Cuts tables into tiles of at most so many cells, fewer once memory has run out.

    Parameters
    ----------
    batch_size : int
        Cells at a time.
    threads : ThreadChoice, default=None
        Chooses the threads of each tile; None leaves them as they are.
    kind : hashable, default=None
        Tiles of one kind cost the same for each cell.
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
        """Yield rows, columns and what `compute` makes of them, tile after tile.

        Tiles are whole rows, at most `max_rows` of them, or a part of one row. Where an
        accelerator's memory runs out the size is halved, for all that follows, and the tile done
        again.
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
            f"the device ran out of memory; going on with batch_size={self.batch_size}",
            RuntimeWarning,
            stacklevel=2,
        )
