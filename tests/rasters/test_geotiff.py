"""Which rasters may be opened: addresses only where the user says so."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from sklearn.dummy import DummyRegressor

from skgeo_embed import ImageError, RasterEncoder, predict_grid
from tests.rasters.small_tiles import lonlat_of, write


def test_remote_only_when_the_user_says_so(server):
    pixels = np.random.RandomState(0).randint(0, 255, (4, 1024, 1024)).astype(np.uint8)
    path = write(server.folder / "tile.tif", pixels, blockxsize=256, blockysize=256)
    address = f"{server.url}/tile.tif"
    with pytest.raises(ImageError, match=r"is an address; pass remote=True"):
        RasterEncoder(address).fit()
    vrt = server.folder / "tile.vrt"
    with rasterio.open(path) as file:
        rasterio.shutil.copy(file, vrt, driver="VRT")
    vrt.write_text(vrt.read_text().replace("tile.tif", f"/vsicurl/{address}"))
    with pytest.raises(ImageError, match=r"tile.vrt leads to addresses.*remote=True"):
        RasterEncoder(vrt).fit()
    assert server.requests == 0
    encoder = RasterEncoder(address, remote=True).fit()
    row, column = np.array([5, 6, 300]), np.array([7, 8, 9])
    found = encoder.transform(lonlat_of(row + 0.5, column + 0.5))
    np.testing.assert_array_equal(found, pixels[:, row, column].T)
    assert 0 < server.bytes_sent < path.stat().st_size / 2  # parts of it


@pytest.mark.parametrize("start", [b"CDF\x01", b"\x89HDF\r\n\x1a\n"])
def test_netcdf_is_named_with_what_to_do(tmp_path, start):
    (tmp_path / "grid.nc").write_bytes(start + bytes(100))
    with pytest.raises(ImageError, match=r"grid\.nc cannot .*NetCDF or HDF5; write it as Zarr"):
        RasterEncoder(tmp_path / "grid.nc").fit()
    with pytest.raises(ImageError, match=r"grid\.nc cannot .*NetCDF or HDF5; write it as Zarr"):
        predict_grid(DummyRegressor().fit([[0, 0]], [0]), like=tmp_path / "grid.nc")
