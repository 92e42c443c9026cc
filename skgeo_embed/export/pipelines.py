"""Fitted pipelines and models of tables with places as graphs in ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils._set_output import _get_output_config

from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.export.columns import DOUBLE_ROUNDING, SINGLE, Columns, beside
from skgeo_embed.export.converters import predict_by_skl2onnx, transform_by_skl2onnx
from skgeo_embed.export.graph import DOUBLE, Graph
from skgeo_embed.export.neighbors import error_bounds, neighbor_correction, unit_vectors
from skgeo_embed.export.networks import encoder_model
from skgeo_embed.export.tables import (
    CATEGORY_ENCODERS,
    apply_function,
    canonical_places,
    elementwise,
    encode_categories,
    fill_missing,
    read_table,
    take_learner_columns,
)
from skgeo_embed.export.trees import BOOSTED, FORESTS, SINGLE_TREES, boosted, forest
from skgeo_embed.places.columns import find_lonlat
from skgeo_embed.prediction.base import CorrectedEstimator
from skgeo_embed.prediction.corrections import NeighborCorrection
from skgeo_embed.prediction.ensemble import SpatialEnsemble
from skgeo_embed.prediction.intervals import SpatialConformalRegressor
from skgeo_embed.prediction.learners import LearnerColumns
from skgeo_embed.prediction.pipeline import FeatureTable, PlaceColumns, TableReader
from skgeo_embed.prediction.residuals import ResidualInterpolator
from skgeo_embed.prediction.ridge_path import RidgePath
from skgeo_embed.prediction.sets import SpatialConformalClassifier
from skgeo_embed.prediction.trend import TrendRegressor

LONLAT, UNNAMED = "lonlat", "X"
Outputs = dict[str, str]


def input_table(graph: Graph, model: Any) -> Columns:
    """Return the table that a fitted model takes; columns that no part reads become no inputs."""
    first = first_part(model)
    if isinstance(first, TableReader):
        known = list(first._names or [])
        found = find_lonlat(known, *first._lonlat)
        place = [str(known[at]) for at in found] if found else ["lon", "lat"]
        names = [*place, *map(str, first.columns_)]
        return Columns.of_inputs(graph, dict.fromkeys(names, 1), names)
    if isinstance(first, CoordinateTransformer) and first.n_features_in_ == 2:
        known = list(getattr(first, "feature_names_in_", []))
        found = find_lonlat(known, first.reader_.lon, first.reader_.lat) if known else None
        return Columns.of_inputs(graph, {LONLAT: 2}, [known[at] for at in found] if found else None)
    names = list(getattr(model, "feature_names_in_", []))
    if not names:
        return Columns.of_inputs(graph, {UNNAMED: model.n_features_in_})
    return Columns.of_inputs(graph, dict.fromkeys(map(str, names), 1), names)


def outputs_of(model: Any, columns: Columns) -> Outputs:
    """Add a fitted model to the graph, and return its outputs; they are NaN without a place."""
    if isinstance(model, CoordinateTransformer):
        return {"features": _features(model, columns)}
    if not hasattr(model, "predict"):
        return {"features": transform(model, columns).numbers()}
    outputs, graph = predict(model, columns), columns.graph
    if is_classifier(model) and "label" not in outputs:
        best = graph.ArgMax(outputs["probabilities"], axis=1, keepdims=0)
        classes = np.asarray(model.classes_)
        outputs = {"label": graph.Gather(classes, best, axis=0), **outputs}
    for place in graph.valid_places:
        invalid = graph.IsNaN(place)
        for name in {"prediction", "probabilities", "lower", "upper"} & set(outputs):
            outputs[name] = graph.Where(invalid, np.nan, outputs[name])
    return outputs


def transform(step: Any, columns: Columns) -> Columns:
    """Add a fitted transformer to the graph."""
    if step is None or isinstance(step, str):  # "passthrough"
        return columns
    if isinstance(step, CoordinateTransformer):
        return _encode(step, columns)
    table = TRANSFORMERS.get(type(step), transform_by_skl2onnx)(step, columns)
    if _get_output_config("transform", step)["dense"] != "default":
        table.names = list(step.get_feature_names_out())
    return table


def predict(model: Any, columns: Columns) -> Outputs:
    """Add a fitted regressor or classifier to the graph."""
    if isinstance(model, Pipeline):
        return predict(model.steps[-1][1], _through(model.steps[:-1], columns))
    if isinstance(model, BaseSearchCV):
        return predict(model.best_estimator_, columns)
    if isinstance(model, CorrectedEstimator):
        return _corrected(model, columns)
    return PREDICTORS.get(type(model), predict_by_skl2onnx)(model, columns)


def first_part(model: Any) -> Any:
    """Return what reads the table first."""
    if isinstance(model, Pipeline):
        return first_part(model.steps[0][1])
    for name in ("best_estimator_", "estimator_", "regressor_"):
        if hasattr(model, name):
            return first_part(getattr(model, name))
    return model


def _through(steps: Any, columns: Columns) -> Columns:
    for _, step in steps:
        columns = transform(step, columns)
    return columns


def _encode(encoder: CoordinateTransformer, columns: Columns) -> Columns:
    graph, features = columns.graph, _features(encoder, columns)
    is_double = encoder.output_dtype == np.float64
    if not is_double:
        features = graph.Cast(features, to=DOUBLE)
    graph.valid_places.append(graph.Gather(features, [0], axis=1))
    rounding = 10 * DOUBLE_ROUNDING if is_double else SINGLE
    return Columns.of(graph, features, encoder.n_features_out, rounding=rounding)


def _features(encoder: CoordinateTransformer, columns: Columns) -> str:
    lonlat = columns.lonlat(encoder.reader_.lon, encoder.reader_.lat)
    columns.graph.encoders.append(encoder)
    (features,) = columns.graph.include(encoder_model(encoder), {LONLAT: lonlat})
    return features


def _union(union: FeatureUnion, columns: Columns) -> Columns:
    if union.transformer_weights:
        raise TypeError("to_onnx cannot export a FeatureUnion with transformer_weights.")
    parts = [step for _, step in union.transformer_list if step != "drop"]
    return beside(columns.graph, [transform(step, columns) for step in parts])


def _by_columns(step: ColumnTransformer, columns: Columns) -> Columns:
    parts = []
    for name, part, _ in step.transformers_:
        positions = step._transformer_to_input_indices[name]
        if len(positions) and part != "drop":
            parts.append(transform(part, columns.take(positions)))
    return beside(columns.graph, parts)


def _place(step: PlaceColumns, columns: Columns) -> Columns:
    return Columns(columns.graph, columns.take([0, 1]).parts, ["lon", "lat"])


def _boosted(model: Any, columns: Columns) -> Outputs:
    graph = columns.graph
    if model._preprocessor is not None:
        parts = [
            transform(part, columns.take(np.flatnonzero(chosen)))
            if name == "encoder"
            else columns.take(np.flatnonzero(chosen))
            for name, part, chosen in model._preprocessor.transformers_
        ]
        columns = beside(graph, parts)
    return {_name_of(model): boosted(model, columns)}


def _forest(model: Any, columns: Columns) -> Outputs:
    return {_name_of(model): forest(model, columns)}


def _ridge_path(model: RidgePath, columns: Columns) -> Outputs:
    share = np.zeros(len(model.alphas))
    share[len(model.alphas) // 2] = 1
    return {"prediction": _ridges(model, share, columns)}


def _ridges(model: RidgePath, shares: np.ndarray, columns: Columns) -> str:
    weights, intercept = shares @ model.coef_, shares @ model.intercept_
    graph = columns.graph
    return graph.Add(graph.MatMul(columns.numbers(), weights[:, None]), intercept)


def _trend(model: TrendRegressor, columns: Columns) -> Outputs:
    outputs, graph = predict(model.estimator_, columns), columns.graph
    if len(model.slopes_):
        assert columns.names is not None
        dates = columns.take(columns.names.index(name) for name in model.slopes_.index).numbers()
        trend = graph.MatMul(dates, model.slopes_.to_numpy()[:, None])
        outputs["prediction"] = graph.Add(outputs["prediction"], trend)
    return outputs


def _target(model: TransformedTargetRegressor, columns: Columns) -> Outputs:
    graph, back = columns.graph, model.transformer_
    found = predict(model.regressor_, columns)["prediction"]
    if type(back) is StandardScaler:
        scale = 1.0 if back.scale_ is None else back.scale_
        mean = 0.0 if back.mean_ is None else back.mean_
        return {"prediction": graph.Add(graph.Mul(found, scale), mean)}
    if type(back) is not FunctionTransformer:
        raise TypeError(
            f"to_onnx cannot export a target that {type(back).__name__} transforms; it knows "
            "StandardScaler, and functions such as func=numpy.log1p, inverse_func=numpy.expm1."
        )
    if back.inverse_func is None:
        return {"prediction": found}
    return {"prediction": elementwise(graph, back.inverse_func, found)}


def _corrected(model: CorrectedEstimator, columns: Columns) -> Outputs:
    """Add a model whose predictions its neighbours correct."""
    graph, name = columns.graph, _name_of(model)
    if isinstance(model, SpatialEnsemble):
        blend = _blend(model, columns)
    else:
        blend = predict(model.estimator_, columns)[name]
    change = _correction(model, columns, blend)
    found = blend if change is None else graph.Add(blend, change)
    if name == "prediction":
        return {name: found}
    positive = graph.Max(found, 0.0)
    return {name: graph.Div(positive, graph.ReduceSum(positive, [1]))}


def _blend(model: SpatialEnsemble, columns: Columns) -> str:
    """Return the weighted mean of the learners."""
    graph, parts = columns.graph, []
    for name, learner in model.learners_:
        shares = model.shares_[name]
        if not shares.any():
            continue
        last = learner[-1] if isinstance(learner, Pipeline) else learner
        if isinstance(last, RidgePath):
            before = learner.steps[:-1] if isinstance(learner, Pipeline) else []
            parts.append(_ridges(last, shares, _through(before, columns)))
            continue
        found = predict(learner, columns)[_name_of(model)]
        if hasattr(model, "classes_"):
            found = _of_classes(graph, found, learner.classes_, model.classes_)
        parts.append(graph.Mul(found, shares[0]))
    return parts[0] if len(parts) == 1 else graph.Sum(*parts)


def _of_classes(graph: Graph, found: str, some: np.ndarray, classes: np.ndarray) -> str:
    """Give probabilities of some classes columns of all classes."""
    if len(some) == len(classes):
        return found
    return graph.MatMul(found, np.eye(len(classes))[np.searchsorted(classes, some)])


def _correction(model: Any, columns: Columns, predicted: str) -> str | None:
    graph = columns.graph
    correction = model._correction
    if isinstance(model, ResidualInterpolator):  # it keeps the method
        correction = correction.__self__
    if isinstance(correction, NeighborCorrection):
        if correction.weighting is None and correction._own is None:
            return None
        return neighbor_correction(graph, correction, _places_of(model, columns), predicted)
    if correction.regressor is None:
        return None
    points = graph.Mul(unit_vectors(graph, _places_of(model, columns)), correction.scale)
    return predict(correction.regressor, Columns.of(graph, points, 3))["prediction"]


def _places_of(model: Any, columns: Columns) -> str:
    """Return the places that a meta-estimator reads from the table, as its neighbours have them."""
    if model._beside:
        raise TypeError(
            f"to_onnx cannot export a {type(model).__name__} that was fitted with coords beside X; "
            "fit it on a table that has the longitude and latitude among its columns."
        )
    graph = columns.graph
    lonlat = canonical_places(graph, columns.lonlat(*model._columns))
    graph.valid_places.append(graph.Gather(lonlat, [0], axis=1))
    return lonlat


def _with_interval(model: SpatialConformalRegressor, columns: Columns) -> Outputs:
    graph, outputs = columns.graph, predict(model.estimator_, columns)
    half = error_bounds(graph, model, _places_of(model, columns))
    outputs["lower"] = graph.Sub(outputs["prediction"], half)
    outputs["upper"] = graph.Add(outputs["prediction"], half)
    return outputs


def _with_set(model: SpatialConformalClassifier, columns: Columns) -> Outputs:
    graph, inner = columns.graph, model.estimator_
    found = predict(inner, columns)["probabilities"]
    found = _of_classes(graph, found, inner.classes_, model.classes_)
    bound = graph.Add(error_bounds(graph, model, _places_of(model, columns)), 1e-12)
    likely = graph.LessOrEqual(graph.Sub(1.0, found), bound)
    best = graph.Equal(graph.ArgMax(found, axis=1), np.arange(len(model.classes_))[None])
    return {"probabilities": found, "in_set": graph.Or(likely, best)}


def _name_of(model: Any) -> str:
    return "probabilities" if hasattr(model, "classes_") else "prediction"


# The class itself: a subclass may do something else.
TRANSFORMERS: dict[type, Callable[[Any, Columns], Columns]] = {
    Pipeline: lambda step, columns: _through(step.steps, columns),
    ColumnTransformer: _by_columns,
    FeatureTable: _by_columns,
    FeatureUnion: _union,
    TableReader: read_table,
    PlaceColumns: _place,
    FunctionTransformer: apply_function,
    SimpleImputer: fill_missing,
    LearnerColumns: take_learner_columns,
    **dict.fromkeys(CATEGORY_ENCODERS, encode_categories),
}
PREDICTORS: dict[type, Callable[[Any, Columns], Outputs]] = {
    **dict.fromkeys(FORESTS + SINGLE_TREES, _forest),
    **dict.fromkeys(BOOSTED, _boosted),
    RidgePath: _ridge_path,
    TrendRegressor: _trend,
    TransformedTargetRegressor: _target,
    SpatialConformalRegressor: _with_interval,
    SpatialConformalClassifier: _with_set,
}
