"""A fit is whole or nothing: what `fit` sets, forgets, and takes back if it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def whole_fit(estimator: Any) -> Iterator[None]:
    """Forget an earlier fit, check the parameters, and forget this fit too if it fails."""
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
