"""Encoders that users pass: fitted if need be, and described so that a resumed run knows them."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skgeo_embed.encoders.base import CoordinateTransformer

# parameters that change how features are computed, but not their values
NO_EFFECT_ON_FEATURES = {
    "device",
    "batch_size",
    "token",
    "cache_dir",
    "local_files_only",
    "cache_bytes",
}
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # of a function, another one in each process


def digest_of(value: Any) -> str:
    """Return a digest of what a value is, the same in each process."""
    return hashlib.sha256(ADDRESS.sub("", repr(value)).encode()).hexdigest()[:32]


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


def model_of(encoder: CoordinateTransformer) -> list[Any]:
    """Return what tells the weights or the files of an encoder from others."""
    info = getattr(encoder, "encoder_info_", {})
    inner = getattr(encoder, "location_encoder_", None)
    return [
        type(encoder).__name__,
        info.get("name"),
        info.get("sha256", info.get("files")),
        *([] if inner is None else model_of(inner)),
    ]


def settings_of(estimator: Any) -> dict[str, Any]:
    """Return the parameters that features depend on, also of estimators that are inside."""
    params = estimator.get_params(deep=False)
    return {
        name: _described(value)
        for name, value in params.items()
        if name not in NO_EFFECT_ON_FEATURES
    }


def _described(value: Any) -> Any:
    if hasattr(value, "get_params") and not isinstance(value, type):
        return [type(value).__name__, settings_of(value)]
    if isinstance(value, (list, tuple)):  # the steps of a pipeline, say
        return [_described(part) for part in value]
    return value
