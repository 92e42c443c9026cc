"""Grids that follow an xarray object: which cells it has, in which units and which system."""

import numpy as np
import pytest
import xarray
from pyproj import CRS, Transformer

from skgeo_embed import predict_grid
from skgeo_embed.streaming.maps.grids import map_grid
from tests.streaming.maps.lonlat_model import PLACE


def found(like):
    """Return degrees of the cells of a map like another, as the model was given them."""
    made = predict_grid(PLACE, like=like, name=["x of cell", "y of cell"], verbose=False)
    return made["x of cell"].values, made["y of cell"].values


def raster(y, x, dims=("y", "x"), units=None):
    attributes = {} if units is None else {"units": units}
    coords = {name: (name, axis, attributes) for name, axis in zip(dims, (y, x), strict=True)}
    return xarray.DataArray(np.zeros((len(y), len(x))), dims=dims, coords=coords)


def test_a_cut_raster_is_followed_where_it_was_cut():
    """rioxarray leaves the transform of the whole raster in a part that isel has cut."""
    whole = raster([58.75, 58.25, 57.75, 57.25], [2.25, 2.75, 3.25, 3.75])
    transform = "2.0 0.5 0.0 59.0 0.0 -0.5"
    whole.coords["spatial_ref"] = (
        (),
        0,
        {"crs_wkt": CRS.from_epsg(4326).to_wkt(), "GeoTransform": transform},
    )
    lon, lat = found(whole.isel(x=slice(2, 4), y=slice(1, 3)))
    np.testing.assert_array_equal(lon[0], [3.25, 3.75])
    np.testing.assert_array_equal(lat[:, 0], [58.25, 57.75])
    lon, lat = found(whole.isel(y=slice(0, 1)))  # one row, whose size the transform says
    np.testing.assert_array_equal(lat, np.full((1, 4), 58.75))
    with pytest.raises(ValueError, match="the axis 'y' has one value"):
        found(whole.isel(y=slice(1, 2)))


def test_axes_in_radians_are_degrees():
    axes = np.deg2rad([50.0, 40, 30]), np.deg2rad([10.0, 20])
    lon, lat = found(raster(*axes, ("lat", "lon"), units="radian"))
    np.testing.assert_allclose(lon[0], [10, 20])
    np.testing.assert_allclose(lat[:, 0], [50, 40, 30])


def test_axes_in_kilometres_are_in_the_unit_of_the_crs():
    like = raster([3000.0, 2990], [4000.0, 4010], units="km")
    like.coords["spatial_ref"] = ((), 0, {"crs_wkt": CRS.from_epsg(3035).to_wkt()})
    lon, lat = found(like)
    to_degrees = Transformer.from_crs("EPSG:3035", "EPSG:4326", always_xy=True)
    np.testing.assert_allclose((lon[0, 0], lat[0, 0]), to_degrees.transform(4e6, 3e6))
    with pytest.raises(ValueError, match="like: the coordinate 'x' is in 'parsec'"):
        found(like.assign_coords(x=("x", [4000.0, 4010], {"units": "parsec"})))


@pytest.mark.parametrize("named", ["attrs", "encoding"])
def test_the_crs_of_a_grid_mapping_with_another_name(named):
    like = raster([60.0, 50], [-150.0, -140], ("lat", "lon")).to_dataset(name="v")
    like["datum"] = xarray.DataArray(0, attrs={"crs_wkt": CRS.from_epsg(4267).to_wkt()})
    getattr(like["v"], named)["grid_mapping"] = "datum"
    lon, lat = found(like)
    to_degrees = Transformer.from_crs("EPSG:4267", "EPSG:4326", always_xy=True)
    np.testing.assert_array_equal((lon[0, 0], lat[0, 0]), to_degrees.transform(-150, 60))


@pytest.mark.parametrize(
    ("crs", "message"),
    [
        ("EPSG:4807", "is not in degrees from Greenwich"),  # grads
        ("EPSG:4803", "is not in degrees from Greenwich"),  # from Lisbon
        ("+proj=ob_tran +o_proj=longlat +o_lat_p=39 +lon_0=180", "is not in degrees from Green"),
        ("EPSG:4978", "is a Geocentric CRS .* are not those of a map"),
        ("EPSG:5773", "is a Vertical CRS .* are not those of a map"),
    ],
)
def test_systems_in_which_a_region_is_another_place(crs, message):
    with pytest.raises(ValueError, match=message):
        predict_grid(PLACE, region=(0, 40, 10, 50), resolution=1, crs=crs, verbose=False)


@pytest.mark.parametrize("transform", ["nonsense", "1 2", None])
def test_axes_count_where_a_transform_cannot_be_read(transform):
    position = {"crs_wkt": CRS.from_epsg(4326).to_wkt(), "GeoTransform": transform}
    axes = {"y": [50.0, 49.0], "x": [3.0, 4.0, 5.0], "spatial_ref": ((), 0, position)}
    like = xarray.DataArray(np.zeros((2, 3)), dims=("y", "x"), coords=axes)
    assert map_grid(None, None, None, like).transform == (1.0, 0.0, 2.5, 0.0, -1.0, 50.5)
