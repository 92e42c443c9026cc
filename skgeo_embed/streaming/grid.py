"""Grids of places, filled a few rows at a time."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Sequence
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed._errors import UsageError
from skgeo_embed._files import new_array_file, replace_durably, write_atomically
from skgeo_embed._region import WORLD, read_region
from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.streaming.files import check_output, only_writer
from skgeo_embed.streaming.fitted import fitted, model_of, settings_of
from skgeo_embed.streaming.maps.engine import check_map_output, check_room, make_map
from skgeo_embed.streaming.maps.facts import facts_of
from skgeo_embed.streaming.maps.grids import map_grid
from skgeo_embed.streaming.maps.jobs import EncodeJob
from skgeo_embed.streaming.maps.masks import Mask
from skgeo_embed.streaming.progress import Progress
from skgeo_embed.streaming.provenance import embedding_attributes

BLOCK_BYTES = 128 * 2**20  # of features at a time
WHOLE = "whole"  # the grid while it is made, in a folder beside the output


def encode_grid(
    encoder: CoordinateTransformer,
    output: str | PathLike[str],
    *,
    region: Sequence[float] | None = None,
    resolution: float | str | None = None,
    crs: Any = None,
    like: Any = None,
    mask: Any = None,
    overwrite: bool = False,
    restart: bool = False,
    verbose: bool = True,
) -> tuple[int, int, int]:
    """Encode the centres of a grid's cells into a file, which may be larger than memory.

    Parameters
    ----------
    encoder : transformer of places
        Any of this library's, fitted or not.
    output : path-like
        A cloud-optimised GeoTIFF (.tif), a Zarr store (.zarr) or a NetCDF file (.nc); it says what
        made it by the ``geoemb:`` convention, with the model's name, hash and licence, and an
        interrupted run is continued. :class:`RasterEncoder` reads the first two. Or a .npy file of
        shape (n_lat, n_lon, d) and the encoder's dtype, rows from north to south, that
        ``numpy.load(output, mmap_mode="r")`` opens. The axes of a .npy file are written beside it,
        as OUTPUT.lon.npy and OUTPUT.lat.npy. The output is created only when it is complete; it is
        made in a folder OUTPUT.parts.
    region : (west, south, east, north), default=None
        Degrees; across the antimeridian east is greater than 180, or less than west. None is the
        world, or the area of use of `crs`.
    resolution : float or str, default=None
        Size of a cell in degrees, rounded so that whole cells fill the region (None is 1), or in a
        projected `crs` its units or a text such as "1km".
    crs : object, default=None
        Coordinate reference system of the grid, in any form that pyproj reads. None is longitude
        and latitude (EPSG:4326).
    like : path-like, DataArray or Dataset, default=None
        A raster whose grid is taken, to the last bit of its transform.
    mask : "land", polygons or path-like, default=None
        Cells outside are missing and cost nothing; as for :func:`predict_grid`.
    overwrite : bool, default=False
        Replace an existing output.
    restart : bool, default=False
        Discard what an interrupted run has computed; a .npy file is begun again in any case.
    verbose : bool, default=True
        Show a bar on a terminal, or print a line every ten seconds.

    Returns
    -------
    shape : (int, int, int)
        Of the file: rows, columns and features.

    Raises
    ------
    ValueError
        If the grid is invalid, or is not one of longitudes and latitudes for a .npy file.
    FileExistsError
        If the output exists, or appears during the run.
    OSError
        If the disk has no room for the grid, which is found before anything is encoded.
    RuntimeError
        If another run makes the same output.
    TypeError
        If `encoder` is not an encoder of this library.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skgeo_embed import SatCLIPEncoder, encode_grid
    >>> encode_grid(SatCLIPEncoder(), Path(tempfile.mkdtemp()) / "world.npy", resolution=30)
    (6, 12, 768)
    """
    if not str(output).lower().endswith(".npy"):
        path = check_map_output(output, overwrite=overwrite, also=(".npy",))
        grid = map_grid(region, resolution, crs, like)
        check_room(grid, 1, path)
        encoder = fitted(encoder)
        wanted = Mask(mask, grid)
        job = EncodeJob(grid, wanted, encoder)
        made_of = {
            "grid": grid,
            "mask": wanted.identity,
            "layers": job.layers,
            "encoder": [model_of(encoder), settings_of(encoder)],
        }
        make_map(
            job,
            grid,
            path,
            of=made_of,
            facts={**facts_of(encoder), **embedding_attributes(encoder)},
            what="encoding",
            overwrite=overwrite,
            restart=restart,
            verbose=verbose,
        )
        return grid.height, grid.width, encoder.n_features_out
    given = [
        name for name, value in (("crs", crs), ("like", like), ("mask", mask)) if value is not None
    ]
    if given:
        raise UsageError(f"a .npy file holds no {given[0]}; name a .tif, .zarr or .nc file.")
    return _encode_array(encoder, output, region, resolution, overwrite, verbose)


def _encode_array(
    encoder: CoordinateTransformer,
    output: str | PathLike[str],
    region: Sequence[float] | None,
    resolution: Any,
    overwrite: bool,
    verbose: bool,
) -> tuple[int, int, int]:
    path = check_output(output, overwrite=overwrite, suffixes=[".npy"])
    axis_files = [path.with_suffix(f".{name}.npy") for name in ("lon", "lat")]
    for file in axis_files:
        check_output(file, overwrite=overwrite)
    try:
        lon, lat = grid_axes(region or WORLD, 1.0 if resolution is None else resolution)
    except ValueError as error:
        raise UsageError(str(error)) from error
    encoder = fitted(encoder)
    shape = (len(lat), len(lon), encoder.n_features_out)
    folder = path.with_name(f"{path.name}.parts")
    with only_writer(folder, path):
        if others := {file.name for file in folder.iterdir()} - {WHOLE, ".lock"}:
            raise FileExistsError(
                f"{folder} is where the grid would be made, and holds something else "
                f"({', '.join(sorted(others)[:4])}); move it."
            )
        try:
            grid: Any = new_array_file(folder / WHOLE, encoder.output_dtype, shape, path)
            with Progress("encoding", "rows", len(lat), shown=verbose) as progress:
                for rows, features in grid_blocks(encoder, lon, lat):
                    grid[rows] = features
                    progress.update(len(features))
            grid.flush()
            _publish(
                folder / WHOLE, path, dict(zip(axis_files, (lon, lat), strict=True)), overwrite
            )
        finally:
            shutil.rmtree(folder)
    return shape


def _publish(grid: Path, path: Path, axes: dict[Path, np.ndarray], overwrite: bool) -> None:
    """Give a complete grid and its axes their names: all of them, or none."""
    written: list[Path] = []
    try:
        for file, axis in axes.items():
            content = io.BytesIO()
            np.save(content, axis)
            write_atomically(file, content.getbuffer(), overwrite=overwrite)
            written.append(file)
        replace_durably(grid, path, overwrite=overwrite)
    except BaseException:
        if not overwrite:  # they were not there before
            for file in written:
                file.unlink(missing_ok=True)
        raise


def grid_axes(region: Sequence[float], resolution: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres of a region's cells, longitudes eastward and latitudes southward.

    Raises
    ------
    ValueError
        If the region is not a rectangle of degrees, or the resolution is not positive and finite.
    """
    west, south, east, north = read_region(region)
    if not (isinstance(resolution, Real) and 0 < resolution < np.inf):
        raise ValueError(f"resolution must be a positive number of degrees, got {resolution!r}")
    n_lon = max(1, round((east - west) / resolution))
    n_lat = max(1, round((north - south) / resolution))
    lon = west + (np.arange(n_lon) + 0.5) * (east - west) / n_lon
    lat = north - (np.arange(n_lat) + 0.5) * (north - south) / n_lat
    return lon, lat


def grid_blocks(
    encoder: Any, lon: np.ndarray, lat: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows of a grid and their features (rows, n_lon, d), in bounded memory."""
    width = encoder.n_features_out
    step = max(1, BLOCK_BYTES // (8 * width * len(lon)))
    for start in range(0, len(lat), step):
        rows = slice(start, start + step)
        yield rows, encoder.transform_grid(lon, lat[rows])
