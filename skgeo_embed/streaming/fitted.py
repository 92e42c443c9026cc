"""Encoders as users hand them over, ready to encode."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skgeo_embed.encoders.base import CoordinateTransformer


def fitted(encoder: Any) -> CoordinateTransformer:
    """Return the encoder if it is fitted, or else a fitted clone.

    Raises
    ------
    TypeError
        If it is not an encoder of this library.
    """
    if not isinstance(encoder, CoordinateTransformer):
        raise TypeError(
            "encoder must be a transformer of places, such as SatCLIPEncoder(); got "
            f"{encoder!r}, a {type(encoder).__name__}."
        )
    try:
        check_is_fitted(encoder)
    except NotFittedError:
        return clone(encoder).fit()
    return encoder
