"""Encoders, and models of tables with places, as one file that runs without Python."""

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
    """Write a fitted encoder, or a model of a table with places, to a file in the format ONNX.

    The file holds the whole computation: the check of the coordinates, harmonics in double
    precision, the network with its feature grid and content, other columns, the model, and what it
    takes from neighbours. It runs in onnxruntime, without Python, torch or this package. Before it
    is written, onnxruntime runs it on poles, the antimeridian, edges of grids, known places, random
    ones and odd values of other columns, and its output is compared with that of the estimator.

    Parameters
    ----------
    estimator : estimator
        A fitted encoder that runs a network or a closed form, or a fitted model with such encoders:
        a :class:`~sklearn.pipeline.Pipeline`, a :func:`~skgeo_embed.spatial_pipeline`, a
        :class:`~skgeo_embed.ResidualInterpolator`, a
        :class:`~skgeo_embed.SpatialConformalRegressor` or
        :class:`~skgeo_embed.SpatialConformalClassifier`, the best model of a search. Steps may be
        column transformers, encoders of categories, imputers, trees, histogram gradient boosting,
        and what skl2onnx knows: scalers, linear models and many more of scikit-learn's.
    path : str or path-like
        The file, which usually ends in ".onnx". A file that exists is replaced.

    Returns
    -------
    largest_deviation : float
        Largest absolute difference between the file's output and that of `transform`, `predict`,
        `predict_proba` or `predict_interval`. Deviations of features in single precision are about
        1e-6 of the largest feature. A tree turns them into a step where a feature lies on a
        threshold.

    Raises
    ------
    ImportError
        If onnx, onnxscript, onnxruntime or (for a model) skl2onnx is missing.
    TypeError
        If a part cannot be exported, which the message names.
    ValueError
        If `area_statistic` of an encoder is "std", a column has the name of an output, or the file
        gives numbers for other rows than the estimator; then no file is written.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Notes
    -----
    An encoder, and a model that was fitted on places alone, has one input, "lonlat" (n, 2),
    float64: longitude and latitude in degrees, in this order, longitude from -180 to 360. A model
    that was fitted on a table with names has one input (n, 1) for each column that it reads, named
    as the column: numbers are float64, words are text. NaN is a missing number, "" a missing word,
    1 a boolean that is true; dates are days since 1970, and durations are days. A model that was
    fitted on an array has one input "X" (n, d), float64.

    A row whose place is missing or lies outside has NaN features, predictions and probabilities,
    whatever `on_invalid` says; its label means nothing. A service that wants to say why can check
    places first with `skgeo_embed.places.reading.read_coordinates`, which does not load torch.

    The output of an encoder, or of a pipeline that ends in a transformer, is "features" (n, d).
    That of a regressor is "prediction", (n, 1) or (n, n_targets); around it an interval has the
    bounds "lower" and "upper" (n, 1). A classifier has "label" (n,) and "probabilities"
    (n, n_classes), and sets of classes are "in_set" (n, n_classes), boolean.

    The nearest places are found among all, in blocks of rows: with 20,000 places this takes about
    0.1 ms a row.

    The file's metadata has `largest_deviation`, `licence`, `encoder_info` (JSON: what
    `encoder_info_` says; a list where there are several encoders), `feature_names` of an encoder
    (JSON), `classes` of a classifier (JSON) and `skgeo_embed_version`.

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
            f"this {type(estimator).__name__} has none. Encoders inside the models of a stack or a "
            "vote are not found: put the encoder before them, in a pipeline."
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
