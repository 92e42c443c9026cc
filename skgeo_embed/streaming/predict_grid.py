"""Maps of a fitted model's predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._errors import UsageError
from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.streaming.maps.engine import check_map_output, check_room, make_map
from skgeo_embed.streaming.maps.facts import facts_of
from skgeo_embed.streaming.maps.grids import map_grid
from skgeo_embed.streaming.maps.inputs import TableOfCells
from skgeo_embed.streaming.maps.jobs import PredictJob
from skgeo_embed.streaming.maps.masks import Mask
from skgeo_embed.streaming.maps.values import ModelValues


@share_docs
def predict_grid(
    model: Any,
    output: str | PathLike[str] | None = None,
    *,
    region: Sequence[float] | None = None,
    resolution: float | str | None = None,
    crs: Any = None,
    like: Any = None,
    mask: Any = None,
    covariates: Mapping[Any, Any] | None = None,
    probabilities: bool = False,
    applicability: Any = None,
    name: str | Sequence[str] | None = None,
    units: str | Sequence[str] | None = None,
    dtype: str | None = None,
    n_jobs: int | None = None,
    overwrite: bool = False,
    restart: bool = False,
    verbose: bool = True,
) -> Any:
    """Predict the cells of a grid with a fitted model, and write a map.

    Each cell holds the prediction for its centre. The map is computed in blocks, so it
    may be larger than memory. Blocks are kept in a folder OUTPUT.parts: the same call continues a
    run that was interrupted, and the output is created only when it is complete.

    Parameters
    ----------
    model : estimator object
        A model that was fitted on places: a pipeline, such as :func:`spatial_pipeline` builds, a
        :class:`ResidualInterpolator`, a :class:`SpatialConformalRegressor`, or a search.
    output : path-like, default=None
        A cloud-optimised GeoTIFF (.tif), a Zarr store (.zarr) or a NetCDF file (.nc). None returns
        the map.
    region : (west, south, east, north), default=None
        Degrees; across the antimeridian east is greater than 180, or less than west. None is the
        world, or the area of use of `crs`. A region in a projected `crs` is the smallest rectangle
        around it.
    resolution : float or str, default=None
        Size of a cell: degrees, rounded so that whole cells fill the region (None is 1), or in a
        projected `crs` its units or a text such as "1km".
    crs : object, default=None
        Coordinate reference system of the map, in any form that pyproj reads, such as "EPSG:3035".
        None is longitude and latitude (EPSG:4326).
    like : path-like, DataArray or Dataset, default=None
        A raster; the map has exactly the same grid.
    mask : "land", polygons or path-like, default=None
        Cells outside the mask are missing and take no time. Polygons are a GeoDataFrame, a
        GeoSeries, shapely geometries in degrees, or a file of polygons. Of a raster, the cells
        with a value other than 0 are inside.
    covariates : dict, default=None
        For each other column that the model was fitted with, a raster (a path or a
        :class:`RasterEncoder`, in any CRS) or a constant.
    probabilities : bool, default=False
        Whether to add the probability of each class.
    applicability : AreaOfApplicability or Pipeline, default=None
        A fitted area of applicability, or a pipeline that ends in one, adds its dissimilarity index
        and whether a cell is inside the area (1) or outside (0).
    name, units : str or list of str, default=None
        Name of the predictions and their unit, or a list of these for several outputs. None is
        "prediction" ("class" for classifiers) without a unit.
    dtype : str, default=None
        Type of the predictions. None is float32 in files and the type of the model in a Dataset;
        for classes it is the smallest integer type that can hold them.
    n_jobs : int, default=None
        Number of processes. Within ``joblib.parallel_config("dask")`` a cluster computes.
    {resumable}

    Returns
    -------
    map : Path or xarray.Dataset
        The output, or the map itself. Its variables (bands of a GeoTIFF) are "prediction", then
        "lower" and "upper" if the model gives intervals; or "class" (codes, whose names are in the
        file) and a probability for each class; then "dissimilarity" and "applicable".

    Raises
    ------
    ValueError
        If the grid is invalid, the model was not fitted on places, or a covariate is missing.
    FileExistsError
        If the output exists, or blocks of another map do.
    OSError
        If the disk has too little space, which is checked before anything is computed.
    ImportError
        If a package for maps is missing: ``pip install "skgeo-embed[maps]"``.

    Warns
    -----
    UserWarning
        If covariates do not cover some cells, which are then missing in the map.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skgeo_embed import SatCLIPEncoder, predict_grid
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> model = make_pipeline(SatCLIPEncoder(n_components=64), Ridge()).fit(X, y)
    >>> europe = predict_grid(model, region=(-10, 35, 30, 60), resolution=5, mask="land")
    >>> europe["prediction"].sel(lat=47.5, lon=7.5).round().item()
    9.0
    """
    check_is_fitted(model)
    path = None if output is None else check_map_output(output, overwrite=overwrite)
    floats, codes = _types(dtype, to_file=path is not None)
    grid = map_grid(region, resolution, crs, like)
    check_room(grid, 1, path)
    table = TableOfCells(model, covariates)
    values = ModelValues(
        model,
        beside=table.wanted.beside,
        probabilities=probabilities,
        applicability=applicability,
        names=name,
        units=units,
        floats=floats,
        codes=codes,
    )
    wanted = Mask(mask, grid)
    job = PredictJob(grid, wanted, table, values)
    made_of = {
        "grid": grid,
        "mask": wanted.identity,
        "covariates": table.identity,
        "layers": job.layers,
    }
    return make_map(
        job,
        grid,
        path,
        of=made_of,
        facts=facts_of(model),
        what="predicting",
        n_jobs=n_jobs,
        overwrite=overwrite,
        restart=restart,
        verbose=verbose,
    )


def _types(dtype: str | None, *, to_file: bool) -> tuple[str | None, str | None]:
    """Return the dtype of numbers and the dtype of classes."""
    if dtype is None:
        return ("float32" if to_file else None), None
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise UsageError(f"dtype={dtype!r} is not a type of numbers: {error}") from error
    if kind.kind == "f":
        return dtype, dtype
    if kind.kind in "iu":
        return ("float32" if to_file else None), dtype
    raise UsageError(f"dtype={dtype!r} must be a floating-point or an integer type.")
