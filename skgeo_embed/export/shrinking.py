"""Constants of a graph in ONNX in the smallest types that hold them exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto

LEAST_BYTES = 2**12  # smaller constants stay as they are
SMALLER = {
    "float64": ("float16", "float32"),
    "float32": ("float16",),
    "int64": ("uint8", "int8", "uint16", "int16", "int32"),
    "int32": ("uint8", "int8", "uint16", "int16"),
}


def shrink_constants(model: ModelProto) -> None:
    """Store constants in smaller types, each only once; a runtime casts them back when it opens."""
    from onnx.helper import make_node, np_dtype_to_tensor_dtype
    from onnx.numpy_helper import from_array, to_array

    graph = model.graph
    seen: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    kept, restored = [], []
    for tensor in graph.initializer:
        name, values = tensor.name, to_array(tensor)
        if values.nbytes < LEAST_BYTES:
            kept.append(tensor)
            continue
        key = str(values.dtype), values.shape, values.tobytes()
        if key in seen:
            restored.append(make_node("Identity", [seen[key]], [name]))
            continue
        seen[key] = name
        smaller = _smallest(values)
        if smaller is values:
            kept.append(tensor)
            continue
        stored = f"{name}_stored"
        kept.append(from_array(smaller, stored))
        as_it_was = np_dtype_to_tensor_dtype(values.dtype)
        restored.append(make_node("Cast", [stored], [name], to=as_it_was))
    nodes = list(graph.node)
    for node in nodes:  # lines of code that made it, with paths of this machine
        del node.metadata_props[:]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend([*restored, *nodes])


def _smallest(values: np.ndarray) -> np.ndarray:
    for dtype in SMALLER.get(str(values.dtype), ()):
        with np.errstate(over="ignore"):
            smaller = values.astype(dtype)
        if np.array_equal(smaller.astype(values.dtype), values, equal_nan=True):
            return smaller
    return values
