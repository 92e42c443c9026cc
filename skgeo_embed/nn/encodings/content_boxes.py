"""Averages of global layers over boxes of constant ground size, which places read bilinearly."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

Key = tuple[str, str, float]  # layer, what is averaged, side of the boxes in kilometres
ROWS_AT_A_TIME = 32
FINE = 2016  # rows of a grid that may be stored in half precision
LARGEST_HALF = 256.0  # half precision holds values up to this to an eighth


class BoxGrids:
    """Grids of one size, side by side, with a row of one value at each pole.

    Parameters
    ----------
    keys : tuple of (str, str, float)
        What each grid holds.
    height : int
        Rows of boxes; there are twice as many columns of boxes.
    table : Tensor of shape ((height + 2) * 2 * height, n_keys)
        Memory of the grids.
    """

    def __init__(self, keys: tuple[Key, ...], height: int, table: Tensor):
        self.keys = keys
        self.height, self.width = height, 2 * height
        self.table = table
        self._corners = Corners([height])

    def grid(self, key: Key) -> Tensor:
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

    def only(self, keys: Sequence[Key]) -> BoxGrids:
        """Return some of the grids."""
        columns = [self.keys.index(key) for key in keys]
        return BoxGrids(tuple(keys), self.height, self.table[:, columns])

    def corners(self, lonlat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return row and column of the box to the north-west of each place, and its shares.

        Rows and columns are (n,) integers, rows count that of the north pole; the shares of the
        boxes to the south and to the east are (n,).
        """
        corner, share = self._corners.around(lonlat)
        (west,), (north,) = corner.long()
        (right,), (down,) = share
        return north, west % self.width, down, right


class BoxesOfSizes:
    """Grids of several sizes, which one computation finds and few operations read.

    Tables of one precision and one number of grids lie in one memory.

    Parameters
    ----------
    members : mapping of int to tuple
        Keys of the grids of each height.
    largest : mapping of int to float
        Largest absolute value of the grids of each height.
    """

    def __init__(self, members: Mapping[int, tuple[Key, ...]], largest: Mapping[int, float]):
        groups: dict[tuple[torch.dtype, int], list[int]] = {}
        for height, keys in members.items():
            # the finest grids hold bytes averaged along their rows, so half precision suffices
            half = height > FINE and len(keys) == 1 and largest[height] <= LARGEST_HALF
            kind = torch.float16 if half else torch.float32, len(keys)
            groups.setdefault(kind, []).append(height)
        self.tables: list[Tensor] = []
        self.sizes: list[BoxGrids] = []
        starts: list[int] = []
        for (dtype, width), heights in groups.items():
            cells = [(height + 2) * 2 * height for height in heights]
            self.tables.append(torch.empty(sum(cells), width, dtype=dtype))
            starts += [0, *itertools.accumulate(cells[:-1])]
            for height, table in zip(heights, self.tables[-1].split(cells), strict=True):
                self.sizes.append(BoxGrids(members[height], height, table))
        self.keys = tuple(key for some in groups.values() for key in _by_grid(members, some))
        self._counts = [len(heights) for heights in groups.values()]
        self._corners = Corners([boxes.height for boxes in self.sizes])
        self._width = torch.tensor([boxes.width for boxes in self.sizes]).double()[:, None, None]
        self._start = torch.tensor(starts).double()[:, None, None]
        self._next = torch.arange(2).double()[:, None]

    def to(self, device: torch.device) -> BoxesOfSizes:
        """Return the same grids on a device."""
        moved = copy.copy(self)
        moved.tables = [table.to(device) for table in self.tables]
        moved.sizes = []
        for count, table in zip(self._counts, moved.tables, strict=True):
            some = self.sizes[len(moved.sizes) :][:count]
            parts = table.split([len(boxes.table) for boxes in some])
            for boxes, part in zip(some, parts, strict=True):
                moved.sizes.append(BoxGrids(boxes.keys, boxes.height, part))
        moved._corners = self._corners.to(device)
        for name in ("_width", "_start", "_next"):
            setattr(moved, name, getattr(self, name).to(device))
        return moved

    def read(self, lonlat: Tensor) -> Tensor:
        """Read the four boxes around each of (n, 2) degrees bilinearly, (keys, n)."""
        corner, share = self._corners.around(lonlat)
        west, north = corner.unsqueeze(2).unbind()
        first = (north + self._next) * self._width + self._start  # (sizes, 2, n), of two rows
        columns = (west + self._next).remainder(self._width)
        cells = (first.unsqueeze(2) + columns.unsqueeze(1)).long()  # (sizes, 2, 2, n)
        right, down = share.unsqueeze(3).unbind()
        counts, found = self._counts, []
        for table, some, east, south in zip(
            self.tables, cells.split(counts), right.unsqueeze(1).split(counts), down.split(counts),
            strict=True,
        ):  # fmt: skip
            around = table.index_select(0, some.flatten()).float().view(*some.shape, -1)
            western, eastern = around.unbind(2)
            upper, lower = torch.lerp(western, eastern, east).unbind(1)
            found.append(torch.lerp(upper, lower, south).permute(2, 0, 1).flatten(0, 1))
        return torch.cat(found)


class Corners:
    """Finds the boxes around places in grids of several sizes.

    Parameters
    ----------
    heights : sequence of int
        Rows of boxes of each size.
    """

    def __init__(self, heights: Sequence[int]) -> None:
        height = torch.tensor(heights).double()
        north_end, endless = torch.zeros_like(height), torch.full_like(height, math.inf)
        # longitudes count to the east, without an end, and latitudes to the south
        self._sign = torch.tensor([1.0, -1.0]).double()[:, None, None]
        self._origin = torch.tensor([180.0, 90.0]).double()[:, None, None]
        self._scale = torch.stack([2 * height / 360, height / 180])[..., None]
        self._first = torch.stack([-endless, north_end])[..., None]
        self._last = torch.stack([endless, height - 1])[..., None]
        self._polar_row = torch.tensor([0.0, 1.0]).double()[:, None, None]
        self._end = torch.stack([endless, height])[..., None]

    def to(self, device: torch.device) -> Corners:
        """Return the same on a device."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            setattr(moved, name, value.to(device))
        return moved

    def around(self, lonlat: Tensor) -> tuple[Tensor, Tensor]:
        """Return column and row of the box to the north-west of places, and shares of the others.

        Both are (2, sizes, n), the first in float64. Columns may be -1, rows count that of the
        north pole; the shares are those of the boxes to the east and to the south.
        """
        degrees = lonlat.double().T[:, None] * self._sign + self._origin
        position = degrees * self._scale - 0.5  # of boxes
        beyond = position - position.clamp(self._first, self._last)
        position = position + beyond + self._polar_row  # the poles are half a row away
        corner = position.floor().clamp(self._first, self._end)
        return corner, (position - corner).float()


def _by_grid(members: Mapping[int, tuple[Key, ...]], heights: Sequence[int]) -> Iterator[Key]:
    """Yield keys of sizes in the order in which they are read: the first of each size first."""
    for keys in zip(*(members[height] for height in heights), strict=True):
        yield from keys


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
