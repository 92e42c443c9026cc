"""Averages of global layers over boxes of constant ground size, which places read bilinearly."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor

ROWS_AT_A_TIME = 32
FINE = 2016  # rows of a grid that may be stored in half precision
LARGEST_HALF = 256.0  # half precision holds values up to this to an eighth


class BoxGrids:
    """Grids of one size that are read together, with a row of one value at each pole."""

    def __init__(self, keys: tuple[tuple[str, str, float], ...], height: int, largest: float):
        self.keys = keys
        self.height, self.width = height, 2 * height
        # the finest grids hold bytes averaged along their rows, so half precision suffices
        half = height > FINE and len(keys) == 1 and largest <= LARGEST_HALF
        dtype = torch.float16 if half else torch.float32
        self.table = torch.empty((height + 2) * self.width, len(keys), dtype=dtype)

    def grid(self, key: tuple[str, str, float]) -> Tensor:
        """Return the grid of a key, (height, width), to be filled."""
        return self.table[:, self.keys.index(key)].view(self.height + 2, self.width)[1:-1]

    def close(self) -> None:
        """Give each pole the mean of the boxes around it."""
        rows = self.padded_rows()
        for pole, beside in ((0, 1), (-1, -2)):
            rows[pole] = rows[beside].float().mean(dim=0)

    def padded_rows(self) -> Tensor:
        """Return all values, (height + 2, width, grids), a row for each pole among them."""
        return self.table.view(self.height + 2, self.width, -1)

    def only(self, keys: Sequence[tuple[str, str, float]]) -> BoxGrids:
        """Return some of the grids."""
        some = copy.copy(self)
        some.keys = tuple(keys)
        some.table = self.table[:, [self.keys.index(key) for key in keys]]
        return some

    def to(self, device: torch.device) -> BoxGrids:
        """Return the same grids on a device."""
        moved = copy.copy(self)
        moved.table = self.table.to(device)
        return moved

    def read(self, lonlat: Tensor) -> Tensor:
        """Read the four boxes around each of (n, 2) degrees bilinearly, (n, grids)."""
        north, west, down, right = self.corners(lonlat)
        east = (west + 1) % self.width
        first = north * self.width
        upper, lower = (
            torch.lerp(
                self.table.index_select(0, start + west).float(),
                self.table.index_select(0, start + east).float(),
                right,
            )
            for start in (first, first + self.width)
        )
        return torch.lerp(upper, lower, down)

    def corners(self, lonlat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return row and column of the box to the north-west of each place, and its shares.

        Rows and columns are (n,), rows count that of the north pole; the shares of the boxes to the
        south and to the east are (n, 1).
        """
        lon, lat = lonlat.double().unbind(-1)
        row = (90 - lat) * (self.height / 180) - 0.5  # of boxes; the poles are half a row away
        row = row + row.clamp(max=0) + (row - (self.height - 1)).clamp(min=0) + 1
        column = (lon + 180) * (self.width / 360) - 0.5
        north = row.floor().clamp(0, self.height)
        west = column.floor()
        down, right = (row - north).float()[:, None], (column - west).float()[:, None]
        return north.long(), west.long() % self.width, down, right


def average_layer(codes: Tensor, meaning: Tensor, targets: dict[int, Tensor]) -> None:
    """Fill the grid of each level with means over boxes, band by band from the north.

    Parameters
    ----------
    codes : Tensor of shape (height, width), int8
        The layer's pixels.
    meaning : Tensor of shape (256,)
        Values of the codes -128 to 127.
    targets : dict
        The grid to fill for each number of halvings.
    """
    if not targets:
        return
    height = len(codes)
    band = 2 ** max(targets)
    band *= max(1, ROWS_AT_A_TIME // band)
    for north in range(0, height, band):
        part = codes[north : north + band]
        lowest, highest = part.aminmax()
        if lowest == highest:  # dark, or ice
            for level, target in targets.items():
                target[north >> level : (north + band) >> level] = meaning[int(lowest) + 128]
            continue
        rows = meaning.index_select(0, (part.int() + 128).flatten()).view(part.shape)
        for level in range(max(targets) + 1):
            if level:
                rows = (rows[0::2] + rows[1::2]) / 2
            if level in targets:
                some = targets[level][north >> level :][: len(rows)]
                _average_along_rows(rows, north >> level, height >> level, some)


def _average_along_rows(rows: Tensor, north: int, height: int, out: Tensor) -> None:
    """Average boxes that are as wide on the ground as they are high, at most once around.

    Pixels that a box covers in part count in part.
    """
    width, step = rows.shape[1], rows.shape[1] // out.shape[1]
    number = torch.arange(north, north + len(rows), dtype=torch.float64)
    lat = 90 - (number + 0.5) * (180 / height)
    half = (step / lat.deg2rad().cos()).clamp(max=width) / 2
    if step == 1 and half.max() <= 1.5:  # a pixel and a part of both beside it
        beside = (half - 0.5).float()[:, None]
        around = rows.roll(1, 1) + rows.roll(-1, 1)
        out.copy_((rows + beside * around) / (2 * half.float()[:, None]))
        return
    east, west = step / 2 + half, step / 2 - half  # of the first box, in pixels
    ends = torch.stack([east.floor(), west.floor()], dim=1)
    _, counts = torch.unique_consecutive(ends, dim=0, return_counts=True)
    parts = counts.tolist()
    for some, target, right, left, reach in zip(
        rows.split(parts), out.split(parts), east.split(parts), west.split(parts),
        half.split(parts), strict=True,
    ):  # fmt: skip
        pad = math.ceil(float(reach[0])) + 1
        around = torch.cat([some[:, -pad:], some, some[:, :pad]], dim=1).double()
        sums = torch.cat([around.new_zeros(len(some), 1), around.cumsum(1)], dim=1)
        total = _every(sums, pad + right, step, out.shape[1])
        target.copy_((total - _every(sums, pad + left, step, out.shape[1])) / (2 * reach[:, None]))


def _every(sums: Tensor, starts: Tensor, step: int, count: int) -> Tensor:
    """Read running sums of rows at `starts` and every `step` pixels after them.

    All starts lie in one pixel.
    """
    first = math.floor(float(starts[0]))
    stop = first + step * (count - 1) + 1
    share = (starts - first)[:, None]
    return torch.lerp(sums[:, first:stop:step], sums[:, first + 1 : stop + 1 : step], share)
