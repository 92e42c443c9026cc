"""Image files: GeoTIFFs and nothing else, no larger than they may be."""

import numpy as np
import pytest

from skgeo_embed import ImageError, SatCLIPImageEncoder, SatCLIPPretrainer
from skgeo_embed.images import files
from skgeo_embed.images.files import read_geotiff

rasterio = pytest.importorskip("rasterio")


def write(path, image, **profile):
    bands, height, width = image.shape
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, **profile}
    with rasterio.open(path, "w", dtype=image.dtype, **profile) as file:
        file.write(image)
    return path


@pytest.fixture
def image():
    return np.random.RandomState(0).randint(1, 255, (3, 20, 30)).astype(np.uint8)


def test_a_vrt_is_not_followed(tmp_path, image, monkeypatch):
    secret = write(tmp_path / "secret.tif", image)
    vrt = tmp_path / "image.tif"
    source = f"""<VRTDataset rasterXSize="30" rasterYSize="20"><VRTRasterBand dataType="Byte"
        band="1"><SimpleSource><SourceFilename>{secret}</SourceFilename></SimpleSource>
        </VRTRasterBand></VRTDataset>"""
    vrt.write_text(source)
    with rasterio.open(vrt) as file:  # what GDAL makes of it where it is free to choose
        assert file.driver == "VRT"
    opened = []
    monkeypatch.setattr(rasterio, "open", lambda *a, **k: opened.append(a))
    with pytest.raises(ImageError, match=r"image\.tif is not a GeoTIFF: it begins with b'<VRT'"):
        read_geotiff(vrt)
    with pytest.raises(ImageError, match="is not a GeoTIFF"):
        read_geotiff("shard.tif", vrt.read_bytes())
    assert opened == []


@pytest.mark.parametrize(
    "name", ["https://127.0.0.1/x.tif", "/vsicurl/http://127.0.0.1/x.tif", "s3://a/b.tif"]
)
def test_addresses_are_not_opened(name, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was used"))
    with pytest.raises(ImageError, match="is an address"):
        read_geotiff(name)


def test_the_size_is_looked_at_first(tmp_path):
    sparse = tmp_path / "sparse.tif"
    options = {"count": 12, "height": 60_000, "width": 60_000, "dtype": "uint16"}
    with rasterio.open(sparse, "w", driver="GTiff", SPARSE_OK=True, tiled=True, **options):
        pass
    assert sparse.stat().st_size < 10**8
    with pytest.raises(ImageError, match=r"12 band\(s\) of 60000 × 60000 pixels, 82,397 MiB"):
        read_geotiff(sparse)
    assert read_geotiff(sparse, side=8).shape == (12, 8, 8)


def test_only_the_centre_is_read(tmp_path, image):
    path = write(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(read_geotiff(path, side=10), image[:, 5:15, 10:20])
    np.testing.assert_array_equal(read_geotiff(path, side=25), image[:, :, 2:27])
    np.testing.assert_array_equal(read_geotiff(path), image)


@pytest.mark.parametrize("value", [1e20, -3.4e38, np.inf, np.nan])
def test_pixels_that_mark_missing_data(tmp_path, image, value):
    broken = np.repeat(image[None], 4, axis=0).astype(np.float32)
    broken[2, 1, 3, 4] = value
    encoder = SatCLIPImageEncoder("bluemarble-l10").fit()
    with pytest.raises(ImageError, match=r"^image 2 (has pixels of|contains NaN)"):
        encoder.transform(broken)
    coords = np.column_stack([np.arange(4.0), np.arange(4.0)])
    with pytest.raises(ImageError, match=r"1 of 4 images .*first: 2"):
        SatCLIPPretrainer("satclip", batch_size=2, verbose=0).fit(broken, coords)
    paths = [write(tmp_path / f"{i}.tif", b) for i, b in enumerate(broken)]
    with pytest.raises(ImageError, match=r"2\.tif: the image"):
        SatCLIPPretrainer("satclip", batch_size=2, verbose=0).fit(paths, coords)


def test_masked_images(image):
    images = np.ma.masked_equal(np.repeat(image[None], 2, axis=0), image[0, 0, 0])
    with pytest.raises(ImageError, match=r"masked array with \d+ masked values"):
        SatCLIPImageEncoder("bluemarble-l10").fit().transform(images)
    whole = np.ma.masked_array(images.data, mask=False)
    assert SatCLIPImageEncoder("bluemarble-l10").fit().transform(whole).shape == (2, 256)


def test_one_warning_for_all_images():
    torch = pytest.importorskip("torch")
    tower = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    tower.config = {"in_channels": 13}
    images = np.full((6, 13, 4, 4), 3000.0, dtype=np.float32)
    encoder = SatCLIPImageEncoder(tower, batch_size=2).fit()
    with pytest.warns(UserWarning, match="image 0 has float values up to 3000") as caught:
        encoder.transform(images)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_limits_are_said_in_mebibytes(tmp_path, image, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_BYTES", 1024)
    with pytest.raises(ImageError, match=r"a\.tif has 3 band\(s\) of 20 × 30 pixels"):
        read_geotiff(write(tmp_path / "a.tif", image))


@pytest.mark.parametrize("side", [None, 8])
def test_an_image_whose_blocks_unpack_to_gigabytes(tmp_path, side):
    path = tmp_path / "bomb.tif"
    size = {"height": 64, "width": 64, "tiled": True, "blockxsize": 32_768, "blockysize": 32_768}
    options = {"count": 1, "dtype": "uint8", "compress": "deflate", "SPARSE_OK": True, **size}
    with rasterio.open(path, "w", driver="GTiff", **options):
        pass
    with pytest.raises(
        ImageError, match=r"bomb.tif is stored in blocks of 32768 × 32768 pixels, 1"
    ):
        read_geotiff(path, side=side)
    with pytest.raises(ImageError, match=r"shard.tif is stored in blocks"):
        read_geotiff("shard.tif", path.read_bytes(), side=side)


def test_text_of_an_image_that_is_no_text(tmp_path, image):
    """A bit was flipped in the name of the reference system."""
    crs = rasterio.crs.CRS.from_string("+proj=laea +lat_0=52 +lon_0=10").to_wkt()
    crs = crs.replace('PROJCS["unknown"', 'PROJCS["meadows"')
    path = write(tmp_path / "a.tif", image, crs=crs)
    path.write_bytes(path.read_bytes().replace(b"meadows", b"mead\xc5ws"))
    with pytest.raises(ImageError, match=r"a.tif cannot be read as an image: .*codec"):
        read_geotiff(path)
