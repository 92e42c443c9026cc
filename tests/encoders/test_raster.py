"""Rasters at places: what a tile holds there, in whatever layout and system it comes."""

import json
import pickle
import subprocess
import sys
from functools import partial

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.shutil
import shapely
import xarray
from affine import Affine
from pyproj import Transformer
from sklearn.base import clone

from skgeo_embed import CoordinateError, ImageError, RasterEncoder
from skgeo_embed.rasters import tiles
from skgeo_embed.rasters.sampling import Places
from tests import range_server

SIZE = 96


def write(path, pixels, crs="EPSG:32632", corner=(500_000, 5_300_000), step=10, up=False, **more):
    """A GeoTIFF; `up` puts its first row in the south, as AlphaEarth's are."""
    bands, height, width = pixels.shape
    transform = Affine(step, 0, corner[0], 0, -step, corner[1])
    if up:
        transform = Affine(step, 0, corner[0], 0, step, corner[1] - height * step)
        pixels = pixels[:, ::-1]
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "crs": crs}
    profile |= {"dtype": pixels.dtype, "transform": transform, "tiled": True}
    # of four bands of bytes GDAL would make the last one alpha
    profile |= {"photometric": "MINISBLACK", "blockxsize": 32, "blockysize": 32}
    profile |= {"compress": "deflate", **more}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
    return path


def pixels_of(seed=0, bands=4, dtype=np.int8, size=SIZE):
    return np.random.RandomState(seed).randint(-127, 128, (bands, size, size)).astype(dtype)


def lonlat_of(row, column, crs="EPSG:32632", corner=(500_000, 5_300_000), step=10):
    """Degrees of places in rows and columns from the north, with fractions."""
    x, y = corner[0] + np.asarray(column) * step, corner[1] - np.asarray(row) * step
    return np.column_stack(Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y))


def alphaearth(raw):
    return np.sign(raw.astype(float)) * (raw / 127.5) ** 2


ROWS = np.random.RandomState(1).randint(0, SIZE, 300)
COLUMNS = np.random.RandomState(2).randint(0, SIZE, 300)
CENTRES = lonlat_of(ROWS + 0.5, COLUMNS + 0.5)


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


def test_the_edges_of_a_pixel(tmp_path):
    pixels = pixels_of()
    encoder = RasterEncoder(write(tmp_path / "tile.tif", pixels)).fit()
    for offset in (0.01, 0.99):
        found = encoder.transform(lonlat_of(ROWS + offset, COLUMNS + offset))
        np.testing.assert_array_equal(found, pixels[:, ROWS, COLUMNS].T)


def tessera_tile(folder, name="grid_9.05_47.85", seed=0):
    raw = pixels_of(seed, bands=6)
    scales = np.random.RandomState(seed + 9).uniform(0.01, 0.1, (SIZE, SIZE)).astype(np.float32)
    scales[2, 3] = np.nan
    np.save(folder / f"{name}.npy", np.moveaxis(raw, 0, 2))
    np.save(folder / f"{name}_scales.npy", scales)
    write(folder / f"{name}.tiff", np.ones((1, SIZE, SIZE), np.uint8))
    return raw, scales


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
    with pytest.raises(ImageError, match=r"scale of each pixel.*no grid_9.05_47.85_scales.npy"):
        RasterEncoder(tmp_path / "grid_9.05_47.85.npy", quantization="tessera").fit()


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


def test_areas_and_grids(tmp_path):
    pixels = pixels_of(dtype=np.float32)
    pixels[:, :48] = np.nan
    path = write(tmp_path / "tile.tif", pixels, nodata=np.nan)
    whole = gpd.GeoSeries([shapely.box(500_000, 5_299_040, 500_960, 5_300_000)], crs="EPSG:32632")
    encoder = RasterEncoder(path, area_points=4000).fit()
    found = encoder.transform(whole)  # of the half that there is
    np.testing.assert_allclose(found[0], np.nanmean(pixels, axis=(1, 2)), atol=3)
    deviation = RasterEncoder(path, area_points=4000, area_statistic="std").fit()
    np.testing.assert_allclose(
        deviation.transform(whole)[0], np.nanstd(pixels, axis=(1, 2)), rtol=0.05
    )
    lon, lat = CENTRES[:5, 0], CENTRES[:7, 1]
    grid = RasterEncoder(path, on_invalid="nan").fit().transform_grid(lon, lat)
    pairs = np.column_stack([np.tile(lon, 7), np.repeat(lat, 5)])
    points = RasterEncoder(path, on_invalid="nan").fit().transform(pairs)
    np.testing.assert_array_equal(grid.reshape(35, 4), points)


def years_of(folder):
    return {year: write(folder / f"{year}.tif", pixels_of(year)) for year in (2020, 2021)}


def expected_of(year):
    return pixels_of(int(year))[:, ROWS, COLUMNS].T


def test_years(tmp_path):
    source = years_of(tmp_path)
    with pytest.raises(ValueError, match=r"of the years 2020, 2021; pass year="):
        RasterEncoder(source).fit()
    with pytest.raises(ValueError, match=r"year=2019, but the rasters are of 2020, 2021"):
        RasterEncoder(source, year=2019).fit()
    np.testing.assert_array_equal(
        RasterEncoder(source, year=2021).fit_transform(CENTRES), expected_of(2021)
    )
    frame = pd.DataFrame(CENTRES, columns=["lon", "lat"]).assign(year=[2020, 2021] * 150)
    found = RasterEncoder(source, year="year").fit_transform(frame)
    even = np.arange(300)[:, None] % 2 == 0
    np.testing.assert_array_equal(found, np.where(even, expected_of(2020), expected_of(2021)))
    table = gpd.GeoDataFrame(frame[["year"]], geometry=gpd.points_from_xy(*CENTRES.T), crs=4326)
    again = RasterEncoder(source, year="year").fit_transform(table)
    np.testing.assert_array_equal(again, found)
    areas = table.set_geometry(table.to_crs(32632).buffer(2))  # within a pixel
    np.testing.assert_allclose(RasterEncoder(source, year="year").fit_transform(areas), found)


def stac(folder):
    items = [
        {
            "id": str(year),
            "properties": {"datetime": None, "start_datetime": f"{year}-01-01T00:00:00Z"},
            "assets": {
                "thumbnail": {"href": "x.png", "type": "image/png"},
                "data": {"href": f"./{path.name}", "type": "image/tiff; application=geotiff"},
            },
        }
        for year, path in years_of(folder).items()
    ]
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return folder / "items.json"


def footprints(folder, suffix):
    paths = years_of(folder)
    table = gpd.GeoDataFrame(
        {"location": [path.name for path in paths.values()], "year": list(paths)},
        geometry=[shapely.box(0, 0, 1, 1)] * 2,
        crs=4326,
    )
    file = folder / f"tiles{suffix}"
    table.to_parquet(file) if suffix == ".parquet" else table.to_file(file)
    return file


@pytest.mark.parametrize(
    "index", [stac, partial(footprints, suffix=".gpkg"), partial(footprints, suffix=".parquet")]
)
def test_indexes(tmp_path, index):
    encoder = RasterEncoder(index(tmp_path), year=2020).fit()
    assert encoder.n_tiles_ == 2
    np.testing.assert_array_equal(encoder.transform(CENTRES), expected_of(2020))


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


@pytest.fixture
def server(tmp_path):
    """The address of a server of tmp_path, and the file of the bytes that it sent."""
    log = tmp_path / "sent.log"
    log.touch()
    command = [sys.executable, range_server.__file__, tmp_path, log]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        yield f"http://127.0.0.1:{running.stdout.readline().strip()}", log
        running.kill()


def test_remote_only_when_the_user_says_so(tmp_path, server):
    pixels = np.random.RandomState(0).randint(0, 255, (4, 1024, 1024)).astype(np.uint8)
    path = write(tmp_path / "tile.tif", pixels, blockxsize=256, blockysize=256)
    address = f"{server[0]}/tile.tif"
    with pytest.raises(ImageError, match=r"is an address; pass remote=True"):
        RasterEncoder(address).fit()
    vrt = tmp_path / "tile.vrt"
    with rasterio.open(path) as file:
        rasterio.shutil.copy(file, vrt, driver="VRT")
    vrt.write_text(vrt.read_text().replace("tile.tif", f"/vsicurl/{address}"))
    with pytest.raises(ImageError, match=r"tile.vrt leads to addresses.*remote=True"):
        RasterEncoder(vrt).fit()
    assert server[1].read_text() == ""  # nobody was asked
    encoder = RasterEncoder(address, remote=True).fit()
    row, column = np.array([5, 6, 300]), np.array([7, 8, 9])
    found = encoder.transform(lonlat_of(row + 0.5, column + 0.5))
    np.testing.assert_array_equal(found, pixels[:, row, column].T)
    asked = sum(map(int, server[1].read_text().split()))
    assert 0 < asked < path.stat().st_size / 2  # parts of it


@pytest.fixture
def raster_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SKGEO_EMBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rasters"


def bytes_sent(server):
    return sum(map(int, server[1].read_text().split()))


def kept(raster_cache):
    return sorted(raster_cache.rglob("*.npy"))


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
@pytest.mark.parametrize("masked", [False, True])
def test_remote_blocks_are_fetched_once(tmp_path, server, raster_cache, method, masked):
    pixels = np.random.RandomState(0).randint(1, 255, (2, 150, 90)).astype(np.uint8)
    path = tmp_path / "tile.tif"
    write(path, pixels, blockxsize=32, blockysize=64)
    if masked:
        with rasterio.open(path, "r+") as file:
            file.write_mask(np.arange(150 * 90).reshape(150, 90) % 7 > 0)
    row, column = np.random.RandomState(1).uniform(1, [149, 89], (300, 2)).T
    lonlat = lonlat_of(row, column)
    here = RasterEncoder(path, method=method, on_invalid="nan").fit().transform(lonlat)
    assert np.isnan(here).any() == (masked and method == "nearest")
    encoder = RasterEncoder(f"{server[0]}/tile.tif", method=method, remote=True, on_invalid="nan")
    encoder.fit()
    np.testing.assert_array_equal(encoder.transform(lonlat), here)
    before = bytes_sent(server)
    assert len(kept(raster_cache)) == 3 * 3
    np.testing.assert_array_equal(encoder.transform(lonlat[::-1]), here[::-1])
    assert bytes_sent(server) == before  # not even the header
    again = clone(encoder).fit().transform(lonlat)  # as another process does
    np.testing.assert_array_equal(again, here)
    assert len(kept(raster_cache)) == 3 * 3


def test_a_remote_raster_that_changes_is_fetched_again(tmp_path, server, raster_cache):
    for name in ("tile.tif", "unversioned.tif"):
        for seed in (0, 1):
            pixels = np.random.RandomState(seed).randint(1, 255, (2, 64, 64)).astype(np.uint8)
            write(tmp_path / name, pixels, blockxsize=32, blockysize=32)
            encoder = RasterEncoder(f"{server[0]}/{name}", remote=True).fit()
            found = encoder.transform(lonlat_of([5.5, 40.5], [7.5, 50.5]))
            np.testing.assert_array_equal(found, pixels[:, [5, 40], [7, 50]].T)
    assert len(kept(raster_cache)) == 4  # two of each version, none of what has no version


def test_the_cache_is_bounded_and_what_is_damaged_is_fetched_again(tmp_path, server, raster_cache):
    pixels = np.random.RandomState(0).randint(1, 255, (4, 256, 256)).astype(np.uint8)
    write(tmp_path / "tile.tif", pixels, blockxsize=32, blockysize=32)
    row, column = np.divmod(np.arange(64), 8)
    lonlat = lonlat_of(row * 32 + 3.5, column * 32 + 4.5)
    expected = pixels[:, row * 32 + 3, column * 32 + 4].T
    block = 4 * 32 * 32 + 128
    encoder = RasterEncoder(f"{server[0]}/tile.tif", remote=True, cache_bytes=20 * block).fit()
    for _ in range(2):
        np.testing.assert_array_equal(encoder.transform(lonlat), expected)
        files = kept(raster_cache)
        assert 10 < len(files) <= 20
        assert {file.stat().st_size for file in files} == {block}
    first, second, *_, last = files
    first.write_bytes(first.read_bytes()[:500])
    second.write_bytes(b"")
    last.write_bytes(last.read_bytes()[:100])
    np.testing.assert_array_equal(encoder.transform(lonlat), expected)
    nothing = RasterEncoder(f"{server[0]}/tile.tif", remote=True, cache_bytes=0).fit()
    before, names = bytes_sent(server), kept(raster_cache)
    np.testing.assert_array_equal(nothing.transform(lonlat), expected)
    assert bytes_sent(server) > before
    assert kept(raster_cache) == names


def test_blocks_that_cannot_be_kept_are_fetched(tmp_path, server, raster_cache):
    pixels = np.random.RandomState(0).randint(1, 255, (2, 64, 64)).astype(np.uint8)
    write(tmp_path / "tile.tif", pixels, blockxsize=32, blockysize=32)
    encoder = RasterEncoder(f"{server[0]}/tile.tif", remote=True).fit()
    lonlat, expected = lonlat_of([5.5, 40.5], [7.5, 50.5]), pixels[:, [5, 40], [7, 50]].T
    raster_cache.parent.write_text("a file where the folder would be")
    with pytest.warns(UserWarning, match=r"cannot be kept on disk.*SKGEO_EMBED_CACHE"):
        np.testing.assert_array_equal(encoder.transform(lonlat), expected)
    raster_cache.parent.unlink()
    raster_cache.mkdir(parents=True)
    for number in range(256):  # where the blocks' folders would be
        (raster_cache / f"{number:02x}").write_text("")
    with pytest.warns(UserWarning, match=r"cannot be kept on disk") as told:
        np.testing.assert_array_equal(encoder.transform(lonlat), expected)
    assert len(told) == 1


def test_what_was_used_last_stays(tmp_path, server, raster_cache):
    pixels = np.random.RandomState(0).randint(1, 255, (4, 256, 32)).astype(np.uint8)
    write(tmp_path / "tile.tif", pixels, blockxsize=32, blockysize=32)
    block = 4 * 32 * 32 + 128
    encoder = RasterEncoder(f"{server[0]}/tile.tif", remote=True, cache_bytes=4 * block).fit()
    for row in (0, 1, 2, 0, 3, 0, 4, 0, 5, 0):
        encoder.transform(lonlat_of([row * 32 + 0.5], [0.5]))
    before = bytes_sent(server)
    encoder.transform(lonlat_of([0.5, 5 * 32 + 0.5], [0.5, 0.5]))
    assert bytes_sent(server) == before


def test_remote_tiles_of_tessera(tmp_path, server, raster_cache):
    pixels = np.random.RandomState(0).randint(-127, 127, (3, 64, 64)).astype(np.int8)
    scales = np.random.RandomState(1).uniform(0.1, 2, (1, 64, 64)).astype(np.float32)
    write(tmp_path / "grid.tif", pixels, blockxsize=32, blockysize=32)
    write(tmp_path / "grid_scales.tif", scales, blockxsize=32, blockysize=32)
    address = f"{server[0]}/grid.tif"
    encoder = RasterEncoder(address, quantization="tessera", remote=True).fit()
    for _ in range(2):
        found = encoder.transform(lonlat_of([5.5, 40.5], [7.5, 50.5]))
        expected = pixels[:, [5, 40], [7, 50]].T * scales[0, [5, 40], [7, 50]][:, None]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert len(kept(raster_cache)) == 4
    (tmp_path / "grid_scales.tif").unlink()
    with pytest.raises(ImageError, match=r"grid_scales.tif cannot be read"):
        encoder.transform(lonlat_of([5.5, 40.5], [50.5, 7.5]))  # in blocks that are not kept


def test_vrts_that_a_user_names(tmp_path):
    pixels = pixels_of()
    path = write(tmp_path / "tile.tif", pixels)
    with rasterio.open(path) as file:
        rasterio.shutil.copy(file, tmp_path / "mosaic.vrt", driver="VRT")
    encoder = RasterEncoder(tmp_path / "mosaic.vrt").fit()
    np.testing.assert_array_equal(encoder.transform(CENTRES), pixels[:, ROWS, COLUMNS].T)
    assert RasterEncoder(tmp_path).fit().n_tiles_ == 1  # a folder's VRTs are not followed
    disguised = tmp_path / "x" / "tile.tif"
    disguised.parent.mkdir()
    disguised.write_text((tmp_path / "mosaic.vrt").read_text())
    with pytest.raises(ImageError, match="cannot be read as a raster"):
        RasterEncoder(disguised).fit()


def test_it_is_an_estimator(tmp_path):
    pixels = pixels_of()
    encoder = RasterEncoder(write(tmp_path / "tile.tif", pixels))
    frame = pd.DataFrame(CENTRES[:, ::-1], columns=["lat", "lon"])
    expected = pixels[:, ROWS, COLUMNS].T
    np.testing.assert_array_equal(clone(encoder).fit_transform(frame), expected)
    again = pickle.loads(pickle.dumps(encoder.fit(frame)))
    np.testing.assert_array_equal(again.transform(frame), expected)
    assert list(encoder.get_feature_names_out()) == [f"raster{i:03d}" for i in range(4)]
    gaps = CENTRES.copy()
    gaps[1] = np.nan
    found = RasterEncoder(encoder.source, on_invalid="nan").fit_transform(gaps)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[2:], expected[2:])
    many = np.tile(CENTRES, (50, 1))  # distinct places are read once
    np.testing.assert_array_equal(encoder.transform(many), np.tile(expected, (50, 1)))


def test_a_file_that_was_changed_after_fit(tmp_path):
    path = write(tmp_path / "tile.tif", pixels_of())
    encoder = RasterEncoder(path).fit()
    write(path, pixels_of(bands=1))
    with pytest.raises(ImageError, match=r"tile.tif has changed since fit; fit again"):
        encoder.transform(CENTRES)


def test_no_deviation_where_there_is_no_raster(tmp_path):
    path = write(tmp_path / "tile.tif", pixels_of())
    encoder = RasterEncoder(path, area_statistic="std", on_invalid="nan").fit()
    with pytest.warns(UserWarning, match="at 1 of 2 places"):
        found = encoder.transform([CENTRES[0], [50, 50]])
    np.testing.assert_array_equal(found, [[0.0] * 4, [np.nan] * 4])


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


@pytest.mark.parametrize("up", [False, True])
def test_a_world_has_values_at_both_poles(tmp_path, up):
    pixels = np.arange(18 * 36, dtype=np.float32).reshape(1, 18, 36)
    path = write(tmp_path / "world.tif", pixels, crs=4326, corner=(-180, 90), up=up)
    encoder = RasterEncoder(path).fit()
    rows = encoder.transform([[0.0, -90.0], [0.0, 90.0]]).ravel() // 36
    np.testing.assert_array_equal(rows, [17, 0])


def test_sources_and_times_that_are_none(tmp_path):
    for source in (None, 5, {1, 2}):
        with pytest.raises(TypeError, match="source must be a path, a list of paths or a dict"):
            RasterEncoder(source).fit()
    write(tmp_path / "tile.tif", pixels_of())
    item = {"id": "a", "assets": {"data": {"href": "tile.tif", "type": "image/tiff"}}}
    for time in (2024, "24-01-01", "today"):
        item["properties"] = {"datetime": time}
        (tmp_path / "items.json").write_text(json.dumps({"features": [item]}))
        with pytest.raises(ImageError, match=f"the time {time!r} does not begin with a year"):
            RasterEncoder(tmp_path / "items.json").fit()


def test_relative_paths_are_those_of_fit(tmp_path, monkeypatch):
    pixels = pixels_of()
    write(tmp_path / "tile.tif", pixels)
    monkeypatch.chdir(tmp_path)
    encoder = RasterEncoder("tile.tif").fit()
    monkeypatch.chdir(tmp_path.parent)
    np.testing.assert_array_equal(encoder.transform(CENTRES), pixels[:, ROWS, COLUMNS].T)


def test_a_year_is_not_called_degrees(tmp_path):
    path = write(tmp_path / "tile.tif", pixels_of())
    table = pd.DataFrame({"lon": [7.0], "lat": [8.0], "year": ["last"]})
    with pytest.raises(CoordinateError, match="'year' must be numbers, got the text 'last'"):
        RasterEncoder({2024: path}, year="year").fit(table)
