"""Runs that were interrupted, and whose rasters or masks are others when they are continued."""

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray

from skgeo_embed import RasterEncoder, encode_grid, encode_table, predict_grid
from skgeo_embed.streaming import table
from skgeo_embed.streaming.maps import grids
from skgeo_embed.streaming.maps.store import MapStore
from skgeo_embed.streaming.parts import Parts
from tests.streaming.maps.lonlat_model import PLACE

REGION = (0.0, 0.0, 4.0, 4.0)
GRID = {"region": REGION, "resolution": 0.25, "verbose": False}


def write(path, changed=0.0):
    """Write a raster of one degree; a single pixel of it may be another."""
    values = np.arange(16, dtype="float32").reshape(4, 4)
    values[0, 1] += changed
    if path.suffix == ".zarr":
        axes = {"lat": [3.5, 2.5, 1.5, 0.5], "lon": [0.5, 1.5, 2.5, 3.5]}
        stored = xarray.Dataset({"v": (("lat", "lon"), values)}, coords=axes)
        stored.to_zarr(path, mode="w", zarr_format=2)
        return path
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 1, "dtype": "float32"}
    transform = rasterio.transform.from_bounds(*REGION, 4, 4)
    with rasterio.open(path, "w", **profile, crs="EPSG:4326", transform=transform) as file:
        file.write(values, 1)
    return path


@pytest.fixture
def interrupted(monkeypatch):
    """Return what calls a function, and ends it before its fourth part is kept."""
    monkeypatch.setattr(grids, "BLOCK", 4)
    monkeypatch.setattr(table, "MIN_BATCH_ROWS", 10)
    monkeypatch.setattr(table, "BATCH_BYTES", 1)

    def interrupt(call, *args, **options):
        with monkeypatch.context() as during:
            for kind in (Parts, MapStore):
                calls, add = [], kind.add

                def cut(self, *values, calls=calls, add=add, **more):
                    calls.append(1)
                    if len(calls) == 4:
                        raise KeyboardInterrupt
                    return add(self, *values, **more)

                during.setattr(kind, "add", cut)
            with pytest.raises(KeyboardInterrupt, match="are kept in"):
                call(*args, **options)

    return interrupt


def test_a_table_of_a_raster_that_is_replaced(interrupted, tmp_path):
    raster = write(tmp_path / "r.tif")
    places = np.random.default_rng(0).uniform(0.1, 3.9, (60, 2))
    pd.DataFrame(places, columns=["lon", "lat"]).to_csv(tmp_path / "in.csv", index=False)
    files = tmp_path / "in.csv", tmp_path / "out.csv"
    interrupted(encode_table, RasterEncoder(raster), *files, verbose=False)
    write(raster, changed=1)
    with pytest.raises(FileExistsError, match="parts of a run with another encoder"):
        encode_table(RasterEncoder(raster), *files, verbose=False)
    write(raster)
    with pytest.raises(FileExistsError, match="another encoder"):  # the time is another
        encode_table(RasterEncoder(raster), *files, verbose=False)
    encode_table(RasterEncoder(raster), *files, restart=True, verbose=False)


@pytest.mark.parametrize("name", ["r.tif", "r.zarr"])
def test_a_grid_of_a_raster_that_is_replaced(interrupted, tmp_path, name):
    raster = write(tmp_path / name)
    interrupted(encode_grid, RasterEncoder(raster), tmp_path / "g.tif", **GRID)
    write(raster, changed=1)
    with pytest.raises(FileExistsError, match="blocks of a map with another encoder"):
        encode_grid(RasterEncoder(raster), tmp_path / "g.tif", **GRID)


@pytest.mark.parametrize("name", ["r.tif", "r.zarr"])
@pytest.mark.parametrize("of", [lambda path: path, lambda path: RasterEncoder([path])])
def test_a_covariate_or_mask_that_is_replaced(interrupted, tmp_path, name, of, monkeypatch):
    raster = write(tmp_path / name)
    model = type(PLACE)().fit(None)
    model.feature_names_in_ = np.array(["lon", "lat", "height"])
    options = {**GRID, "name": ["a", "b"], "covariates": {"height": of(raster)}}
    interrupted(predict_grid, model, tmp_path / "m.tif", **options)
    write(raster, changed=1)
    with pytest.raises(FileExistsError, match="blocks of a map with another covariates"):
        predict_grid(model, tmp_path / "m.tif", **options)


def test_a_covariate_that_is_read_in_another_way(interrupted, tmp_path):
    raster = write(tmp_path / "r.tif")
    model = type(PLACE)().fit(None)
    model.feature_names_in_ = np.array(["lon", "lat", "height"])
    options = {**GRID, "name": ["a", "b"]}
    covariates = [{"height": RasterEncoder(raster, method=m)} for m in ("nearest", "bilinear")]
    interrupted(predict_grid, model, tmp_path / "m.tif", covariates=covariates[0], **options)
    with pytest.raises(FileExistsError, match="blocks of a map with another covariates"):
        predict_grid(model, tmp_path / "m.tif", covariates=covariates[1], **options)


def test_a_mask_that_begins_like_the_first(interrupted, tmp_path):
    """The repr of a polygon ends after a few corners."""
    shapely = pytest.importorskip("shapely")
    coast = [(x / 20, 0.01 * (x % 3)) for x in range(81)]
    masks = [shapely.Polygon([*coast, (4, north), (0, 4)]) for north in (4, 3.99)]
    options = {**GRID, "name": ["a", "b"]}
    interrupted(predict_grid, PLACE, tmp_path / "m.tif", mask=[masks[0]], **options)
    with pytest.raises(FileExistsError, match="blocks of a map with another mask"):
        predict_grid(PLACE, tmp_path / "m.tif", mask=[masks[1]], **options)
    predict_grid(PLACE, tmp_path / "m.tif", mask=[masks[0]], **options)
