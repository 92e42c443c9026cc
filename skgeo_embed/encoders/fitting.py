"""What `fit` leaves behind: all of a fit or nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_KEPT = ("_sklearn", "_metadata")  # what set_output and metadata requests have set


@contextmanager
def fitting(estimator: Any) -> Iterator[None]:
    """Forget an earlier fit, check the parameters, and forget this one if it fails."""
    forget_fit(estimator)
    estimator._validate_params()
    try:
        yield
    except BaseException:
        forget_fit(estimator)
        raise


def forget_fit(estimator: Any) -> None:
    """Remove every attribute that is neither a parameter nor scikit-learn's."""
    parameters = set(estimator._get_param_names())
    for name in [n for n in vars(estimator) if n not in parameters and not n.startswith(_KEPT)]:
        delattr(estimator, name)
