"""What is checked in fit, and still so in transform: blocks, companions, files that change."""

import os
import pickle
import shutil

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray
from affine import Affine

from skgeo_embed import ImageError, RasterEncoder
from skgeo_embed.rasters import geotiff
from tests.rasters.small_tiles import (
    CENTRES,
    COLUMNS,
    ROWS,
    SIZE,
    pixels_of,
    tessera_tile,
    write,
)


def geotiff_of(folder, seed):
    write(folder / "tile.tif", pixels_of(seed), compress="none")
    return folder / "tile.tif", None


def vrt_of(folder, seed):
    write(folder / "source.tif", pixels_of(seed), compress="none")
    if not (folder / "tile.vrt").exists():
        with rasterio.open(folder / "source.tif") as file:
            rasterio.shutil.copy(file, folder / "tile.vrt", driver="VRT")
    return folder / "tile.vrt", None


def zarr_of(folder, seed):
    array = xarray.DataArray(
        pixels_of(seed), dims=("band", "y", "x"), name="emb", attrs={"proj:code": "EPSG:32632"},
        coords={"y": 5_299_995 - 10 * np.arange(SIZE), "x": 500_005 + 10 * np.arange(SIZE)},
    )  # fmt: skip
    array.encoding = {"compressors": None}
    array.to_dataset().to_zarr(folder / "tile.zarr", mode="w")
    return folder / "tile.zarr", None


def chunk_of(folder, seed):
    if not (folder / "tile.zarr").exists():
        return zarr_of(folder, seed)
    next(file for file in (folder / "tile.zarr/emb/c").rglob("*") if file.is_file()).write_bytes(
        pixels_of(seed).tobytes()
    )
    return folder / "tile.zarr", None


def npy_of(folder, seed):
    tessera_tile(folder, "tile", seed)
    return folder / "tile.npy", "tessera"


def scales_of(folder, seed):
    write(folder / "tile.tif", pixels_of(0))
    os.utime(folder / "tile.tif", ns=(10**18, 10**18))
    write(folder / "tile_scales.tif", np.full((1, SIZE, SIZE), seed + 1, np.float32))
    return folder / "tile.tif", "tessera"


def mask_of(folder, seed):
    if not (folder / "tile.tif").exists():
        return geotiff_of(folder, 0)
    stamp = (folder / "tile.tif").stat().st_mtime_ns
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(folder / "tile.tif", "r+") as f:
        f.write_mask(np.eye(SIZE) < 1)
    assert (folder / "tile.tif.msk").exists()
    os.utime(folder / "tile.tif", ns=(stamp, stamp))
    return folder / "tile.tif", None


@pytest.mark.parametrize(
    "make", [geotiff_of, vrt_of, zarr_of, chunk_of, npy_of, scales_of, mask_of]
)
def test_a_raster_that_is_replaced_after_fit_is_not_read(tmp_path, make):
    path, quantization = make(tmp_path, 0)
    encoder = RasterEncoder(path, quantization=quantization, on_invalid="nan").fit()
    before = encoder.transform(CENTRES)
    make(tmp_path, 1)
    with pytest.raises(ImageError, match=r"has changed since fit; fit again"):
        encoder.transform(CENTRES)
    encoder.fit()
    assert not np.array_equal(encoder.transform(CENTRES), before)


def test_a_raster_whose_copy_kept_the_time_of_another(tmp_path):
    """As archives and rsync do; uncompressed rasters of one shape have one size, too."""
    paths = [tmp_path / "tile.tif", tmp_path / "other.tif"]
    for seed, path in enumerate(paths):
        write(path, pixels_of(seed), compress="none")
        os.utime(path, ns=(10**18, 10**18))
    assert paths[0].stat().st_size == paths[1].stat().st_size
    encoder = RasterEncoder(paths[0]).fit()
    expected = encoder.transform(CENTRES)
    again = pickle.loads(pickle.dumps(encoder))
    shutil.copy2(paths[0], tmp_path / "same.tif")
    (tmp_path / "same.tif").replace(paths[0])
    np.testing.assert_array_equal(again.transform(CENTRES), expected)  # the same again
    paths[1].replace(paths[0])
    with pytest.raises(ImageError, match=r"tile.tif has changed since fit; fit again"):
        encoder.transform(CENTRES)


def test_chunks_of_a_store_that_changed_places(tmp_path):
    path, _ = zarr_of(tmp_path, 0)
    encoder = RasterEncoder(path).fit()
    files = [file for file in path.rglob("*") if file.is_file()]
    first, second = sorted(file for file in files if file.suffix != ".json")[:2]
    first.rename(tmp_path / "between")
    second.rename(first)
    (tmp_path / "between").rename(second)
    with pytest.raises(ImageError, match=r"has changed since fit; fit again"):
        encoder.transform(CENTRES)


def test_a_raster_that_is_gone(tmp_path):
    path, _ = geotiff_of(tmp_path, 0)
    encoder = RasterEncoder(path).fit()
    path.unlink()
    with pytest.raises(ImageError, match=r"tile.tif is gone since fit; fit again"):
        encoder.transform(CENTRES)


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    from skgeo_embed.rasters import tiles

    path, _ = geotiff_of(tmp_path, 0)
    encoder = RasterEncoder(path).fit()
    real = tiles.READERS["gdal"]

    def touching(stored):
        os.utime(path, ns=(10**18, 10**18))
        return real(stored)

    monkeypatch.setitem(tiles.READERS, "gdal", touching)
    with pytest.raises(ImageError, match=r"tile.tif has changed since fit"):
        encoder.transform(CENTRES)


@pytest.mark.parametrize("name", ["tile.tif", "tile_scales.tif", "tile.tif.msk", "source.tif"])
def test_a_block_that_unpacks_to_much_memory_is_refused_in_fit(tmp_path, monkeypatch, name):
    """Of the raster itself, of its scales, of its mask, and of what a VRT leads to."""
    small = {"blockxsize": 16, "blockysize": 16}
    large = {"blockxsize": 96, "blockysize": 96}
    write(tmp_path / "tile.tif", pixels_of(bands=1), **small)
    path, quantization = tmp_path / "tile.tif", None
    if name == "tile_scales.tif":
        quantization = "tessera"
    if name == "source.tif":
        path, _ = vrt_of(tmp_path, 0)
    write(tmp_path / name, pixels_of(bands=1), **large)
    monkeypatch.setattr(geotiff, "LARGEST_BLOCK", 96 * 96 - 1)
    with pytest.raises(ImageError, match=rf"{name} is stored in blocks of 96 × 96 pixels, 0 MiB"):
        RasterEncoder(path, quantization=quantization).fit()


def test_a_bomb_of_a_raster(tmp_path):
    """A file of some kilobytes that would unpack to two gigabytes."""
    path, transform = tmp_path / "bomb.tif", Affine(10, 0, 500_000, 0, -10, 5_300_000)
    profile = {"driver": "GTiff", "count": 1, "height": 46_000, "width": 46_000, "dtype": "uint8"}
    with rasterio.open(
        path, "w", crs="EPSG:32632", transform=transform, SPARSE_OK=True, tiled=True,
        blockxsize=46_000, blockysize=46_000, compress="deflate", **profile,
    ):  # fmt: skip
        pass
    with pytest.raises(ImageError, match=r"blocks of 46000 × 46000 pixels, 2,018 MiB .* 512 MiB"):
        RasterEncoder(path).fit()


def test_scales_that_do_not_fit(tmp_path):
    write(tmp_path / "tile.tif", pixels_of())
    write(tmp_path / "tile_scales.tif", pixels_of(bands=1, size=48))
    with pytest.raises(
        ImageError, match=r"tile_scales.tif has shape \(1, 48, 48\), which does not"
    ):
        RasterEncoder(tmp_path / "tile.tif", quantization="tessera").fit()
    folder = tmp_path / "arrays"
    folder.mkdir()
    tessera_tile(folder)
    np.save(folder / "grid_9.05_47.85_scales.npy", np.ones((SIZE, 3), np.float32))
    with pytest.raises(ImageError, match=r"_scales.npy has shape \(1, 96, 3\), which does not fit"):
        RasterEncoder(folder, quantization="tessera").fit()


def test_a_product_of_another_type_is_refused_in_fit(tmp_path):
    raw, _ = tessera_tile(tmp_path)
    np.save(tmp_path / "grid_9.05_47.85.npy", np.moveaxis(raw, 0, 2).astype(np.float32))
    with pytest.raises(ImageError, match=r"float32, but quantization='tessera' expects int8"):
        RasterEncoder(tmp_path, quantization="tessera").fit()
    path, _ = zarr_of(tmp_path, 0)
    zarr = xarray.open_zarr(path).astype(np.int16)
    zarr.emb.encoding.clear()
    zarr.emb.attrs["proj:code"] = "EPSG:32632"
    zarr.to_zarr(tmp_path / "wide.zarr")
    with pytest.raises(ImageError, match=r"int16, but quantization='alphaearth' expects int8"):
        RasterEncoder(tmp_path / "wide.zarr", quantization="alphaearth").fit()


def test_a_damaged_array(tmp_path):
    tessera_tile(tmp_path)
    file = tmp_path / "grid_9.05_47.85.npy"
    whole = file.read_bytes()
    for content in (b"", whole[:50], whole[:-1]):
        file.write_bytes(content)
        with pytest.raises(ImageError, match=r"47.85.npy is not an array of numbers"):
            RasterEncoder(tmp_path, quantization="tessera").fit()


def test_an_array_needs_scales_only_where_the_product_has_them(tmp_path):
    raw, _ = tessera_tile(tmp_path)
    (tmp_path / "grid_9.05_47.85_scales.npy").unlink()
    found = RasterEncoder(tmp_path / "grid_9.05_47.85.npy").fit_transform(CENTRES)
    np.testing.assert_array_equal(found, raw[:, ROWS, COLUMNS].T)


def test_a_damaged_block_of_a_geotiff(tmp_path):
    path = write(tmp_path / "tile.tif", pixels_of())
    whole = bytearray(path.read_bytes())
    whole[-4000:-3000] = bytes(1000)
    path.write_bytes(whole)
    with pytest.raises(ImageError, match=r"tile.tif cannot be read as a raster"):
        RasterEncoder(path).fit_transform(CENTRES)


def test_a_reference_system_without_a_place_on_earth(tmp_path):
    local = 'CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]'
    local = f'ENGCRS["here",EDATUM["there"],{local}]'
    path = write(tmp_path / "local.tif", pixels_of(), crs=local)
    with pytest.raises(ImageError, match=r"local.tif has a CRS that longitude and latitude cannot"):
        RasterEncoder(path).fit()


def test_text_that_is_no_text(tmp_path):
    """A bit of the file's descriptions was flipped."""
    path = write(tmp_path / "tile.tif", pixels_of())
    with rasterio.open(path, "r+") as file:
        file.set_band_description(1, "greenness")
    path.write_bytes(path.read_bytes().replace(b"greenness", b"green\xc5ess"))
    with pytest.raises(ImageError, match=r"tile.tif cannot be read as a raster: .*codec"):
        RasterEncoder(path).fit()


@pytest.mark.parametrize("code", [4978, 5773])
def test_a_reference_system_that_is_not_of_maps(tmp_path, code):
    """Of geocentric and of vertical systems x and y are no place in a plane."""
    array = xarray.DataArray(
        pixels_of(bands=1)[0],
        dims=("y", "x"),
        coords={"y": 1e5 - np.arange(96.0), "x": 6.3e6 + np.arange(96.0)},
        attrs={"proj:code": f"EPSG:{code}"},
    )
    array.to_dataset(name="emb").to_zarr(tmp_path / "tile.zarr")
    with pytest.raises(ImageError, match=r"tile.zarr has a CRS that is neither .*: a \w+ CRS"):
        RasterEncoder(tmp_path / "tile.zarr").fit()


@pytest.mark.parametrize("suffix", [".TIF", ".TIFF", ".Tif"])
def test_the_land_mask_of_an_array_whatever_the_case_of_its_name(tmp_path, suffix):
    tessera_tile(tmp_path)
    expected = RasterEncoder(tmp_path, quantization="tessera").fit_transform(CENTRES)
    place = tmp_path / "grid_9.05_47.85.tiff"
    place.rename(place.with_suffix(suffix))
    found = RasterEncoder(tmp_path, quantization="tessera").fit_transform(CENTRES)
    np.testing.assert_array_equal(found, expected)
