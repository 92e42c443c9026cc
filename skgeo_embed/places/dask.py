"""Dask collections through a transformer: lazy, partition by partition."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._set_output import _get_output_config

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.geometries import is_geo

if TYPE_CHECKING:
    import pandas as pd

A_CELL = "8029fffffffffff"


def check_dask(transformer: Any, X: Any, *, reset: bool) -> None:
    """Say what is wrong with the columns of a dask collection, without computing any."""
    sample = _sample_of(X)
    replace(transformer._reader, on_invalid="nan").read(sample)  # its values are made up
    transformer._check_columns(sample, reset=reset)


def _sample_of(X: Any) -> Any:
    """Return a row like those of a dask collection, but for the values."""
    if type(X).__name__.startswith("Delayed"):  # which answers to every name
        raise CoordinateError("got a dask Delayed; pass a dask DataFrame or array, or X.compute().")
    if hasattr(X, "map_partitions") and hasattr(X, "columns"):
        return _row_like(X._meta)
    if not hasattr(X, "map_blocks"):
        raise CoordinateError(
            f"got a dask {type(X).__name__}; pass a dask DataFrame with columns such as 'lon' and "
            "'lat', or a dask array of shape (n, 2)."
        )
    return np.zeros((1, *X.shape[1:]), dtype=X.dtype)


def _row_like(meta: Any) -> Any:
    """Return a row as of the partitions that an empty one stands for."""
    import pandas as pd

    if is_geo(meta):  # the geometry is missing, its CRS and the other columns are there
        return meta.reset_index(drop=True).reindex([0])
    kinds = [meta.dtype] if meta.ndim == 1 else list(meta.dtypes)
    # a single column can be nothing but cells, which its values say once there are any
    value = 0.0 if len(kinds) > 1 or kinds[0].kind == "f" else A_CELL
    columns = [meta.name] if meta.ndim == 1 else meta.columns
    return pd.DataFrame([[value] * len(columns)], columns=columns)


def transform_dask(transformer: Any, X: Any) -> Any:
    """Return the lazy features of a dask DataFrame or array, in the partitions of `X`."""
    if _get_output_config("transform", transformer)["dense"] != "default":
        raise ValueError(
            "dask collections stay what they are, so set_output has no meaning for them; call "
            "set_output(transform='default') first. A dask DataFrame gives named columns anyway."
        )
    check_dask(transformer, X, reset=False)
    like = np.empty((0, transformer._width()), dtype=transformer._output_dtype())
    if hasattr(X, "columns"):
        import pandas as pd

        names = transformer.get_feature_names_out()
        meta = pd.DataFrame(like, columns=names, index=X._meta.index[:0])
        return X.map_partitions(_encode_frame, transformer, meta, meta=meta)
    whole_rows = X.rechunk({1: -1})
    return whole_rows.map_blocks(
        _encode_block,
        transformer,
        like.shape[1],
        dtype=like.dtype,
        chunks=(whole_rows.chunks[0], (like.shape[1],)),
        meta=like,
    )


def _encode_frame(part: pd.DataFrame, transformer: Any, empty: pd.DataFrame) -> pd.DataFrame:
    if not len(part):
        return empty
    import pandas as pd

    features = np.asarray(transformer.transform(part))
    return pd.DataFrame(features, columns=empty.columns, index=part.index)


def _encode_block(block: np.ndarray, transformer: Any, width: int) -> np.ndarray:
    if not len(block):
        return np.empty((0, width), dtype=transformer._output_dtype())
    return np.asarray(transformer.transform(block))
