"""What `transform_grid` fills and returns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def fill_tiles(out: np.ndarray, pieces: Iterable[tuple[slice, slice, Any]]) -> None:
    """Copy blocks of a grid to their places in an array (n_lat, n_lon, d)."""
    import torch

    target = torch.from_numpy(out)
    for rows, columns, values in pieces:
        tile = target[rows, columns]
        tile.copy_(torch.as_tensor(values).reshape(tile.shape))
        del values


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse what `transform_grid` cannot fill.

    Raises
    ------
    ValueError
        If it is not an array of this shape and dtype, or cannot be written to in order.
    """
    if not isinstance(out, np.ndarray):
        raise ValueError(f"out must be a numpy array or memmap, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(
            f"out must have shape {shape} and dtype {dtype}, got {out.shape} and {out.dtype}"
        )
    if any(step < 0 or step % out.itemsize for step in out.strides):
        raise ValueError(
            "out must have positive strides of whole numbers; pass an array that is not reversed "
            "and no field of a structured one"
        )
    if not out.flags.writeable:
        raise ValueError("out is read-only; open a memmap with mode='w+' or 'r+'")


def xarray_maker() -> Any:
    """Return xarray's DataArray, or raise an error that says what to install."""
    try:
        from xarray import DataArray
    except ImportError as error:
        raise ImportError(
            'output="xarray" needs xarray: pip install "skgeo-embed[grids]"'
        ) from error
    return DataArray


def label_grid(
    make_array: Any,
    features: np.ndarray,
    labels: tuple[np.ndarray, np.ndarray],
    names: list[str],
    model: str,
) -> Any:
    """Return an xarray.DataArray of a grid; `labels` are its longitudes and latitudes."""
    lon, lat = labels
    return make_array(
        features,
        dims=("lat", "lon", "feature"),
        coords={
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
            "feature": names,
        },
        attrs={"model": model},
    )
