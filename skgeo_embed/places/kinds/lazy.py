"""What holds no rows yet, or none at all: dask's collections are read part by part."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.kinds.base import PlaceInput
from skgeo_embed.places.numbers import comes_from_package, is_dask

A_CELL = "8029fffffffffff"


class DaskCollection(PlaceInput):
    """A dask DataFrame or array, whose partitions are encoded when they are computed."""

    is_lazy: ClassVar[bool] = True

    @classmethod
    def recognise(cls, X: Any) -> Self | None:
        """Recognise collections by their package."""
        return cls(X) if is_dask(X) else None

    def lonlat(self, lon: Any, lat: Any, *, wide: bool = False, remedy: str = "") -> np.ndarray:
        """Refuse: only `transform` of an encoder takes them."""
        raise CoordinateError(
            f"a dask {type(self.X).__name__} cannot be read here; pass X.compute()."
        )

    def sample(self) -> Any:
        """Return one row with the columns and types of the collection, and made-up values."""
        X = self.X
        if type(X).__name__.startswith("Delayed"):  # which answers to every name
            raise CoordinateError(
                "got a dask Delayed; pass a dask DataFrame or array, or X.compute()."
            )
        if hasattr(X, "map_partitions") and hasattr(X, "columns"):
            return _row_like(X._meta)
        if not hasattr(X, "map_blocks"):
            raise CoordinateError(
                f"got a dask {type(X).__name__}; pass a dask DataFrame with columns such as 'lon' "
                "and 'lat', or a dask array of shape (n, 2)."
            )
        return np.zeros((1, *X.shape[1:]), dtype=X.dtype)


def _row_like(meta: Any) -> Any:
    """Return a row as of the partitions that an empty one stands for."""
    import pandas as pd

    if comes_from_package(meta, "geopandas"):  # the geometry is missing, its CRS is there
        return meta.reset_index(drop=True).reindex([0])
    kinds = [meta.dtype] if meta.ndim == 1 else list(meta.dtypes)
    # a single column can be nothing but cells, which its values say once there are any
    value = 0.0 if len(kinds) > 1 or kinds[0].kind == "f" else A_CELL
    columns = [meta.name] if meta.ndim == 1 else meta.columns
    return pd.DataFrame([[value] * len(columns)], columns=columns)


def refuse_what_holds_no_rows(X: Any, what: str = "coordinates") -> None:
    """Raise if an object is not yet a table of places, with the call that turns it into one."""
    if comes_from_package(X, "polars") and hasattr(X, "collect"):
        raise CoordinateError("got a polars LazyFrame; pass X.collect().")
    if hasattr(X, "toarray"):
        raise CoordinateError(
            f"Sparse data was passed, but {what} are dense; use X.toarray() to convert to "
            "a dense numpy array."
        )
    if isinstance(X, dict):
        raise CoordinateError(
            f"got a dict with the keys {list(X)[:8]} as {what}; pass pandas.DataFrame(X)."
        )
    if isinstance(X, (str, bytes)):
        raise CoordinateError(f"got the text {X[:60]!r} as {what}; pass numbers.")
