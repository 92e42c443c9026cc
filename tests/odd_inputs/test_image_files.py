"""Odd image files in `SatCLIPImageEncoder`: damaged, without data, or leading elsewhere."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import rasterio

from tests.odd_inputs.checking import each, either, reads, refuses
from tests.odd_inputs.test_images import PIXELS, REFLECTANCE, image_encoder, with_pixel

pytestmark = pytest.mark.slow
PLACED = rasterio.Affine(10.0, 0.0, 5e5, 0.0, -10.0, 5e6)
METADATA = b'<PAMDataset><Metadata><MDI key="x">y</MDI></Metadata></PAMDataset>'
VRT_BAND = """<VRTRasterBand dataType="Float32" band="{0}"><SimpleSource>
<SourceFilename relativeToVRT="0">{1}</SourceFilename><SourceBand>{0}</SourceBand>
</SimpleSource></VRTRasterBand>"""


def half_masked():
    mask = np.full((32, 32), 255, np.uint8)
    mask[:16] = 0
    return mask


class Folder:
    """A folder in which a test writes its image, and an address that nothing may ask."""

    def __init__(self, folder, url):
        self.folder, self.url, self.far = folder, url, f"/vsicurl/{url}/x.tif"
        self.path = folder / "image.tif"

    def write(self, content, suffix=""):
        path = self.path.with_name(self.path.name + suffix)
        path.write_bytes(content)
        return path

    def tiff(self, name="image.tif", image=REFLECTANCE[0], mask=None, update=None, **profile):
        bands, height, width = image.shape
        profile = {"driver": "GTiff", "count": bands, "height": height, "width": width,
                   "dtype": image.dtype, "transform": PLACED, **profile}  # fmt: skip
        path = self.folder / name
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", **profile) as file,
        ):
            file.write(image)
            if mask is not None:
                file.write_mask(mask)
            for key, value in (update or {}).items():
                setattr(file, key, value)
        return path

    def sparse_tiff(self, side=60_000):
        """Write some kilobytes that claim gigabytes."""
        profile = {"driver": "GTiff", "count": 3, "height": side, "width": side, "dtype": "uint8"}
        with rasterio.open(self.path, "w", tiled=True, sparse_ok=True, bigtiff=True, **profile):
            return self.path

    def vrt(self, source, suffix=""):
        bands = "".join(VRT_BAND.format(band, source) for band in (1, 2, 3))
        text = f'<VRTDataset rasterXSize="32" rasterYSize="32">{bands}</VRTDataset>'
        return self.write(text.encode(), suffix)

    def beside(self, suffix, content=None):
        """Write a GeoTIFF, and beside it a file that GDAL may open too."""
        if content is None:
            self.vrt(self.far, suffix)
        else:
            self.write(content, suffix)
        return self.tiff()


FILES = [
    reads("GeoTIFF without a place", lambda here: here.tiff(transform=None)),
    reads("a GeoTIFF", lambda here: here.tiff()),
    reads("GeoTIFF as text", lambda here: str(here.tiff())),
    reads("Series of GeoTIFFs", lambda here: pd.Series([str(here.tiff())])),
    reads("polars column of GeoTIFFs", lambda here: pl.Series([str(here.tiff())])),
    reads("array of GeoTIFFs", lambda here: np.array([str(here.tiff())])),
    reads("uint8 GeoTIFF, tiled, BigTIFF", lambda here: here.tiff(image=PIXELS[0], tiled=True,
        blockxsize=16, blockysize=16, bigtiff="YES", compress="deflate")),
    reads("GeoTIFF, nodata 0", lambda here: here.tiff(nodata=0)),
    reads("GeoTIFF, nodata elsewhere", lambda here: here.tiff(nodata=-9999)),
    refuses("GeoTIFF, nodata pixels", lambda here: here.tiff(image=with_pixel(-9999)[1],
        nodata=-9999), "without data", "image.tif"),
    refuses("GeoTIFF, NaN pixels",
        lambda here: here.tiff(image=with_pixel(np.nan)[1], nodata=np.nan), "NaN"),
    refuses("GeoTIFF, pixels of 1e20", lambda here: here.tiff(image=with_pixel(1e20)[1]), "1e+20"),
    refuses("GeoTIFF, half of it masked", lambda here: here.tiff(mask=half_masked()),
        "without data", "image.tif"),
    refuses("GeoTIFF with scales and offsets", lambda here: here.tiff(image=PIXELS[0],
        update={"scales": (0.01,) * 3, "offsets": (5.0,) * 3}), "scale"),
    refuses("complex GeoTIFF", lambda here: here.tiff(image=REFLECTANCE[0].astype(np.complex64)),
        "complex"),
    refuses("GeoTIFF of four bands", lambda here: here.tiff(image=np.zeros((4, 32, 32), np.uint8)),
        "3 bands", "with 4"),
    refuses("sparse GeoTIFF of 60,000 pixels a side", lambda here: here.sparse_tiff(), "image.tif",
        "MiB"),
    refuses("cut GeoTIFF", lambda here: here.write(here.tiff().read_bytes()[:900]), "image.tif"),
    refuses("GeoTIFF whose directory lies beyond its end",
        lambda here: here.write(b"II*\0\xff\xff\xff\x7f"), "image.tif"),
    refuses("GeoTIFF whose directory is itself",
        lambda here: here.write(b"II*\0\x08\0\0\0\0\0\x08\0\0\0"), "image.tif"),
    refuses("empty .tif", lambda here: here.write(b""), "image.tif"),
    refuses("text as .tif", lambda here: here.write(b"hello"), "image.tif"),
    refuses("VRT as .tif", lambda here: here.vrt(here.tiff("source.tif")), "image.tif",
        "not a GeoTIFF"),
    refuses("VRT that asks the network", lambda here: here.vrt(here.far), "image.tif",
        "not a GeoTIFF"),
    refuses("overviews that ask the network", lambda here: here.beside(".ovr"), "image.tif.ovr"),
    either("mask that asks the network", lambda here: here.beside(".msk")),
    reads("metadata beside it", lambda here: here.beside(".aux.xml", METADATA)),
    refuses("an address", lambda here: f"{here.url}/x.tif", "address"),
    refuses("/vsicurl/", lambda here: here.far, "address"),
    refuses("//vsicurl/", lambda here: f"//vsicurl/{here.url}/x.tif", "x.tif"),
    refuses("zip+https", lambda here: "zip+https://127.0.0.1/x.zip!x.tif", "address"),
    refuses("subdataset", lambda here: f"GTIFF_DIR:1:{here.tiff()}", "GTIFF_DIR"),
    refuses("VRT in the name", lambda here: f"<VRTDataset>{here.url}</VRTDataset>", "VRTDataset"),
    refuses("no such file", lambda here: here.folder / "none.tif", "none.tif"),
    refuses("folder", lambda here: here.folder, "cannot be read"),
    refuses("a null in the name", lambda here: "a\0.tif", "null"),
    refuses("a long name", lambda here: "a" * 5000 + ".tif", "image"),
    refuses("an empty name", lambda here: "", "image"),
    refuses("bytes as name", lambda here: [bytes(here.tiff())], "images"),
    refuses("paths and images", lambda here: [here.tiff(), PIXELS[0]], "path"),
    refuses("paths and None", lambda here: [here.tiff(), None], "images"),
]  # fmt: skip


@each(FILES)
def test_transform(odd, tmp_path, loopback):
    odd.check(
        lambda path: image_encoder().transform(path),
        lambda: image_encoder().transform(REFLECTANCE[:1]),
        Folder(tmp_path, loopback.url),
    )
