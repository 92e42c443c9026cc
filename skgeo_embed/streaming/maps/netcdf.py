"""Writes a map as NetCDF, by the CF conventions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed.streaming.maps.facts import (
    as_text,
    axis_attributes,
    layout_of,
    reference_attributes,
    write_layer,
)
from skgeo_embed.streaming.maps.store import MapStore


def write_netcdf(store: MapStore, facts: Mapping[str, Any], path: Path) -> None:
    """Write all layers as variables of a NetCDF-4 file.

    Raises
    ------
    ImportError
        If h5netcdf is missing.
    """
    try:
        import h5netcdf  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError('NetCDF needs h5netcdf: pip install "skgeo-embed[maps]"') from error
    grid = store.grid
    with h5netcdf.File(path, "w") as file:
        file.attrs.update({"Conventions": "CF-1.8", **as_text(facts)})
        file.dimensions = dict(zip(grid.dims, (grid.height, grid.width), strict=True))
        for name, values in zip(grid.dims, grid.axes(), strict=True):
            axis = file.create_variable(name, (name,), np.float64, data=values)
            axis.attrs.update(axis_attributes(name, grid))
        reference = file.create_variable("spatial_ref", (), np.int32, data=0)
        reference.attrs.update(reference_attributes(grid))
        for number, layer in enumerate(store.layers):
            layout = layout_of(layer, grid)
            if layer.bands:
                _name_bands(file, layer)
            variable = file.create_variable(
                layer.name,
                layout.dims,
                layer.dtype,
                chunks=layout.chunks,
                compression="gzip",
                compression_opts=4,
                shuffle=True,
                fillvalue=layer.dtype.type(layer.nodata),
            )
            variable.attrs.update(layer.attributes())
            write_layer(store, number, variable, layout.side)


def _name_bands(file: Any, layer: Any) -> None:
    file.dimensions["feature"] = layer.n_bands
    names = file.create_variable("feature", ("feature",), _text_type())
    names[:] = np.array(layer.bands, dtype=object)


def _text_type() -> Any:
    import h5py

    return h5py.string_dtype()
