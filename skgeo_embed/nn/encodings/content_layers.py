"""Content columns: what global layers show around a place, under names that people can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skgeo_embed.nn.encodings.content_boxes import BoxesOfSizes, Key, average_layer
from skgeo_embed.nn.encodings.content_columns import ContentColumns
from skgeo_embed.nn.encodings.content_layer import ContentLayer

CODES = 256
LARGEST = 1e15  # single precision holds the squares of values up to this


class ContentLayers(nn.Module):
    """Means and deviations of global layers over boxes around a place.

    Each layer is stored as bytes with a table of their values. When places are first read, layers
    are averaged over boxes of constant ground size; a place reads the four boxes around it
    bilinearly. Bytes stay in main memory; the averages move to the device of the places.

    Parameters
    ----------
    layers : sequence of dict
        Descriptions of :class:`ContentLayer`.
    contrasts : mapping of str to (str, str), default=None
        Names of further columns (a - b) / (a + b), each with its layers a and b, whose means it
        compares.
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
        self._boxes: tuple[BoxesOfSizes, ContentColumns] | None = None
        self._centres: dict[str, float] = {}
        self.embedding_dim = len(self.column_names())

    def _check_names(self) -> None:
        names = [layer.name for layer in self.layers]
        if not names:
            raise ValueError("layers must not be empty.")
        every = [*names, *self.contrasts]
        if len(set(every)) < len(every):
            twice = sorted(name for name, times in Counter(every).items() if times > 1)
            raise ValueError(f"names of layers must differ, but these repeat: {twice[:4]}.")
        sides = {layer.name: layer.means_km for layer in self.layers}
        for name, pair in self.contrasts.items():
            first, second = pair
            if first not in sides or second not in sides or sides[first] != sides[second]:
                raise ValueError(
                    f"{name!r} compares {first!r} and {second!r}, which must be layers with means "
                    f"over the same boxes; the layers are {', '.join(names)[:200]}."
                )

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_boxes": None,
        }  # computed in a second, and larger than the rest

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ContentLayers:
        """Stay in main memory and single precision: only the averages move with the places."""
        return self

    @torch.no_grad()
    def fill(self, name: str, codes: Tensor, meaning: Tensor) -> None:
        """Set a layer's pixels, (height, width) codes of 0 to 255, north up, and their values."""
        layer = self._layer(name)
        if codes.shape != (layer.height, 2 * layer.height):
            raise ValueError(
                f"the pixels of the layer {name!r} must have shape "
                f"{(layer.height, 2 * layer.height)}, got {tuple(codes.shape)}."
            )
        getattr(self, f"codes_{name}").copy_((codes.int() - 128)[..., None])
        getattr(self, f"meaning_{name}").copy_(meaning)
        self._boxes = None
        self.check_values()

    def check_values(self) -> None:
        """Check that layers are bytes, and that columns can show their values."""
        for layer in self.layers:
            codes, meaning = self.pixels(layer.name)
            if codes.dtype != torch.int8 or meaning.dtype != torch.float32:
                raise ValueError(
                    f"the layer {layer.name!r} has pixels of {codes.dtype} and values of "
                    f"{meaning.dtype}, expected torch.int8 and torch.float32."
                )
            if not (meaning.abs() < LARGEST).all():
                raise ValueError(
                    f"the layer {layer.name!r} has values that are missing, infinite or beyond "
                    f"{LARGEST:g}."
                )
            if layer.logarithm and (meaning < 0).any():
                raise ValueError(
                    f"the layer {layer.name!r} has negative values, which have no logarithm."
                )

    def pixels(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the codes of a layer, -128 to 127, and their values."""
        return getattr(self, f"codes_{name}"), getattr(self, f"meaning_{name}")

    def only(self, names: Sequence[str]) -> ContentLayers:
        """Return some of the layers, without contrasts."""
        unknown = [name for name in names if name not in {layer.name for layer in self.layers}]
        if unknown:
            known = ", ".join(layer.name for layer in self.layers)
            raise ValueError(f"there is no content layer {unknown[0]!r}; the layers are {known}.")
        some = ContentLayers([self._layer(name).description() for name in names])
        own = self.state_dict()
        some.load_state_dict({key: own[key] for key in some.state_dict()})
        return some

    def column_names(self) -> list[str]:
        """Return the names of the columns: layer, statistic and side of the box."""
        names = [name for layer in self.layers for name, *_ in layer.columns()]
        for name, (first, _) in self.contrasts.items():
            names += [f"{name}_mean_{km:g}km" for km in self._layer(first).means_km]
        return names

    def units(self) -> dict[str, str]:
        """Return the unit of each layer's columns."""
        of_layers = {layer.name: layer.unit for layer in self.layers}
        pairs = {name: f"({a} - {b}) / ({a} + {b})" for name, (a, b) in self.contrasts.items()}
        return {**of_layers, **pairs}

    def description(self) -> dict[str, Any]:
        """Return the description for a configuration."""
        return {
            "layers": [layer.description() for layer in self.layers],
            "contrasts": {name: list(pair) for name, pair in self.contrasts.items()},
        }

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Read (n, 2) degrees to (n, columns); positions are computed in float64."""
        boxes, columns = self._prepared_on(lonlat.device)
        return columns.of(boxes.read(lonlat)).to(dtype or lonlat.dtype)

    def columns_of(self, keys: Sequence[Key], device: torch.device) -> ContentColumns:
        """Return the computation of the columns from averages that are read in an order."""
        return ContentColumns(self.layers, self.contrasts, self._centres, keys, device)

    def _layer(self, name: str) -> ContentLayer:
        return next(layer for layer in self.layers if layer.name == name)

    def boxes_on(self, device: torch.device) -> BoxesOfSizes:
        """Return the averages of all layers on a device; they are computed once."""
        return self._prepared_on(device)[0]

    def _prepared_on(self, device: torch.device) -> tuple[BoxesOfSizes, ContentColumns]:
        prepared = self._boxes
        if prepared is None or prepared[0].tables[0].device != device:
            with torch.inference_mode(False), torch.device("cpu"):  # gradients need them too
                boxes = (self._average() if prepared is None else prepared[0]).to(device)
                prepared = boxes, self.columns_of(boxes.keys, device)
        self._boxes = prepared
        return prepared

    def averaged(self, name: str, statistic: str) -> Tensor:
        """Return what the codes -128 to 127 of a layer mean: values, or squared deviations."""
        meaning = self.pixels(name)[1].cpu()
        return meaning if statistic == "mean" else (meaning - self._centres[name]) ** 2

    @torch.no_grad()
    def _average(self) -> BoxesOfSizes:
        """Average all layers over boxes, and put grids of one size side by side."""
        self._centres = {layer.name: _nearest_to_zero(self.pixels(layer.name)[1])
                         for layer in self.layers}  # fmt: skip
        keys: dict[int, list[Key]] = {}
        for layer in self.layers:
            for statistic, sides in layer.averages():
                for km in sides:
                    height = layer.height >> layer.level(km)
                    keys.setdefault(height, []).append((layer.name, statistic, km))
        members = {height: tuple(some) for height, some in keys.items()}
        largest = {height: max(float(self.pixels(name)[1].abs().max()) for name, *_ in some)
                   for height, some in members.items()}  # fmt: skip
        boxes = BoxesOfSizes(members, largest)
        grids = {some.height: some for some in boxes.sizes}
        for layer in self.layers:
            codes = self.pixels(layer.name)[0].cpu()
            for statistic, sides in layer.averages():
                targets = {
                    layer.level(km): grids[layer.height >> layer.level(km)].grid(
                        (layer.name, statistic, km)
                    )
                    for km in sides
                }
                average_layer(codes[..., 0], self.averaged(layer.name, statistic), targets)
        for some in boxes.sizes:
            some.close()
        return boxes


def _nearest_to_zero(values: Tensor) -> float:
    """Return 0, or the value nearest to 0 if all have one sign.

    Deviations are computed from squares after it is subtracted: squares of kelvins, say, would
    lose the digits that they need.
    """
    return float(values.min().clamp(min=0) + values.max().clamp(max=0))
