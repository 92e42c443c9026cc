"""Quantised products: what their bytes stand for."""

import numpy as np
import pytest

from skgeo_embed import ImageError, RasterEncoder
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
