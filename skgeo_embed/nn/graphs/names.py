"""Tensors of torch and their names in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

CODES = {  # onnx.TensorProto
    torch.float32: 1, torch.uint8: 2, torch.int8: 3, torch.uint16: 4, torch.int16: 5,
    torch.int32: 6, torch.int64: 7, torch.bool: 9, torch.float16: 10, torch.float64: 11,
    torch.uint32: 12,
}  # fmt: skip


class Graph(Protocol):
    """A graph that grows: ``graph.Add(first, second)`` adds a node and returns its output's name.

    Other operators of ONNX are called alike, with names or arrays.
    """

    def __getattr__(self, operator: str) -> Any:
        """Return the function that adds a node."""

    def constant(self, values: Any) -> str:
        """Keep an array, and return its name."""


class TensorNames:
    """Names of the tensors that have been computed from rows.

    Parameters
    ----------
    graph : Graph
        Where nodes are added.
    n_rows : int
        The number of rows in the examples that tensors are computed from.
    """

    def __init__(self, graph: Graph, n_rows: int) -> None:
        self.graph, self.n_rows = graph, n_rows
        self._named: dict[int, tuple[Tensor, str]] = {}  # with the tensor, so that its id is kept
        self._constants: dict[tuple[int, torch.dtype], tuple[Tensor, str]] = {}

    def knows(self, tensor: Tensor) -> bool:
        """Say whether the graph computes a tensor; others are constants."""
        return id(tensor) in self._named

    def name(self, tensor: Tensor, name: str) -> None:
        """Give a tensor its name."""
        self._named[id(tensor)] = tensor, name

    def tensor(self, value: Any, dtype: torch.dtype | None = None) -> str:
        """Return the name of a tensor or number, of another type if need be."""
        if not isinstance(value, Tensor):
            return self.graph.constant(torch.tensor(value, dtype=dtype).numpy())
        dtype = dtype or value.dtype
        if not self.knows(value):
            return self._constant(value, dtype)
        name = self._named[id(value)][1]
        return name if dtype == value.dtype else self.cast(name, dtype)

    def cast(self, name: str, dtype: torch.dtype) -> str:
        """Add a change of type."""
        return self.graph.Cast(name, to=CODES[dtype])

    def several(self, values: Sequence[Any], dtype: torch.dtype) -> list[str]:
        """Return the names of tensors or numbers, all of one type."""
        return [self.tensor(value, dtype) for value in values]

    def shape(self, sizes: Sequence[int]) -> str:
        """Return a shape, whatever the number of rows is."""
        if not any(self._grows(size) for size in sizes):
            return self.graph.constant(np.array(sizes, dtype=np.int64))
        rows, parts = self._count(), []
        for size in sizes:
            if not self._grows(size):
                parts.append(self.graph.constant([size]))
            else:
                times = size // self.n_rows
                parts.append(rows if times == 1 else self.graph.Mul(rows, [times]))
        return self.graph.Concat(*parts, axis=0)

    def sizes_to_fill(self, sizes: Sequence[int]) -> str:
        """Return a shape for an array that has as many values whatever the number of rows is."""
        growing = [size for size in sizes if self._grows(size)]
        if len(growing) > 1:
            return self.shape(sizes)
        return self.graph.constant([-1 if self._grows(size) else size for size in sizes])

    def _grows(self, size: int) -> bool:
        return size > 0 and size % self.n_rows == 0

    def _count(self) -> str:
        _, source = next(iter(self._named.values()))
        return self.graph.Shape(source, start=0, end=1)

    def _constant(self, tensor: Tensor, dtype: torch.dtype) -> str:
        key = id(tensor), dtype
        if key not in self._constants:
            name = self._alike(tensor.detach().to(dtype))
            self._constants[key] = tensor, name
        return self._constants[key][1]

    def _alike(self, tensor: Tensor) -> str:
        """Keep a constant; one that is the same for all rows is repeated for them."""
        for axis, size in enumerate(tensor.shape):
            first = tensor.narrow(axis, 0, min(1, size))
            if self._grows(size) and torch.equal(tensor, first.expand_as(tensor)):
                return self.graph.Expand(self._alike(first), self.shape(tensor.shape))
        return self.graph.constant(tensor.contiguous().numpy())
