import sys

import numpy as np
import pandas as pd
import pytest

from skgeo_embed.datasets import load_air_temperature, load_blue_marble, load_earth_tiles
from skgeo_embed.datasets._blue_marble import (
    KM_PER_DEGREE,
    cut_tiles,
    is_land,
    read_band,
    read_mosaic,
)


def test_air_temperature():
    bunch = load_air_temperature()
    assert bunch.data.shape == (3076, 2)
    assert list(bunch.frame.columns) == [
        "lon",
        "lat",
        "mean_temperature_c",
        "mean_precipitation_mm",
    ]
    assert bunch.target.max() == pytest.approx(30.458333333333336)
    assert bunch.target.min() == pytest.approx(-19.55)
    assert "CC BY 4.0" in bunch.DESCR
    X, y = load_air_temperature(return_X_y=True, as_frame=False)
    assert isinstance(X, np.ndarray)
    np.testing.assert_array_equal(X, bunch.data)
    np.testing.assert_array_equal(y, bunch.target)
    assert isinstance(load_air_temperature(return_X_y=True)[1], pd.Series)
    assert load_air_temperature(as_frame=False).frame is None


def test_blue_marble_shapes_and_seed():
    tiles = load_blue_marble(50, tile_size=8, random_state=0)
    assert tiles.images.shape == (50, 3, 8, 8)
    assert tiles.images.dtype == np.uint8
    assert tiles.coords.shape == (50, 2)
    images, coords = load_blue_marble(50, tile_size=8, random_state=0, return_X_y=True)
    np.testing.assert_array_equal(images, tiles.images)
    np.testing.assert_array_equal(coords, tiles.coords)
    assert not np.array_equal(load_blue_marble(50, random_state=1).coords, coords)


def test_blue_marble_is_uniform_by_area():
    coords = load_blue_marble(20000, tile_size=1, land_only=False, random_state=0).coords
    height = np.sin(np.deg2rad(coords[:, 1]))
    low, high = np.sin(np.deg2rad([-60, 84]))
    counts, _ = np.histogram(height, bins=10, range=(low, high))
    assert abs(counts / 2000 - 1).max() < 0.1
    assert coords[:, 1].min() >= -60
    assert coords[:, 1].max() <= 84


def test_blue_marble_knows_land():
    places = {
        (2.35, 48.86): True,  # Paris
        (23.0, 22.0): True,  # Sahara
        (-62.0, -4.0): True,  # Amazon
        (-40.0, 75.0): True,  # Greenland's ice
        (-30.0, 30.0): False,  # Atlantic
        (-150.0, 0.0): False,  # Pacific
        (179.9, -40.0): False,
    }
    found = is_land(read_mosaic(), np.array(list(places)))
    assert found.tolist() == list(places.values())


def test_tiles_keep_their_ground_footprint():
    height, width = 1800, 3600
    rows, columns = np.mgrid[:height, :width]
    # a picture of its own coordinates: red is latitude, green and blue are longitude
    mosaic = np.stack([rows // 8, columns // 16, columns % 16], axis=-1).astype(np.uint8)
    for lat in (0.0, 60.0, -75.0):
        tile = cut_tiles(mosaic, np.array([[20.05, lat]]), 9, km_per_pixel=50)[0].astype(int)
        lons = (tile[1] * 16 + tile[2] + 0.5) / 10 - 180
        lats = 90 - (tile[0] * 8 + 4) / 10
        east = (lons[4, 8] - lons[4, 0]) * np.cos(np.deg2rad(lat)) * KM_PER_DEGREE
        south = (lats[0, 4] - lats[8, 4]) * KM_PER_DEGREE
        assert east == pytest.approx(400, abs=25)
        assert south == pytest.approx(400, abs=95)
        assert lons[4, 4] == pytest.approx(20.05, abs=0.1)


def test_scales_and_night_lights():
    plain = load_blue_marble(20, tile_size=8, km_per_pixel=20, random_state=0)
    tiles = load_blue_marble(
        20, tile_size=8, km_per_pixel=(5, 20), night_lights=True, random_state=0
    )
    assert tiles.images.shape == (20, 8, 8, 8)
    np.testing.assert_array_equal(tiles.images[:, 4:7], plain.images)
    np.testing.assert_array_equal(tiles.coords, plain.coords)
    cities = np.array([[2.35, 48.86], [-87.65, 41.85], [23.0, 22.0], [-62.0, -4.0]])
    lights = cut_tiles(read_band("lights"), cities, 5, 5)[:, 0].mean(axis=(1, 2))
    assert lights[:2].min() > 100  # Paris, Chicago
    assert lights[2:].max() < 5  # the Sahara, the Amazon
    with pytest.raises(ValueError, match="km_per_pixel must be positive"):
        load_blue_marble(2, km_per_pixel=(5, -1))


def test_tiles_cross_the_antimeridian():
    mosaic = np.zeros((180, 360, 3), dtype=np.uint8)
    mosaic[:, :, 0] = np.arange(360) // 2
    tile = cut_tiles(mosaic, np.array([[179.9, 0.0]]), 4, km_per_pixel=KM_PER_DEGREE)[0]
    assert tile[0, 0].tolist() == [179, 179, 0, 0]


@pytest.mark.parametrize("name", ["n_tiles", "tile_size", "km_per_pixel"])
def test_bad_numbers(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        load_blue_marble(**{name: 0})


def test_missing_pillow_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    read_band.cache_clear()
    with pytest.raises(ImportError, match=r'pip install "skgeo-embed\[images\]"'):
        load_blue_marble(1)


def test_sentinel2_patches():
    from skgeo_embed.datasets import load_sentinel2_patches

    patches = load_sentinel2_patches()
    assert patches.images.shape == (6, 12, 256, 256)
    assert patches.images.dtype == np.uint16
    assert list(patches.coords.columns) == ["lon", "lat"]
    assert all(path.is_file() for path in patches.paths)
    names = [path.name for path in patches.paths]
    brightness = dict(zip(names, patches.images[:, 3].mean(axis=(1, 2)), strict=True))
    assert max(brightness, key=brightness.get) in ("patch_445.tif", "patch_70541.tif")  # ice, sand
    images, coords = load_sentinel2_patches(return_X_y=True)
    np.testing.assert_array_equal(images, patches.images)
    pd.testing.assert_frame_equal(coords, patches.coords)


@pytest.mark.parametrize("region", [(-10, 36, 3, 44), (170, 60, -170, 70)])
def test_tiles_of_a_region(region):
    coords = load_earth_tiles(200, tile_size=2, region=region, random_state=0).coords
    west, south, east, north = region
    assert ((coords[:, 1] >= south) & (coords[:, 1] <= north)).all()
    assert ((coords[:, 0] - west) % 360 <= (east - west) % 360).all()
    whole = load_earth_tiles(200, tile_size=2, random_state=0).coords
    assert np.ptp(whole[:, 0]) > 300


def test_impossible_regions():
    for region, message in (
        ((0, 50, 10, 40), "south below north"),
        ((0, -80, 10, 40), "from -60 to 84"),
        ((-150, -30, -145, -28), "has no land"),
    ):
        with pytest.raises(ValueError, match=message):
            load_earth_tiles(5, tile_size=2, region=region, random_state=0)


def test_bounds_is_the_earlier_name_of_region():
    region = (-10, 36, 3, 44)
    coords = load_earth_tiles(20, tile_size=2, region=region, random_state=0).coords
    with pytest.warns(FutureWarning, match="bounds is called region now"):
        same = load_earth_tiles(20, tile_size=2, bounds=region, random_state=0).coords
    np.testing.assert_array_equal(same, coords)
    with pytest.raises(ValueError, match="pass region only"):
        load_earth_tiles(20, region=region, bounds=region)
