"""Where a raster lies: around poles, rotated, in degrees of any kind."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Transformer

from skgeo_embed import ImageError, RasterEncoder


def numbered(path, crs, transform, height, width):
    """A raster whose two bands are the row and the column."""
    pixels = np.stack(np.mgrid[:height, :width]).astype(np.int32)
    profile = {"driver": "GTiff", "count": 2, "height": height, "width": width, "dtype": "int32"}
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as file:
        file.write(pixels)
    return path


def places_of(crs, transform, row, column):
    x = transform.a * column + transform.b * row + transform.c
    y = transform.d * column + transform.e * row + transform.f
    return np.column_stack(Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y))


POLAR = {
    "NSIDC north": ("EPSG:3413", Affine(25_000, 0, -3_850_000, 0, -25_000, 5_850_000), 448, 304),
    "NSIDC south": ("EPSG:3976", Affine(25_000, 0, -3_950_000, 0, -25_000, 4_350_000), 332, 316),
    "EASE north": ("EPSG:6931", Affine(1e5, 0, -9e6, 0, -1e5, 9e6), 180, 180),
    "EASE south": ("EPSG:6932", Affine(1e5, 0, -9e6, 0, -1e5, 9e6), 180, 180),
    "south only": ("EPSG:3031", Affine(1e4, 0, -4e6, 0, -1e4, 5e5), 100, 800),
    "beside the pole": ("EPSG:3413", Affine(1e4, 0, -4e6, 0, -1e4, -2e4), 100, 800),
    "the pole in a corner": ("EPSG:3413", Affine(1e4, 0, 0, 0, -1e4, 1e6), 100, 100),
    "turned": ("EPSG:3413", Affine.rotation(30) @ Affine(25e3, 0, -3e6, 0, -25e3, 3e6), 240, 240),
}


@pytest.mark.parametrize("name", POLAR)
def test_every_pixel_of_a_polar_raster_is_found(tmp_path, name):
    crs, transform, height, width = POLAR[name]
    path = numbered(tmp_path / "polar.tif", crs, transform, height, width)
    row, column = np.mgrid[:height:7, :width:7].reshape(2, -1)
    places = places_of(crs, transform, row + 0.5, column + 0.5)
    found = RasterEncoder(path).fit_transform(places)
    np.testing.assert_array_equal(found, np.column_stack([row, column]))


def test_a_place_of_the_nsidc_grid(tmp_path):
    path = numbered(tmp_path / "north.tif", *POLAR["NSIDC north"])
    np.testing.assert_array_equal(RasterEncoder(path).fit_transform([[10, 80]]), [[258, 189]])
    np.testing.assert_array_equal(RasterEncoder(path).fit_transform([[0, 90]]), [[234, 154]])


@pytest.mark.parametrize("angle", [0, 30, 90, 135, 180, 270, 315])
@pytest.mark.parametrize("west", [5, 170, 350])
def test_every_pixel_of_a_rotated_raster_in_degrees_is_found(tmp_path, angle, west):
    transform = Affine.translation(west, 40) @ Affine.rotation(angle) @ Affine.scale(0.1, -0.1)
    path = numbered(tmp_path / "rotated.tif", "EPSG:4326", transform, 50, 50)
    row, column = np.mgrid[:50, :50].reshape(2, -1)
    places = places_of("EPSG:4326", transform, row + 0.5, column + 0.5)
    places[:, 0] = (places[:, 0] + 180) % 360 - 180
    found = RasterEncoder(path).fit_transform(places)
    np.testing.assert_array_equal(found, np.column_stack([row, column]))
    np.testing.assert_allclose(found.mean(axis=0), [24.5, 24.5])


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_rotated_world_has_values_at_both_poles(tmp_path, angle):
    transform = Affine.rotation(angle) @ Affine.translation(-180, 90) @ Affine.scale(10, -10)
    if angle != 180:
        transform = Affine.rotation(angle) @ Affine.translation(-90, 180) @ Affine.scale(10, -10)
    height, width = (18, 36) if angle == 180 else (36, 18)
    path = numbered(tmp_path / "world.tif", "EPSG:4326", transform, height, width)
    found = RasterEncoder(path).fit_transform([[0, -90], [0, 90]])
    across = found[:, 0 if angle == 180 else 1]
    assert sorted(across) == [0, 17]


def test_a_raster_in_grads(tmp_path):
    """400 grads are a circle, and Paris is its zero meridian (EPSG:4807)."""
    transform = Affine(0.1, 0, 395, 0, -0.1, 55)
    path = numbered(tmp_path / "paris.tif", "EPSG:4807", transform, 50, 100)
    row, column = np.array([5.5, 30.5, 44.5]), np.array([3.5, 49.5, 90.5])
    places = places_of("EPSG:4807", transform, row, column)
    assert np.abs(places[:, 0] - 2.3).max() < 5
    found = RasterEncoder(path).fit_transform(places)
    np.testing.assert_array_equal(found, np.floor(np.column_stack([row, column])))


@pytest.mark.parametrize("angle", [0, 90, 270])
def test_every_pixel_around_a_pole_in_rotated_degrees_is_found(tmp_path, angle):
    """The pole of a rotated system lies elsewhere, so a tile beyond 180 may hold the real one."""
    crs = CRS.from_cf(
        {
            "grid_mapping_name": "rotated_latitude_longitude",
            "grid_north_pole_latitude": 39.0,
            "grid_north_pole_longitude": -162.0,
        }
    ).to_wkt()
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(0, -90)
    turn = Affine.rotation(angle) @ Affine.scale(1, -1) @ Affine.translation(-20, -20)
    transform = Affine.translation(x % 360, y) @ turn
    path = numbered(tmp_path / "rotated.tif", crs, transform, 40, 40)
    row, column = np.mgrid[:40, :40].reshape(2, -1)
    places = places_of(crs, transform, row + 0.5, column + 0.5)
    found = RasterEncoder(path).fit_transform(places)
    np.testing.assert_array_equal(found, np.column_stack([row, column]))


@pytest.mark.parametrize(
    "transform", [(1, 1, 9, 1, 1, 50), (1e-320, 0, 9, 0, -1e-320, 50), (np.nan, 0, 9, 0, -1, 50)]
)
def test_a_raster_without_area_is_refused_in_fit(tmp_path, transform):
    path = numbered(tmp_path / "flat.tif", "EPSG:4326", Affine(1, 0, 9, 0, -1, 50), 10, 10)
    a, b, c, d, e, f = transform
    (tmp_path / "flat.vrt").write_text(
        '<VRTDataset rasterXSize="10" rasterYSize="10"><SRS>EPSG:4326</SRS>'
        f"<GeoTransform>{c},{a},{b},{f},{d},{e}</GeoTransform>"
        '<VRTRasterBand dataType="Int32" band="1"><SimpleSource><SourceFilename '
        f'relativeToVRT="1">{path.name}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(ImageError, match=r"flat.vrt has no position: its transform is"):
        RasterEncoder(tmp_path / "flat.vrt").fit()
