"""Maps as a page holds them: bands of a dataset or a GeoTIFF, thinned to a size for a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np

from skgeo_embed.inspection._page.frame import Frame, degrees_frame, projected_frame
from skgeo_embed.rasters.geotiff import check_geotiff, opened_raster

MAP_BYTES = 4_000_000  # of all bands of a page, before they are compressed
BYTES = 4  # of a value
NO_CLASS = 65_535  # in a band of classes, where the map has no value
VERDICT = "applicable"
VERDICT_CLASSES = ["outside the area of applicability", "inside the area of applicability"]
ROWS_READ = 512  # of a GeoTIFF at a time


@dataclass(frozen=True)
class Band:
    """A band of a map: float32 with NaN, or the numbers of classes, uint16 with NO_CLASS."""

    name: str
    label: str
    unit: str
    classes: list[str] | None
    values: np.ndarray


@dataclass(frozen=True)
class PageMap:
    """The bands of a map, rows from north to south, every `step`-th cell in each direction."""

    bands: list[Band]
    frame: Frame
    step: int
    shape: tuple[int, int]  # of the whole map


def read_map(predictions: Any) -> PageMap:
    """Read an xarray.Dataset, or the GeoTIFF at a path.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If it has no bands, no CRS, or cells that are not evenly spaced.
    ImageError
        If the file cannot be read.
    """
    if isinstance(predictions, str | PathLike):
        return _from_geotiff(fspath(predictions))
    if hasattr(predictions, "data_vars"):
        return _from_dataset(predictions)
    raise TypeError(
        "a page shows an xarray.Dataset or the path of a GeoTIFF, such as predict_grid makes; got "
        f"a {type(predictions).__name__}."
    )


def _from_dataset(dataset: Any) -> PageMap:
    across, down = ("lon", "lat") if {"lon", "lat"} <= set(dataset.sizes) else ("x", "y")
    grids = {
        str(name): grid
        for name, grid in dataset.data_vars.items()
        if set(grid.dims) == {down, across}
    }
    if not grids:
        raise ValueError(
            "the dataset has no variable with the dimensions (lat, lon) or (y, x) alone; it has "
            f"{ {str(name): grid.dims for name, grid in dataset.data_vars.items()} }."
        )
    crs = None
    if across == "x":
        crs = (
            dataset.coords["spatial_ref"].attrs.get("crs_wkt")
            if "spatial_ref" in dataset.coords
            else None
        )
        if crs is None:
            raise ValueError(
                "the dataset has the dimensions (y, x) but no CRS: its coordinate spatial_ref must "
                "have the attribute crs_wkt."
            )
    x, y = (_evenly_spaced(dataset[name].to_numpy(), name) for name in (across, down))
    attributes = {name: {**grid.encoding, **grid.attrs} for name, grid in grids.items()}
    step = _step(len(y), len(x), len(grids))
    rows, columns = (_kept(len(axis), step) for axis in (y, x))
    if y[0] < y[-1]:
        rows = rows[::-1]
    if x[0] > x[-1]:
        columns = columns[::-1]
    bands = []
    for name, grid in grids.items():
        values = grid.transpose(down, across).isel({down: rows, across: columns}).to_numpy()
        bands.append(_band(name, _with_nan(values, attributes[name]), attributes[name]))
    return PageMap(bands, _frame(crs, x[columns], y[rows], x, y, step), step, (len(y), len(x)))


def _from_geotiff(path: str) -> PageMap:
    check_geotiff(path)
    with opened_raster(path) as file:
        place = file.transform
        if file.crs is None or place.b or place.d:
            what = "no CRS" if file.crs is None else "rows that do not run from west to east"
            raise ValueError(f"{path} has {what}, so that it cannot be shown on a map.")
        x = place.c + place.a * (np.arange(file.width) + 0.5)
        y = place.f + place.e * (np.arange(file.height) + 0.5)
        attributes = [
            {**file.tags(band), "units": file.tags(band).get("units") or file.units[band - 1]}
            for band in file.indexes
        ]
        step = _step(file.height, file.width, file.count)
        rows, columns = (_kept(n, step) for n in file.shape)
        values = _read_cells(file, rows, columns)
        names = [name or f"band {n}" for n, name in enumerate(file.descriptions, start=1)]
        crs, shape = file.crs.to_wkt(), file.shape
    if place.e > 0:
        values, rows = values[:, ::-1], rows[::-1]
    if place.a < 0:
        values, columns = values[:, :, ::-1], columns[::-1]
    bands = [_band(*parts) for parts in zip(names, values, attributes, strict=True)]
    return PageMap(bands, _frame(crs, x[columns], y[rows], x, y, step), step, shape)


def _read_cells(file: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Read chosen cells of all bands, in bounded memory; NaN where there is no value."""
    found = np.empty((file.count, len(rows), len(columns)))
    for start in range(0, file.height, ROWS_READ):
        stop = min(start + ROWS_READ, file.height)
        wanted = (rows >= start) & (rows < stop)
        if wanted.any():
            block = file.read(window=((start, stop), (0, file.width)), masked=True)
            kept = block[:, rows[wanted] - start][:, :, columns]
            found[:, wanted] = np.ma.filled(kept.astype(np.float64), np.nan)
    return found


def _evenly_spaced(centres: np.ndarray, name: str) -> np.ndarray:
    steps = np.diff(centres.astype(float))
    if not np.isfinite(centres).all() or (
        len(steps) and not (steps[0] and np.allclose(steps, steps.mean(), rtol=1e-3, atol=0))
    ):
        raise ValueError(
            f"the {name} axis must hold the centres of evenly spaced cells; its steps are from "
            f"{steps.min():g} to {steps.max():g}."
        )
    return centres.astype(float)


def _step(height: int, width: int, n_bands: int) -> int:
    """Return which cells are kept, every first, second, … so that the page is not too large."""
    step = 1
    while -(-height // step) * -(-width // step) * n_bands * BYTES > MAP_BYTES:
        step += 1
    return step


def _kept(n_cells: int, step: int) -> np.ndarray:
    """Return the cells of an axis that are kept: the middle one of every `step`."""
    return np.arange(min(step // 2, n_cells - 1), n_cells, step)


def _frame(
    crs: str | None, x: np.ndarray, y: np.ndarray, all_x: np.ndarray, all_y: np.ndarray, step: int
) -> Frame:
    sizes = [step * abs(axis[1] - axis[0]) if len(axis) > 1 else 0.0 for axis in (all_x, all_y)]
    width, height = (size or max(sizes) or 1.0 for size in sizes)  # of an axis of one cell
    edges = (x[0] - width / 2, y[-1] - height / 2, x[-1] + width / 2, y[0] + height / 2)
    return degrees_frame(edges) if crs is None else projected_frame(edges, crs)


def _with_nan(values: np.ndarray, attributes: Mapping[str, Any]) -> np.ndarray:
    nodata = attributes.get("_FillValue", attributes.get("nodata"))
    values = np.asarray(values, dtype=np.float64)
    return values if nodata is None else np.where(values == float(nodata), np.nan, values)


def _band(name: str, values: np.ndarray, attributes: Mapping[str, Any]) -> Band:
    label = str(attributes.get("long_name") or name)
    unit = str(attributes.get("units") or "")
    if name == VERDICT:
        codes, classes = [0, 1], VERDICT_CLASSES
    elif "flag_values" in attributes:
        codes, classes = _codes(attributes["flag_values"]), _class_names(attributes)
        if len(codes) != len(classes):
            raise ValueError(
                f"band {name!r} has {len(codes)} flag_values and {len(classes)} names of classes."
            )
    else:
        return Band(name, label, unit, None, values.astype(np.float32))
    numbers = np.full(values.shape, NO_CLASS, dtype=np.uint16)
    for number, code in enumerate(codes):
        numbers[values == code] = number
    strange = np.unique(values[(numbers == NO_CLASS) & ~np.isnan(values)])
    if strange.size:
        raise ValueError(f"band {name!r} holds {strange[0]:g}, which is not the code of a class.")
    return Band(name, label, "", classes, numbers)


def _codes(flags: Any) -> list[int]:
    if isinstance(flags, str):  # a tag of a file
        flags = flags.strip("[] ").replace(",", " ").split()
    return [int(flag) for flag in np.ravel(flags)]


def _class_names(attributes: Mapping[str, Any]) -> list[str]:
    if "class_names" in attributes:
        return [str(name) for name in json.loads(attributes["class_names"])]
    return str(attributes.get("flag_meanings", "")).split()
