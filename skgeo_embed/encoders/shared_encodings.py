"""Remembers features of the latest places, for several estimators that ask for the same ones."""

from __future__ import annotations

from collections.abc import Iterator
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


def remembered_encoding(encoder: Any, lonlat: np.ndarray) -> np.ndarray | None:
    """Return a copy of an encoder's latest features, if they are of these places."""
    remembered = _remembered.get()
    latest = None if remembered is None else remembered.get(id(encoder))
    if latest is None or not np.array_equal(latest[1], lonlat, equal_nan=True):
        return None
    return latest[0].copy()


def remember_encoding(encoder: Any, lonlat: np.ndarray, features: np.ndarray) -> None:
    """Remember features of places within the block of `shared_encodings`."""
    remembered = _remembered.get()
    if remembered is not None:  # the encoder is kept, so that its id stays its own
        remembered[id(encoder)] = features.copy(), lonlat.copy(), encoder
