"""Weights of rows: read once, and passed on to the estimators that take them."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.pipeline import Pipeline

from skgeo_embed.prediction.rows import read_labels


def read_weights(sample_weight: Any, n_rows: int) -> np.ndarray | None:
    """Return weights of rows with a mean of 1, or None."""
    if sample_weight is None:
        return None
    weights = np.asarray(read_labels(sample_weight, "sample_weight"), dtype=np.float64)
    if len(weights) != n_rows:
        raise ValueError(f"sample_weight has {len(weights)} rows, X has {n_rows}.")
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ValueError(
            f"sample_weight must be finite and not negative; row {wrong[0]} has "
            f"{weights[wrong[0]]:g}."
        )
    if not weights.any():
        raise ValueError(
            "sample_weight is zero in all rows; at least one row must have a positive weight."
        )
    return weights / weights.mean()


def weighted_fit_arguments(model: Any, weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the weights by the name that the `fit` of a model takes them by.

    The last step of a pipeline gets them, under metadata routing every step that has asked for
    them.

    Raises
    ------
    TypeError
        If the model takes no weights.
    """
    if weights is None:
        return {}
    if get_config()["enable_metadata_routing"]:
        return {"sample_weight": weights}
    name, last = "sample_weight", model
    while isinstance(last, Pipeline):
        step, last = last.steps[-1]
        name = f"{name.removesuffix('sample_weight')}{step}__sample_weight"
    known = signature(last.fit).parameters
    handed_on = any(one.kind is Parameter.VAR_KEYWORD for one in known.values())
    if "sample_weight" not in known and not handed_on:
        raise TypeError(
            f"the fit of {type(last).__name__} takes no sample_weight; choose an estimator that "
            "does, or leave the weights out."
        )
    return {name: weights}
