"""Pipelines of scikit-learn as graphs in ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline

from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.export.networks import OPSET, encoder_model
from skgeo_embed.export.packages import check_packages

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def register_converters(*encoders: type[CoordinateTransformer]) -> None:
    """Tell skl2onnx how encoders are converted, for its own `to_onnx` of a pipeline.

    Parameters
    ----------
    *encoders : type
        Classes of encoders, such as :class:`~skgeo_embed.SatCLIPEncoder`.

    Raises
    ------
    ImportError
        If skl2onnx is missing.
    """
    check_packages("onnx", "onnxscript", "skl2onnx")
    from skl2onnx import update_registered_converter

    for cls in encoders:
        update_registered_converter(
            cls, f"SkgeoEmbed{cls.__name__}", _set_shape, _add_encoder,
            parser=_parse_encoder, overwrite=True,
        )  # fmt: skip


def pipeline_model(pipeline: Pipeline) -> ModelProto:
    """Convert a fitted pipeline whose first step is an encoder."""
    encoder = pipeline.steps[0][1]
    register_converters(type(encoder))
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType

    last = pipeline.steps[-1][1]
    is_classifier = hasattr(last, "classes_")
    try:
        model = convert_sklearn(
            pipeline,
            initial_types=[("lonlat", DoubleTensorType([None, 2]))],
            target_opset=OPSET,
            options={id(last): {"zipmap": False}} if is_classifier else None,
        )
    except (RuntimeError, ValueError) as error:  # a missing converter, or one that fails
        steps = " → ".join(type(step).__name__ for _, step in pipeline.steps)
        raise TypeError(
            f"skl2onnx cannot convert a part of this pipeline ({steps}). Replace it by an "
            f"estimator that skl2onnx knows. It says: {str(error)[:300]}"
        ) from error
    if not is_classifier:  # those of a classifier have good names already
        _name_output(model, "prediction" if hasattr(last, "predict") else "features")
    return model


def _features_type(encoder: CoordinateTransformer) -> Any:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    kind = DoubleTensorType if encoder.output_dtype == np.float64 else FloatTensorType
    return kind([None, encoder.n_features_out])


def _parse_encoder(scope: Any, encoder: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Declare the features before skl2onnx guesses that they have the type of the degrees."""
    operator = scope.declare_local_operator(f"SkgeoEmbed{type(encoder).__name__}", encoder)
    operator.inputs = inputs
    features = scope.declare_local_variable("encoded_places", _features_type(encoder))
    operator.outputs.append(features)
    return operator.outputs


def _set_shape(operator: Any) -> None:
    operator.outputs[0].type = _features_type(operator.raw_operator)


def _add_encoder(scope: Any, operator: Any, container: Any) -> None:
    """Copy an encoder's graph into that of a pipeline, under names that are free there."""
    graph = encoder_model(operator.raw_operator).graph
    names = {
        "": "",  # an input that is left out
        "lonlat": operator.inputs[0].full_name,
        "features": operator.outputs[0].full_name,
    }
    for tensor in graph.initializer:
        names[tensor.name] = tensor.name = scope.get_unique_variable_name(tensor.name)
        container.initializers.append(tensor)
    for node in graph.node:
        for output in node.output:
            if output not in names:
                names[output] = scope.get_unique_variable_name(output)
        node.name = scope.get_unique_operator_name(node.op_type)
        _rename(node, names)
        container.nodes.append(node)
    container.node_domain_version_pair_sets.add(("", OPSET[""]))


def _rename(node: NodeProto, names: dict[str, str]) -> None:
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]


def _name_output(model: ModelProto, name: str) -> None:
    (output,) = model.graph.output
    for node in model.graph.node:
        _rename(node, {output.name: name})
    output.name = name
