"""Files in ONNX against the estimators that they were made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from skgeo_embed.export.columns import Columns
from skgeo_embed.export.graph import Graph
from skgeo_embed.export.tables import MISSING_TEXT
from skgeo_embed.places.numbers import is_missing

if TYPE_CHECKING:
    from onnx import ModelProto

RANDOM_PLACES = 1000
MAKE_TIMES: dict[str, Any] = {
    "dates": pd.to_datetime,
    "durations": pd.to_timedelta,
}  # days in a file
KNOWN_PLACES = 200  # of those that neighbours are looked up in
HARD_LONGITUDES = (-180, -179.999999, -90, -22.5, 0, 1e-7, 45, 179.999999, 180, 270, 337.5, 360)
HARD_LATITUDES = (-90, -89.9999999, -89.9, -45, 0, 1e-7, 11.25, 45, 66.6, 89.9, 89.9999999, 90)


def expected_outputs(estimator: Any, rows: Any) -> dict[str, np.ndarray]:
    """Return what a file of the estimator is to give for rows, by the names of its outputs."""
    if not hasattr(estimator, "predict"):
        return {"features": np.asarray(estimator.transform(rows))}
    predicted = np.asarray(estimator.predict(rows))
    if not is_classifier(estimator):
        expected = {"prediction": predicted.reshape(len(predicted), -1)}
        if hasattr(estimator, "predict_interval"):
            low, high = estimator.predict_interval(rows).T[:, :, None]
            expected |= {"lower": low, "upper": high}
        return expected
    expected = {"label": predicted}
    if hasattr(estimator, "predict_proba"):
        expected["probabilities"] = estimator.predict_proba(rows)
    if hasattr(estimator, "predict_set"):
        expected["in_set"] = estimator.predict_set(rows)
    return expected


def largest_deviation(
    model: ModelProto, inputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> float:
    """Compare the model in onnxruntime with what it is to give; labels and sets do not count.

    Raises
    ------
    TypeError
        If onnxruntime lacks a part of the model.
    ValueError
        If one of both gives a finite number where the other does not.
    """
    from onnxruntime import InferenceSession

    try:
        session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no class in common
        raise TypeError(
            "onnxruntime cannot run a part of this model, so no file was written. Replace the part "
            f"that its message names, or install a later onnxruntime. It says: {str(error)[:300]}"
        ) from error
    wanted = [entry.name for entry in session.get_inputs()]
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {name: inputs[name] for name in wanted})
    deviations = [0.0]
    for name, values in zip(names, found, strict=True):
        if name == "label" or expected[name].dtype.kind != "f":
            continue
        finite = np.isfinite(expected[name])
        differ = np.flatnonzero((np.isfinite(values) != finite).any(axis=1))
        if len(differ):
            row = differ[0]
            raise ValueError(
                f"onnxruntime and the estimator disagree in {name!r} on where there is a number, "
                f"in {len(differ)} of {len(finite)} rows (the first: {values[row, :3]} instead of "
                f"{expected[name][row, :3]}), so the file was not written. Please report this."
            )
        deviations.append(np.abs(values - expected[name]).max(where=finite, initial=0))
    return float(max(deviations))


def rows_to_check(
    graph: Graph, table: Columns, kinds: dict[str, str]
) -> tuple[dict[str, np.ndarray], Any]:
    """Make test rows with difficult places and values, as inputs of a file and as a table.

    `kinds` says which columns of the table are dates or durations.
    """
    random = np.random.default_rng(0)
    known = [places[:: 1 + len(places) // KNOWN_PLACES] for places in graph.known_places]
    places = np.vstack([places_to_check(), *known])
    inputs, columns = {}, []
    for part in table.parts:
        kind, _ = graph.inputs.get(part.tensor, ("numbers", 0))
        values = [_values(graph, part.tensor, column, places, random) for column in part.columns]
        made = MAKE_TIMES.get(kinds.get(part.tensor, ""))
        if made:
            milliseconds = np.round(np.array(values, dtype=np.float64) * 86_400_000)
            values = list(milliseconds / 1000 / 86_400)
            columns += [made(one, unit="ms") for one in milliseconds]
        else:
            columns += values
        if kind == "text":
            values = [[MISSING_TEXT if is_missing(v) else str(v) for v in one] for one in values]
        dtype = object if kind == "text" else np.float64
        inputs[part.tensor] = np.array(values, dtype=dtype).T
    if table.names is None:
        return inputs, np.column_stack(columns)
    return inputs, pd.DataFrame(dict(zip(table.names, columns, strict=True)))


def _values(graph: Graph, name: str, column: int, places: np.ndarray, random: Any) -> Any:
    kind = graph.places.get((name, column))
    if kind:
        return places[:, ["lon", "lat"].index(kind)]
    examples = graph.examples.get((name, column))
    if examples is None:
        return random.normal(0, 10, len(places)).round(2)
    return [examples[number] for number in random.integers(len(examples), size=len(places))]


def places_to_check() -> np.ndarray:
    """Return places where notation or interpolation is delicate, and random ones, (n, 2)."""
    hard = np.stack(np.meshgrid(HARD_LONGITUDES, HARD_LATITUDES), axis=-1).reshape(-1, 2)
    random = np.random.default_rng(0)
    sine = random.uniform(-1, 1, RANDOM_PLACES)
    lon = random.uniform(-180, 360, RANDOM_PLACES)
    return np.vstack([hard, np.column_stack([lon, np.rad2deg(np.arcsin(sine))])])
