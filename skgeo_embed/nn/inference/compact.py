"""Tables of a location encoder in few bytes that are read where they lie, for files in ONNX.

A feature grid and the averages of content layers fill memory to be read fast, and memory is cheap.
A file that travels keeps integers in as few bits as their range in a tile needs, averages only
where they are not 0, and averages over one or two pixels not at all: the pixels give them.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from skgeo_embed.nn.encodings.content_boxes import BoxGrids
from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.encodings.detailed import DetailedEncoding
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.nn.location import EncodedNetwork

TILE_SIDES = 4, 8  # their squares are multiples of 8, so that every tile begins with a byte
RUNS = 1, 8, 16, 32, 64  # boxes of a row that are left out together where they are 0
PIXELS_HIGH = 1, 2  # boxes that are averaged anew for each place
REACH = 1.5  # heights of a box: how far it may reach to the east for that
Key = tuple[str, str, float]


class PackedTable(nn.Module):
    """Small integers on a grid, each tile in as few bits as its range needs.

    Parameters
    ----------
    values : Tensor of shape (height, width, channels), int8
        The integers.
    side : int
        Rows and columns of a tile.
    """

    def __init__(self, values: Tensor, side: int) -> None:
        super().__init__()
        height, width, self.channels = values.shape
        self.side, self.across = side, -(-width // side)
        down = -(-height // side)
        padding = (0, down * side - height), (0, self.across * side - width), (0, 0)
        whole = np.pad(values.numpy(), padding, mode="edge")
        tiles = whole.reshape(down, side, self.across, side, -1).transpose(0, 2, 4, 1, 3)
        tiles = tiles.reshape(-1, side * side)
        lowest = tiles.min(axis=1)
        above = (tiles.astype(np.int16) - lowest[:, None]).astype(np.uint8)
        bits = np.ceil(np.log2(above.max(axis=1).astype(float) + 1)).astype(np.uint8)
        ends = np.cumsum(bits.astype(np.int64)) * (side * side // 8)
        payload = np.zeros(ends[-1] + 2, dtype=np.uint8)  # two bytes are read at any time
        for count in range(1, 9):
            (chosen,) = np.nonzero(bits == count)
            unpacked = np.unpackbits(above[chosen, :, None], axis=2, bitorder="little")
            packed = np.packbits(
                unpacked[:, :, :count].reshape(len(chosen), side * side * count), axis=1, bitorder="little"
            )
            length = packed.shape[1]
            payload[(ends[chosen] - length)[:, None] + np.arange(length)] = packed
        pairs = np.pad(bits, (0, len(bits) % 2)).reshape(-1, 2)
        self.bits = torch.from_numpy(pairs[:, 0] + 16 * pairs[:, 1])
        self.lowest = torch.from_numpy(lowest)
        self.payload = torch.from_numpy(payload)
        self.nbytes = self.bits.nbytes + self.lowest.nbytes + self.payload.nbytes

    def read(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the integers at rows and columns of one shape, (..., channels), as float32."""
        side = self.side
        pairs = self.bits.int()
        bits = torch.stack([pairs % 16, pairs // 16], dim=1).flatten()
        ends = bits.cumsum(0, dtype=torch.int32)  # by a runtime when it opens the file
        tile = (rows // side) * self.across + columns // side
        number = tile[..., None] * self.channels + torch.arange(self.channels)
        inside = (rows % side) * side + columns % side
        count = bits[number]
        position = (ends[number] - count) * (side * side) + inside[..., None] * count
        byte, bit = position // 8, position % 8
        word = self.payload[byte].float() + 256 * self.payload[byte + 1].float()
        powers = 2.0 ** torch.arange(9)
        shifted = (word / powers[bit]).floor()
        above = shifted - (shifted / powers[count]).floor() * powers[count]
        return above + self.lowest[number].float()


class PackedGrid(nn.Module):
    """A feature grid of integers, read from a packed table."""

    takes_dtype = True

    def __init__(self, grid: FeatureGrid) -> None:
        super().__init__()
        self.grid, self.table = grid, _smallest(grid.values)
        self.embedding_dim = grid.embedding_dim

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Read (n, 2) degrees to (n, channels)."""
        dtype = dtype or lonlat.dtype
        corners, weights = self.grid.corners(lonlat)
        around = self.table.read(corners // self.grid.width, corners % self.grid.width)
        mixed = torch.bmm(weights[:, None].to(dtype), around.to(dtype))[:, 0]
        return mixed * self.grid.scale.to(dtype)


class SparseRows(nn.Module):
    """Rows of values of which many are 0: runs of zeros are left out.

    Parameters
    ----------
    rows : Tensor of shape (height, width, grids)
        The values.
    run : int
        Length of a run, a divisor of `width`.
    """

    def __init__(self, rows: Tensor, run: int) -> None:
        super().__init__()
        _, self.width, grids = rows.shape
        self.run = run
        runs = rows.reshape(-1, run * grids)
        lit = (runs != 0).any(dim=1)
        self.number = torch.where(lit, lit.cumsum(0), 0).int()
        self.values = torch.cat([torch.zeros_like(runs[:1]), runs[lit]]).view(-1, grids)
        number_size = 2 if int(lit.sum()) < 2**16 else 4  # in the file
        self.nbytes = self.values.nbytes + number_size * len(self.number)

    def read(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the values at rows and columns of one shape, (..., grids), as float32."""
        run = self.number[rows * (self.width // self.run) + columns // self.run]
        return self.values[run * self.run + columns % self.run].float()


class StoredAverages(nn.Module):
    """Averages over boxes as they are, without runs of zeros."""

    def __init__(self, boxes: BoxGrids) -> None:
        super().__init__()
        self.boxes, self.keys = boxes, boxes.keys
        self.rows = _fewest(boxes.padded_rows())

    def read(self, lonlat: Tensor) -> Tensor:
        """Read the four boxes around each of (n, 2) degrees bilinearly, (n, keys)."""
        north, west, down, right = self.boxes.corners(lonlat)
        rows, columns = _four(north, west, self.boxes.width)
        return _bilinear(self.rows.read(rows, columns), down, right)


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
        lat = 90 - (torch.arange(boxes.height, dtype=torch.float64) + 0.5) * (180 / boxes.height)
        half = 0.5 / lat.deg2rad().cos()
        self.near = 1 + int((half > REACH).sum()) // 2  # rows at each pole, its own among them
        padded = boxes.padded_rows()
        self.polar = _fewest(torch.cat([padded[: self.near], padded[-self.near :]]))
        beyond = [(step * half - step / 2 - pixel).clamp(0, 1) for pixel in range(step)]
        precision = torch.float32 if step == 1 else torch.float64  # as `average_layer` has it
        self.beyond, self.width = torch.stack(beyond).to(precision), (2 * step * half).to(precision)
        self.dtype = boxes.table.dtype

    def read(self, lonlat: Tensor) -> Tensor:
        """Read the four boxes around each of (n, 2) degrees bilinearly, (n, keys)."""
        height = self.boxes.height
        north, west, down, right = self.boxes.corners(lonlat)
        rows, columns = _four(north, west, self.boxes.width)
        averages = self._average((rows - 1).clamp(0, height - 1), columns)
        southern = rows - (height + 2 - 2 * self.near)
        stored = (rows < self.near) | (southern >= self.near)
        which = torch.where(rows < self.near, rows, southern).clamp(0, 2 * self.near - 1)
        polar = self.polar.read(which, columns)
        return _bilinear(torch.where(stored[..., None], polar, averages), down, right)

    def _average(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Average the pixels of boxes (n, 2, 2), in the order of operations of `average_layer`."""
        step = self.step
        down = step * rows[..., None, None] + torch.arange(step)[:, None]
        along = step * columns[..., None, None] + torch.arange(-step, 2 * step)
        down, along = torch.broadcast_tensors(down, along % (step * self.boxes.width))
        codes = self.pixels.read(down, along)[..., self.channels]  # (n, 2, 2, step, 3 step, keys)
        number = (codes + 128).long() + 256 * torch.arange(len(self.keys))
        values = self.averaged.flatten()[number].sum(3).to(self.width.dtype) / step
        total = values[..., step : 2 * step, :].sum(-2)
        for pixel, share in enumerate(self.beyond):
            beside = values[..., step - 1 - pixel, :] + values[..., 2 * step + pixel, :]
            total = total + share[rows][..., None] * beside
        return (total / self.width[rows][..., None]).to(self.dtype).float()


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
        self.content, self.embedding_dim = content, content.embedding_dim
        layers = {layer.name: layer for layer in content.layers}
        all_boxes = content.boxes_on(torch.device("cpu"))
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

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Read (n, 2) degrees to (n, columns)."""
        return self.content.columns_of(self.readers, lonlat).to(dtype or lonlat.dtype)  # type: ignore[arg-type]

    @staticmethod
    def _pack_pixels(
        content: ContentLayers, all_boxes: list[BoxGrids]
    ) -> dict[int, tuple[list[str], PackedTable]]:
        """Pack the layers that have boxes of a pixel or two, those of one height together."""
        heights = {layer.name: layer.height for layer in content.layers}
        names: dict[int, list[str]] = {}
        for boxes in all_boxes:
            for name, *_ in boxes.keys:
                beside = names.setdefault(heights[name], [])
                if heights[name] // boxes.height in PIXELS_HIGH and name not in beside:
                    beside.append(name)
        return {
            height: (some, _smallest(torch.cat([content.pixels(name)[0] for name in some], dim=-1)))
            for height, some in names.items()
            if some
        }


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


def _smallest(values: Tensor) -> PackedTable:
    return min((PackedTable(values, side) for side in TILE_SIDES), key=lambda table: table.nbytes)


def _fewest(rows: Tensor) -> SparseRows:
    runs = [run for run in RUNS if rows.shape[1] % run == 0]
    return min((SparseRows(rows, run) for run in runs), key=lambda rows: rows.nbytes)


def _four(north: Tensor, west: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return rows and columns (n, 2, 2) of the boxes around places."""
    rows = torch.stack([north, north + 1], dim=1)[:, :, None]
    columns = (torch.stack([west, west + 1], dim=1) % width)[:, None]
    return torch.broadcast_tensors(rows, columns)  # type: ignore[return-value]


def _bilinear(values: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Mix (n, 2, 2, grids) values of boxes by the shares of the southern and the eastern ones."""
    upper, lower = (torch.lerp(row[:, 0], row[:, 1], right) for row in values.unbind(1))
    return torch.lerp(upper, lower, down)
