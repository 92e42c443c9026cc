"""What a page of a map holds, and what cannot be shown; test_pages_in_browser.py opens them."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from skgeo_embed import CoordinateError
from skgeo_embed._errors import ImageError
from skgeo_embed.inspection import write_map_page
from skgeo_embed.inspection._page import bands
from skgeo_embed.inspection._page.bands import MAP_BYTES, NO_CLASS, read_map
from tests.inspection.page_maps import (
    EVIL,
    as_geotiff,
    content_of,
    heights,
    land_cover,
    spatial_ref,
    temperatures,
)

pytest.importorskip("bokeh")


@pytest.mark.parametrize("make", [temperatures, land_cover, heights])
def test_a_geotiff_holds_what_its_dataset_holds(make, tmp_path):
    grid = make()
    from_dataset, from_file = read_map(grid), read_map(as_geotiff(grid, tmp_path / "map.tif"))
    np.testing.assert_allclose(from_file.frame.edges, from_dataset.frame.edges, atol=1e-9)
    assert from_file.shape == from_dataset.shape
    for one, other in zip(from_file.bands, from_dataset.bands, strict=True):
        assert (one.name, one.label, one.unit, one.classes) == (
            other.name,
            other.label,
            other.unit,
            other.classes,
        )
        np.testing.assert_array_equal(one.values, other.values)


def test_values_and_classes_are_the_maps(tmp_path):
    shown = read_map(land_cover())
    codes = land_cover()["class"].to_numpy().astype(int)
    assert shown.bands[0].classes == ["forest", "salt marsh", EVIL]
    np.testing.assert_array_equal(
        shown.bands[0].values, np.where(codes < 0, NO_CLASS, codes // 10 - 1)
    )
    warm = read_map(temperatures())
    np.testing.assert_array_equal(warm.bands[0].values, temperatures()["prediction"])
    assert warm.frame.edges == (-10, 52, 2, 60)
    assert warm.bands[3].values[0, 0] == NO_CLASS


def test_classes_without_exact_names_have_those_of_cf():
    grid = land_cover(("forest", "marsh"))
    del grid["class"].attrs["class_names"]
    assert read_map(grid).bands[0].classes == ["forest", "marsh"]


def test_what_xarray_decodes_is_the_same(tmp_path):
    decoded = xr.decode_cf(temperatures())
    assert np.isnan(decoded["applicable"][0, 0])
    np.testing.assert_array_equal(
        read_map(decoded).bands[3].values, read_map(temperatures()).bands[3].values
    )


@pytest.mark.parametrize("turned", [{"lat": slice(None, None, -1)}, {"lon": slice(None, None, -1)}])
def test_rows_run_southward_whatever_the_dataset(turned, tmp_path):
    grid = temperatures()
    other = grid.isel(turned)
    for source in (other, as_geotiff(other, tmp_path / "turned.tif")):
        shown = read_map(source)
        np.testing.assert_allclose(shown.frame.edges, (-10, 52, 2, 60))
        np.testing.assert_array_equal(shown.bands[0].values, grid["prediction"])


def test_a_large_map_is_thinned_to_its_own_values(tmp_path, monkeypatch):
    grid = temperatures(shape=(31, 47))
    monkeypatch.setattr(bands, "MAP_BYTES", 16 * 11 * 16)
    monkeypatch.setattr(bands, "ROWS_READ", 7)
    for source in (grid, as_geotiff(grid, tmp_path / "map.tif")):
        shown = read_map(source)
        assert shown.step == 3
        np.testing.assert_array_equal(
            shown.bands[0].values, grid["prediction"].to_numpy()[1::3, 1::3]
        )
        # each cell of the page lies around the one that it shows
        np.testing.assert_allclose(shown.frame.edges, (-10, 60 - 1.5 * 10, -10 + 1.5 * 16, 60))
    page = write_map_page(grid, tmp_path / "map.html")
    assert any("one cell of every 3 × 3" in note for note in content_of(page)["notes"])


def test_a_page_has_a_few_megabytes_whatever_the_map(tmp_path):
    noise = np.random.RandomState(0).randn(2000, 1500)
    grid = xr.Dataset(
        dict.fromkeys(("prediction", "lower", "upper"), (("lat", "lon"), noise)),
        coords={"lat": 60 - np.arange(2000) / 100, "lon": np.arange(1500) / 100},
    )
    page = write_map_page(grid, tmp_path / "map.html")
    assert page.stat().st_size < 1.4 * MAP_BYTES + 2_000_000


def test_bounds_have_the_colours_of_their_prediction(tmp_path):
    grid = temperatures()
    page = write_map_page(grid, tmp_path / "map.html", coords=[[0, 55]], y=[1.0])
    shown = content_of(page)["bands"]
    assert len({(band["low"], band["high"]) for band in shown[:3]}) == 1
    everything = np.concatenate([grid[name].to_numpy().ravel() for name in list(grid)[:3]])
    assert shown[0]["low"] == pytest.approx(np.nanquantile(everything, 0.01), abs=1e-5)
    assert [band["labelled"] for band in shown] == [True, False, False, False]


def test_several_outputs_have_labels_and_bounds_each(tmp_path):
    grid = temperatures().rename({"prediction": "july", "lower": "lower_july", "upper": "january"})
    labels = pd.DataFrame({"july": [20.0], "january": [-3.5]})
    page = write_map_page(grid, tmp_path / "map.html", coords=[[0, 55]], y=labels)
    content = content_of(page)
    assert [band["labelled"] for band in content["bands"]] == [True, False, True, False]
    assert content["bands"][0]["low"] == content["bands"][1]["low"] != content["bands"][2]["low"]
    assert content["labels"]["texts"] == [["20\u00a0°C", "-3.5\u00a0°C"]]
    with pytest.raises(ValueError, match=r"y has 1 column\(s\), and the map has 2 output\(s\)"):
        write_map_page(grid, tmp_path / "other.html", coords=[[0, 55]], y=[20.0])


def test_labels_outside_the_map_are_left_out_and_many_are_drawn_from(tmp_path, monkeypatch):
    page = write_map_page(
        temperatures(), tmp_path / "a.html", coords=[[0, 55], [100, 0], [-5, 56]], y=[1, 2, np.nan]
    )
    assert content_of(page)["labels"]["texts"] == [["1\u00a0°C"], ["no value"]]
    monkeypatch.setattr("skgeo_embed.inspection._map_page.MOST_LABELS", 10)
    coords = np.column_stack([np.linspace(-9, 1, 40), np.full(40, 55)])
    content = content_of(
        write_map_page(temperatures(), tmp_path / "b.html", coords=coords, y=np.arange(40))
    )
    assert len(content["labels"]["texts"]) == 10
    assert any("10 of the 40 labels" in note for note in content["notes"])
    with pytest.raises(ValueError, match="none of the 1 labels lies on the map"):
        write_map_page(temperatures(), tmp_path / "c.html", coords=[[55, 0]], y=[1])


def test_a_map_in_a_crs_of_degrees_and_of_feet():
    grid = (
        heights()
        .drop_vars("spatial_ref")
        .assign_coords(
            x=np.arange(30) / 10, y=50 - np.arange(20) / 10, spatial_ref=spatial_ref("EPSG:4258")
        )
    )
    assert read_map(grid).frame.crs is None
    with pytest.raises(ValueError, match=r"the unit of .* is US survey foot"):
        read_map(heights().assign_coords(spatial_ref=spatial_ref("EPSG:2263")))


def test_bad_maps(tmp_path):
    grid = temperatures()
    with pytest.raises(TypeError, match=r"Dataset or the path of a GeoTIFF.*got a ndarray"):
        read_map(np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"no variable with the dimensions \(lat, lon\)"):
        read_map(grid[["prediction"]].expand_dims("time"))
    with pytest.raises(ValueError, match="no CRS: its coordinate spatial_ref"):
        read_map(heights().drop_vars("spatial_ref"))
    with pytest.raises(ValueError, match="CRS that longitude and latitude cannot be turned into"):
        read_map(heights().assign_coords(spatial_ref=xr.DataArray(0, attrs={"crs_wkt": "Mars"})))
    uneven = grid.isel(lon=[0, 1, 2, 5])
    with pytest.raises(ValueError, match=r"lon axis .* evenly spaced .* from 0.5 to 1.5"):
        read_map(uneven)
    cover = land_cover()
    cover["class"][2, 2] = 25
    with pytest.raises(ValueError, match="'class' holds 25, which is not the code of a class"):
        read_map(cover)
    cover = land_cover()
    cover["class"].attrs["flag_values"] = [10, 20]
    with pytest.raises(ValueError, match="2 flag_values and 3 names"):
        read_map(cover)
    (tmp_path / "map.tif").write_text("nothing")
    with pytest.raises(ImageError, match="not a GeoTIFF"):
        read_map(tmp_path / "map.tif")


def test_a_geotiff_that_is_turned_or_has_no_crs(tmp_path):
    import rasterio

    for name, crs, transform in (
        ("turned", "EPSG:4326", rasterio.Affine(1, 0.2, 0, 0.2, -1, 50)),
        ("no CRS", None, rasterio.Affine(1, 0, 0, 0, -1, 50)),
    ):
        path = tmp_path / f"{name}.tif"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=4,
            height=4,
            count=1,
            dtype="float32",
            crs=crs,
            transform=transform,
        ) as file:
            file.write(np.zeros((1, 4, 4), dtype=np.float32))
        with pytest.raises(ValueError, match=r"no CRS|do not run from west to east"):
            read_map(path)


def test_bad_arguments_and_files(tmp_path):
    grid = temperatures()
    page = write_map_page(grid, tmp_path / "map.html")
    before = page.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_map_page(grid, page, title="other")
    with pytest.raises(ValueError, match=r"must end with \.html"):
        write_map_page(grid, tmp_path / "map.png")
    with pytest.raises(ValueError, match="y is given without coords"):
        write_map_page(grid, tmp_path / "b.html", y=[1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        write_map_page(grid, tmp_path / "b.html", coords=[[0, 55]], y=[1, 2])
    with pytest.raises(CoordinateError):
        write_map_page(grid, tmp_path / "b.html", coords=[[0, 155]], y=[1])
    with pytest.raises(ValueError, match="labels of 'July temperature' are not numbers"):
        write_map_page(grid, tmp_path / "b.html", coords=[[0, 55]], y=["warm"])
    assert [file.name for file in tmp_path.iterdir()] == ["map.html"]
    assert page.read_bytes() == before
    write_map_page(grid, page, title="other", overwrite=True)
    assert "<title>other</title>" in page.read_text("utf-8")


def test_text_of_users_cannot_leave_its_element(tmp_path):
    grid = land_cover()
    grid["class"].attrs["long_name"] = f"cover {EVIL}"
    page = write_map_page(
        grid, tmp_path / "map.html", title=EVIL, coords=[[0.6, 50.2]], y=[f"label {EVIL}"]
    )
    text = page.read_text("utf-8")
    assert "<img" not in text.replace("<img>", "")  # which the library says of its own
    assert content_of(page)["bands"][0]["classes"][2] == EVIL
