"""Files in ONNX against the estimators that they were made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto

RANDOM_PLACES = 1000
HARD_LONGITUDES = (-180, -179.999999, -90, -22.5, 0, 1e-7, 45, 179.999999, 180, 270, 337.5, 360)
HARD_LATITUDES = (-90, -89.9999999, -89.9, -45, 0, 1e-7, 11.25, 45, 66.6, 89.9, 89.9999999, 90)


def largest_deviation(model: ModelProto, estimator: Any) -> float:
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
