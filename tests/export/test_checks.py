"""A file is compared with its estimator before it is written."""

import numpy as np
import pytest

from skgeo_embed.export.checks import largest_deviation

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def logarithm():
    """A file that gives the logarithm of its input, NaN of what is negative."""
    value = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 1]) for name in "xy"
    ]
    node = onnx.helper.make_node("Log", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "logarithm", value[:1], value[1:])
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)


def test_the_largest_deviation_is_found(logarithm):
    inputs = {"x": np.array([[1.0], [-1.0], [np.e]], dtype=np.float32)}
    expected = {"y": np.array([[0.25], [np.nan], [1.0]])}
    assert largest_deviation(logarithm, inputs, expected) == pytest.approx(0.25)


@pytest.mark.parametrize("expected", [[0.0, 0.0], [np.nan, np.nan]])
def test_a_number_on_one_side_alone_is_refused(logarithm, expected):
    """A file that gives NaN has no deviation that a maximum could show."""
    inputs = {"x": np.array([[1.0], [-1.0]], dtype=np.float32)}
    with pytest.raises(ValueError, match=r"disagree in 'y' on where.*1 of 2 rows.*not written"):
        largest_deviation(logarithm, inputs, {"y": np.array(expected)[:, None]})
