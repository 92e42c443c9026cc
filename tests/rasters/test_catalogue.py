"""Which rasters a source names: folders, years, STAC items, tables of footprints."""

import json
from functools import partial

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

from skgeo_embed import ImageError, RasterEncoder
from tests.rasters.small_tiles import (
    CENTRES,
    COLUMNS,
    ROWS,
    expected_of,
    pixels_of,
    write,
    years_of,
)


def test_years(tmp_path):
    source = years_of(tmp_path)
    with pytest.raises(ValueError, match=r"of the years 2020, 2021; pass one of them as year="):
        RasterEncoder(source).fit()
    with pytest.raises(ValueError, match=r"year=2019, but the rasters are of 2020, 2021"):
        RasterEncoder(source, year=2019).fit()
    np.testing.assert_array_equal(
        RasterEncoder(source, year=2021).fit_transform(CENTRES), expected_of(2021)
    )
    frame = pd.DataFrame(CENTRES, columns=["lon", "lat"]).assign(year=[2020, 2021] * 150)
    found = RasterEncoder(source, year="year").fit_transform(frame)
    even = np.arange(300)[:, None] % 2 == 0
    np.testing.assert_array_equal(found, np.where(even, expected_of(2020), expected_of(2021)))
    table = gpd.GeoDataFrame(frame[["year"]], geometry=gpd.points_from_xy(*CENTRES.T), crs=4326)
    again = RasterEncoder(source, year="year").fit_transform(table)
    np.testing.assert_array_equal(again, found)
    areas = table.set_geometry(table.to_crs(32632).buffer(2))  # within a pixel
    np.testing.assert_allclose(RasterEncoder(source, year="year").fit_transform(areas), found)


def stac(folder):
    items = [
        {
            "id": str(year),
            "properties": {"datetime": None, "start_datetime": f"{year}-01-01T00:00:00Z"},
            "assets": {
                "thumbnail": {"href": "x.png", "type": "image/png"},
                "data": {"href": f"./{path.name}", "type": "image/tiff; application=geotiff"},
            },
        }
        for year, path in years_of(folder).items()
    ]
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return folder / "items.json"


def footprints(folder, suffix):
    paths = years_of(folder)
    table = gpd.GeoDataFrame(
        {"location": [path.name for path in paths.values()], "year": list(paths)},
        geometry=[shapely.box(0, 0, 1, 1)] * 2,
        crs=4326,
    )
    file = folder / f"tiles{suffix}"
    table.to_parquet(file) if suffix == ".parquet" else table.to_file(file)
    return file


@pytest.mark.parametrize(
    "index", [stac, partial(footprints, suffix=".gpkg"), partial(footprints, suffix=".parquet")]
)
def test_indexes(tmp_path, index):
    encoder = RasterEncoder(index(tmp_path), year=2020).fit()
    assert encoder.n_tiles_ == 2
    np.testing.assert_array_equal(encoder.transform(CENTRES), expected_of(2020))


def test_sources_and_times_that_are_none(tmp_path):
    for source in (None, 5, {1, 2}):
        with pytest.raises(TypeError, match="source must be a path, a list of paths or a dict"):
            RasterEncoder(source).fit()
    write(tmp_path / "tile.tif", pixels_of())
    item = {"id": "a", "assets": {"data": {"href": "tile.tif", "type": "image/tiff"}}}
    for time in (2024, "24-01-01", "today"):
        item["properties"] = {"datetime": time}
        (tmp_path / "items.json").write_text(json.dumps({"features": [item]}))
        with pytest.raises(ImageError, match=f"the time {time!r} does not begin with a year"):
            RasterEncoder(tmp_path / "items.json").fit()


def test_relative_paths_are_those_of_fit(tmp_path, monkeypatch):
    pixels = pixels_of()
    write(tmp_path / "tile.tif", pixels)
    monkeypatch.chdir(tmp_path)
    encoder = RasterEncoder("tile.tif").fit()
    monkeypatch.chdir(tmp_path.parent)
    np.testing.assert_array_equal(encoder.transform(CENTRES), pixels[:, ROWS, COLUMNS].T)


def named(path, pixels, names, units=None):
    write(path, pixels)
    with rasterio.open(path, "r+") as file:
        file.descriptions = names
        if units:
            file.units = units
    return path


def test_bands_in_another_order_are_taken_by_their_names(tmp_path):
    first, second = pixels_of(0, bands=3), pixels_of(1, bands=3)
    here = {"red": 0, "nir": 1, "swir": 2}
    one = named(tmp_path / "one.tif", first, tuple(here))
    two = named(tmp_path / "two.tif", second, ("swir", "red", "nir"))
    with rasterio.open(two, "r+") as file:
        file.scales = (2.0, 3.0, 4.0)
    source = {2020: one, 2021: two}
    expected = second[[1, 2, 0]][:, ROWS, COLUMNS].T * [3.0, 4, 2]
    for method in ("nearest", "bilinear"):
        encoder = RasterEncoder(source, year=2021, method=method).fit()
        np.testing.assert_allclose(encoder.transform(CENTRES), expected, rtol=1e-3, atol=0.5)
        assert list(encoder.get_feature_names_out()) == list(here)
    found = RasterEncoder(source, year=2020).fit_transform(CENTRES)
    np.testing.assert_array_equal(found, first[:, ROWS, COLUMNS].T)


@pytest.mark.parametrize(
    "names", [("red", "blue"), ("red", ""), ("", ""), ("nir", "nir"), ("", "red"), ("Red", "NIR")]
)
@pytest.mark.parametrize("turned", [False, True])
def test_bands_of_other_names_are_refused(tmp_path, names, turned):
    one = named(tmp_path / "one.tif", pixels_of(0, bands=2), ("red", "nir"))
    two = named(tmp_path / "two.tif", pixels_of(1, bands=2), names)
    with pytest.raises(
        ImageError, match=r"differ in the names of their bands: band \d of .*t.*tif"
    ):
        RasterEncoder([two, one] if turned else [one, two]).fit()


def test_names_that_do_not_tell_bands_apart_are_taken_in_order(tmp_path):
    paths = [
        named(tmp_path / f"{n}.tif", pixels_of(n, bands=2), ("band", "band")) for n in range(2)
    ]
    assert list(RasterEncoder(paths).fit().get_feature_names_out()) == ["raster000", "raster001"]


def test_bands_in_other_units_are_refused(tmp_path):
    one = named(tmp_path / "a.tif", pixels_of(0, bands=2), ("t", "z"), ("K", "m"))
    two = named(tmp_path / "b.tif", pixels_of(1, bands=2), ("z", "t"), ("km", "K"))
    with pytest.raises(ImageError, match=r"band 2 of .*a.tif is in m, but that of .*b.tif in km"):
        RasterEncoder([one, two]).fit()
    same = named(tmp_path / "c.tif", pixels_of(1, bands=2), ("z", "t"), ("m", "K"))
    assert RasterEncoder([one, same]).fit().n_tiles_ == 2


def test_files_in_a_folder_whatever_the_case_of_their_names(tmp_path):
    names = ("a.TIF", "b.tif", "c.Tiff", "d/e.TIFF")
    for number, name in enumerate(names):
        write(tmp_path / name, pixels_of(), corner=(500_000 + number * 10_000, 5_300_000))
    write(tmp_path / "b_SCALES.TIF", pixels_of())
    assert RasterEncoder(tmp_path).fit().n_tiles_ == len(names)
    folder = tmp_path / "tessera"
    write(folder / "T.TIF", pixels_of())
    write(folder / "T_SCALES.tif", np.ones((1, 96, 96), np.float32))
    np.testing.assert_array_equal(
        RasterEncoder(folder, quantization="tessera").fit_transform(CENTRES),
        pixels_of()[:, ROWS, COLUMNS].T,
    )


ASSETS = {
    "no type, no roles": {"image": {"href": "tile.tif"}},
    "no type beside a picture": {"image": {"href": "TILE.TIF"}, "preview": {"href": "a.png"}},
    "a query behind the name": {"image": {"href": "tile.tif?a=b.png"}, "other": {"href": "a.json"}},
    "null": {"image": {"href": "tile.tif", "type": None, "roles": None}, "b": {"href": "b.xml"}},
    "a type in capitals": {
        "image": {"href": "tile.tif", "type": "IMAGE/TIFF"},
        "b": {"href": "b.tif", "type": "image/png"},
    },
    "a thumbnail that is a GeoTIFF": {
        "image": {"href": "tile.tif"},
        "b": {"href": "b.tif", "roles": ["thumbnail"]},
    },
}


@pytest.mark.parametrize("assets", ASSETS)
def test_stac_assets_without_type_or_roles(tmp_path, assets):
    for name in ("tile.tif", "TILE.TIF", "tile.tif?a=b.png"):
        write(tmp_path / name, pixels_of())
    item = {"id": "a", "properties": {}, "assets": ASSETS[assets]}
    (tmp_path / "items.json").write_text(json.dumps({"features": [item]}))
    found = RasterEncoder(tmp_path / "items.json").fit_transform(CENTRES)
    np.testing.assert_array_equal(found, pixels_of()[:, ROWS, COLUMNS].T)


def test_damaged_tables_are_named(tmp_path):
    for suffix in (".parquet", ".gpkg"):
        file = footprints(tmp_path, suffix)
        whole = file.read_bytes()
        for content in (whole[: len(whole) // 2], whole[:100] + bytes(len(whole) - 100)):
            file.write_bytes(content)
            with pytest.raises(ImageError, match=rf"tiles{suffix}"):
                RasterEncoder(file, year=2020).fit()
        file.unlink()
    (tmp_path / "items.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ImageError, match=r"items.json is not a STAC item collection"):
        RasterEncoder(tmp_path / "items.json").fit()


def test_hostile_stac_documents_are_named(tmp_path):
    file = tmp_path / "items.json"
    long = {"features": [{"properties": {}, "assets": {"a": {"href": "x" * 5000 + ".tif"}}}]}
    for text in ("[" * 100_000, json.dumps(long)):
        file.write_text(text)
        with pytest.raises(ImageError, match=r"items.json is not a STAC|xxx.* cannot be read"):
            RasterEncoder(file).fit()


def test_stac_assets_whose_type_says_nothing(tmp_path):
    """Stores of objects call everything a stream of octets."""
    write(tmp_path / "tile.tif", pixels_of())
    octets = {"type": "application/octet-stream"}
    assets = {"image": {"href": "tile.tif", **octets}, "b": {"href": "b.bin", **octets}}
    item = {"id": "a", "properties": {}, "assets": assets}
    (tmp_path / "items.json").write_text(json.dumps({"features": [item]}))
    assert RasterEncoder(tmp_path / "items.json").fit().n_tiles_ == 1
