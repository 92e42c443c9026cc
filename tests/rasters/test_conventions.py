"""What files say of their embeddings is taken from them and not asked of the user."""

import json

import numpy as np
import pytest
import xarray
import zarr
from pyproj import Transformer

from skgeo_embed import ImageError, RasterEncoder
from skgeo_embed.rasters import Product
from skgeo_embed.rasters.conventions import CONVENTION, comparable
from tests.rasters.small_tiles import pixels_of, write

BANDS, SIDE = 4, 6
QUANTIZATION = {
    "method": "per_pixel_scale",
    "original_dtype": "float32",
    "quantized_dtype": "int8",
    "scale": {"type": "array", "array_name": "scales", "nodata": "+inf"},
}
# longitude, latitude of zone 32 and, south of the equator, of zone 31
PLACES = {"utm32": (9.1, 47.6), "utm31": (2.3, -3.2)}


def tessera(path, version="1.0", years=(2023, 2024), seed=0, **root):
    """Write a store in Tessera's layout; return the int8 values and scales of its zones."""
    rng = np.random.RandomState(seed)
    store = zarr.open_group(str(path), mode="w", zarr_format=3)
    store.attrs.update(
        {
            "zarr_conventions": [CONVENTION],
            "geoemb:type": "pixel",
            "geoemb:dimensions": BANDS,
            "geoemb:model": f"https://geotessera.org/model/{version}",
            "geoemb:source_data": ["https://sentinel.esa.int/web/sentinel/missions/sentinel-2"],
            "geoemb:data_type": "int8",
            "geoemb:spatial_layout": "utm_zones",
            "geoemb:quantization": QUANTIZATION,
            **root,
        }
    )
    store.create_group("preview").create_array("rgb", shape=(3, 2, 2), dtype=np.uint8)[...] = 0
    written = {}
    for name, place in PLACES.items():
        epsg = 32600 + int(name[3:])  # the northern system on both sides of the equator
        x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(*place)
        west, north = 10 * (x // 10) - 20, 10 * (y // 10) + 30  # the place is in row 2, column 2
        raw = rng.randint(-127, 128, (len(years), BANDS, SIDE, SIDE)).astype(np.int8)
        scales = rng.uniform(0.01, 0.1, (len(years), SIDE, SIDE)).astype(np.float32)
        zone = store.create_group(name)
        zone.attrs.update(
            {
                "proj:code": f"EPSG:{epsg}",
                "spatial:dimensions": ["y", "x"],
                "spatial:transform": [10.0, 0.0, west, 0.0, -10.0, north],
            }
        )
        dims = {
            "embeddings": (raw, ["time", "band", "y", "x"]),
            "embeddings_d2": (raw[:, :2], ["time", "band2", "y", "x"]),
            "scales": (scales, ["time", "y", "x"]),
            "time": (np.array(years, np.int32), ["time"]),
            "band": (np.arange(BANDS, dtype=np.int32), ["band"]),
            "x": (west + 5 + 10.0 * np.arange(SIDE), ["x"]),
            "y": (north - 5 - 10.0 * np.arange(SIDE), ["y"]),
        }
        for key, (values, names) in dims.items():
            chunks = tuple(min(4, n) for n in values.shape)
            zone.create_array(
                key, shape=values.shape, dtype=values.dtype, dimension_names=names, chunks=chunks
            )[...] = values
        written[name] = raw, scales
    return written


def test_tesseras_zones_and_years(tmp_path):
    """Scales, dimensions and model come from the store; zones are told apart by the place."""
    written = tessera(tmp_path / "store.zarr")
    for position, year in enumerate((2023, 2024)):
        encoder = RasterEncoder(tmp_path / "store.zarr", year=year).fit()
        found = encoder.transform(list(PLACES.values()))
        by_hand = [
            [float(raw[position, band, 2, 2]) * float(scales[position, 2, 2])
             for band in range(BANDS)]
            for raw, scales in written.values()
        ]  # fmt: skip
        np.testing.assert_allclose(found, by_hand, rtol=1e-6)
    assert encoder.model_ == "Tessera 1"
    assert encoder.n_tiles_ == 4
    with pytest.raises(ValueError, match="are of the years 2023, 2024"):
        RasterEncoder(tmp_path / "store.zarr").fit()
    each = RasterEncoder(tmp_path / "store.zarr", year="year").fit_transform(
        xarray.Dataset({"lon": ("n", [9.1, 9.1]), "lat": ("n", [47.6, 47.6]),
                        "year": ("n", [2023, 2024])}).to_dataframe()
    )  # fmt: skip
    raw, scales = written["utm32"]
    np.testing.assert_allclose(each, raw[:, :, 2, 2] * scales[:, 2, 2][:, None], rtol=1e-6)


def test_dates_are_years_too(tmp_path):
    values = np.arange(8.0).reshape(2, 1, 2, 2)
    times = np.array(["2020-01-01", "2021-07-01"], "M8[ns]")
    xarray.DataArray(
        values,
        dims=("time", "band", "y", "x"),
        coords={"time": times, "y": [50.0, 49.0], "x": [10.0, 11.0]},
    ).to_dataset(name="emb").assign_attrs({"proj:code": "EPSG:4326"}).to_zarr(tmp_path / "a.zarr")
    assert RasterEncoder(tmp_path / "a.zarr", year=2021).fit_transform([[10, 50]]).item() == 4
    xarray.open_zarr(tmp_path / "a.zarr").assign_coords(time=[1, 2]).to_zarr(tmp_path / "b.zarr")
    with pytest.raises(ImageError, match="neither years nor dates"):
        RasterEncoder(tmp_path / "b.zarr").fit()


@pytest.mark.parametrize("sentinel", [np.nan, np.inf, 0.0])
def test_pixels_without_a_scale_are_missing(tmp_path, sentinel):
    tessera(tmp_path / "store.zarr", years=(2024,))
    zarr.open_group(str(tmp_path / "store.zarr"))["utm32/scales"][0, 2, 2] = sentinel
    encoder = RasterEncoder(tmp_path / "store.zarr").fit()
    with pytest.raises(ValueError, match="no raster has a value at 1 of 1 places"):
        encoder.transform([PLACES["utm32"]])


@pytest.mark.parametrize("versions", [("1.0", "1.1"), ("1.1", "2.0"), ("1.0", "2")])
def test_versions_are_never_mixed(tmp_path, versions):
    for year, version in zip((2023, 2024), versions, strict=True):
        tessera(tmp_path / f"{version}.zarr", version, years=(year,))
    stores = [tmp_path / f"{version}.zarr" for version in versions]
    with pytest.raises(ImageError, match=r"several models cannot be mixed: .* of Tessera"):
        RasterEncoder(stores, year=2024).fit()
    with pytest.raises(ImageError, match="several models"):
        RasterEncoder({2023: stores[0], 2024: stores[1]}, year=2023).fit()
    assert RasterEncoder(stores[0]).fit().n_tiles_ == 2


def test_a_geotiff_of_another_version_is_not_mixed_either(tmp_path):
    import rasterio

    for name, version in (("a", "v1"), ("b", "1.0"), ("c", "v1.1")):
        write(tmp_path / f"{name}.tif", pixels_of().astype(np.float32))
        with rasterio.open(tmp_path / f"{name}.tif", "r+") as file:
            file.update_tags(TESSERA_DATASET_VERSION=version)
    both = RasterEncoder([tmp_path / "a.tif", tmp_path / "b.tif"]).fit()
    assert both.model_ == "Tessera 1"
    with pytest.raises(ImageError, match=r"of Tessera 1, .* of Tessera 1\.1"):
        RasterEncoder([tmp_path / "a.tif", tmp_path / "c.tif"]).fit()


def test_a_dict_of_years_takes_that_year_of_a_store(tmp_path):
    tessera(tmp_path / "store.zarr")
    encoder = RasterEncoder({2024: tmp_path / "store.zarr"}).fit()
    assert {tile.year for tile in encoder._tiles} == {2024}
    with pytest.raises(ImageError, match="holds no raster of the year 2019"):
        RasterEncoder({2019: tmp_path / "store.zarr"}).fit()


def flat(path, quantization, values=None, dtype="int8", **root):
    """Write a store of one array, with a description."""
    values = np.arange(-8, 8).reshape(4, 2, 2).astype(dtype) if values is None else values
    array = xarray.DataArray(
        values, dims=("band", "y", "x"), coords={"y": [50.0, 49.0], "x": [10.0, 11.0]}
    )
    said = {"proj:code": "EPSG:4326", "geoemb:dimensions": 4, "geoemb:model": "https://a.org/m"}
    if quantization is not None:
        said["geoemb:quantization"] = quantization
    array.to_dataset(name="emb").assign_attrs({**said, **root}).to_zarr(path)
    return values


@pytest.mark.parametrize(
    "said",
    [
        {"scale": {"type": "scalar", "scale": 0.5, "offset": 3.0}},
        {"scale": 0.5, "offset": 3.0},  # as the text of version 1 has it
    ],
)
def test_linear_quantization(tmp_path, said):
    raw = flat(tmp_path / "a.zarr", {"method": "linear", "original_dtype": "float32", **said})
    encoder = RasterEncoder(tmp_path / "a.zarr").fit()
    np.testing.assert_allclose(encoder.transform([[11, 49]])[0], raw[:, 1, 1] * 0.5 + 3)
    assert encoder.model_ == "https://a.org/m"


def twice(raw, companion):
    return raw.astype(np.float32) * 2


def test_a_product_that_is_passed_replaces_what_the_file_says(tmp_path):
    said = {"method": "signed_power", "original_dtype": "float32", "link": "https://a.org/how"}
    raw = flat(tmp_path / "a.zarr", said)
    with pytest.raises(ImageError, match=r"by 'signed_power'.*https://a.org/how.*Product"):
        RasterEncoder(tmp_path / "a.zarr").fit()
    product = Product("twice", "int8", None, None, twice)
    encoder = RasterEncoder(tmp_path / "a.zarr", quantization=product).fit()
    np.testing.assert_array_equal(encoder.transform([[10, 50]])[0], raw[:, 0, 0] * 2.0)
    squares = RasterEncoder(tmp_path / "a.zarr", quantization="alphaearth").fit()
    np.testing.assert_allclose(squares.transform([[10, 50]])[0, 0], -((8 / 127.5) ** 2), rtol=1e-6)


@pytest.mark.parametrize(
    ("said", "root", "told"),
    [
        ({"scale": 1.0}, {}, "without a method"),
        ({"method": "linear", "scale": "x"}, {}, "scale of its quantization is x"),
        ({"method": "linear", "scale": [1.0, 2.0]}, {}, "states 2 scales for 4 columns"),
        ({"method": "a", "scale": {"type": "array"}}, {}, "names no array of scales"),
        (QUANTIZATION, {}, "needs a variable 'scales'"),
        (None, {"geoemb:dimensions": 7}, "says that it has 7 dimensions, and holds 4"),
        (None, {"geoemb:dimensions": "many"}, "not a number of columns"),
    ],
)
def test_descriptions_that_cannot_be_meant(tmp_path, said, root, told):
    flat(tmp_path / "a.zarr", said, **root)
    with pytest.raises(ImageError, match=told):
        RasterEncoder(tmp_path / "a.zarr").fit()


def item(href, **properties):
    return {
        "type": "Feature",
        "id": "tile",
        "properties": {"datetime": "2024-05-01T10:32:45Z", **properties},
        "links": [{"rel": "emb:model", "href": "https://a.org/m"}],
        "assets": {
            "embeddings": {"href": href, "roles": ["data"]},
            "thumbnail": {"href": "t.tif", "type": "image/tiff"},
        },
    }


def test_the_embedding_extension_of_stac(tmp_path):
    pixels = pixels_of()
    write(tmp_path / "tile.tif", pixels)
    said = {
        "method": "linear", "original_dtype": "float32", "quantized_dtype": "int8",
        "scale": [0.02], "offset": [-1.2],
    }  # fmt: skip
    (tmp_path / "item.json").write_text(json.dumps(item("tile.tif", **{"emb:quantization": said})))
    encoder = RasterEncoder(tmp_path / "item.json").fit()
    plain = RasterEncoder(tmp_path / "tile.tif").fit()
    from tests.rasters.small_tiles import CENTRES

    expected = plain.transform(CENTRES) * np.float32(0.02) - np.float32(1.2)
    np.testing.assert_allclose(encoder.transform(CENTRES), expected, rtol=1e-6)
    assert encoder.model_ == "https://a.org/m"
    assert encoder._tiles[0].year == 2024


def test_a_zarr_store_of_a_stac_item(tmp_path):
    raw = flat(tmp_path / "a.zarr", None)
    collection = {"features": [item("a.zarr", **{"emb:dimensions": 4})]}
    (tmp_path / "items.json").write_text(json.dumps(collection))
    encoder = RasterEncoder(tmp_path / "items.json").fit()
    np.testing.assert_array_equal(encoder.transform([[10, 50]])[0], raw[:, 0, 0])
    collection = {"features": [item("a.zarr", **{"emb:dimensions": 5})]}
    (tmp_path / "items.json").write_text(json.dumps(collection))
    with pytest.raises(ImageError, match="says that it has 5 dimensions"):
        RasterEncoder(tmp_path / "items.json").fit()


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("https://geotessera.org/model/1.0", "Tessera 1"),
        ("https://geotessera.org/model/v1", "Tessera 1"),
        ("https://geotessera.org/model/1.1/", "Tessera 1.1"),
        ("Tessera v2.0", "Tessera 2"),
        (
            "https://huggingface.co/made-with-clay/Clay",
            "https://huggingface.co/made-with-clay/Clay",
        ),
        (None, None),
    ],
)
def test_spellings_of_one_model_agree(spelling, expected):
    assert comparable(spelling) == expected
