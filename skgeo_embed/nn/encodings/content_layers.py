"""What global layers show around a place, in columns that a person can read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

HALF_MERIDIAN_KM = 20_015.1
CODES = 256
ROWS_AT_A_TIME = 32
FINE = 2016  # rows of a grid
NEAREST = 0.05  # how far a box may be from the size that its column is named after


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

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> ContentLayer:
        """Make a layer of what a configuration says."""
        layer = cls(
            **{**described, "means_km": tuple(described["means_km"]),
               "deviations_km": tuple(described.get("deviations_km", ()))}
        )  # fmt: skip
        for km in (*layer.means_km, *layer.deviations_km):
            layer.level(km)
        return layer

    def level(self, km: float) -> int:
        """Return how often pixels are halved to boxes of `km`."""
        pixel = HALF_MERIDIAN_KM / self.height
        level = max(0, round(math.log2(km / pixel)))
        if abs(pixel * 2**level / km - 1) > NEAREST or self.height % 2**level:
            raise ValueError(
                f"the layer {self.name!r} has pixels of {pixel:.3g} km, which make no boxes of "
                f"{km:g} km; choose that times a power of two of which its height "
                f"{self.height} is a multiple."
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
    bilinearly.

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
        for layer in self.layers:
            shape = layer.height, 2 * layer.height, 1
            self.register_buffer(f"codes_{layer.name}", torch.zeros(shape, dtype=torch.int8))
            self.register_buffer(f"meaning_{layer.name}", torch.zeros(CODES))
        self._boxes: list[_Boxes] | None = None
        self._order: list[int] = []
        self.embedding_dim = len(self.column_names())

    @torch.no_grad()
    def fill(self, name: str, codes: Tensor, meaning: Tensor) -> None:
        """Set a layer: codes 0 to 255 of its pixels, (height, width) north up, and their values."""
        getattr(self, f"codes_{name}").copy_((codes.int() - 128)[..., None])
        getattr(self, f"meaning_{name}").copy_(meaning)
        self._boxes = None

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
        if self._boxes is None:
            self._boxes = self._average()
        for boxes in self._boxes:
            boxes.table = boxes.table.to(lonlat.device)
        read = torch.cat([boxes.read(lonlat) for boxes in self._boxes], dim=1)
        at = {key: read[:, column] for boxes, start in self._starts() for column, key in
              enumerate(boxes.keys, start)}  # fmt: skip
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

    def _starts(self) -> Iterator[tuple[_Boxes, int]]:
        start = 0
        for boxes in self._boxes or ():
            yield boxes, start
            start += len(boxes.keys)

    @staticmethod
    def _column(
        at: dict[tuple[str, str, float], Tensor], layer: ContentLayer, statistic: str, km: float
    ) -> Tensor:
        value = at[layer.name, "mean", km]
        if statistic == "std":
            value = (at[layer.name, "square", km] - value**2).clamp_min(0).sqrt()
        return value.log1p() if layer.logarithm else value

    @torch.no_grad()
    def _average(self) -> list[_Boxes]:
        """Average all layers to boxes, those of one size side by side."""
        keys: dict[int, list[tuple[str, str, float]]] = {}
        for layer in self.layers:
            for statistic, sides in layer.averages():
                for km in sides:
                    height = layer.height >> layer.level(km)
                    keys.setdefault(height, []).append((layer.name, statistic, km))
        boxes = {height: _Boxes(tuple(members), height) for height, members in keys.items()}
        for layer in self.layers:
            codes = getattr(self, f"codes_{layer.name}")[..., 0].cpu()
            meaning = getattr(self, f"meaning_{layer.name}").cpu()
            for statistic, sides in layer.averages():
                targets = {
                    layer.level(km): boxes[layer.height >> layer.level(km)].grid(
                        (layer.name, statistic, km)
                    )
                    for km in sides
                }
                _average_layer(codes, meaning if statistic == "mean" else meaning**2, targets)
        return list(boxes.values())


class _Boxes:
    """Grids of one size, read together."""

    def __init__(self, keys: tuple[tuple[str, str, float], ...], height: int) -> None:
        self.keys = keys
        self.height, self.width = height, 2 * height
        # the finest grids hold bytes averaged along their row: half precision is enough
        dtype = torch.float16 if height > FINE and len(keys) == 1 else torch.float32
        self.table = torch.empty(height * self.width, len(keys), dtype=dtype)

    def grid(self, key: tuple[str, str, float]) -> Tensor:
        """The grid of a key, (height, width), to be filled."""
        return self.table[:, self.keys.index(key)].view(self.height, self.width)

    def read(self, lonlat: Tensor) -> Tensor:
        """Read the four boxes around each of (n, 2) degrees bilinearly, (n, grids)."""
        lon, lat = lonlat.double().unbind(-1)
        row = ((90 - lat) * (self.height / 180) - 0.5).clamp(0, self.height - 1)
        column = (lon + 180) * (self.width / 360) - 0.5
        north = row.floor().clamp(max=self.height - 2)
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
        rows = meaning.index_select(0, (part.int() + 128).flatten()).view(part.shape)
        for level in range(max(targets) + 1):
            if level:
                rows = (rows[0::2] + rows[1::2]) / 2
            if level in targets:
                some = targets[level][north >> level :][: len(rows)]
                _average_along_rows(rows, north >> level, height >> level, some)


def _average_along_rows(rows: Tensor, north: int, height: int, out: Tensor) -> None:
    """Average boxes that are as wide on the ground as they are high.

    Boxes end between pixels, which then count in part; near the poles they go once around.
    """
    width, step = rows.shape[1], rows.shape[1] // out.shape[1]
    number = torch.arange(north, north + len(rows), dtype=torch.float64)
    lat = 90 - (number + 0.5) * (180 / height)
    half = (step / lat.deg2rad().cos()).clamp(max=width) / 2
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
