"""Small maps as predict_grid makes them, by hand, and what a page holds of them."""

import json
import re

import numpy as np
import xarray as xr

EVIL = "</script><img src=x onerror=alert(1)>"


def spatial_ref(crs):
    from pyproj import CRS

    return xr.DataArray(0, attrs={"crs_wkt": CRS.from_user_input(crs).to_wkt()})


def temperatures(west=-10.0, north=60.0, shape=(16, 24), step=0.5):
    """A map in degrees with bounds and the verdict; its north-west corner has no value."""
    rng = np.random.RandomState(0)
    lat = north - step * (np.arange(shape[0]) + 0.5)
    lon = west + step * (np.arange(shape[1]) + 0.5)
    value = rng.uniform(-20, 35, shape).astype(np.float32)
    value[:3, :3] = np.nan
    verdict = rng.randint(0, 2, shape).astype(np.uint8)
    verdict[:3, :3] = 255
    dims = ("lat", "lon")
    about = {"grid_mapping": "spatial_ref", "units": "°C"}
    return xr.Dataset(
        {
            "prediction": (dims, value, {**about, "long_name": "July temperature"}),
            "lower": (dims, value - 2, {**about, "long_name": "lower bound"}),
            "upper": (dims, value + 3, {**about, "long_name": "upper bound"}),
            "applicable": (dims, verdict, {"_FillValue": 255, "long_name": "applicable"}),
        },
        coords={"lat": lat, "lon": lon, "spatial_ref": spatial_ref("EPSG:4326")},
    )


def land_cover(names=("forest", "salt marsh", EVIL)):
    """A map of classes with the codes 10, 20, … in stripes, and one probability."""
    codes = 10 * (1 + np.arange(12) % len(names))
    values = np.tile(codes, (8, 1)).astype(np.int16)
    values[0, 0] = -1
    dims = ("lat", "lon")
    probability = np.linspace(0, 1, 96).reshape(8, 12).astype(np.float32)
    flags = {
        "_FillValue": -1,
        "flag_values": [10 * (1 + n) for n in range(len(names))],
        "flag_meanings": " ".join(name.replace(" ", "_") for name in names),
        "class_names": json.dumps(names),
        "long_name": "land cover",
    }
    return xr.Dataset(
        {"class": (dims, values, flags), f"probability_{names[0]}": (dims, probability, {})},
        coords={"lat": 50.5 - np.arange(8), "lon": 0.5 + np.arange(12)},
    )


def heights():
    """A map of 5 km cells in Europe's equal-area projection."""
    x, y = 4_000_000 + 5000.0 * np.arange(30), 3_000_000 - 5000.0 * np.arange(20)
    value = np.random.RandomState(1).uniform(0, 3000, (20, 30)).astype(np.float32)
    return xr.Dataset(
        {"prediction": (("y", "x"), value, {"long_name": "height", "units": "m"})},
        coords={"x": x, "y": y, "spatial_ref": spatial_ref("EPSG:3035")},
    )


def as_geotiff(dataset, path):
    """Write a dataset's bands as predict_grid does: one type, descriptions, tags, nodata."""
    import rasterio

    across, down = ("lon", "lat") if "lon" in dataset.sizes else ("x", "y")
    x, y = dataset[across].to_numpy(), dataset[down].to_numpy()
    step_x, step_y = x[1] - x[0], y[1] - y[0]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=len(x),
        height=len(y),
        count=len(dataset.data_vars),
        dtype="float32",
        nodata=np.nan,
        crs=dataset["spatial_ref"].attrs["crs_wkt"] if "spatial_ref" in dataset else "EPSG:4326",
        transform=rasterio.Affine(step_x, 0, x[0] - step_x / 2, 0, step_y, y[0] - step_y / 2),
    ) as file:
        for band, (name, grid) in enumerate(dataset.data_vars.items(), start=1):
            values = grid.to_numpy().astype(np.float32)
            if "_FillValue" in grid.attrs:
                values[values == grid.attrs["_FillValue"]] = np.nan
            file.write(values, band)
            file.set_band_description(band, name)
            file.set_band_unit(band, grid.attrs.get("units", ""))
            tags = {key: text for key, text in grid.attrs.items() if key in TAGS}
            if "flag_values" in tags:
                tags["flag_values"] = " ".join(map(str, tags["flag_values"]))
            file.update_tags(band, **tags)
    return path


TAGS = {"long_name", "flag_values", "flag_meanings", "class_names"}


def content_of(page):
    """Return what a page's script reads."""
    text = page.read_text("utf-8")
    (content,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', text)
    return json.loads(content)
