"""Writes a map as a Zarr store, by the CF conventions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed.streaming.maps.facts import (
    axis_attributes,
    layout_of,
    reference_attributes,
    write_layer,
)
from skgeo_embed.streaming.maps.store import MapStore


def write_zarr(store: MapStore, facts: Mapping[str, Any], path: Path) -> None:
    """Write all layers as arrays of a Zarr store (format 2, which every reader knows).

    Raises
    ------
    ImportError
        If zarr is missing.
    """
    try:
        import zarr
    except ImportError as error:
        raise ImportError('Zarr needs zarr: pip install "skgeo-embed[maps]"') from error
    grid = store.grid
    group = zarr.create_group(
        str(path), zarr_format=2, attributes={"Conventions": "CF-1.8", **facts}
    )
    for name, values in zip(grid.dims, grid.axes(), strict=True):
        _array(group, name, values, (name,), axis_attributes(name, grid))
    _array(group, "spatial_ref", np.array(0, dtype=np.int32), (), reference_attributes(grid))
    for number, layer in enumerate(store.layers):
        layout = layout_of(layer, grid)
        if layer.bands:
            _array(group, "feature", np.array(layer.bands), ("feature",), {})
        array = group.create_array(
            layer.name,
            shape=layout.shape,
            chunks=layout.chunks,
            dtype=layer.dtype,
            fill_value=layer.dtype.type(layer.nodata),
            compressors=_compressor(),
            attributes=_plain(
                {
                    **layer.attributes(),
                    "_ARRAY_DIMENSIONS": list(layout.dims),
                    "_CRS": {"wkt": grid.crs},
                }
            ),
        )
        write_layer(store, number, array, layout.side)
    zarr.consolidate_metadata(group.store)


def _array(
    group: Any, name: str, values: np.ndarray, dims: tuple[str, ...], attributes: Any
) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        compressors=_compressor(),
        fill_value=None,  # xarray would read the value as missing
        attributes=_plain({**attributes, "_ARRAY_DIMENSIONS": list(dims)}),
    )
    array[...] = values


def _compressor() -> Any:
    """Return a compressor that every reader has: GDAL is often built without Blosc."""
    from numcodecs import Zlib  # type: ignore[import-untyped]

    return Zlib(5)


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes that JSON can hold."""
    return {
        name: value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
        for name, value in attributes.items()
    }
