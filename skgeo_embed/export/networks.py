"""Encoders of places as graphs in ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.export.shrinking import shrink_constants
from skgeo_embed.places.reading import ROUNDING

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = {"": 20, "ai.onnx.ml": 3}


def encoder_model(encoder: CoordinateTransformer) -> ModelProto:
    """Convert a fitted encoder: "lonlat" (n, 2) to "features" (n, d)."""
    from torch.onnx import export

    from skgeo_embed.nn.inference.graph import DegreesToFeatures, trace

    if encoder._sampling.statistic == "std":
        raise ValueError(
            'to_onnx needs area_statistic="mean", got "std": a file takes points, which do not '
            "deviate."
        )
    encode, parts = encoder.place_function()
    program = export(
        trace(DegreesToFeatures(encode, ROUNDING), parts),
        dynamo=True,
        opset_version=OPSET[""],
        optimize=False,  # onnxruntime does it when it opens the file
        verbose=False,
        input_names=["lonlat"],
        output_names=["features"],
        custom_translation_table=_translations(),
    )
    assert program is not None
    model = program.model_proto
    shrink_constants(model)
    return model


def _translations() -> dict[Any, Any]:
    """Return operations that torch translates inexactly, or not at all."""
    import torch

    aten = torch.ops.aten
    return {
        aten.scalar_tensor.default: _exact_scalar,
        aten.__rshift__.Tensor: _shift_right,
        aten.__rshift__.Scalar: _shift_right,
        aten.__lshift__.Scalar: _shift_left,
        aten.bitwise_left_shift.Scalar_Tensor: _shift_left,
    }


def _shift_left(shifted: Any, by: Any) -> Any:
    return _shift("LEFT", shifted, by)


def _shift_right(shifted: Any, by: Any) -> Any:
    return _shift("RIGHT", shifted, by)


def _shift(direction: str, shifted: Any, by: Any) -> Any:
    """Shift 32-bit integers that are not negative."""
    from onnx import TensorProto
    from onnxscript import opset20

    operations: Any = opset20  # its types allow constants only
    parts = (operations.Cast(part, to=TensorProto.UINT32) for part in (shifted, by))
    found = operations.BitShift(*parts, direction=direction)
    return operations.Cast(found, to=TensorProto.INT32)


def _exact_scalar(value: Any, dtype: int = 1, **_: Any) -> Any:
    """Make a constant of its own type: torch's translation makes single precision of doubles."""
    from onnx.helper import tensor_dtype_to_np_dtype
    from onnx.numpy_helper import from_array
    from onnxscript import opset20

    array = np.array(value, dtype=tensor_dtype_to_np_dtype(int(dtype)))
    return opset20.Constant(value=from_array(array))
