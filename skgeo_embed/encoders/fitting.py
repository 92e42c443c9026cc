"""What `fit` leaves behind: all of a fit or nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def fitting(estimator: Any) -> Iterator[None]:
    """Forget an earlier fit, check the parameters, and forget this one if it fails."""
    _remove(estimator, {*vars(estimator).get("_of_fit", ()), "_of_fit"})
    estimator._validate_params()
    before = set(vars(estimator))
    try:
        yield
    except BaseException:
        _remove(estimator, vars(estimator).keys() - before)
        raise
    estimator._of_fit = sorted(vars(estimator).keys() - before)


def _remove(estimator: Any, names: set[str]) -> None:
    for name in names & vars(estimator).keys():
        delattr(estimator, name)
