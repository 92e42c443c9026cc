"""Tables of a location encoder in few bytes that are read where they lie, for files in ONNX.

A feature grid and the averages of content layers fill memory to be read fast, and memory is cheap.
A file that travels keeps integers in as few bits as their range in a tile needs, averages only
where they are not 0, and averages over one or two pixels not at all: the pixels give them.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from skgeo_embed.nn.encodings.content_boxes import BoxGrids, Key
from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.encodings.detailed import DetailedEncoding
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.nn.location import EncodedNetwork

TILE_SIDES = 4, 8  # their squares are multiples of 8, so that every tile begins with a byte
RUNS = 1, 8, 16, 32, 64  # powers of two: boxes of a row that are left out together where they are 0
PIXELS_HIGH = 1, 2  # boxes that are averaged anew for each place
REACH = 1.5  # heights of a box: how far it may reach to the east for that
BYTES_IN_32_BITS = 2**27  # starts up to this fit in 32 bits, beside the four bits of a count
WORTH_A_STEP = 2**18  # bytes that a table must save to be read in two steps
BITS = np.array([number.bit_length() for number in range(256)], dtype=np.uint8)


class PackedTable(nn.Module):
    """Small integers on a grid, each tile in as few bits as its range needs.

    Parameters
    ----------
    values : Tensor of shape (height, width, channels), int8
        The integers.
    """

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        cut = {side: _tiles(values, side) for side in TILE_SIDES}
        side = min(cut, key=lambda side: _packed_size(side, cut[side][2]))
        _, width, channels = values.shape
        self.tile_bytes = side * side // 8  # per bit
        tiles, lowest, bits = cut.pop(side)
        ends = np.cumsum(bits.reshape(-1).astype(np.int64)) * self.tile_bytes
        self.payload = torch.from_numpy(_pack_bits(tiles - lowest, bits.reshape(-1), ends))
        pairs = np.pad(bits.reshape(-1), (0, bits.size % 2)).reshape(-1, 2)
        self.pairs = torch.from_numpy(pairs[:, 0] + 16 * pairs[:, 1])
        self.lowest = torch.from_numpy(lowest.reshape(-1, channels))
        self.across, self.side_bits = -(-width // side), side.bit_length() - 1

    def read(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the integers at rows and columns that fit, (..., channels), as float32."""
        pairs = self.pairs.int()  # this and the next lines are done when a file is opened
        bits = torch.stack([pairs % 16, pairs // 16], dim=1).flatten()[: self.lowest.numel()]
        wide = torch.int32 if len(self.payload) < BYTES_IN_32_BITS else torch.int64
        starts = (bits.cumsum(0, dtype=wide) - bits) * self.tile_bytes
        starts_and_bits = (starts * 16 + bits).view_as(self.lowest)
        rows, columns, within = rows.int(), columns.int(), 2**self.side_bits - 1
        tile = (rows >> self.side_bits) * self.across + (columns >> self.side_bits)
        inside = ((rows & within) << self.side_bits) + (columns & within)
        # a last axis of length 1 would slow down onnxruntime's loops
        is_one = self.lowest.shape[1] == 1
        found = _take(starts_and_bits.flatten(), tile) if is_one else _rows(starts_and_bits, tile)
        lowest = _take(self.lowest.flatten(), tile) if is_one else _rows(self.lowest, tile)
        count = (found & 15).int()
        first = (inside if is_one else inside[..., None]) * count  # the first bit in the tile
        start = found >> 4 if wide is torch.int32 else found // 16  # files shift only 32 bits
        byte = start + (first >> 3)
        word = _take(self.payload, byte).int() + 256 * _take(self.payload, byte + 1).int()
        above = (word >> (first & 7)) & ((1 << count) - 1)
        values = (above + lowest.int()).float()
        return values[..., None] if is_one else values


class PackedGrid(nn.Module):
    """A feature grid of integers, read from a packed table."""

    takes_dtype = True

    def __init__(self, grid: FeatureGrid) -> None:
        super().__init__()
        self.grid, self.table = grid, PackedTable(grid.values)
        self.embedding_dim = grid.embedding_dim

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Read (n, 2) degrees to (n, channels)."""
        dtype = dtype or lonlat.dtype
        rows, columns, weights = self.grid.nodes(lonlat)
        around = self.table.read(rows, columns).flatten(1, 2)
        mixed = torch.bmm(weights[:, None].to(dtype), around.to(dtype))[:, 0]
        return mixed * self.grid.scale.to(dtype)


class SparseRows(nn.Module):
    """Rows with many zeros, stored without runs of zeros if that saves much.

    Parameters
    ----------
    rows : Tensor of shape (height, width, grids)
        The values.
    """

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        _, self.width, grids = rows.shape
        self.run, smallest = 0, float(rows.nbytes - WORTH_A_STEP)
        for run in RUNS:
            if rows.shape[1] % run == 0 and (size := _size_in_runs(rows, run)) < smallest:
                self.run, smallest = run, size
        if not self.run:
            self.values = rows.reshape(-1, grids)
            return
        runs = rows.reshape(-1, self.run * grids)
        lit = (runs != 0).any(dim=1)
        self.number = torch.where(lit, lit.cumsum(0), 0).int()
        self.values = torch.cat([torch.zeros_like(runs[:1]), runs[lit]]).view(-1, grids)

    def read(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the values at rows and columns that fit, (..., grids), as float32."""
        rows, columns = rows.int(), columns.int()
        if not self.run:
            return _rows(self.values, rows * self.width + columns).float()
        run_bits = self.run.bit_length() - 1
        runs = rows * (self.width // self.run) + (columns >> run_bits)
        number = (_take(self.number, runs) << run_bits) + (columns & (self.run - 1))
        return _rows(self.values, number).float()


class StoredAverages(nn.Module):
    """Averages over boxes as they are, without runs of zeros."""

    def __init__(self, boxes: BoxGrids) -> None:
        super().__init__()
        self.boxes, self.keys = boxes, boxes.keys
        self.rows = SparseRows(boxes.padded_rows())

    def read(self, lonlat: Tensor) -> Tensor:
        """Read the four boxes around each of (n, 2) degrees bilinearly, (keys, n)."""
        north, west, down, right = self.boxes.corners(lonlat)
        rows, columns = _four(north, west, self.boxes.width)
        return _bilinear(self.rows.read(rows, columns).movedim(-1, 0), down, right)


class PixelAverages(nn.Module):
    """Averages over boxes that are a pixel or two high, of the pixels around a place.

    Near the poles, where boxes are wide, the averages are stored.

    Parameters
    ----------
    boxes : BoxGrids
        The averages.
    pixels : PackedTable
        Codes of layers, -128 to 127, one layer a channel.
    channels : list of int
        The channel of each key of `boxes`.
    averaged : Tensor of shape (n_keys, 256)
        For each key, what is averaged for the codes.
    step : int
        Pixels that a box is high.
    """

    def __init__(
        self,
        boxes: BoxGrids,
        pixels: PackedTable,
        channels: list[int],
        averaged: Tensor,
        step: int,
    ) -> None:
        super().__init__()
        self.boxes, self.keys, self.step = boxes, boxes.keys, step
        self.pixels, self.channels, self.averaged = pixels, torch.tensor(channels), averaged
        row = torch.arange(-1, boxes.height + 1).clamp(0, boxes.height - 1)  # poles as beside them
        lat = 90 - (row.double() + 0.5) * (180 / boxes.height)
        half = 0.5 / lat.deg2rad().cos()
        near = 1 + int((half[1:-1] > REACH).sum()) // 2  # rows at each pole, its own among them
        padded = boxes.padded_rows()
        self.polar = SparseRows(torch.cat([padded[:near], padded[-near:]]))
        number = torch.arange(len(row))
        southern = number - (len(row) - 2 * near)
        self.is_polar = (number < near) | (southern >= near)
        self.polar_row = torch.where(number < near, number, southern.clamp_min(0)) * self.is_polar
        precision = torch.float32 if step == 1 else torch.float64  # as `average_layer` has it
        beyond = [(step * half - step / 2 - pixel).clamp(0, 1) for pixel in range(step)]
        self.shares = [share.to(precision) for share in beyond]
        self.width = (2 * step * half).to(precision)
        # made once: a graph that makes them anew cannot be folded
        self.down, self.along = torch.arange(step)[:, None], torch.arange(-step, 3 * step)[:, None]
        self.first_value = (128 + 256 * torch.arange(len(self.keys))).int()
        self.dtype = boxes.table.dtype

    def read(self, lonlat: Tensor) -> Tensor:
        """Read the four boxes around each of (n, 2) degrees bilinearly, (keys, n)."""
        north, west, down, right = self.boxes.corners(lonlat)
        rows, columns = _four(north, west, self.boxes.width)
        polar = self.polar.read(_take(self.polar_row, rows), columns).movedim(-1, 0)
        averages = self._average(rows[:, 0], west)
        averages = torch.where(_take(self.is_polar, rows), polar, averages)
        return _bilinear(averages, down, right)

    def _average(self, rows: Tensor, west: Tensor) -> Tensor:
        """Average the pixels of boxes in two rows (2, n), in the order of `average_layer`.

        Places come last here, (keys, 2, 2, n): onnxruntime's loops run along the last axis.
        """
        step, boxes = self.step, self.boxes
        first = step * (rows - 1).clamp(0, boxes.height - 1)  # of the row's pixels
        down = (first[:, None] + self.down).flatten(0, 1)[:, None]
        along = (step * west + self.along) % (step * boxes.width)
        codes = self.pixels.read(down, along[None]).int().movedim(-1, 0)
        codes = codes.index_select(0, self.channels)  # (keys, 2 step, 4 step, n)
        number = codes + self.first_value[:, None, None, None]
        values = _take(self.averaged.flatten(), number).to(self.width.dtype)
        values = _added(values.unflatten(1, (2, step)).unbind(2)) / step
        around = values[:, :, : 3 * step], values[:, :, step:]
        pixels = torch.stack(around, dim=2).unbind(3)  # of western and eastern boxes
        total = _added(pixels[step : 2 * step])
        for pixel, share in enumerate(self.shares):
            beside = pixels[step - 1 - pixel] + pixels[2 * step + pixel]
            total = total + _take(share, rows)[:, None] * beside
        return (total / _take(self.width, rows)[:, None]).to(self.dtype).float()


class CompactContent(nn.Module):
    """Content layers, read from packed pixels and few averages.

    Parameters
    ----------
    content : ContentLayers
        The layers.
    """

    takes_dtype = True

    def __init__(self, content: ContentLayers) -> None:
        super().__init__()
        self.embedding_dim = content.embedding_dim
        layers = {layer.name: layer for layer in content.layers}
        cpu = torch.device("cpu")
        all_boxes = content.boxes_on(cpu).sizes
        packed = self._pack_pixels(content, all_boxes)
        self.readers = nn.ModuleList()
        for boxes in all_boxes:
            by_step: dict[int, list[Key]] = {}
            for key in boxes.keys:
                by_step.setdefault(layers[key[0]].height // boxes.height, []).append(key)
            for step, keys in by_step.items():
                some = boxes.only(keys)
                if step not in PIXELS_HIGH:
                    self.readers.append(StoredAverages(some))
                    continue
                names, pixels = packed[step * boxes.height]
                averaged = torch.stack([content.averaged(name, which) for name, which, _ in keys])
                channels = [names.index(name) for name, *_ in keys]
                self.readers.append(PixelAverages(some, pixels, channels, averaged, step))
        keys = [key for reader in self.readers for key in reader.keys]  # type: ignore[union-attr]
        self.columns = content.columns_of(keys, cpu)

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Read (n, 2) degrees to (n, columns)."""
        read = torch.cat([reader.read(lonlat) for reader in self.readers])  # type: ignore[operator]
        return self.columns.of(read).to(dtype or lonlat.dtype)

    @staticmethod
    def _pack_pixels(
        content: ContentLayers, all_boxes: list[BoxGrids]
    ) -> dict[int, tuple[list[str], PackedTable]]:
        """Pack the layers with boxes of one or two pixels, layers of the same height together."""
        heights = {layer.name: layer.height for layer in content.layers}
        names: dict[int, list[str]] = {}
        for boxes in all_boxes:
            for name, *_ in boxes.keys:
                beside = names.setdefault(heights[name], [])
                if heights[name] // boxes.height in PIXELS_HIGH and name not in beside:
                    beside.append(name)
        packed = {}
        for height, some in names.items():
            if some:
                pixels = torch.cat([content.pixels(name)[0] for name in some], dim=-1)
                packed[height] = some, PackedTable(pixels)
        return packed


def compacted(module: EncodedNetwork) -> EncodedNetwork:
    """Return a location encoder that computes the same from smaller tables."""
    posenc = module.posenc
    if isinstance(posenc, DetailedEncoding):
        grid, content = posenc.grid, posenc.content
        smaller: nn.Module = DetailedEncoding(
            posenc.position,
            PackedGrid(grid) if grid is not None and grid.storage == "int8" else grid,  # type: ignore[arg-type]
            posenc.waves,
            None if content is None else CompactContent(content),  # type: ignore[arg-type]
        )
    elif isinstance(posenc, ContentLayers):
        smaller = CompactContent(posenc)
    else:
        return module
    twin = copy.copy(module)
    twin._modules = {**module._modules, "posenc": smaller}
    return twin


def _tiles(values: Tensor, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut (height, width, channels) into tiles (n, side²); return least values and bits too."""
    height, width, _ = values.shape
    padding = (0, -height % side), (0, -width % side), (0, 0)
    whole = np.pad(values.numpy(), padding, mode="edge")
    parts = whole.reshape(whole.shape[0] // side, side, whole.shape[1] // side, side, -1)
    tiles = parts.transpose(1, 3, 0, 2, 4).reshape(side * side, -1)
    lowest = tiles.min(axis=0)  # along the first axis, which is faster than along a short last one
    reach = (tiles.max(axis=0) - lowest).view(np.uint8)  # bytes wrap
    return tiles.T, lowest[:, None], BITS[reach][:, None]


def _packed_size(side: int, bits: np.ndarray) -> float:
    return int(bits.sum(dtype=np.int64)) * (side * side / 8) + 1.5 * bits.size


def _pack_bits(above: np.ndarray, bits: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Write each row of `above` with as many bits as `bits` has for it, up to the byte `ends`."""
    payload = np.zeros(ends[-1] + 2, dtype=np.uint8)  # two bytes are read at any time
    for count in range(1, 9):
        (chosen,) = np.nonzero(bits == count)
        parts = above[chosen, :, None].view(np.uint8)
        unpacked = np.unpackbits(parts, axis=2, bitorder="little", count=count)
        unpacked = unpacked.reshape(len(chosen), above.shape[1] * count)
        packed = np.packbits(unpacked, axis=1, bitorder="little")
        length = packed.shape[1]
        payload[(ends[chosen] - length)[:, None] + np.arange(length)] = packed
    return payload


def _size_in_runs(rows: Tensor, run: int) -> float:
    runs = (rows != 0).any(dim=2).view(-1, run).any(dim=1)
    lit = int(runs.sum())
    number_size = 2 if lit < 2**16 else 4  # bytes in a file
    return lit * run * rows.shape[2] * rows.element_size() + number_size * len(runs)


def _rows(table: Tensor, number: Tensor) -> Tensor:
    """Read rows of a table (m, k) by numbers (...), in one operation of ONNX: (..., k)."""
    if table.shape[1] == 1:
        return _take(table.flatten(), number)[..., None]
    return nn.functional.embedding(number, table)


def _take(values: Tensor, number: Tensor) -> Tensor:
    """Read values (m,) by numbers (...): onnxruntime gathers elements faster than rows of one."""
    return values.gather(0, number.flatten().long()).view(number.shape)


def _added(parts: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.add, parts)


def _four(north: Tensor, west: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return rows (2, 1, n) and columns (1, 2, n) of the boxes around places."""
    rows = torch.stack([north, north + 1])[:, None]
    columns = (torch.stack([west, west + 1]) % width)[None]
    return rows, columns


def _bilinear(values: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Mix values of four boxes (keys, 2, 2, n) by the shares (n,) of the farther ones."""
    upper, lower = (torch.lerp(row[:, 0], row[:, 1], right) for row in values.unbind(1))
    return torch.lerp(upper, lower, down)
