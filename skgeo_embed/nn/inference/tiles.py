"""Tables and grids piece by piece, in pieces that the device's memory holds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from skgeo_embed.nn.inference.devices import is_out_of_memory

Tile = tuple[slice, slice, Tensor]


class Tiler:
    """Cuts tables into tiles of at most so many cells, fewer once memory has run out.

    Parameters
    ----------
    batch_size : int
        Cells at a time.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

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
            try:
                values = compute(rows, columns)
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.batch_size == 1:
                    raise
                self._halve()
                continue
            yield rows, columns, values
            del values  # its memory is the next tile's
            column = columns.stop % n_columns
            row = row if column else rows.stop

    def _halve(self) -> None:
        self.batch_size = max(1, self.batch_size // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warnings.warn(
            f"the device ran out of memory; going on with batch_size={self.batch_size}",
            RuntimeWarning,
            stacklevel=2,
        )
