"""Which rasters a source names: folders, years, STAC items, tables of footprints."""

import json
from functools import partial

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
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
    with pytest.raises(ValueError, match=r"of the years 2020, 2021; pass year="):
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
