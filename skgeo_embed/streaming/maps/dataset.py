"""Makes an xarray Dataset of a map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skgeo_embed.streaming.maps.facts import axis_attributes, reference_attributes
from skgeo_embed.streaming.maps.store import MapStore


def to_dataset(store: MapStore, facts: Mapping[str, Any]) -> Any:
    """Return all layers as variables of an ``xarray.Dataset``.

    Raises
    ------
    ImportError
        If xarray is missing.
    """
    try:
        import xarray
    except ImportError as error:
        raise ImportError(
            'a map without an output file needs xarray: pip install "skgeo-embed[maps]"'
        ) from error
    grid = store.grid
    coords: dict[str, Any] = {
        name: (name, values, axis_attributes(name, grid))
        for name, values in zip(grid.dims, grid.axes(), strict=True)
    }
    coords["spatial_ref"] = ((), 0, reference_attributes(grid))
    variables = {}
    for number, layer in enumerate(store.layers):
        values = store.read(number, slice(0, grid.height), slice(0, grid.width))
        attributes = layer.attributes()
        if layer.dtype.kind != "f":
            attributes["_FillValue"] = layer.dtype.type(layer.nodata)
        variables[layer.name] = (grid.dims, values[0], attributes)
    return xarray.Dataset(variables, coords, {"Conventions": "CF-1.8", **facts})
