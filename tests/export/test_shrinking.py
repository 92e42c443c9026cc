"""Constants in smaller types: the same values, each once."""

import numpy as np
import pytest

from skgeo_embed.export.shrinking import shrink_constants

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

HALF = np.arange(4096, dtype=np.float16) / 8


def _sum_of(*constants):
    """A model that adds up constants and its input, all cast to double precision."""
    from onnx.helper import (
        make_graph,
        make_model,
        make_node,
        make_opsetid,
        make_tensor_value_info,
    )
    from onnx.numpy_helper import from_array

    double = onnx.TensorProto.DOUBLE
    names = [f"constant{i}" for i in range(len(constants))]
    nodes = [make_node("Cast", [name], [f"{name}_double"], to=double) for name in names]
    nodes.append(make_node("Sum", ["x", *(f"{name}_double" for name in names)], ["y"]))
    x, y = (make_tensor_value_info(name, double, [4096]) for name in "xy")
    stored = [from_array(value, name) for value, name in zip(constants, names, strict=True)]
    graph = make_graph(nodes, "sum", [x], [y], stored)
    return make_model(graph, opset_imports=[make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        (HALF.astype(np.float32), np.float16),
        (HALF.astype(np.float64), np.float16),
        (np.append(HALF[1:].astype(np.float64), 0.1), np.float64),
        (np.append(HALF[1:].astype(np.float32), np.float32(0.1)), np.float32),
        (np.append(HALF[1:].astype(np.float32), np.float32(1e6)), np.float32),
        (np.arange(4096), np.uint16),
        (np.arange(4096) - 1, np.int16),
        (np.arange(4096) % 256, np.uint8),
        (np.arange(4096) * 2**30, np.int64),
    ],
)
def test_the_smallest_exact_type(values, stored):
    model = _sum_of(values)
    shrink_constants(model)
    (constant,) = model.graph.initializer
    assert onnx.numpy_helper.to_array(constant).dtype == stored
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"x": np.zeros(4096)})
    np.testing.assert_array_equal(found, values)


def test_equal_constants_are_stored_once():
    model = _sum_of(HALF.astype(np.float32), HALF.astype(np.float32), HALF.astype(np.float64))
    shrink_constants(model)
    assert len(model.graph.initializer) == 2
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"x": np.ones(4096)})
    np.testing.assert_array_equal(found, 1 + 3 * HALF.astype(float))
