"""Quantised products: what their bytes stand for."""

import pickle
import re

import numpy as np
import pytest
from sklearn.base import clone

from skgeo_embed import ImageError, RasterEncoder
from skgeo_embed.rasters import Product, register_product
from skgeo_embed.rasters.products import PRODUCTS
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
    monkeypatch.delitem(PRODUCTS, "halves", raising=False)
    row = Product("halves", "uint8", 7, "offsets", halves)
    register_product(row)
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
    del PRODUCTS["halves"]  # as in another process, to which the encoder goes
    again = pickle.loads(pickle.dumps(encoder))
    itself = clone(RasterEncoder(tmp_path, quantization=row, on_invalid="nan")).fit()
    for other in (again, itself):
        with pytest.warns(UserWarning, match="no raster has a value"):
            np.testing.assert_allclose(other.transform(CENTRES), expected, rtol=1e-6)


def halves(raw, offsets):
    return raw / 2 + offsets


@pytest.mark.parametrize("dtype", ["int3", "int4", "datetime64[s]", "complex64", "U3"])
def test_what_cannot_be_registered(dtype, monkeypatch):
    monkeypatch.setitem(PRODUCTS, "fours", None)  # gone again, should it be registered
    monkeypatch.delitem(PRODUCTS, "fours")
    pytest.importorskip("ml_dtypes")  # after it numpy knows an int4
    with pytest.raises(ValueError, match="there is a product 'tessera' already"):
        register_product(Product("tessera", "int8", None, None, halves))
    with pytest.raises(ValueError, match=f"'{re.escape(dtype)}' is not a dtype"):
        register_product(Product("fours", dtype, None, None, halves))
    with pytest.raises(TypeError, match="expected a Product, got str"):
        register_product("halves")
    assert "fours" not in PRODUCTS


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        (lambda raw, beside: raw[:1], r"decodes pixels of shape \(\d+, 2\) .* of shape \(1, 2\)"),
        (lambda raw, beside: None, r"to values of shape \(\)"),
        (lambda raw, beside: "text", "'odd' cannot decode .*tile.tif: could not convert"),
        (lambda raw, beside: np.float32(1) / (raw - raw), "to infinite values"),
    ],
)
def test_a_product_that_does_not_give_a_value_for_each_pixel(tmp_path, decode, message):
    """One row for all places would be broadcast without a word."""
    write(tmp_path / "tile.tif", np.ones((2, 96, 96), dtype=np.uint8))
    encoder = RasterEncoder(tmp_path, quantization=Product("odd", "uint8", 7, None, decode)).fit()
    with np.errstate(divide="ignore"), pytest.raises(ImageError, match=message):
        encoder.transform(CENTRES)


def test_a_product_that_keeps_integers_or_changes_them_in_place(tmp_path):
    def shifted(raw, beside):
        raw += 1
        return raw

    raw = np.random.RandomState(0).randint(0, 20, (2, 96, 96)).astype(np.uint8)
    write(tmp_path / "tile.tif", raw)
    product = Product("shifted", "uint8", 7, None, shifted)
    encoder = RasterEncoder(tmp_path, quantization=product, on_invalid="nan").fit()
    expected = np.where((raw == 7).any(axis=0), np.nan, raw + 1.0)[:, ROWS, COLUMNS].T
    with pytest.warns(UserWarning, match="no raster has a value"):
        np.testing.assert_array_equal(encoder.transform(CENTRES), expected)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("", "int8", None), "a product needs a name"),
        (("x", "int99", None), "'int99' is not a dtype of stored pixels"),
        (("x", "int8", -999), "missing=-999 does not fit int8, which holds -128 to 127"),
    ],
)
def test_a_product_that_cannot_be(row, message):
    with pytest.raises(ValueError, match=message):
        Product(*row, None, halves)


def test_products_are_documented():
    for name in PRODUCTS:
        assert f'"{name}"' in RasterEncoder.__doc__
