"""A fit is whole or nothing: what `fit` sets, forgets, and takes back if it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def whole_fit(estimator: Any) -> Iterator[Any]:
    """Check the parameters, and yield an unfitted twin to be fitted in the estimator's place.

    At the end the estimator has the twin's state, and nothing of an earlier fit; if the fit fails,
    it is unfitted. Until then other threads find it as it was.

    Parameters
    ----------
    estimator : estimator object
        Whose `fit` this is.

    Yields
    ------
    twin : estimator object
        With the same parameters; fitted attributes are to be set on it.
    """
    of_earlier_fit = {*vars(estimator).get("_of_fit", ()), "_of_fit"}
    unfitted = {name: v for name, v in vars(estimator).items() if name not in of_earlier_fit}
    twin = object.__new__(type(estimator))
    vars(twin).update(unfitted)
    try:
        twin._validate_params()
        yield twin
    except BaseException:
        estimator.__dict__ = unfitted
        raise
    twin._of_fit = sorted(vars(twin).keys() - unfitted.keys())
    estimator.__dict__ = vars(twin)  # in one step, so no thread sees half of it
