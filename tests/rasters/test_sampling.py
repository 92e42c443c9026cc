"""What a tile holds at places: pixels, their neighbours, and tiles side by side."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from skgeo_embed import CoordinateError, ImageError, RasterEncoder
from skgeo_embed.rasters import tiles
from skgeo_embed.rasters.sampling import Places
from tests.rasters.small_tiles import CENTRES, COLUMNS, ROWS, SIZE, lonlat_of, pixels_of, write


def test_the_edges_of_a_pixel(tmp_path):
    pixels = pixels_of()
    encoder = RasterEncoder(write(tmp_path / "tile.tif", pixels)).fit()
    for offset in (0.01, 0.99):
        found = encoder.transform(lonlat_of(ROWS + offset, COLUMNS + offset))
        np.testing.assert_array_equal(found, pixels[:, ROWS, COLUMNS].T)


def test_bilinear(tmp_path):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    plane = np.stack([2.0 * rows + 3 * columns, 0 * rows + 7.0]).astype(np.float32)
    path = write(tmp_path / "tile.tif", plane, nodata=-1)
    encoder = RasterEncoder(path, method="bilinear").fit()
    rng = np.random.RandomState(0)
    row, column = rng.uniform(0.5, SIZE - 0.5, (2, 500))  # across the blocks' edges too
    found = encoder.transform(lonlat_of(row, column))
    np.testing.assert_allclose(found[:, 0], 2 * (row - 0.5) + 3 * (column - 0.5), atol=2e-3)
    np.testing.assert_allclose(found[:, 1], 7, atol=1e-5)
    corner = encoder.transform(lonlat_of([0.1], [0.1]))  # no pixel beyond: the nearest
    np.testing.assert_allclose(corner, [[0, 7]], atol=1e-4)
    plane[:, 10, 10] = -1
    holed = RasterEncoder(write(tmp_path / "b.tif", plane, nodata=-1), method="bilinear").fit()
    found = holed.transform(lonlat_of([10.9], [10.9]))  # three of the four are there
    weights = np.array([0.6 * 0.4, 0.4 * 0.6, 0.4 * 0.4])
    values = plane[0, [10, 11, 11], [11, 10, 11]]
    np.testing.assert_allclose(found[0, 0], np.average(values, weights=weights), rtol=1e-4)


def test_many_tiles_zones_and_overlaps(tmp_path):
    """Two zones; where tiles overlap, the first that has a value counts."""
    first, second, third = (pixels_of(seed) for seed in range(3))
    first[:, 40:, :] = -128
    write(tmp_path / "a/one.tif", first, nodata=-128)
    write(tmp_path / "b/two.tif", second, nodata=-128)  # the same place
    south = {"crs": "EPSG:32733", "corner": (300_000, 7_000_000)}
    write(tmp_path / "c/three.tiff", third, up=True, **south)
    encoder = RasterEncoder(tmp_path).fit()
    assert encoder.n_tiles_ == 3
    there = lonlat_of(ROWS + 0.5, COLUMNS + 0.5, **south)
    found = encoder.transform(np.vstack([CENTRES, there]))
    expected = np.where(ROWS[:, None] < 40, first[:, ROWS, COLUMNS].T, second[:, ROWS, COLUMNS].T)
    np.testing.assert_array_equal(found[:300], expected)
    np.testing.assert_array_equal(found[300:], third[:, ROWS, COLUMNS].T)
    with pytest.raises(CoordinateError, match=r"no raster has a value at 2 of 3 places \(row 1, r"):
        encoder.transform(np.vstack([CENTRES[:1], [[0.0, 0.0], [1.0, 1.0]]]))


def test_each_block_is_read_once(tmp_path, monkeypatch):
    path = write(tmp_path / "tile.tif", pixels_of())
    windows = []

    def reader(path, real=tiles.READERS["gdal"]):
        manager = real(path)
        read = manager.__enter__()

        class Counting:
            def __enter__(self):
                return lambda rows, columns: windows.append((rows, columns)) or read(rows, columns)

            def __exit__(self, *error):
                return manager.__exit__(*error)

        return Counting()

    encoder = RasterEncoder(path).fit()
    monkeypatch.setitem(tiles.READERS, "gdal", reader)
    encoder.transform(np.tile(CENTRES, (50, 1)))
    blocks = {(rows.start // 32, columns.start // 32) for rows, columns in windows}
    assert len(windows) == len(blocks) == 9
    assert all(rows.stop - rows.start <= 32 for rows, _ in windows)


@pytest.mark.parametrize("height", [0.0, 0.3, 25.0, 180.0])
def test_places_in_boxes(height):
    rng = np.random.RandomState(0)
    lonlat = np.column_stack([rng.randint(-180, 180, 5000), rng.randint(-90, 91, 5000)]) * 1.0
    lonlat[0, 0] = np.nextafter(180, 0)
    places = Places(lonlat, height)
    boxes = [(-180.0, -90.0, 180.0, 90.0), (-180.0, 60.0, 180.0, 90.0), (170.5, -9.0, 365.5, 9.0)]
    boxes += [(-200.5, 1.5, -179.5, 1.6), (3.0, -40.0, 3.5, -39.0), (0.2, 0.2, 0.8, 90.0)]
    for west, south, east, north in boxes:
        lon, lat = lonlat.T
        within = [(lon >= west + turn) & (lon < east + turn) for turn in (-360, 0, 360)]
        expected = np.any(within, axis=0) & (lat >= south) & (lat <= north)
        found = places.within(west, south, east, north)
        np.testing.assert_array_equal(np.sort(found), np.flatnonzero(expected))


def test_across_the_antimeridian_and_on_a_world_of_0_to_360(tmp_path):
    world = np.arange(36 * 18, dtype=np.float32).reshape(1, 18, 36)
    path = write(
        tmp_path / "world.tif", world, crs="EPSG:4326", corner=(0, 90), step=10, tiled=False
    )
    encoder = RasterEncoder(path).fit()
    found = encoder.transform([[5, 85], [-5, 85], [-175, -85], [175, -85], [355, 85]])
    assert found[:, 0].tolist() == [0, 35, 17 * 36 + 18, 17 * 36 + 17, 35]
    fiji = {
        "crs": "EPSG:3832",
        "corner": (3_300_000, -1_900_000),
        "step": 2000,
    }
    pixels = pixels_of()
    tile = RasterEncoder(write(tmp_path / "fiji.tif", pixels, **fiji)).fit()
    places = lonlat_of(ROWS + 0.5, COLUMNS + 0.5, **fiji)
    assert places[:, 0].min() < -179
    assert places[:, 0].max() > 179
    np.testing.assert_array_equal(tile.transform(places), pixels[:, ROWS, COLUMNS].T)
    arctic = {"crs": "EPSG:3995", "corner": (-480_000, 480_000), "step": 10_000}
    polar = RasterEncoder(write(tmp_path / "arctic.tif", pixels, **arctic)).fit()
    places = lonlat_of(ROWS + 0.5, COLUMNS + 0.5, **arctic)
    np.testing.assert_array_equal(polar.transform(places), pixels[:, ROWS, COLUMNS].T)


@pytest.mark.parametrize("up", [False, True])
def test_a_world_has_values_at_both_poles(tmp_path, up):
    pixels = np.arange(18 * 36, dtype=np.float32).reshape(1, 18, 36)
    path = write(tmp_path / "world.tif", pixels, crs=4326, corner=(-180, 90), up=up)
    encoder = RasterEncoder(path).fit()
    rows = encoder.transform([[0.0, -90.0], [0.0, 90.0]]).ravel() // 36
    np.testing.assert_array_equal(rows, [17, 0])


def test_what_rasters_hold_that_float32_cannot(tmp_path):
    pixels = np.full((2, 8, 8), 1e300)
    pixels[:, 3, 3] = 5
    path = write(tmp_path / "large.tif", pixels)
    np.testing.assert_array_equal(
        RasterEncoder(path).fit_transform(lonlat_of([3.5], [3.5])), [[5, 5]]
    )
    with pytest.raises(ImageError, match=r"large.tif holds 1e\+300, which float32 cannot.*nodata"):
        RasterEncoder(path).fit_transform(lonlat_of([1.5], [3.5]))
    missing = write(tmp_path / "missing.tif", pixels, nodata=1e300)
    encoder = RasterEncoder(missing, on_invalid="nan").fit()
    with pytest.warns(UserWarning, match="no raster has a value"):
        assert np.isnan(encoder.transform(lonlat_of([1.5], [3.5]))).all()
    hidden = write(tmp_path / "hidden.tif", pixels)
    with rasterio.open(hidden, "r+") as file:
        file.write_mask(pixels[0] == 5)
    encoder = RasterEncoder(hidden, on_invalid="nan").fit()
    with pytest.warns(UserWarning, match="no raster has a value at 1 of 2"):
        found = encoder.transform(lonlat_of([1.5, 3.5], [3.5, 3.5]))
    np.testing.assert_array_equal(found, [[np.nan, np.nan], [5, 5]])
    path = write(tmp_path / "complex.tif", pixels.astype(np.complex64))
    with pytest.raises(ImageError, match=r"complex.tif holds complex numbers"):
        RasterEncoder(path).fit()
