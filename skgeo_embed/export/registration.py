"""Our converters in skl2onnx, for its own `to_onnx`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.export.columns import DOUBLE_ROUNDING, SINGLE, Columns
from skgeo_embed.export.converters import add_to_container, register_encoders
from skgeo_embed.export.graph import DOUBLE, FLOAT, Graph
from skgeo_embed.export.packages import check_packages
from skgeo_embed.export.pipelines import outputs_of
from skgeo_embed.export.trees import BOOSTED


def register_converters(*encoders: type[CoordinateTransformer]) -> None:
    """Tell skl2onnx how encoders and histogram gradient boosting are converted.

    Its own `to_onnx` of a pipeline then takes them.

    Parameters
    ----------
    *encoders : type
        Classes of encoders, such as :class:`~skgeo_embed.SatCLIPEncoder`.

    Raises
    ------
    ImportError
        If skl2onnx is missing.

    Notes
    -----
    The converter of :class:`~sklearn.ensemble.HistGradientBoostingRegressor` and
    :class:`~sklearn.ensemble.HistGradientBoostingClassifier` replaces that of skl2onnx, which
    rounds thresholds to single precision, knows no categories and fails with some versions of
    scikit-learn.
    """
    check_packages("onnx", "onnxscript", "skl2onnx")
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    register_encoders(*encoders)
    of_classifiers = {
        "zipmap": [True, False, "columns"],
        "nocl": [True, False],
        "output_class_labels": [False, True],
    }
    for cls in BOOSTED:
        is_classifier = cls is HistGradientBoostingClassifier
        update_registered_converter(
            cls,
            f"SkgeoEmbed{cls.__name__}",
            calculate_linear_classifier_output_shapes
            if is_classifier
            else calculate_linear_regressor_output_shapes,
            _add_boosted,
            options=of_classifiers if is_classifier else None,
            overwrite=True,
        )


def _add_boosted(scope: Any, operator: Any, container: Any) -> None:
    """Add the graph of a learner to that of a pipeline."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    model, (source,) = operator.raw_operator, operator.inputs
    inner, width = Graph(), model.n_features_in_
    is_double = isinstance(source.type, DoubleTensorType)
    rounding = 10 * DOUBLE_ROUNDING if is_double else SINGLE
    numbers = inner.input("X", "numbers", width)
    tensors = outputs_of(model, Columns.of(inner, numbers, width, rounding=rounding))
    of_label = np.asarray(getattr(model, "classes_", [])).dtype, ()
    n_columns = len(getattr(model, "classes_", [0]))
    converted = inner.to_model(
        {
            name: (tensor, *(of_label if name == "label" else (np.dtype(float), (n_columns,))))
            for name, tensor in tensors.items()
        }
    )
    outer, prefix = Graph(), scope.get_unique_operator_name("boosting")
    given = outer.Cast(source.full_name, to=DOUBLE)
    found = outer.include(converted, {"X": given}, prefix)
    for tensor, output in zip(found, operator.outputs, strict=True):
        if isinstance(output.type, FloatTensorType):
            tensor = outer.Cast(tensor, to=FLOAT)
        outer.rename(tensor, output.full_name)
    add_to_container(outer, container)
