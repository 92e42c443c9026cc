"""Remembers features of the latest places, for several estimators that ask for the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

_remembered: ContextVar[dict[int, tuple[np.ndarray, np.ndarray, Any]] | None] = ContextVar(
    "remembered", default=None
)


@contextmanager
def shared_encodings() -> Iterator[None]:
    """Let each encoder encode the same places once within this block, in this thread."""
    token = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(token)


def encoded_once(encoder: Any, lonlat: np.ndarray, encode: Callable[[], np.ndarray]) -> np.ndarray:
    """Return an encoder's features of places, a copy of the latest ones if the places are those."""
    remembered = _remembered.get()
    if remembered is None:
        return encode()
    latest = remembered.get(id(encoder))
    if latest is None or not np.array_equal(latest[1], lonlat, equal_nan=True):
        latest = encode(), lonlat.copy(), encoder  # which is kept, so that its id stays its own
        remembered[id(encoder)] = latest
    return latest[0].copy()
