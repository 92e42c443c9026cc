"""Dask collections through a transformer: lazy, partition by partition."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._set_output import _get_output_config

from skgeo_embed.places.kinds import recognise

if TYPE_CHECKING:
    import pandas as pd


def check_dask(transformer: Any, collection: Any, *, reset: bool) -> None:
    """Raise if the columns of a dask collection cannot be used, without computing any."""
    reader = transformer.reader_
    named = reader.lon is not None or reader.lat is not None
    sample = recognise(collection.sample(), columns_are_named=named)
    replace(reader, on_invalid="nan").read(sample)  # its values are made up
    transformer.check_columns(sample, reset=reset)


def transform_dask(transformer: Any, collection: Any) -> Any:
    """Return the lazy features of a dask DataFrame or array, in its partitions."""
    if _get_output_config("transform", transformer)["dense"] != "default":
        raise ValueError(
            "dask collections stay what they are, so set_output has no meaning for them; call "
            "set_output(transform='default') first. A dask DataFrame gives named columns anyway."
        )
    check_dask(transformer, collection, reset=False)
    X = collection.X
    like = np.empty((0, transformer.n_features_out), dtype=transformer.output_dtype)
    if hasattr(X, "columns"):
        import pandas as pd

        names = transformer.get_feature_names_out()
        meta = pd.DataFrame(like, columns=names, index=X._meta.index[:0])
        return X.map_partitions(_encode_frame, transformer, meta, meta=meta)
    whole_rows = X.rechunk({1: -1})
    return whole_rows.map_blocks(
        _encode_block,
        transformer,
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


def _encode_block(block: np.ndarray, transformer: Any) -> np.ndarray:
    if not len(block):
        return np.empty((0, transformer.n_features_out), dtype=transformer.output_dtype)
    return np.asarray(transformer.transform(block))
