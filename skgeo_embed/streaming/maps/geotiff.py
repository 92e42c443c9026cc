"""Writes a map as a cloud-optimised GeoTIFF."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed.rasters.geotiff import import_rasterio
from skgeo_embed.streaming.maps.facts import as_text, windows
from skgeo_embed.streaming.maps.store import MapStore

LARGEST_TILE = 2**23  # bytes of a tile with all its bands
GDAL_MEMORY = 64  # megabytes


def write_geotiff(store: MapStore, facts: Mapping[str, Any], path: Path) -> None:
    """Write all layers as bands of a GeoTIFF with tiles, compression and overviews.

    Raises
    ------
    OSError
        If the file does not hold what was computed, as on a full disk.
    """
    rasterio = import_rasterio()
    from rasterio.shutil import copy as copy_raster

    bands = [
        (number, band) for number, layer in enumerate(store.layers) for band in range(layer.n_bands)
    ]
    dtype = np.result_type(*(layer.dtype for layer in store.layers))
    nodata = np.nan if dtype.kind == "f" else int(np.iinfo(dtype).max)
    side = _tile_side(len(bands) * dtype.itemsize)
    grid = store.grid
    plain = path.with_name("plain.tif")
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": len(bands),
        "dtype": dtype.name,
        "crs": grid.crs,
        "transform": rasterio.Affine(*grid.transform),
        "nodata": nodata,
        "tiled": True,
        "blockxsize": side,
        "blockysize": side,
        "interleave": "pixel",
        "BIGTIFF": "IF_SAFER",
    }
    with rasterio.Env(GDAL_CACHEMAX=GDAL_MEMORY, GDAL_PAM_ENABLED="NO"):
        try:
            with rasterio.open(plain, "w", **profile) as file:
                _describe(file, store, bands, facts)
                for rows, columns in windows(grid, side):
                    window = rasterio.windows.Window.from_slices(rows, columns)
                    file.write(_window(store, rows, columns, dtype, nodata), window=window)
            has_classes = any(layer.classes for layer in store.layers)
            copy_raster(
                plain,
                path,
                driver="COG",
                COMPRESS="DEFLATE",
                PREDICTOR="YES",
                BLOCKSIZE=side,
                BIGTIFF="IF_SAFER",
                OVERVIEW_RESAMPLING="NEAREST" if has_classes else "AVERAGE",
                NUM_THREADS="1",
            )
            _check(store, path, dtype, nodata, side)
        except rasterio.errors.RasterioError as error:
            raise OSError(f"the GeoTIFF could not be written: {error}") from error
        finally:
            plain.unlink(missing_ok=True)


def _tile_side(cell_bytes: int) -> int:
    return next((side for side in (512, 256, 128) if side * side * cell_bytes <= LARGEST_TILE), 64)


def _window(
    store: MapStore, rows: slice, columns: slice, dtype: np.dtype, nodata: float
) -> np.ndarray:
    """Return all bands of a window in one type, with one value for missing cells."""
    parts = []
    for number, layer in enumerate(store.layers):
        values = store.read(number, rows, columns)
        part = values.astype(dtype)
        if layer.dtype.kind != "f":
            part[values == layer.nodata] = nodata
        parts.append(part)
    return np.concatenate(parts)


def _describe(
    file: Any, store: MapStore, bands: list[tuple[int, int]], facts: Mapping[str, Any]
) -> None:
    tags = {name.replace(":", "_"): fact for name, fact in as_text(facts).items()}
    file.update_tags(**tags)  # GDAL ends a tag's name at a colon
    for position, (number, band) in enumerate(bands, start=1):
        layer = store.layers[number]
        file.set_band_description(position, layer.band_names[band])
        if layer.units:
            file.set_band_unit(position, layer.units)
        tags = {"long_name": layer.long_name}
        if layer.classes:
            names = [str(name) for name in layer.classes]
            tags["class_names"] = json.dumps(names, ensure_ascii=False)
        file.update_tags(position, **tags)
    first = store.layers[0]
    if first.classes and len(bands) == 1 and first.dtype == np.uint8:
        file.write_colormap(1, _colours(len(first.classes)))


def _colours(count: int) -> dict[int, tuple[int, int, int, int]]:
    """Return a colour for each class, so that programs show them apart."""
    from colorsys import hls_to_rgb

    golden = 0.618033988749895
    shades = [
        hls_to_rgb((number * golden) % 1, (0.45, 0.65, 0.3)[number % 3], 0.65)
        for number in range(count)
    ]
    return {
        number: (round(255 * red), round(255 * green), round(255 * blue), 255)
        for number, (red, green, blue) in enumerate(shades)
    }


def _check(store: MapStore, path: Path, dtype: np.dtype, nodata: float, side: int) -> None:
    """Read the file back: GDAL does not always say that a disk is full."""
    rasterio = import_rasterio()
    with rasterio.open(path, driver="GTiff") as file:
        for rows, columns in windows(store.grid, side):
            found = file.read(window=rasterio.windows.Window.from_slices(rows, columns))
            wanted = _window(store, rows, columns, dtype, nodata)
            if not np.array_equal(found, wanted, equal_nan=dtype.kind == "f"):
                raise OSError("the GeoTIFF does not hold what was written to it; is the disk full?")
