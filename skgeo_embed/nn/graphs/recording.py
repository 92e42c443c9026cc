"""What a function of torch tensors does, written down as a graph in ONNX."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.func import functionalize
from torch.utils._python_dispatch import TorchDispatchMode

from skgeo_embed.nn.graphs.names import Graph, TensorNames
from skgeo_embed.nn.graphs.operations import OPERATIONS, SAME_VALUES
from skgeo_embed.nn.harmonics import for_a_graph
from skgeo_embed.nn.inference.graph import DECOMPOSITIONS

N_ROWS = 2003  # a prime: sizes that it divides are multiples of the number of rows
READ_BY_PYTHON = "_local_scalar_dense", "nonzero", "equal"


@torch.no_grad()
def add_function(
    graph: Graph, function: Callable[[Tensor], Tensor], source: str, rows: Tensor
) -> str:
    """Add a function of rows to a graph, and return its output's name.

    The function runs once, on examples, and each operation of torch becomes nodes. So it must do
    the same whatever the numbers are, and however many rows there are.

    Parameters
    ----------
    graph : Graph
        The graph.
    function : callable
        Maps a tensor (n, k) to one (n, d).
    source : str
        The name of a tensor (n, k) of the graph, in double precision.
    rows : Tensor of shape (m, k), float64
        Examples of rows.

    Raises
    ------
    TypeError
        If the function does what ONNX has no operation for, or chooses what it does by values.
    """
    example = rows.repeat(-(-N_ROWS // len(rows)), 1)[:N_ROWS]
    token = for_a_graph.set(True)
    try:
        function(example)  # what parts compute once and keep must exist before
        names = TensorNames(graph, N_ROWS)
        names.name(example, source)
        with _Recorder(names):
            result = functionalize(function, remove="mutations")(example)
    finally:
        for_a_graph.reset(token)
    if not names.knows(result):
        raise TypeError(
            "to_onnx cannot export a network that leaves torch: its features do not follow from "
            "operations of torch on the degrees."
        )
    return names.tensor(result)


class _Recorder(TorchDispatchMode):
    """Adds nodes for all operations that run while it is entered."""

    def __init__(self, names: TensorNames) -> None:
        super().__init__()
        self.names = names

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = list(_tensors((args, kwargs.values())))
        known = any(map(self.names.knows, given))
        if known and operation.overloadpacket.__name__ in READ_BY_PYTHON:
            raise TypeError(
                f"to_onnx cannot export a network that uses {operation.name()}: what it does then "
                "depends on values, and a file does the same for all places."
            )
        result = operation(*args, **kwargs)
        if not known:
            made = sum(one.nbytes for one in _tensors((result,)))
            if not given or made <= sum(one.nbytes for one in given):
                return result  # a constant, in no more bytes than what it is made of
        if operation in SAME_VALUES:
            self.names.name(result, self.names.tensor(args[0]))
            return result
        for simpler in _simpler(operation, result):
            with self:
                found = simpler(*args, **kwargs)
            if found is not NotImplemented:
                return found
        if operation not in OPERATIONS:
            raise TypeError(
                f"to_onnx cannot export a network that uses {operation.name()}: it has no "
                "translation for this operation of torch. Replace it in the network."
            )
        names = OPERATIONS[operation](self.names, result, *args, **kwargs)
        if isinstance(names, str):
            names, results = [names], [result[0] if isinstance(result, tuple) else result]
        else:
            results = result
        for tensor, name in zip(results, names, strict=True):
            self.names.name(tensor, name)
        return result


def _simpler(operation: Any, result: Any) -> list[Callable[..., Any]]:
    """Return functions that do the same in operations that have nodes, if they are needed."""
    is_double = isinstance(result, Tensor) and result.dtype == torch.float64
    own = DECOMPOSITIONS.get(operation)
    if operation in OPERATIONS:
        return [own] if own and is_double else []
    return [own or _decompositions().get(operation) or operation.decompose]


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (str, bytes)):
            continue
        elif hasattr(value, "__iter__"):
            yield from _tensors(value)


@functools.cache
def _decompositions() -> dict[Any, Callable[..., Any]]:
    from torch._decomp import core_aten_decompositions

    return dict(core_aten_decompositions().items())
