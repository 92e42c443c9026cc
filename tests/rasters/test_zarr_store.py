"""Zarr stores: types, units, missing values, reference systems, chunks, Tessera's layout."""

import shutil

import numpy as np
import pytest
import xarray
from pyproj import CRS

from skgeo_embed import ImageError, RasterEncoder
from skgeo_embed.rasters import geotiff
from tests.rasters.small_tiles import CENTRES, COLUMNS, ROWS, SIZE, lonlat_of, pixels_of, write

WKT = CRS.from_epsg(32632).to_wkt()
X, Y = 500_005 + 10.0 * np.arange(SIZE), 5_299_995 - 10.0 * np.arange(SIZE)


def array_of(pixels, x=X, y=Y, dims=("y", "x"), **attrs):
    dims = (*(("band",) if pixels.ndim == 3 else ()), *dims)
    coords = {dims[-2]: y, dims[-1]: x}
    return xarray.DataArray(pixels, dims=dims, coords=coords, name="emb", attrs=attrs)


def stored(folder, array, root=None, extra=None, name="tile", **how):
    path = folder / f"{name}.zarr"
    data = array.to_dataset().assign_attrs(root or {}).assign(extra or {})
    data.to_zarr(path, **how)
    return path


def sampled(path, **more):
    return RasterEncoder(path, **more).fit_transform(CENTRES)


def small(values, **attrs):
    attrs.setdefault("proj:code", "EPSG:4326")
    return array_of(np.asarray(values), [10.0, 11.0, 12.0], [50.0, 49.0], **attrs)


SMALL = [[10, 50], [11, 50], [12, 50], [10, 49], [11, 49], [12, 49]]


def test_durations_are_numbers_in_the_units_of_the_file(tmp_path):
    days = np.array([[22, 1, 2], [3, 4, 5]], "m8[D]").astype("m8[ns]")
    days[1, 2] = "NaT"
    path = stored(tmp_path, small(days))
    with pytest.warns(UserWarning, match="no raster has a value at 1 of 6"):
        found = RasterEncoder(path, on_invalid="nan").fit_transform(SMALL)
    np.testing.assert_array_equal(found.ravel(), [22, 1, 2, 3, 4, np.nan])
    hours = stored(tmp_path, small(days.astype("m8[h]") + np.timedelta64(1, "h")), name="more")
    with pytest.raises(ImageError, match=r"band 1 of .*tile.zarr is in days, but .* in hours"):
        RasterEncoder([path, hours]).fit()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.array([["2020-01-01", "NaT", "2021-01-01"]] * 2, "M8[ns]"), "holds dates in 'emb'"),
        (np.ones((2, 3), complex), "holds complex numbers in 'emb'.*both parts"),
        (np.array([["a", "b", "c"]] * 2), "holds no numbers in 'emb' .*(<U1|object)"),
        (np.array([["a", "b", "c"]] * 2, object), "holds no numbers in 'emb'"),
        (np.array([[b"a", b"b", b"c"]] * 2), "holds no numbers in 'emb'"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 spec")
def test_types_that_are_no_numbers_are_refused_in_fit(tmp_path, values, told):
    path = stored(tmp_path, small(values))
    with pytest.raises(ImageError, match=rf"tile.zarr {told}"):
        RasterEncoder(path).fit()


def test_booleans_and_missing_integers(tmp_path):
    path = stored(tmp_path, small(np.eye(2, 3, dtype=bool)))
    found = RasterEncoder(path).fit_transform(SMALL)
    np.testing.assert_array_equal(found.ravel(), [1, 0, 0, 0, 1, 0])
    array = small(np.arange(6, dtype=np.int16).reshape(2, 3))
    array.encoding = {"_FillValue": 3, "scale_factor": 0.5, "dtype": "int16"}
    path = stored(tmp_path, array.where(array != 3), name="scaled")
    with pytest.warns(UserWarning, match="at 1 of 6"):
        found = RasterEncoder(path, on_invalid="nan").fit_transform(SMALL)
    np.testing.assert_array_equal(found.ravel(), [0, 1, 2, np.nan, 4, 5])


def spatial_ref(attrs):
    return {"spatial_ref": xarray.Variable((), np.int64(0), attrs)}


CRS_WAYS = {
    "a coordinate named by grid_mapping": lambda array: (
        array.assign_coords(spatial_ref(CRS.from_epsg(32632).to_cf())).assign_attrs(
            grid_mapping="spatial_ref"
        ),
        {},
        {},
    ),
    "a variable nobody names": lambda array: (array, {}, spatial_ref({"crs_wkt": WKT})),
    "GDAL's name of it": lambda array: (array, {}, spatial_ref({"spatial_ref": WKT})),
    "a grid mapping of another name": lambda array: (
        array.assign_attrs(grid_mapping="utm"),
        {},
        {"utm": xarray.Variable((), 0, {"crs_wkt": WKT})},
    ),
    "a grid mapping with coordinates": lambda array: (
        array.assign_attrs(grid_mapping="utm: x y"),
        {},
        {"utm": xarray.Variable((), 0, {"crs_wkt": WKT})},
    ),
    "parameters of CF alone": lambda array: (
        array.assign_attrs(grid_mapping="utm"),
        {},
        {
            "utm": xarray.Variable(
                (), 0, {k: v for k, v in CRS.from_epsg(32632).to_cf().items() if k != "crs_wkt"}
            )
        },
    ),
    "proj:code of the root": lambda array: (array, {"proj:code": "EPSG:32632"}, {}),
    "proj:epsg of the root": lambda array: (array, {"proj:epsg": 32632}, {}),
    "proj:wkt2 of the root": lambda array: (array, {"proj:wkt2": WKT}, {}),
    "proj:projjson": lambda array: (
        array.assign_attrs({"proj:projjson": CRS.from_epsg(32632).to_json_dict()}),
        {},
        {},
    ),
}


@pytest.mark.parametrize("way", CRS_WAYS)
@pytest.mark.parametrize("version", [2, 3])
def test_ways_to_state_a_crs(tmp_path, way, version):
    pixels = pixels_of()
    array, root, extra = CRS_WAYS[way](array_of(pixels))
    path = stored(tmp_path, array, root, extra, zarr_format=version, consolidated=False)
    np.testing.assert_array_equal(sampled(path), pixels[:, ROWS, COLUMNS].T)


def test_crs_that_cannot_be_used(tmp_path):
    pixels = pixels_of()
    for name, attrs, dims, told in (
        ("none", {}, ("y", "x"), "has no CRS: neither a grid mapping .*rio.write_crs"),
        ("odd", {"crs": "somewhere"}, ("y", "x"), "has a CRS that cannot be understood"),
        (
            "utm",
            {"crs": "EPSG:32632"},
            ("lat", "lon"),
            "has axes 'lat' and 'lon', but its CRS, WGS 84",
        ),
    ):
        path = stored(tmp_path, array_of(pixels, dims=dims, **attrs), name=name)
        with pytest.raises(ImageError, match=rf"{name}.zarr {told}"):
            RasterEncoder(path).fit()


@pytest.mark.parametrize(
    ("dims", "code", "unit", "factor"),
    [
        (("lat", "lon"), "EPSG:4326", "radian", np.pi / 180),
        (("latitude", "longitude"), "EPSG:4326", "radians", np.pi / 180),
        (("y", "x"), "EPSG:4326", "rad", np.pi / 180),
        (("lat", "lon"), "EPSG:4326", "degrees_east", 1),
        (("y", "x"), "EPSG:32632", "km", 1e-3),
        (("y", "x"), "EPSG:32632", "metre", 1),
        (("northing", "easting"), "EPSG:32632", "m", 1),
    ],
)
def test_units_of_axes(tmp_path, dims, code, unit, factor):
    pixels = pixels_of()
    x, y = (X, Y) if code == "EPSG:32632" else (9 + np.arange(SIZE) / 50, 50 - np.arange(SIZE) / 50)
    array = array_of(pixels, x * factor, y * factor, dims, **{"proj:code": code})
    for dim in dims:
        array[dim].attrs["units"] = unit
    path = stored(tmp_path, array)
    places = CENTRES if code == "EPSG:32632" else np.column_stack([x[COLUMNS], y[ROWS]])
    found = RasterEncoder(path).fit_transform(places)
    np.testing.assert_array_equal(found, pixels[:, ROWS, COLUMNS].T)


def test_units_of_axes_that_are_not_those_of_the_crs(tmp_path):
    array = array_of(pixels_of(), **{"proj:code": "EPSG:32632"})
    array["x"].attrs["units"] = "rad"  # as in files of geostationary satellites
    with pytest.raises(
        ImageError, match=r"coordinate 'x' is in 'rad', but its CRS, .* is in metre"
    ):
        RasterEncoder(stored(tmp_path, array)).fit()


def test_bands_have_names(tmp_path):
    pixels = pixels_of(bands=3)
    code = {"proj:code": "EPSG:32632"}
    array = array_of(pixels, **code).assign_coords(band=["red", "nir", "swir"])
    encoder = RasterEncoder(stored(tmp_path, array)).set_output(transform="pandas")
    assert list(encoder.fit_transform(CENTRES).columns) == ["red", "nir", "swir"]
    for count in ([0, 1, 2], [1, 2, 3]):
        path = stored(tmp_path, array_of(pixels, **code).assign_coords(band=count), mode="w")
        assert RasterEncoder(path).fit().get_feature_names_out()[0] == "raster000"


NAMED = {
    "labels": lambda array, names: array.assign_coords(band=names),
    "as rioxarray writes them": lambda array, names: array.assign_attrs(long_name=names),
    "beside the labels": lambda array, names: array.assign_coords(
        band=[1, 2, 3], common_name=("band", names)
    ),
}


@pytest.mark.parametrize("how", NAMED)
def test_bands_in_another_order_are_taken_by_their_names(tmp_path, how):
    """Also their units, scales and offsets, which rioxarray writes as lists where they differ."""
    pixels = pixels_of(bands=3).astype(np.int16)
    stores = []
    for order in ([0, 1, 2], [2, 0, 1]):
        lists = {"scales": [1.0, 10.0, 100.0], "offsets": [0.0, 5.0, 0.0], "units": ["m", "K", "1"]}
        lists = {key: [values[band] for band in order] for key, values in lists.items()}
        array = array_of(pixels[order], **{"proj:code": "EPSG:32632"}, **lists)
        names = [["red", "nir", "swir"][band] for band in order]
        path = stored(tmp_path, NAMED[how](array, names), name=f"of {order[0]}")
        stores.append(path)
    for store in stores:
        encoder = RasterEncoder([stores[0], store]).fit()
        assert list(encoder.get_feature_names_out()) == ["red", "nir", "swir"]
        assert encoder._tiles[1].order == (None if store == stores[0] else (1, 2, 0))
    expected = pixels[:, ROWS, COLUMNS].T * [1, 10, 100] + [0, 5, 0]
    np.testing.assert_allclose(sampled(stores[0]), expected)
    np.testing.assert_allclose(sampled(stores[1]), expected[:, [2, 0, 1]])


def test_lists_that_do_not_fit_the_bands(tmp_path):
    for name, value in (("scales", [1.0, 2.0]), ("offsets", ["a", "b", "c"]), ("scales", "x")):
        array = array_of(pixels_of(bands=3), **{"proj:code": "EPSG:32632", name: value})
        with pytest.raises(ImageError, match=rf"has {name} .* number for each of its 3 band"):
            RasterEncoder(stored(tmp_path, array, mode="w")).fit()


def tessera_store(folder, zone=True, **scales_how):
    raw = pixels_of(bands=6)
    scales = np.random.RandomState(9).uniform(0.01, 0.1, (SIZE, SIZE)).astype(np.float32)
    scales[2, 3] = np.nan
    dims = ("northing", "easting") if zone else ("y", "x")
    array = array_of(raw, dims=dims).rename("embeddings").chunk({dims[0]: 32, dims[1]: 32})
    beside = {"scales": xarray.Variable(dims, scales, **scales_how)}
    return stored(folder, array, {"proj:code": "EPSG:32632"}, beside), raw, scales


@pytest.mark.parametrize("zone", [False, True])
def test_tessera_with_scales(tmp_path, zone):
    path, raw, scales = tessera_store(tmp_path, zone)
    for method in ("nearest", "bilinear"):
        encoder = RasterEncoder(path, quantization="tessera", method=method).fit()
        found = encoder.transform(CENTRES)
        np.testing.assert_allclose(found, (raw * scales)[:, ROWS, COLUMNS].T, rtol=1e-3, atol=0.05)
    with pytest.raises(ValueError, match="no raster has a value"):
        RasterEncoder(path, quantization="tessera").fit_transform(lonlat_of([2.5], [3.5]))


def test_tessera_without_scales(tmp_path):
    path, _, _ = tessera_store(tmp_path)
    shutil.rmtree(path / "scales")
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(
        ImageError, match=r"'tessera' needs a variable 'scales' with the dimensions northing and"
    ):
        RasterEncoder(path, quantization="tessera").fit()


def test_missing_scales_are_missing(tmp_path):
    """What a file declares as missing is no scale, in Zarr as in GeoTIFFs."""
    scales = np.full((SIZE, SIZE), 0.5, np.float32)
    scales[3, 5] = -9999
    path, raw, _ = tessera_store(tmp_path)
    shutil.rmtree(path)
    array = array_of(raw, **{"proj:code": "EPSG:32632"}).to_dataset()
    array["scales"] = (("y", "x"), scales, {"_FillValue": np.float32(-9999)})
    array.to_zarr(path)
    write(tmp_path / "tile.tif", raw)
    write(tmp_path / "tile_scales.tif", scales[None], nodata=-9999)
    for source in (path, tmp_path / "tile.tif"):
        encoder = RasterEncoder(source, quantization="tessera", on_invalid="nan").fit()
        with pytest.warns(UserWarning, match="at 1 of 2 places"):
            found = encoder.transform(lonlat_of([3.5, 8.5], [5.5, 9.5]))
        np.testing.assert_array_equal(found, [[np.nan] * 6, raw[:, 8, 9] * 0.5])


def test_damaged_chunks_are_named(tmp_path):
    array = array_of(pixels_of(), **{"proj:code": "EPSG:32632"}).chunk({"y": 32, "x": 32})
    path = stored(tmp_path, array)
    chunk = next((path / "emb" / "c").rglob("2"))
    chunk = next(file for file in sorted((path / "emb").rglob("*/1/2")) if file.is_file())
    for content in (b"", b"no chunk", chunk.read_bytes()[:20]):
        chunk.write_bytes(content)
        encoder = RasterEncoder(path).fit()
        with pytest.raises(
            ImageError,
            match=r"tile.zarr cannot be read: the chunk of variable 'emb' in rows 3\d to 6\d and",
        ):
            encoder.transform(CENTRES)


def test_damaged_descriptions_are_named(tmp_path):
    path = stored(tmp_path, array_of(pixels_of(), **{"proj:code": "EPSG:32632"}))
    for file in (path / "zarr.json", path / "x" / "c" / "0"):
        whole = file.read_bytes()
        for content in (b"", b"[]", whole[: len(whole) // 2]):
            file.write_bytes(content)
            with pytest.raises(ImageError, match=r"tile.zarr"):
                RasterEncoder(path).fit()
        file.write_bytes(whole)


def test_large_chunks_are_refused_in_fit(tmp_path, monkeypatch):
    path = stored(tmp_path, array_of(pixels_of(), **{"proj:code": "EPSG:32632"}))
    monkeypatch.setattr(geotiff, "LARGEST_BLOCK", 4 * SIZE * SIZE - 1)
    with pytest.raises(ImageError, match=r"blocks of 96 × 96 pixels, 0 MiB with all bands"):
        RasterEncoder(path).fit()
    monkeypatch.setattr(geotiff, "LARGEST_BLOCK", 4 * SIZE * SIZE)
    RasterEncoder(path).fit()
