"""Columns of a table as tensors of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from skgeo_embed.export.graph import Graph
from skgeo_embed.places.columns import are_numbered, find_lonlat

SINGLE = 2e-6
DOUBLE_ROUNDING = 1e-14


class Part(NamedTuple):
    """Some columns of a tensor (n, width) of numbers, of text, or of an input not yet read."""

    tensor: str
    kind: str
    width: int = 1
    columns: tuple[int, ...] = (0,)
    origin: str = ""  # the input that text comes from
    rounding: float = SINGLE  # of the largest value: 0 of numbers that the table itself has


class Columns:
    """Columns side by side; an input gets its type, and is declared, when a part reads it."""

    def __init__(
        self, graph: Graph, parts: Iterable[Part], names: Sequence[Any] | None = None
    ) -> None:
        self.graph, self.parts = graph, list(parts)
        self.names = None if names is None else list(names)

    @classmethod
    def of(
        cls, graph: Graph, tensor: str, width: int, names: Any = None, *, rounding: float = SINGLE
    ) -> Columns:
        """Make columns of one tensor of numbers."""
        part = Part(tensor, "numbers", width, tuple(range(width)), rounding=rounding)
        return cls(graph, [part], names)

    @classmethod
    def of_inputs(cls, graph: Graph, widths: dict[str, int], names: Any = None) -> Columns:
        """Make columns of inputs of a file."""
        parts = [
            Part(name, "input", width, tuple(range(width)), rounding=0)
            for name, width in widths.items()
        ]
        return cls(graph, parts, names)

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in the order of the table."""
        return [part.tensor for part in self.parts]

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(len(part.columns) for part in self.parts)

    @property
    def rounding(self) -> np.ndarray:
        """How far each column may be from what the model computes, of its largest value."""
        return np.array([part.rounding for part in self._singles()])

    def take(self, positions: Iterable[int]) -> Columns:
        """Return some of the columns, in the order of the positions."""
        positions = [int(position) for position in positions]
        where = self._singles()
        parts: list[Part] = []
        for one in (where[position] for position in positions):
            if (
                parts
                and one.width > 1
                and parts[-1]._replace(columns=()) == one._replace(columns=())
            ):
                parts[-1] = one._replace(columns=parts[-1].columns + one.columns)
            else:
                parts.append(one)
        names = None if self.names is None else [self.names[position] for position in positions]
        return Columns(self.graph, parts, names)

    def expect(self, position: int, values: Iterable[Any]) -> None:
        """Remember values to check a column with, if it is an input."""
        part = self._singles()[position]
        name = part.tensor if part.kind == "input" else part.origin
        if name:
            self.graph.examples[name, part.columns[0]] = list(values)

    def _singles(self) -> list[Part]:
        return [part._replace(columns=(one,)) for part in self.parts for one in part.columns]

    def numbers(self) -> str:
        """Return all columns as one tensor in double precision."""
        tensors = [self._tensor(part, "numbers") for part in self.parts]
        return tensors[0] if len(tensors) == 1 else self.graph.Concat(*tensors, axis=1)

    def text(self) -> str:
        """Return a single column as text."""
        (part,) = self.parts
        return self._tensor(part, "text")

    def lonlat(self, lon: Any = None, lat: Any = None) -> str:
        """Return the columns of longitude and latitude, by their names or as the first two."""
        unnamed = self.names is None or are_numbered(self.names)
        named = lon is not None or lat is not None
        found = None
        if not unnamed or named:
            found = find_lonlat(self.names or range(self.width), lon, lat)
        elif self.width == 2:
            found = 0, 1
        if found is None:
            raise TypeError(
                "to_onnx does not find the columns of longitude and latitude that a part of this "
                f"model reads; its table has the columns {self.names or self.width}."
            )
        place = self.take(found)
        for part, kind in zip(place._singles(), ("lon", "lat"), strict=True):
            if part.kind == "input":
                self.graph.places[part.tensor, part.columns[0]] = kind
        return place.numbers()

    def _tensor(self, part: Part, kind: str) -> str:
        tensor = part.tensor
        if part.kind == "input":
            tensor = self.graph.input(tensor, kind, part.width)
        elif part.kind != kind:
            raise TypeError(
                f"to_onnx cannot export this model: a part of it reads {part.kind} as {kind}. "
                "Convert the column before the model is fitted."
            )
        if part.columns == tuple(range(part.width)):
            return tensor
        return self.graph.Gather(tensor, np.array(part.columns), axis=1)


def beside(graph: Graph, tables: Iterable[Columns], names: Any = None) -> Columns:
    """Put the columns of several tables side by side."""
    return Columns(graph, [part for table in tables for part in table.parts], names)
