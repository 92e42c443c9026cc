"""Encoders, and pipelines that begin with one, as one file that runs without Python."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skgeo_embed import __version__
from skgeo_embed._files import write_atomically
from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.places.reading import ROUNDING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

OPSET = {"": 20, "ai.onnx.ml": 3}
RANDOM_PLACES = 1000
HARD_LONGITUDES = (-180, -179.999999, -90, -22.5, 0, 1e-7, 45, 179.999999, 180, 270, 337.5, 360)
HARD_LATITUDES = (-90, -89.9999999, -89.9, -45, 0, 1e-7, 11.25, 45, 66.6, 89.9, 89.9999999, 90)


def to_onnx(estimator: Any, path: str | os.PathLike[str]) -> float:
    """Write a fitted encoder, or a pipeline that begins with one, to a file in the format ONNX.

    The file holds the whole computation: the check of the coordinates, harmonics in double
    precision, the network with its feature grid and content, and what follows it in the pipeline.
    It runs in onnxruntime, without Python, torch or this package. Before it is written, onnxruntime
    runs it on poles, the antimeridian, edges of grids and random places, and its output is compared
    with that of the estimator.

    Parameters
    ----------
    estimator : estimator
        A fitted encoder that runs a network or a closed form, or a fitted
        :class:`~sklearn.pipeline.Pipeline` whose first step is one and whose other steps are known
        to skl2onnx: scalers, linear models, trees and many more of scikit-learn's.
    path : str or path-like
        The file, which usually ends in ".onnx". A file that exists is replaced.

    Returns
    -------
    largest_deviation : float
        Largest absolute difference between the file's output and that of `transform`, `predict` or
        `predict_proba`. Deviations of features in single precision are about 1e-6 of the largest
        feature. A tree turns them into a step where a feature lies on a threshold.

    Raises
    ------
    ImportError
        If onnx, onnxscript, onnxruntime or (for a pipeline) skl2onnx is missing.
    TypeError
        If a part cannot be exported, which the message names.
    ValueError
        If `area_statistic` of the encoder is "std".
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Notes
    -----
    The input "lonlat" is (n, 2), float64: longitude and latitude in degrees, in this order,
    longitude from -180 to 360. A row that is missing or lies outside becomes a row of NaN features,
    whatever `on_invalid` says: a service must check coordinates before it asks for a prediction.

    The output of an encoder, or of a pipeline that ends in a transformer, is "features" (n, d).
    That of a regressor is "prediction" (n, 1). A classifier has two: "label" (n,) and
    "probabilities" (n, n_classes).

    The file's metadata has `largest_deviation`, `licence`, `encoder_info` (JSON: what
    `encoder_info_` says), `feature_names` (JSON) and `skgeo_embed_version`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from skgeo_embed import SatCLIPEncoder, to_onnx
    >>> encoder = SatCLIPEncoder("bluemarble-l10").fit()
    >>> with TemporaryDirectory() as folder:  # doctest: +SKIP
    ...     deviation = to_onnx(encoder, Path(folder) / "encoder.onnx")
    >>> deviation < 1e-5  # doctest: +SKIP
    True
    """
    _check_packages("onnx", "onnxscript", "onnxruntime")
    check_is_fitted(estimator)
    encoder = estimator.steps[0][1] if isinstance(estimator, Pipeline) else estimator
    if not isinstance(encoder, CoordinateTransformer):
        within = "" if encoder is estimator else " as the first step of a Pipeline"
        raise TypeError(
            "to_onnx takes a fitted encoder of places, or a Pipeline whose first step is one, got "
            f"{_named(encoder)}{within}."
        )
    model = _pipeline_model(estimator) if estimator is not encoder else encoder_model(encoder)
    deviation = _largest_deviation(model, estimator)
    _describe(model, encoder, deviation)
    write_atomically(Path(path), model.SerializeToString())
    return deviation


def encoder_model(encoder: CoordinateTransformer) -> ModelProto:
    """Convert a fitted encoder: "lonlat" (n, 2) to "features" (n, d)."""
    import torch
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
        custom_translation_table={torch.ops.aten.scalar_tensor.default: _exact_scalar},
    )
    assert program is not None
    return program.model_proto


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
    _check_packages("onnx", "onnxscript", "skl2onnx")
    from skl2onnx import update_registered_converter

    for cls in encoders:
        update_registered_converter(
            cls, f"SkgeoEmbed{cls.__name__}", _set_shape, _add_encoder,
            parser=_parse_encoder, overwrite=True,
        )  # fmt: skip


def _pipeline_model(pipeline: Pipeline) -> ModelProto:
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


def _exact_scalar(value: Any, dtype: int = 1, **_: Any) -> Any:
    """Make a constant of its own type: torch's translation makes single precision of doubles."""
    from onnx.helper import tensor_dtype_to_np_dtype
    from onnx.numpy_helper import from_array
    from onnxscript import opset20

    array = np.array(value, dtype=tensor_dtype_to_np_dtype(int(dtype)))
    return opset20.Constant(value=from_array(array))


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


def _largest_deviation(model: ModelProto, estimator: Any) -> float:
    """Compare the model in onnxruntime with the estimator on hard places and random ones."""
    from onnxruntime import InferenceSession

    lonlat = places_to_check()
    try:
        session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no class in common
        raise TypeError(
            'onnxruntime cannot run a part of this model. If the encoder has dtype="float64", '
            f'fit it with "float32", which more estimators take. It says: {str(error)[:300]}'
        ) from error
    found = session.run(None, {"lonlat": lonlat})[-1]
    if hasattr(estimator, "predict_proba"):
        expected = estimator.predict_proba(lonlat)
    elif hasattr(estimator, "predict"):
        expected = estimator.predict(lonlat)
    else:
        expected = np.asarray(estimator.transform(lonlat))
    found = np.asarray(found, dtype=np.float64).reshape(np.shape(expected))
    return float(np.abs(found - expected).max())


def places_to_check() -> np.ndarray:
    """Return places where notation or interpolation is delicate, and random ones, (n, 2)."""
    hard = np.stack(np.meshgrid(HARD_LONGITUDES, HARD_LATITUDES), axis=-1).reshape(-1, 2)
    random = np.random.default_rng(0)
    sine = random.uniform(-1, 1, RANDOM_PLACES)
    lon = random.uniform(-180, 360, RANDOM_PLACES)
    return np.vstack([hard, np.column_stack([lon, np.rad2deg(np.arcsin(sine))])])


def _describe(model: ModelProto, encoder: CoordinateTransformer, deviation: float) -> None:
    from onnx.helper import set_model_props

    info = {key: value for key, value in getattr(encoder, "encoder_info_", {}).items()
            if key != "path"}  # fmt: skip
    facts = {
        "skgeo_embed_version": __version__,
        "encoder": type(encoder).__name__,
        "encoder_info": json.dumps(info, default=str, ensure_ascii=False),
        "feature_names": json.dumps(encoder.feature_names()),
        "licence": str(info.get("licence") or ""),
        "largest_deviation": repr(deviation),
    }
    set_model_props(model, facts)


def _named(estimator: Any) -> str:
    name = type(estimator).__name__
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _check_packages(*names: str) -> None:
    from importlib.util import find_spec

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ImportError(f'to_onnx needs {", ".join(missing)}: pip install "skgeo-embed[onnx]"')
