"""Estimators that skl2onnx converts, and our converters for skl2onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.export.columns import Columns
from skgeo_embed.export.graph import DOUBLE, FLOAT, Graph
from skgeo_embed.export.networks import OPSET, encoder_model
from skgeo_embed.export.packages import check_packages

if TYPE_CHECKING:
    from onnx import ModelProto


def register_encoders(*encoders: type[CoordinateTransformer]) -> None:
    """Tell skl2onnx how encoders are converted."""
    from skl2onnx import update_registered_converter

    for cls in encoders:
        update_registered_converter(
            cls, f"SkgeoEmbed{cls.__name__}", _set_shape, _add_encoder,
            parser=_parse_encoder, overwrite=True,
        )  # fmt: skip


def transform_by_skl2onnx(step: Any, columns: Columns) -> Columns:
    """Add a transformer that skl2onnx knows to the graph."""
    *_, (features, width) = _converted(step, columns)
    return Columns.of(columns.graph, features, width)


def predict_by_skl2onnx(model: Any, columns: Columns) -> dict[str, str]:
    """Add a regressor or classifier that skl2onnx knows to the graph."""
    outputs = [tensor for tensor, _ in _converted(model, columns)]
    if not hasattr(model, "classes_"):
        return {"prediction": outputs[0]}
    if not hasattr(model, "predict_proba"):
        return {"label": outputs[0]}
    return {"label": outputs[0], "probabilities": outputs[1]}


def _converted(estimator: Any, columns: Columns) -> list[tuple[str, int]]:
    """Add an estimator to the graph; return its outputs, numbers in double precision, and widths.

    What skl2onnx or onnxruntime cannot do in double precision is done in single precision.
    """
    check_packages("onnx", "onnxscript", "skl2onnx")
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    numbers, errors = columns.numbers(), []
    nested = estimator.get_params().values()
    register_encoders(*{type(one) for one in nested if isinstance(one, CoordinateTransformer)})
    for kind in (DoubleTensorType, FloatTensorType):
        try:
            model, examples = _convert_and_run(estimator, kind, columns.width)
        except Exception as error:  # onnxruntime's errors have no common class
            errors.append(error)
            continue
        return _included(columns.graph, model, examples, numbers, kind is FloatTensorType)
    raise TypeError(
        f"skl2onnx cannot convert {_named(estimator)}, a part of this model. Replace it by an "
        f"estimator that skl2onnx knows. It says: {str(errors[0])[:300]}"
    ) from errors[0]


def _convert_and_run(estimator: Any, kind: Any, width: int) -> tuple[ModelProto, list[np.ndarray]]:
    """Convert an estimator of numbers, and return what it makes of two rows of zeros."""
    from onnxruntime import InferenceSession
    from skl2onnx import convert_sklearn

    has_probabilities = hasattr(estimator, "classes_") and hasattr(estimator, "predict_proba")
    model = convert_sklearn(
        estimator,
        initial_types=[("X", kind([None, width]))],
        target_opset=OPSET,
        options={id(estimator): {"zipmap": False}} if has_probabilities else None,
    )
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    dtype = np.float32 if "float)" in session.get_inputs()[0].type else np.float64
    return model, session.run(None, {"X": np.zeros((2, width), dtype)})


def _included(
    graph: Graph, model: ModelProto, examples: list[np.ndarray], numbers: str, single: bool
) -> list[tuple[str, int]]:
    source = graph.Cast(numbers, to=FLOAT) if single else numbers
    outputs = []
    for tensor, example in zip(graph.include(model, {"X": source}), examples, strict=True):
        if example.dtype == np.float32:
            tensor = graph.Cast(tensor, to=DOUBLE)
        if example.dtype.kind == "f" and example.ndim == 1:
            tensor = graph.Unsqueeze(tensor, [1])
        outputs.append((tensor, example.size // len(example)))
    return outputs


def _named(estimator: Any) -> str:
    name = type(estimator).__name__
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


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
    """Add an encoder's graph to that of a pipeline."""
    graph, name = Graph(), scope.get_unique_operator_name("encoder")
    degrees = operator.inputs[0].full_name
    model = encoder_model(operator.raw_operator)
    (features,) = graph.include(model, {"lonlat": degrees}, name)
    graph.rename(features, operator.outputs[0].full_name)
    add_to_container(graph, container)


def add_to_container(graph: Graph, container: Any) -> None:
    """Add a graph, which has its own names, to what skl2onnx makes."""
    container.initializers.extend(graph.initializers)
    container.nodes.extend(graph.nodes)
    container.node_domain_version_pair_sets.update(graph.domains.items())
