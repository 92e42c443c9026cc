"""Quantised products: what their bytes stand for."""

import numpy as np
import pytest
from sklearn.utils._param_validation import StrOptions

from skgeo_embed import ImageError, RasterEncoder
from skgeo_embed.rasters.products import PRODUCTS, Product
from tests.rasters.small_tiles import (
    CENTRES,
    COLUMNS,
    ROWS,
    alphaearth,
    lonlat_of,
    pixels_of,
    tessera_tile,
    write,
)


@pytest.mark.parametrize("up", [False, True])
def test_alphaearth(tmp_path, up):
    pixels = pixels_of()
    pixels[:, 3, 5] = -128
    path = write(tmp_path / "tile.tif", pixels, up=up, nodata=-128)
    encoder = RasterEncoder(path, quantization="alphaearth", on_invalid="nan").fit()
    found = encoder.transform(CENTRES)
    np.testing.assert_allclose(found, alphaearth(pixels[:, ROWS, COLUMNS].T), atol=1e-6)
    with pytest.warns(UserWarning, match=r"no raster has a value at 1 of 2 places \(row 1"):
        missing = encoder.transform(lonlat_of([8.5, 3.5], [9.5, 5.5]))
    assert np.isfinite(missing[0]).all()
    assert np.isnan(missing[1]).all()


def test_tessera(tmp_path):
    raw, scales = tessera_tile(tmp_path)
    encoder = RasterEncoder(tmp_path, quantization="tessera", on_invalid="nan").fit()
    expected = (raw * scales)[:, ROWS, COLUMNS].T
    np.testing.assert_allclose(encoder.transform(CENTRES), expected, rtol=1e-6)
    assert np.isnan(encoder.transform(lonlat_of([2.5], [3.5]))).all()
    # the same as GeoTIFFs
    folder = tmp_path / "tiffs"
    write(folder / "tile.tif", raw)
    write(folder / "tile_scales.tif", scales[None])
    again = RasterEncoder(folder, quantization="tessera", on_invalid="nan").fit()
    np.testing.assert_allclose(again.transform(CENTRES), expected, rtol=1e-6)
    (tmp_path / "grid_9.05_47.85_scales.npy").unlink()
    with pytest.raises(ImageError, match=r"scales of each pixel.*no grid_9.05_47.85_scales.npy"):
        RasterEncoder(tmp_path / "grid_9.05_47.85.npy", quantization="tessera").fit()


def test_a_product_is_one_row(tmp_path, monkeypatch):
    """A new one needs nothing but its row: allowed, checked, decoded, its companion found."""
    row = Product("halves", "uint8", 7, "offsets", lambda raw, offsets: raw / 2 + offsets)
    monkeypatch.setitem(PRODUCTS, "halves", row)
    monkeypatch.setitem(
        RasterEncoder._parameter_constraints, "quantization", [StrOptions(set(PRODUCTS)), None]
    )
    raw = np.random.RandomState(0).randint(0, 20, (2, 96, 96)).astype(np.uint8)
    offsets = np.random.RandomState(1).uniform(0, 9, (2, 96, 96)).astype(np.float32)
    write(tmp_path / "tile.tif", raw)
    with pytest.raises(ImageError, match=r"'halves' needs the offsets of each pixel.*tile_offsets"):
        RasterEncoder(tmp_path, quantization="halves").fit()
    write(tmp_path / "tile_offsets.tif", offsets)
    encoder = RasterEncoder(tmp_path, quantization="halves", on_invalid="nan").fit()
    assert encoder.n_tiles_ == 1
    expected = np.where((raw == 7).any(axis=0), np.nan, raw / 2 + offsets)[:, ROWS, COLUMNS].T
    with pytest.warns(UserWarning, match="no raster has a value"):
        np.testing.assert_allclose(encoder.transform(CENTRES), expected, rtol=1e-6)


def test_products_are_documented():
    for name in PRODUCTS:
        assert f'"{name}"' in RasterEncoder.__doc__
