"""Grids of features in the formats of maps."""

import numpy as np
import pytest
import rasterio
import xarray
from pyproj import Transformer

from skgeo_embed import PositionalEncoder, RasterEncoder, SatCLIPEncoder, encode_grid
from skgeo_embed.rasters.products import Product
from skgeo_embed.streaming.fitted import digest_of
from skgeo_embed.streaming.maps import grids

EUROPE = (-10, 35, 30, 60)
ENCODER = PositionalEncoder(legendre_polys=3)


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_a_raster_encoder_reads_them_back(tmp_path, suffix):
    file = tmp_path / f"grid.{suffix}"
    encoder = SatCLIPEncoder(layer="content").fit()
    shape = encode_grid(encoder, file, region=EUROPE, resolution=5, verbose=False)
    assert shape == (5, 8, 53)
    places = [[7.5, 47.5], [-7.5, 57.5], [27.5, 37.5]]
    read = RasterEncoder(file).fit(places)
    np.testing.assert_array_equal(read.transform(places), encoder.transform(places))
    assert (read.get_feature_names_out() == encoder.get_feature_names_out()).all()


def test_blocks_are_tiles_of_one_grid(tmp_path, monkeypatch):
    monkeypatch.setattr(grids, "BLOCK", 3)
    encode_grid(ENCODER, tmp_path / "g.tif", region=EUROPE, resolution=5, verbose=False)
    with rasterio.open(tmp_path / "g.tif") as file:
        found = np.moveaxis(file.read(), 0, 2)
    lon, lat = np.arange(-7.5, 30, 5), np.arange(57.5, 35, -5)
    np.testing.assert_allclose(found, ENCODER.fit().transform_grid(lon, lat), atol=1e-6)


def test_a_projected_grid_of_land(tmp_path):
    encode_grid(
        ENCODER,
        tmp_path / "g.nc",
        region=EUROPE,
        crs="EPSG:3035",
        resolution="250km",
        mask="land",
        verbose=False,
    )
    found = xarray.open_dataset(tmp_path / "g.nc", engine="h5netcdf", decode_coords="all")
    features = found["features"]
    assert features.dims == ("feature", "y", "x")
    assert found["feature"].values.tolist() == ENCODER.fit().get_feature_names_out().tolist()
    there = ~np.isnan(features.values).any(axis=0)
    assert 0.3 < there.mean() < 0.8
    x, y = np.meshgrid(found.x, found.y)
    to_degrees = Transformer.from_crs("EPSG:3035", "EPSG:4326", always_xy=True)
    lonlat = np.column_stack(to_degrees.transform(x[there], y[there]))
    np.testing.assert_allclose(features.values[:, there].T, ENCODER.transform(lonlat), atol=1e-6)


def test_an_array_file_holds_no_crs(tmp_path):
    for options in ({"crs": "EPSG:3035"}, {"mask": "land"}, {"like": "other.tif"}):
        with pytest.raises(ValueError, match=r"a \.npy file holds no .*; name a \.tif"):
            encode_grid(ENCODER, tmp_path / "g.npy", **options)


def test_functions_of_another_process_are_the_same_identity():
    def product():
        def decode(raw, companion):
            return raw.astype(np.float32)

        return Product("own", "int8", None, None, decode)

    begun, again = product(), product()
    assert repr(begun) != repr(again)
    assert digest_of(begun) == digest_of(again)


def test_an_interrupted_grid_is_continued(tmp_path, monkeypatch):
    monkeypatch.setattr(grids, "BLOCK", 12)
    encode, calls = PositionalEncoder.transform_grid, [0]

    def stopping(self, lon, lat):
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        return encode(self, lon, lat)

    monkeypatch.setattr(PositionalEncoder, "transform_grid", stopping)
    options = {"resolution": 7.5, "verbose": False}
    with pytest.raises(KeyboardInterrupt, match="3 of 8 blocks are kept"):
        encode_grid(ENCODER, tmp_path / "g.tif", **options)
    other = PositionalEncoder(legendre_polys=4)
    with pytest.raises(FileExistsError, match="of a map with another"):
        encode_grid(other, tmp_path / "g.tif", **options)
    encode_grid(ENCODER, tmp_path / "g.tif", **options)
    assert calls[0] == 4 + 5
