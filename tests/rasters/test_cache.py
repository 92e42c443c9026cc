"""Blocks of remote rasters that are kept on disk."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from sklearn.base import clone

from skgeo_embed import ImageError, RasterEncoder
from skgeo_embed.rasters.cache import DIGEST_BYTES
from tests.rasters.small_tiles import lonlat_of, write


def kept(raster_cache):
    return sorted(raster_cache.rglob("*.npy"))


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
@pytest.mark.parametrize("masked", [False, True])
def test_remote_blocks_are_fetched_once(server, raster_cache, method, masked):
    pixels = np.random.RandomState(0).randint(1, 255, (2, 150, 90)).astype(np.uint8)
    path = server.folder / "tile.tif"
    write(path, pixels, blockxsize=32, blockysize=64)
    if masked:
        with rasterio.open(path, "r+") as file:
            file.write_mask(np.arange(150 * 90).reshape(150, 90) % 7 > 0)
    row, column = np.random.RandomState(1).uniform(1, [149, 89], (300, 2)).T
    lonlat = lonlat_of(row, column)
    here = RasterEncoder(path, method=method, on_invalid="nan").fit().transform(lonlat)
    assert np.isnan(here).any() == (masked and method == "nearest")
    encoder = RasterEncoder(f"{server.url}/tile.tif", method=method, remote=True, on_invalid="nan")
    encoder.fit()
    np.testing.assert_array_equal(encoder.transform(lonlat), here)
    before = server.bytes_sent
    assert len(kept(raster_cache)) == 3 * 3
    np.testing.assert_array_equal(encoder.transform(lonlat[::-1]), here[::-1])
    assert server.bytes_sent == before  # not even the header
    again = clone(encoder).fit().transform(lonlat)  # as another process does
    np.testing.assert_array_equal(again, here)
    assert len(kept(raster_cache)) == 3 * 3


def test_a_remote_raster_that_changes_is_fetched_again(server, raster_cache):
    for name in ("tile.tif", "unversioned.tif"):
        for seed in (0, 1):
            pixels = np.random.RandomState(seed).randint(1, 255, (2, 64, 64)).astype(np.uint8)
            write(server.folder / name, pixels, blockxsize=32, blockysize=32)
            encoder = RasterEncoder(f"{server.url}/{name}", remote=True).fit()
            found = encoder.transform(lonlat_of([5.5, 40.5], [7.5, 50.5]))
            np.testing.assert_array_equal(found, pixels[:, [5, 40], [7, 50]].T)
    assert len(kept(raster_cache)) == 4  # two of each version, none of what has no version


def test_the_cache_is_bounded_and_what_is_damaged_is_fetched_again(server, raster_cache):
    pixels = np.random.RandomState(0).randint(1, 255, (4, 256, 256)).astype(np.uint8)
    write(server.folder / "tile.tif", pixels, blockxsize=32, blockysize=32)
    row, column = np.divmod(np.arange(64), 8)
    lonlat = lonlat_of(row * 32 + 3.5, column * 32 + 4.5)
    expected = pixels[:, row * 32 + 3, column * 32 + 4].T
    block = 4 * 32 * 32 + 128 + DIGEST_BYTES
    encoder = RasterEncoder(f"{server.url}/tile.tif", remote=True, cache_bytes=20 * block).fit()
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
    nothing = RasterEncoder(f"{server.url}/tile.tif", remote=True, cache_bytes=0).fit()
    before, names = server.bytes_sent, kept(raster_cache)
    np.testing.assert_array_equal(nothing.transform(lonlat), expected)
    assert server.bytes_sent > before
    assert kept(raster_cache) == names


@pytest.mark.parametrize("at", [-40, -1, 130, 2000])
def test_a_flipped_bit_of_a_block_is_noticed(server, raster_cache, at):
    pixels = np.random.RandomState(0).randint(1, 255, (4, 32, 32)).astype(np.uint8)
    write(server.folder / "tile.tif", pixels, blockxsize=32, blockysize=32)
    row, column = np.divmod(np.arange(32 * 32), 32)
    lonlat = lonlat_of(row + 0.5, column + 0.5)
    encoder = RasterEncoder(f"{server.url}/tile.tif", remote=True).fit()
    expected = encoder.transform(lonlat)
    (file,) = kept(raster_cache)
    whole = bytearray(file.read_bytes())
    whole[at] ^= 1
    file.write_bytes(whole)
    np.testing.assert_array_equal(encoder.transform(lonlat), expected)
    whole[at] ^= 1
    assert file.read_bytes() == whole


def test_a_block_under_the_name_of_another_is_noticed(server, raster_cache):
    pixels = np.random.RandomState(0).randint(1, 255, (4, 32, 64)).astype(np.uint8)
    write(server.folder / "tile.tif", pixels, blockxsize=32, blockysize=32)
    encoder = RasterEncoder(f"{server.url}/tile.tif", remote=True).fit()
    lonlat = lonlat_of([3.5, 3.5], [3.5, 40.5])
    expected = encoder.transform(lonlat)
    one, other = kept(raster_cache)
    one.write_bytes(other.read_bytes())
    np.testing.assert_array_equal(encoder.transform(lonlat), expected)


def test_a_remote_raster_that_is_replaced_after_fit_is_not_mixed_with_the_old_one(
    server, raster_cache
):
    for cache_bytes in (2**20, 0):
        write(server.folder / "tile.tif", np.full((1, 64, 64), 1, np.uint8))
        encoder = RasterEncoder(
            f"{server.url}/tile.tif", remote=True, cache_bytes=cache_bytes
        ).fit()
        assert encoder.transform(lonlat_of([5.5], [5.5])) == 1
        write(server.folder / "tile.tif", np.full((1, 64, 64), 2, np.uint8))
        with pytest.raises(ImageError, match=r"tile.tif has changed since fit; fit again"):
            encoder.transform(lonlat_of([40.5], [40.5]))


def test_blocks_that_cannot_be_kept_are_fetched(server, raster_cache):
    pixels = np.random.RandomState(0).randint(1, 255, (2, 64, 64)).astype(np.uint8)
    write(server.folder / "tile.tif", pixels, blockxsize=32, blockysize=32)
    encoder = RasterEncoder(f"{server.url}/tile.tif", remote=True).fit()
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


def test_what_was_used_last_stays(server, raster_cache):
    pixels = np.random.RandomState(0).randint(1, 255, (4, 256, 32)).astype(np.uint8)
    write(server.folder / "tile.tif", pixels, blockxsize=32, blockysize=32)
    block = 4 * 32 * 32 + 128 + DIGEST_BYTES
    encoder = RasterEncoder(f"{server.url}/tile.tif", remote=True, cache_bytes=4 * block).fit()
    for row in (0, 1, 2, 0, 3, 0, 4, 0, 5, 0):
        encoder.transform(lonlat_of([row * 32 + 0.5], [0.5]))
    before = server.bytes_sent
    encoder.transform(lonlat_of([0.5, 5 * 32 + 0.5], [0.5, 0.5]))
    assert server.bytes_sent == before


def test_remote_tiles_of_tessera(server, raster_cache):
    pixels = np.random.RandomState(0).randint(-127, 127, (3, 64, 64)).astype(np.int8)
    scales = np.random.RandomState(1).uniform(0.1, 2, (1, 64, 64)).astype(np.float32)
    write(server.folder / "grid.tif", pixels, blockxsize=32, blockysize=32)
    write(server.folder / "grid_scales.tif", scales, blockxsize=32, blockysize=32)
    address = f"{server.url}/grid.tif"
    encoder = RasterEncoder(address, quantization="tessera", remote=True).fit()
    for _ in range(2):
        found = encoder.transform(lonlat_of([5.5, 40.5], [7.5, 50.5]))
        expected = pixels[:, [5, 40], [7, 50]].T * scales[0, [5, 40], [7, 50]][:, None]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert len(kept(raster_cache)) == 4
    (server.folder / "grid_scales.tif").unlink()
    with pytest.raises(ImageError, match=r"grid_scales.tif cannot be read"):
        encoder.transform(lonlat_of([5.5, 40.5], [50.5, 7.5]))  # in blocks that are not kept
