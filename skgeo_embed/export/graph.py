"""A graph in ONNX that grows node by node."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from skgeo_embed.export.networks import OPSET

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

DOUBLE = 11  # TensorProto.DOUBLE, for Cast
FLOAT = 1
IR_VERSION = 10  # what onnxruntime 1.20 reads
OTHER_DOMAINS = {"TreeEnsembleRegressor": "ai.onnx.ml"}


class Graph:
    """A graph that grows: ``graph.Add(first, second)`` adds a node and returns its output's name.

    Inputs are names, or numbers and arrays, which become constants of the graph. All that is
    computed is in double precision.
    """

    def __init__(self, outer: Graph | None = None) -> None:
        self.nodes: list[NodeProto] = []
        self.inputs: dict[str, tuple[str, int]] = {}  # kind and width
        self.initializers: list[TensorProto] = outer.initializers if outer else []
        self.domains: dict[str, int] = outer.domains if outer else dict(OPSET)
        self.valid_places: list[str] = []  # tensors (n, 1) that are NaN where a place is invalid
        self.encoders: list[Any] = []
        self.places: dict[tuple[str, int], str] = {}  # "lon" and "lat", by input and column
        self.examples: dict[tuple[str, int], list[Any]] = {}  # values, by input and column
        self.known_places: list[np.ndarray] = []  # (m, 2) each
        self._known: dict[str, str] = outer._known if outer else {}
        self._names: list[str] = outer._names if outer else []

    def __getattr__(self, operator: str) -> Callable[..., Any]:
        if not operator[0].isupper():
            raise AttributeError(operator)
        return lambda *inputs, **options: self._add(operator, *inputs, **options)

    def _add(self, operator: str, *inputs: Any, n_outputs: int = 1, **attributes: Any) -> Any:
        from onnx.helper import make_node

        names = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        outputs = [self.new_name(operator) for _ in range(n_outputs)]
        domain = OTHER_DOMAINS.get(operator, "")
        node = make_node(
            operator, names, outputs, name=self.new_name(operator), domain=domain, **attributes
        )
        self.nodes.append(node)
        return outputs[0] if n_outputs == 1 else outputs

    def new_name(self, word: str) -> str:
        """Return a name that is free in the graph, and that no column of a table has."""
        self._names.append(word)
        return f"/{word}_{len(self._names)}"

    def constant(self, values: Any) -> str:
        """Keep numbers or text; floats in double precision."""
        from onnx.numpy_helper import from_array

        array = np.asarray(values)
        if array.dtype.kind == "U":
            array = array.astype(object)
        return self.keep(from_array(array, self.new_name("constant")))

    def keep(self, tensor: TensorProto) -> str:
        """Keep a constant, unless the same is there already, and return its name."""
        unnamed = tensor.__class__()
        unnamed.CopyFrom(tensor)
        unnamed.name = ""
        key = hashlib.sha256(unnamed.SerializeToString(deterministic=True)).hexdigest()
        if key not in self._known:
            self._known[key] = tensor.name
            self.initializers.append(tensor)
        return self._known[key]

    def input(self, name: str, kind: str, width: int = 1) -> str:
        """Declare an input of "numbers" or "text", (n, width)."""
        found, _ = self.inputs.setdefault(name, (kind, width))
        if found != kind:
            raise TypeError(
                f"one part of this model reads the column {name!r} as {found}, and another as "
                f"{kind}; an input of a file has one type. Make two columns of it, and fit again."
            )
        return name

    def scan(self, blocks: str, step: Callable[[Graph, str], str]) -> str:
        """Apply a step to each block (..., k) of an array, and return the results as one array."""
        from onnx import TensorProto
        from onnx.helper import make_graph, make_tensor_value_info

        body, block = Graph(self), self.new_name("block")
        result = step(body, block)
        graph = make_graph(
            body.nodes,
            "block",
            [make_tensor_value_info(block, TensorProto.DOUBLE, None)],
            [make_tensor_value_info(result, TensorProto.INT64, None)],
        )
        return self.Scan(blocks, body=graph, num_scan_inputs=1)

    def include(self, model: ModelProto, inputs: dict[str, str], prefix: str = "") -> list[str]:
        """Add the nodes of another graph, all names after a prefix, and return its outputs."""
        from onnx.compose import add_prefix

        prefix = prefix or self.new_name("part")
        model = add_prefix(model, f"{prefix}/")
        for tensor in model.graph.initializer:
            name = self.keep(tensor)
            if name != tensor.name:
                self.rename(name, tensor.name)
        for name, source in inputs.items():
            self.rename(source, f"{prefix}/{name}")
        self.nodes.extend(model.graph.node)
        for one in model.opset_import:
            self.domains[one.domain] = max(one.version, self.domains.get(one.domain, 1))
        return [output.name for output in model.graph.output]

    def rename(self, tensor: str, name: str) -> None:
        """Give a tensor a second name."""
        from onnx.helper import make_node

        self.nodes.append(make_node("Identity", [tensor], [name], name=self.new_name("Identity")))

    def to_model(self, outputs: dict[str, tuple[str, np.dtype, tuple[int, ...]]]) -> ModelProto:
        """Return a model whose outputs are tensors of this graph, with their types and widths."""
        from onnx import TensorProto
        from onnx.helper import (
            make_graph,
            make_model,
            make_opsetid,
            make_tensor_value_info,
            np_dtype_to_tensor_dtype,
        )

        kinds = {"numbers": TensorProto.DOUBLE, "text": TensorProto.STRING}
        entries = [
            make_tensor_value_info(name, kinds[kind], ["n", width])
            for name, (kind, width) in self.inputs.items()
        ]
        results = []
        for name, (tensor, dtype, shape) in outputs.items():
            if name in self.inputs:
                raise ValueError(
                    f"the column {name!r} has the name of an output of the file; rename it, and "
                    "fit again."
                )
            kind = TensorProto.STRING if dtype.kind in "UO" else np_dtype_to_tensor_dtype(dtype)
            if kind != TensorProto.STRING:  # skl2onnx makes int64 of booleans and other numbers
                tensor = self.Cast(tensor, to=kind)
            self.rename(tensor, name)
            results.append(make_tensor_value_info(name, kind, ["n", *shape]))
        graph = make_graph(self.nodes, "skgeo_embed", entries, results, self.initializers)
        domains = [make_opsetid(domain, version) for domain, version in self.domains.items()]
        return make_model(graph, opset_imports=domains, ir_version=IR_VERSION)
