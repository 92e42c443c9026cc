"""Encoders, and pipelines that begin with one, as one file that runs without Python."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skgeo_embed import __version__
from skgeo_embed._files import write_atomically
from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.export.checks import expected_outputs, largest_deviation, rows_to_check
from skgeo_embed.export.graph import Graph
from skgeo_embed.export.packages import check_packages
from skgeo_embed.export.pipelines import first_part, input_table, outputs_of

if TYPE_CHECKING:
    from onnx import ModelProto


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
    check_packages("onnx", "onnxscript", "onnxruntime")
    check_is_fitted(estimator)
    graph = Graph()
    table = input_table(graph, estimator)
    tensors = outputs_of(estimator, table)
    if not graph.places:
        raise TypeError(
            "to_onnx takes a fitted encoder of places, or a model that has one or reads places; "
            f"this {type(estimator).__name__} has none."
        )
    graph.inputs = {name: graph.inputs[name] for name in table.input_names if name in graph.inputs}
    inputs, rows = rows_to_check(graph, table, getattr(first_part(estimator), "kinds_", {}))
    expected = expected_outputs(estimator, rows)
    model = graph.to_model(
        {name: (tensors[name], values.dtype, values.shape[1:]) for name, values in expected.items()}
    )
    deviation = largest_deviation(model, inputs, expected)
    _describe(model, estimator, graph.encoders, deviation)
    write_atomically(Path(path), model.SerializeToString())
    return deviation


def _describe(
    model: ModelProto, estimator: Any, encoders: list[CoordinateTransformer], deviation: float
) -> None:
    """Write down what the file is; of several encoders one after the other."""
    from onnx.helper import set_model_props

    infos = [
        {
            key: value
            for key, value in getattr(encoder, "encoder_info_", {}).items()
            if key != "path"
        }
        for encoder in encoders
    ]
    licences = {str(info.get("licence") or "") for info in infos} - {""}
    facts = {
        "skgeo_embed_version": __version__,
        "encoder": ", ".join(type(encoder).__name__ for encoder in encoders),
        "encoder_info": json.dumps(
            infos[0] if len(infos) == 1 else infos, default=str, ensure_ascii=False
        ),
        "licence": ", ".join(sorted(licences)),
        "largest_deviation": repr(deviation),
    }
    if isinstance(estimator, CoordinateTransformer):
        facts["feature_names"] = json.dumps(estimator.feature_names())
    if hasattr(estimator, "classes_"):
        facts["classes"] = json.dumps(np.asarray(estimator.classes_).tolist())
    set_model_props(model, facts)
