"""What files of maps say about themselves, by the CF conventions and as GDAL reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from skgeo_embed.streaming.maps.grids import MapGrid
from skgeo_embed.streaming.maps.layers import Layer
from skgeo_embed.streaming.maps.store import MapStore

SIDE, SIDE_OF_BANDS = 512, 128  # of chunks, of one band and of many

AXES = {
    "lat": {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"},
    "lon": {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"},
    "y": {"standard_name": "projection_y_coordinate", "long_name": "y of the projection"},
    "x": {"standard_name": "projection_x_coordinate", "long_name": "x of the projection"},
}


def facts_of(what: Any) -> dict[str, str]:
    """Say what made a map: the model or encoder, and this library's version."""
    from skgeo_embed import __version__

    return {"model": repr(what), "software": f"skgeo-embed {__version__}"}


def as_text(facts: Mapping[str, Any]) -> dict[str, str]:
    """Turn facts into text, for formats with tags of text."""
    return {
        name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()
    }


def axis_attributes(name: str, grid: MapGrid) -> dict[str, str]:
    """Describe an axis of a grid."""
    if name in ("lat", "lon"):
        return AXES[name]
    import pyproj

    units = pyproj.CRS.from_wkt(grid.crs).axis_info[0].unit_name
    return {**AXES[name], "units": {"metre": "m"}.get(units, units)}


def reference_attributes(grid: MapGrid) -> dict[str, Any]:
    """Describe the reference system, for the variable `spatial_ref`."""
    import pyproj

    a, b, c, d, e, f = grid.transform
    described: dict[str, Any] = {
        name: value
        for name, value in pyproj.CRS.from_wkt(grid.crs).to_cf().items()
        if isinstance(value, (str, int, float, list, tuple)) and value not in ("", [])
    }
    described = {
        name: np.asarray(value, dtype=float) if isinstance(value, (list, tuple)) else value
        for name, value in described.items()
    }
    return {
        **described,
        "crs_wkt": grid.crs,
        "spatial_ref": grid.crs,  # which GDAL reads
        "GeoTransform": " ".join(repr(float(number)) for number in (c, a, b, f, d, e)),
    }


class Layout(NamedTuple):
    """Dimensions, shape and chunks of the variable that holds a layer."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    side: int

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk."""
        return tuple(min(extent, self.side) for extent in self.shape)


def layout_of(layer: Layer, grid: MapGrid) -> Layout:
    """Lay out a layer, with a dimension of its bands if it has several."""
    shape = grid.height, grid.width
    if not layer.bands:
        return Layout(grid.dims, shape, SIDE)
    return Layout(("feature", *grid.dims), (layer.n_bands, *shape), SIDE_OF_BANDS)


def write_layer(store: MapStore, number: int, variable: Any, side: int) -> None:
    """Write the values of a layer in windows, into an array of a file."""
    for rows, columns in windows(store.grid, side):
        values = store.read(number, rows, columns)
        if store.layers[number].bands:
            variable[:, rows, columns] = values
        else:
            variable[rows, columns] = values[0]


def windows(grid: MapGrid, side: int) -> list[tuple[slice, slice]]:
    """List windows of a grid, in which a file is written."""
    return [
        (slice(top, min(top + side, grid.height)), slice(left, min(left + side, grid.width)))
        for top in range(0, grid.height, side)
        for left in range(0, grid.width, side)
    ]
