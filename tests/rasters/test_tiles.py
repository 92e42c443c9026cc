"""What the header of a raster says: bands, masks, place, and what no raster can be."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.shutil
import shapely
import xarray

from skgeo_embed import ImageError, RasterEncoder
from tests.rasters.small_tiles import (
    CENTRES,
    COLUMNS,
    ROWS,
    SIZE,
    alphaearth,
    lonlat_of,
    pixels_of,
    write,
)


def test_what_the_file_says(tmp_path):
    pixels = pixels_of(dtype=np.int16)
    path = write(tmp_path / "tile.tif", pixels, nodata=-5)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = [0.5, 1, 2, 4], [0, 1, 0, -1]
        for band, name in enumerate(["A00", "A01", "A02", "A03"], start=1):
            file.set_band_description(band, name)
    encoder = RasterEncoder(path, on_invalid="nan").set_output(transform="pandas")
    found = encoder.fit_transform(CENTRES)
    assert list(found.columns) == ["A00", "A01", "A02", "A03"]
    raw = pixels[:, ROWS, COLUMNS].T.astype(float)
    assert (raw == -5).any()
    raw[(raw == -5).any(axis=1)] = np.nan
    np.testing.assert_allclose(found, raw * [0.5, 1, 2, 4] + [0, 1, 0, -1])


def test_masks(tmp_path):
    """A mask of the file, and missing values of each band its own, mark missing pixels too."""
    pixels = pixels_of(dtype=np.int16)
    path = write(tmp_path / "tile.tif", pixels)
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    mask[3, 5] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    for method in ("nearest", "bilinear"):
        encoder = RasterEncoder(path, on_invalid="nan", method=method).fit()
        with pytest.warns(UserWarning, match="at 1 of 2 places"):
            found = encoder.transform(lonlat_of([3.5, 8.5], [5.5, 9.5]))
        np.testing.assert_allclose(found, [[np.nan] * 4, pixels[:, 8, 9]], atol=2e-2)


@pytest.mark.parametrize("up", [False, True])
def test_zarr(tmp_path, up):
    pixels = pixels_of()
    pixels[:, 3, 5] = -128
    x, y = 500_005 + 10 * np.arange(SIZE), 5_299_995 - 10 * np.arange(SIZE)
    data = pixels[:, ::-1] if up else pixels
    array = xarray.DataArray(
        data, dims=("band", "y", "x"), coords={"y": y[::-1] if up else y, "x": x}, name="emb",
        attrs={"proj:code": "EPSG:32632"},
    )  # fmt: skip
    array.encoding = {"chunks": (4, 32, 32), "_FillValue": -128}
    array.to_dataset().to_zarr(tmp_path / "tile.zarr")
    encoder = RasterEncoder(tmp_path / "tile.zarr", quantization="alphaearth").fit()
    np.testing.assert_allclose(
        encoder.transform(CENTRES), alphaearth(pixels[:, ROWS, COLUMNS].T), atol=1e-6
    )
    plain = RasterEncoder(tmp_path / "tile.zarr", on_invalid="nan").fit()
    np.testing.assert_array_equal(plain.transform(CENTRES), pixels[:, ROWS, COLUMNS].T)
    assert np.isnan(plain.transform(lonlat_of([3.5], [5.5]))).all()


def test_a_file_that_was_changed_after_fit(tmp_path):
    path = write(tmp_path / "tile.tif", pixels_of())
    encoder = RasterEncoder(path).fit()
    write(path, pixels_of(bands=1))
    with pytest.raises(ImageError, match=r"tile.tif has changed since fit; fit again"):
        encoder.transform(CENTRES)


def test_what_rasters_cannot_be(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        RasterEncoder(tmp_path / "nothing.tif").fit()
    with pytest.raises(FileNotFoundError, match="there is no raster in"):
        RasterEncoder(tmp_path).fit()
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(ImageError, match=r"text.tif cannot be read as a raster"):
        RasterEncoder(tmp_path / "text.tif").fit()
    floats = write(tmp_path / "d/floats.tif", pixels_of(dtype=np.float32))
    with pytest.raises(ImageError, match="float32, but quantization='alphaearth' expects int8"):
        RasterEncoder(floats, quantization="alphaearth").fit_transform(CENTRES)
    write(tmp_path / "d/three.tif", pixels_of(bands=3))
    with pytest.raises(ImageError, match=r"differ in their bands: .*has 4, .*three.tif 3"):
        RasterEncoder(tmp_path / "d").fit()
    nowhere = tmp_path / "nowhere.tif"
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write(nowhere, pixels_of(), crs=None, corner=(0, 0), step=1).exists()
    with pytest.raises(ImageError, match="has no position"):
        RasterEncoder(nowhere).fit()
    np.save(tmp_path / "objects.npy", np.array([None, "a"]), allow_pickle=True)
    with pytest.raises(ImageError, match=r"objects.npy is not an array of numbers"):
        RasterEncoder(tmp_path / "objects.npy", quantization="tessera").fit()
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ImageError, match=r"empty.zarr cannot be read as a Zarr store"):
        RasterEncoder(tmp_path / "empty.zarr").fit()
    nowhere = xarray.DataArray(pixels_of(), dims=("band", "lat", "lon"), name="emb")
    nowhere.to_dataset().to_zarr(tmp_path / "nowhere.zarr")
    with pytest.raises(ImageError, match="dimension 'lon' has no coordinates"):
        RasterEncoder(tmp_path / "nowhere.zarr").fit()
    times = nowhere.rename(band="time").assign_coords(
        time=pd.date_range("2020", periods=4), lat=np.arange(SIZE), lon=np.arange(SIZE)
    )
    times.to_dataset().to_zarr(tmp_path / "times.zarr")
    with pytest.raises(ImageError, match=r"times in its dimension 'time'"):
        RasterEncoder(tmp_path / "times.zarr").fit()
    table = gpd.GeoDataFrame({"path": [None]}, geometry=[shapely.Point(0, 0)], crs=4326)
    table.to_parquet(tmp_path / "tiles.parquet")
    with pytest.raises(ImageError, match="no path in row 0 of its column 'path'"):
        RasterEncoder(tmp_path / "tiles.parquet").fit()
    for content, told in (
        ("no JSON", "is not a STAC item collection"),
        ("[]", "'features' must be a list, got None"),
        ('{"features": 3}', "'features' must be a list, got 3"),
        ('{"features": ["a"]}', "'assets' must be a dict"),
        ('{"features": [{"assets": {"a": null}}]}', "'href' must be a str"),
        (
            '{"features": [{"assets": {"a": {"href": "a.tif", "roles": 3}}}]}',
            "'properties' must be",
        ),
    ):
        (tmp_path / "items.json").write_text(content)
        with pytest.raises(ImageError, match=told):
            RasterEncoder(tmp_path / "items.json").fit()
    for wrong in ({"method": "cubic"}, {"quantization": "int4"}):
        with pytest.raises(ValueError, match="must be a str among"):
            RasterEncoder(floats, **wrong).fit()
