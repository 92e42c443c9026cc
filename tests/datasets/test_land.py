import numpy as np
import pytest

from skgeo_embed.datasets import land_mask, load_air_temperature, load_coastlines
from skgeo_embed.datasets._land import places_on_land


def test_continents_and_oceans():
    lon, lat = [-100, -30, 20, 100, 135, 0], [40, 0, -85, -25]
    mask = land_mask(lon, lat)
    assert mask.dtype == bool
    assert mask[0].tolist() == [True, False, True, True, False, True]
    assert mask[1, 2]  # Congo
    assert not mask[1, 1]  # the Atlantic
    assert mask[2].all()  # Antarctica
    assert mask[3, 4]  # Australia


def test_share_of_land_is_the_earths():
    lon, lat = np.arange(-179.5, 180), np.arange(-89.5, 90)
    weights = np.cos(np.deg2rad(lat))[:, None] * np.ones(360)
    assert np.average(land_mask(lon, lat), weights=weights) == pytest.approx(0.29, abs=0.01)


def test_poles_and_antimeridian():
    assert land_mask([-180, 0, 180, 359], [-90, -89]).all()
    assert not land_mask([-180, 0, 180], [90]).any()
    np.testing.assert_array_equal(
        land_mask([180, -170], [66, 67]), land_mask([-180, 190], [66, 67])
    )
    assert land_mask([180], [67]).all()  # Chukotka


def test_stations_are_on_land():
    stations = load_air_temperature(return_X_y=True)[0].sample(300, random_state=0)
    on_land = [land_mask([lon], [lat])[0, 0] for lon, lat in stations[["lon", "lat"]].to_numpy()]
    assert np.mean(on_land) > 0.85  # the rest: islands, capes


def test_places_are_on_land_where_the_mask_says_so():
    lon, lat = np.arange(-179, 180, 7.3), np.arange(-90, 91, 4.5)
    grid = np.stack(np.meshgrid(lon, lat), axis=-1)
    on_land = places_on_land(grid.reshape(-1, 2))
    np.testing.assert_array_equal(on_land, land_mask(lon, lat).ravel())
    assert places_on_land(np.empty((0, 2))).shape == (0,)


def test_coastlines_do_not_follow_the_frame():
    for line in load_coastlines():
        assert line.shape[1] == 2
        assert (np.abs(line) <= [180, 90]).all()
        along = (np.abs(line[1:, 0]) == 180) & (np.abs(line[:-1, 0]) == 180)
        assert not along.any()


def test_places_are_on_land_where_a_mask_says_so():
    lon, lat = np.arange(-179.5, 180, 3), np.arange(-89.5, 90, 2.5)
    lonlat = np.column_stack([np.tile(lon, len(lat)), np.repeat(lat, len(lon))])
    order = np.random.default_rng(0).permutation(len(lonlat))
    found = np.empty(len(lonlat), dtype=bool)
    found[order] = places_on_land(lonlat[order])
    np.testing.assert_array_equal(found.reshape(len(lat), len(lon)), land_mask(lon, lat))
