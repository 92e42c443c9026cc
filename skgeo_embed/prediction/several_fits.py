"""Runs several fits, in turn or at once, and prints a line after each if `verbose`."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel
from sklearn.base import clone
from sklearn.utils import _safe_indexing

from skgeo_embed.prediction.weights import weighted_fit_arguments


class Fit(NamedTuple):
    """A fit to run: what it is called in a line, the rows it learns from, and joblib's call."""

    what: str
    n_rows: int
    call: Any


def run_fits(owner: Any, fits: list[Fit]) -> list[Any]:
    """Run the fits of a meta-estimator by its `n_jobs`, and return what they return, in order.

    With `verbose`, a line after each says how many are done, and about how long the others take,
    if time grows with the number of rows.
    """
    calls = Parallel(n_jobs=owner.n_jobs, return_as="generator")(fit.call for fit in fits)
    returned, started, name = [], time.perf_counter(), type(owner).__name__
    n_rows, total = 0, sum(fit.n_rows for fit in fits)
    for number, (fit, found) in enumerate(zip(fits, calls, strict=True), 1):
        returned.append(found)
        if not owner.verbose:
            continue
        n_rows += fit.n_rows
        seconds = time.perf_counter() - started
        left = _clock(seconds * (total - n_rows) / n_rows)
        print(
            f"[{name}] fit {number} of {len(fits)} done ({fit.what}): {_clock(seconds)}"
            + (f", about {left} left" if number < len(fits) else ""),
            flush=True,
        )
    return returned


def fit_rows(model: Any, X: Any, y: np.ndarray, weights: np.ndarray | None, rows: Any) -> Any:
    """Return a clone of a model, fitted on some rows of a table."""
    some = None if weights is None else weights[rows]
    table = _safe_indexing(X, rows), y[rows]
    return clone(model).fit(*table, **weighted_fit_arguments(model, some))


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
