"""Summaries of global layers against plain loops over pixels."""

import numpy as np
import pytest
import torch

from skgeo_embed.datasets import land_mask
from skgeo_embed.pretraining.content import content_grid
from skgeo_embed.pretraining.content.summaries import box_means, running_sums, summarize_layer


@pytest.fixture
def picture():
    return np.random.RandomState(0).randint(0, 255, (90, 180, 2)).astype(np.uint8)


def mean_of_box(picture, lon, lat, km):
    """Mean of the band over a box, by counting a hundredth of a degree at a time."""
    half = km / 2 / 111.195
    north, south = min(lat + half, 90), max(lat - half, -90)
    wide = min(half / max(np.cos(np.deg2rad(lat)), 1e-9), 180)
    lats = np.arange(south, north, 0.01) + 0.005
    lons = np.arange(lon - wide, lon + wide, 0.01) + 0.005
    height, width = picture.shape
    rows = np.clip((90 - lats) / 180 * height, 0, height - 1).astype(int)
    columns = np.floor((lons + 180) / 360 * width).astype(int) % width
    return picture[np.ix_(rows, columns)].mean()


@pytest.mark.parametrize("km", [300.0, 1500.0])
def test_box_means(picture, km):
    lon, lat = np.array([-180.0, -3.7, 100.0, 179.0]), np.array([-60.3, 0.0, 45.5, 80.0])
    found = box_means(running_sums(picture[:, :, 0].astype(float)), lon, lat, km)
    for i, latitude in enumerate(lat):
        for j, longitude in enumerate(lon):
            expected = mean_of_box(picture[:, :, 0], longitude, latitude, km)
            assert found[i, j] == pytest.approx(expected, abs=1.5)


def test_at_a_pole_the_box_goes_once_around(picture):
    band = picture[:, :, 0].astype(float)
    found = box_means(
        running_sums(band), np.array([-180.0, 10.0, 99.0]), np.array([-90.0, 90.0]), 300.0
    )
    np.testing.assert_allclose(found[1], band[0].mean(), atol=1e-9)
    np.testing.assert_allclose(found[0], band[-1].mean(), atol=1e-9)


def test_deviations_of_what_is_known(picture):
    flat = np.full((90, 180, 1), 7, dtype=np.uint8)
    lon, lat = np.arange(-180.0, 180, 30), np.linspace(-90, 90, 7)
    summary = summarize_layer(flat, lon, lat)
    np.testing.assert_allclose(summary[..., [0, 1, 3, 5]], 7, atol=1e-5)
    np.testing.assert_allclose(summary[..., [2, 4, 6]], 0, atol=1e-5)
    rooted = summarize_layer(flat, lon, lat, root=True)
    np.testing.assert_allclose(rooted[..., 0], np.sqrt(7), atol=1e-5)
    striped = flat.copy()
    striped[:, ::2] = 9
    assert summarize_layer(striped, lon, lat)[2:5, :, 6].mean() == pytest.approx(1.0, abs=0.1)


def test_a_region_has_its_own_nodes_and_scale(picture):
    grid = content_grid({"august": picture}, step=1.0, channels=3, bounds=(5, 40, 25, 52))
    assert (grid.height, grid.width, grid.bounds) == (13, 21, (5.0, 40.0, 25.0, 52.0))
    lon, lat = np.arange(5.0, 26), np.arange(40.0, 53)
    land = land_mask(lon, lat)
    values = grid.values.float() * grid.scale
    variance = values.numpy()[land].var(axis=0)
    assert variance.sum() == pytest.approx(1.0, abs=0.1)
    assert variance[0] > variance[1] > variance[2]
    with pytest.raises(ValueError, match="no node of the grid is on land"):
        content_grid({"august": picture}, step=1.0, channels=3, bounds=(-150, -30, -140, -25))


def test_channels_are_principal_components_over_land(picture):
    grid = content_grid({"august": picture}, step=2.0, channels=6)
    assert (grid.height, grid.width, grid.embedding_dim) == (91, 180, 6)
    lon, lat = -180 + 2.0 * np.arange(180), np.linspace(-90, 90, 91)
    land = land_mask(lon, lat) & (np.abs(lat - 12) < 72)[:, None]
    weight = np.broadcast_to(np.cos(np.deg2rad(lat))[:, None], land.shape)[land]
    values = (grid.values.float() * grid.scale)[torch.from_numpy(land)].double().numpy()
    centred = values - weight @ values / weight.sum()
    covariance = (centred * weight[:, None]).T @ centred / weight.sum()
    assert np.trace(covariance) == pytest.approx(1, abs=0.05)
    off_diagonal = covariance - np.diag(np.diag(covariance))
    assert np.abs(off_diagonal).max() < 0.02
    assert (np.diff(np.diag(covariance)) < 0.01).all()


def test_impossible_regions_are_said_before_the_work(picture):
    with pytest.raises(ValueError, match="region must be"):
        content_grid({"august": picture}, step=1.0, bounds=(0, 50, 10, 40))
