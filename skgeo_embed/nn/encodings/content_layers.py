"""What global layers show around a place, in columns that a person can read."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

HALF_MERIDIAN_KM = 20_015.1
CODES = 256
ROWS_AT_A_TIME = 32
FINE = 2016  # rows of a grid
NEAREST = 0.05  # how far a box may be from the size that its column is named after
LARGEST = 1e15  # values whose squares single precision holds
LARGEST_HALF = 256.0  # values that half precision holds to an eighth


@dataclass(frozen=True)
class ContentLayer:
    """One layer of the whole Earth: where it comes from and what is told of it.

    Attributes
    ----------
    name : str
        What its columns begin with.
    unit : str
        Of its columns.
    height : int
        Rows of pixels; there are twice as many columns.
    means_km, deviations_km : tuple of float
        Sides of the boxes whose mean and whose standard deviation are columns: a pixel's height
        times a power of two.
    logarithm : bool
        Whether columns are log(1 + value).
    """

    name: str
    unit: str
    height: int
    means_km: tuple[float, ...]
    deviations_km: tuple[float, ...] = ()
    logarithm: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "." in self.name:
            raise ValueError(f"a layer's name must be text without dots, got {self.name!r}.")
        if not isinstance(self.unit, str):
            raise ValueError(f"the layer {self.name!r} has the unit {self.unit!r}, expected text.")
        if type(self.height) is not int or self.height < 2:
            raise ValueError(
                f"the layer {self.name!r} has the height {self.height!r}, expected a whole number "
                "of rows, 2 or more."
            )
        if type(self.logarithm) is not bool:
            raise ValueError(
                f"the layer {self.name!r} has logarithm={self.logarithm!r}, expected true or false."
            )
        self._check_sides()

    def _check_sides(self) -> None:
        sides = dict.fromkeys((*self.means_km, *self.deviations_km))
        levels = {self.level(km) for km in sides}
        repeated = any(len(set(of)) < len(of) for of in (self.means_km, self.deviations_km))
        if not levels or len(levels) < len(sides) or repeated:
            raise ValueError(
                f"the layer {self.name!r} has means over boxes of {list(self.means_km)} km and "
                f"deviations over {list(self.deviations_km)} km; give at least one size, and each "
                "size once."
            )

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> ContentLayer:
        """Make a layer of what a configuration says."""
        return cls(
            **{**described, "means_km": tuple(described["means_km"]),
               "deviations_km": tuple(described.get("deviations_km", ()))}
        )  # fmt: skip

    def level(self, km: float) -> int:
        """Return how often pixels are halved to boxes of `km`."""
        if type(km) not in (int, float) or not 0 < km < 2 * HALF_MERIDIAN_KM:
            raise ValueError(
                f"the layer {self.name!r} has boxes of {km!r} km, expected a size on the Earth."
            )
        pixel = HALF_MERIDIAN_KM / self.height
        level = max(0, round(math.log2(km / pixel)))
        uneven = self.height % 2**level or self.height < 2 * 2**level
        if abs(pixel * 2**level / km - 1) > NEAREST or uneven:
            raise ValueError(
                f"the layer {self.name!r} has pixels of {pixel:.3g} km, which make no boxes of "
                f"{km:g} km; choose that times a power of two of which its height "
                f"{self.height} is a multiple, at least twice."
            )
        return level

    def averages(self) -> list[tuple[str, tuple[float, ...]]]:
        """What is averaged over which boxes: values, and their squares where they are needed."""
        values = tuple(dict.fromkeys((*self.means_km, *self.deviations_km)))
        return [("mean", values), ("square", self.deviations_km)]

    def columns(self) -> Iterator[tuple[str, str, float]]:
        """Yield name, statistic and side of the box of each column."""
        for statistic, sides in (("mean", self.means_km), ("std", self.deviations_km)):
            for km in sides:
                yield f"{self.name}_{statistic}_{km:g}km", statistic, km

    def description(self) -> dict[str, Any]:
        """Return what a configuration says of it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "height": self.height,
            "means_km": list(self.means_km),
            "deviations_km": list(self.deviations_km),
            "logarithm": self.logarithm,
        }


class ContentLayers(nn.Module):
    """Means and deviations of global layers over boxes around a place.

    Each layer is kept as bytes and a table of what they mean, and averaged to boxes of constant
    ground size once, when places are first read; a place reads the four boxes around it
    bilinearly. Bytes stay in main memory; the averages lie on the device of the places.

    Parameters
    ----------
    layers : sequence of dict
        Descriptions of :class:`ContentLayer`.
    contrasts : mapping of str to (str, str), default=()
        Further columns (a - b) / (a + b) of the means of two layers, by name.
    """

    takes_dtype = True

    def __init__(
        self,
        layers: Sequence[Mapping[str, Any]],
        contrasts: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        self.layers = [ContentLayer.read(described) for described in layers]
        self.contrasts = {name: tuple(pair) for name, pair in (contrasts or {}).items()}
        self._check_names()
        for layer in self.layers:
            shape = layer.height, 2 * layer.height, 1
            self.register_buffer(f"codes_{layer.name}", torch.zeros(shape, dtype=torch.int8))
            self.register_buffer(f"meaning_{layer.name}", torch.zeros(CODES))
        self._boxes: list[_Boxes] | None = None
        self._centres: dict[str, float] = {}
        self.embedding_dim = len(self.column_names())

    def _check_names(self) -> None:
        names = [layer.name for layer in self.layers]
        if not names:
            raise ValueError("there are no layers to make columns of.")
        every = [*names, *self.contrasts]
        if len(set(every)) < len(every):
            twice = sorted(name for name, times in Counter(every).items() if times > 1)
            raise ValueError(f"the layers' names must differ, but there are two of {twice[:4]}.")
        sides = {layer.name: layer.means_km for layer in self.layers}
        for name, pair in self.contrasts.items():
            first, second = pair
            if first not in sides or second not in sides or sides[first] != sides[second]:
                raise ValueError(
                    f"{name!r} compares {first!r} and {second!r}, which must be layers with means "
                    f"over the same boxes; the layers are {', '.join(names)[:200]}."
                )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_boxes": None}  # made anew in a second, and larger than the rest

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ContentLayers:
        """Stay in main memory and single precision: only averages follow the places."""
        return self

    @torch.no_grad()
    def fill(self, name: str, codes: Tensor, meaning: Tensor) -> None:
        """Set a layer: codes 0 to 255 of its pixels, (height, width) north up, and their values."""
        layer = self._layer(name)
        if codes.shape != (layer.height, 2 * layer.height):
            raise ValueError(
                f"the layer {name!r} has {tuple(codes.shape)} pixels, expected "
                f"{(layer.height, 2 * layer.height)}."
            )
        getattr(self, f"codes_{name}").copy_((codes.int() - 128)[..., None])
        getattr(self, f"meaning_{name}").copy_(meaning)
        self._boxes = None
        self.check_values()

    def check_values(self) -> None:
        """Refuse layers that are no bytes, or mean what no column can show."""
        for layer in self.layers:
            codes, meaning = self._pixels(layer.name)
            if codes.dtype != torch.int8 or meaning.dtype != torch.float32:
                raise ValueError(
                    f"the layer {layer.name!r} is of {codes.dtype} with values of {meaning.dtype}, "
                    "expected torch.int8 and torch.float32."
                )
            if not (meaning.abs() < LARGEST).all():
                raise ValueError(
                    f"the layer {layer.name!r} has values that are missing, infinite or beyond "
                    f"{LARGEST:g}."
                )
            if layer.logarithm and (meaning < 0).any():
                raise ValueError(
                    f"the layer {layer.name!r} has negative values, of which there are no "
                    "logarithms."
                )

    def _pixels(self, name: str) -> tuple[Tensor, Tensor]:
        """Codes of a layer, -128 to 127, and what they mean."""
        return getattr(self, f"codes_{name}"), getattr(self, f"meaning_{name}")

    def only(self, names: Sequence[str]) -> ContentLayers:
        """Return some of the layers, without contrasts."""
        unknown = [name for name in names if name not in {layer.name for layer in self.layers}]
        if unknown:
            known = ", ".join(layer.name for layer in self.layers)
            raise ValueError(f"there is no content layer {unknown[0]!r}; known are {known}.")
        some = ContentLayers([self._layer(name).description() for name in names])
        own = self.state_dict()
        some.load_state_dict({key: own[key] for key in some.state_dict()})
        return some

    def column_names(self) -> list[str]:
        """Names of the columns: layer, statistic and side of the box."""
        names = [name for layer in self.layers for name, *_ in layer.columns()]
        for name, (first, _) in self.contrasts.items():
            names += [f"{name}_mean_{km:g}km" for km in self._layer(first).means_km]
        return names

    def units(self) -> dict[str, str]:
        """Unit of each layer's columns."""
        of_layers = {layer.name: layer.unit for layer in self.layers}
        pairs = {name: f"({a} - {b}) / ({a} + {b})" for name, (a, b) in self.contrasts.items()}
        return {**of_layers, **pairs}

    def description(self) -> dict[str, Any]:
        """Return what a configuration says of it."""
        return {
            "layers": [layer.description() for layer in self.layers],
            "contrasts": {name: list(pair) for name, pair in self.contrasts.items()},
        }

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Read (n, 2) degrees to (n, columns); positions are computed in float64."""
        all_boxes = self._boxes_on(lonlat.device)
        read = torch.cat([boxes.read(lonlat) for boxes in all_boxes], dim=1)
        keys = [key for boxes in all_boxes for key in boxes.keys]
        at = dict(zip(keys, read.unbind(1), strict=True))
        columns = [self._column(at, *key) for key in self._keys()]
        for first, second in self.contrasts.values():
            for km in self._layer(first).means_km:
                a, b = at[first, "mean", km], at[second, "mean", km]
                columns.append((a - b) / (a + b).clamp_min(1.0))
        return torch.stack(columns, dim=1).to(dtype or lonlat.dtype)

    def _layer(self, name: str) -> ContentLayer:
        return next(layer for layer in self.layers if layer.name == name)

    def _keys(self) -> Iterator[tuple[ContentLayer, str, float]]:
        for layer in self.layers:
            for _, statistic, km in layer.columns():
                yield layer, statistic, km

    def _column(
        self,
        at: dict[tuple[str, str, float], Tensor],
        layer: ContentLayer,
        statistic: str,
        km: float,
    ) -> Tensor:
        value = at[layer.name, "mean", km]
        if statistic == "std":
            square, shift = at[layer.name, "square", km], self._centres[layer.name]
            value = (square - (value - shift) ** 2).clamp_min(0).sqrt()
        return value.log1p() if layer.logarithm else value

    def _boxes_on(self, device: torch.device) -> list[_Boxes]:
        boxes = self._boxes
        if boxes is None:
            with torch.device("cpu"):
                boxes = self._average()
        if boxes[0].table.device != device:
            boxes = [some.to(device) for some in boxes]
        self._boxes = boxes
        return boxes

    @torch.no_grad()
    def _average(self) -> list[_Boxes]:
        """Average all layers to boxes, those of one size side by side."""
        self._centres = {layer.name: _nearest_to_zero(self._pixels(layer.name)[1])
                         for layer in self.layers}  # fmt: skip
        keys: dict[int, list[tuple[str, str, float]]] = {}
        for layer in self.layers:
            for statistic, sides in layer.averages():
                for km in sides:
                    height = layer.height >> layer.level(km)
                    keys.setdefault(height, []).append((layer.name, statistic, km))
        boxes = {}
        for height, members in keys.items():
            largest = max(float(self._pixels(name)[1].abs().max()) for name, *_ in members)
            boxes[height] = _Boxes(tuple(members), height, largest)
        for layer in self.layers:
            codes, meaning = (part.cpu() for part in self._pixels(layer.name))
            squares = (meaning - self._centres[layer.name]) ** 2
            for statistic, sides in layer.averages():
                targets = {
                    layer.level(km): boxes[layer.height >> layer.level(km)].grid(
                        (layer.name, statistic, km)
                    )
                    for km in sides
                }
                values = meaning if statistic == "mean" else squares
                _average_layer(codes[..., 0], values, targets)
        for some in boxes.values():
            some.close()
        return list(boxes.values())


def _nearest_to_zero(values: Tensor) -> float:
    """Zero, or the value next to it where all are beyond.

    The squares of what is left keep the digits that a deviation needs; those of kelvins do not.
    """
    return float(values.min().clamp(min=0) + values.max().clamp(max=0))


class _Boxes:
    """Grids of one size, read together; a row at each pole holds one value."""

    def __init__(self, keys: tuple[tuple[str, str, float], ...], height: int, largest: float):
        self.keys = keys
        self.height, self.width = height, 2 * height
        # the finest grids hold bytes averaged along their row: half precision is enough
        half = height > FINE and len(keys) == 1 and largest <= LARGEST_HALF
        dtype = torch.float16 if half else torch.float32
        self.table = torch.empty((height + 2) * self.width, len(keys), dtype=dtype)

    def grid(self, key: tuple[str, str, float]) -> Tensor:
        """The grid of a key, (height, width), to be filled."""
        return self.table[:, self.keys.index(key)].view(self.height + 2, self.width)[1:-1]

    def close(self) -> None:
        """Give each pole the mean of the boxes around it."""
        rows = self.table.view(self.height + 2, self.width, -1)
        for pole, beside in ((0, 1), (-1, -2)):
            rows[pole] = rows[beside].float().mean(dim=0)

    def to(self, device: torch.device) -> _Boxes:
        """Return the same grids on a device."""
        moved = copy.copy(self)
        moved.table = self.table.to(device)
        return moved

    def read(self, lonlat: Tensor) -> Tensor:
        """Read the four boxes around each of (n, 2) degrees bilinearly, (n, grids)."""
        lon, lat = lonlat.double().unbind(-1)
        row = (90 - lat) * (self.height / 180) - 0.5  # of boxes; poles are half a row further
        row = row + row.clamp(max=0) + (row - (self.height - 1)).clamp(min=0) + 1
        column = (lon + 180) * (self.width / 360) - 0.5
        north = row.floor().clamp(0, self.height)
        west = column.floor()
        down, right = (row - north).float()[:, None], (column - west).float()[:, None]
        west = west.long() % self.width
        east = (west + 1) % self.width
        first = north.long() * self.width
        upper, lower = (
            torch.lerp(
                self.table.index_select(0, start + west).float(),
                self.table.index_select(0, start + east).float(),
                right,
            )
            for start in (first, first + self.width)
        )
        return torch.lerp(upper, lower, down)


def _average_layer(codes: Tensor, meaning: Tensor, targets: dict[int, Tensor]) -> None:
    """Fill the grid of each level with means over boxes, a band of the Earth after the other."""
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

    Boxes end between pixels, which then count in part.
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
    """Read running sums of rows at `starts`, of one pixel, and every `step` pixels after them."""
    first = math.floor(float(starts[0]))
    stop = first + step * (count - 1) + 1
    share = (starts - first)[:, None]
    return torch.lerp(sums[:, first:stop:step], sums[:, first + 1 : stop + 1 : step], share)
