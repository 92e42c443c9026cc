import sys

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch

from skgeo_embed import SatCLIPImageEncoder
from skgeo_embed._errors import ImageError
from skgeo_embed.nn.vision.resnet import resnet18
from skgeo_embed.nn.vision.vit import VisionTransformer


def tower(in_channels=13, image_size=None, dim=4):
    """A tower whose output shows what it was given: mean of each of the first bands."""

    class Means(torch.nn.Module):
        def forward(self, image):
            assert image.shape[1] == in_channels
            assert image_size is None or image.shape[2:] == (image_size, image_size)
            return image.mean(dim=(2, 3))

    module = Means()
    module.config = {"in_channels": in_channels, "image_size": image_size}
    return module


@pytest.fixture
def geotiffs(tmp_path):
    rng = np.random.RandomState(0)
    images = rng.randint(0, 10000, (3, 12, 20, 24)).astype(np.uint16)
    paths = []
    for i, image in enumerate(images):
        paths.append(tmp_path / f"{i}.tif")
        with rasterio.open(
            paths[-1],
            "w",
            driver="GTiff",
            count=12,
            height=20,
            width=24,
            dtype="uint16",
            crs="EPSG:32631",
            transform=rasterio.Affine(10, 0, 500000, 0, -10, 4000000),
        ) as file:
            file.write(image)
    return images, paths


def test_twelve_bands_get_a_zero_b10(geotiffs):
    images, _ = geotiffs
    means = SatCLIPImageEncoder(tower()).fit().transform(images)
    assert means.shape == (3, 13)
    np.testing.assert_array_equal(means[:, 10], 0)
    expected = images.mean(axis=(2, 3)) / 10000
    np.testing.assert_allclose(np.delete(means, 10, axis=1), expected, rtol=1e-5)


def test_files_give_what_arrays_give(geotiffs):
    images, paths = geotiffs
    encoder = SatCLIPImageEncoder(tower(), batch_size=2).fit(images)
    expected = encoder.transform(images)
    for source in (paths, [str(p) for p in paths], pd.Series(paths), np.array(paths, dtype=object)):
        np.testing.assert_array_equal(encoder.transform(source), expected)
    np.testing.assert_array_equal(encoder.fit(paths).transform(paths[0]), expected[:1])


def test_centre_is_cut_out(geotiffs):
    images, _ = geotiffs
    means = SatCLIPImageEncoder(tower(image_size=8)).fit().transform(images)
    expected = images[:, :, 6:14, 8:16].mean(axis=(2, 3)) / 10000
    np.testing.assert_allclose(np.delete(means, 10, axis=1), expected, rtol=1e-5)


def test_resize(geotiffs):
    images, _ = geotiffs
    flat = np.full_like(images, 5000)
    means = SatCLIPImageEncoder(tower(image_size=32), resize=True).fit().transform(flat)
    np.testing.assert_allclose(np.delete(means, 10, axis=1), 0.5, rtol=1e-5)
    with pytest.raises(
        ImageError, match=r"takes 32 × 32 pixels, but the images have 20 × 24.*resize=True"
    ):
        SatCLIPImageEncoder(tower(image_size=32)).fit().transform(images)


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [(np.uint8, 255, 1.0), (np.uint16, 10000, 1.0), (np.int32, 5000, 0.5), (np.float64, 0.3, 0.3)],
)
def test_scaling(dtype, value, expected):
    images = np.full((1, 13, 4, 4), value, dtype=dtype)
    np.testing.assert_allclose(
        SatCLIPImageEncoder(tower()).fit().transform(images), expected, rtol=1e-6
    )


def test_wrong_bands_are_told():
    images = np.zeros((1, 4, 8, 8), dtype=np.float32)
    with pytest.raises(ImageError, match=r"takes 13 bands, got images with 4.*Sentinel-2"):
        SatCLIPImageEncoder(tower()).fit().transform(images)
    with pytest.raises(ImageError, match="takes 3 bands, got images with 4"):
        SatCLIPImageEncoder(tower(in_channels=3)).fit(images)


def test_images_of_different_sizes(geotiffs, tmp_path):
    _, paths = geotiffs
    with rasterio.open(paths[0]) as file:
        profile, image = file.profile, file.read()
    other = tmp_path / "other.tif"
    with rasterio.open(other, "w", **{**profile, "height": 10}) as file:
        file.write(image[:, :10])
    with pytest.raises(ImageError, match="differ in shape"):
        SatCLIPImageEncoder(tower()).fit().transform([*paths, other])
    one_by_one = SatCLIPImageEncoder(tower(), batch_size=1).fit().transform([*paths, other])
    assert one_by_one.shape == (4, 13)
    cut = SatCLIPImageEncoder(tower(image_size=8)).fit()
    from_files = cut.transform([*paths, other])
    assert from_files.shape == (4, 13)
    arrays = [*geotiffs[0], image[:, :10]]
    np.testing.assert_array_equal(cut.transform(arrays), from_files)


def test_unreadable_file_is_named(tmp_path):
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"broken\.tif is not a GeoTIFF: it begins with"):
        SatCLIPImageEncoder(tower()).fit().transform([broken])


def test_missing_rasterio_is_explained(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ImportError, match=r'pip install "skgeo-embed\[images\]"'):
        SatCLIPImageEncoder(tower()).fit().transform([tmp_path / "a.tif"])


@pytest.mark.parametrize("build", [resnet18, VisionTransformer])
def test_real_towers_take_sentinel2(build):
    torch.manual_seed(0)
    module = build(embed_dim=8)
    images = np.random.RandomState(0).randint(0, 4000, (2, 12, 224, 224)).astype(np.uint16)
    module.config = {"in_channels": 13, "image_size": 224}
    assert SatCLIPImageEncoder(module, normalize=True).fit_transform(images).shape == (2, 8)


def test_bad_pixels_are_told(geotiffs, tmp_path):
    images, paths = geotiffs
    broken = images.astype(np.float32) / 10000
    broken[1, 0, 0, 0] = np.nan
    with pytest.raises(ImageError, match="image 1 contains NaN"):
        SatCLIPImageEncoder(tower()).fit().transform(broken)
    with pytest.warns(UserWarning, match="look like Sentinel-2 digital numbers"):
        SatCLIPImageEncoder(tower()).fit().transform(images.astype(np.float32))
    with rasterio.open(paths[0]) as file:
        profile = file.profile
    gap = tmp_path / "gap.tif"
    with rasterio.open(gap, "w", **{**profile, "nodata": 65535}) as file:
        image = images[0].copy()
        image[:, 0, :2] = 65535
        file.write(image)
    with pytest.raises(ImageError, match=r"gap\.tif has 24 pixels without data \(65535\)"):
        SatCLIPImageEncoder(tower()).fit().transform([gap])


def test_names_are_known_from_the_tower():
    torch.manual_seed(0)
    module = resnet18(embed_dim=8)
    module.config = {"in_channels": 13, "embed_dim": 8}
    assert len(SatCLIPImageEncoder(module).fit().get_feature_names_out()) == 8
