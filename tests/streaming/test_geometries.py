"""Columns of geometries in tables: their texts, their systems, and what their file says of them."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pyproj
import pytest
import shapely

from skgeo_embed import CoordinateError, PositionalEncoder, encode_table

SMALL = PositionalEncoder(legendre_polys=3)
OR_NULL = PositionalEncoder(legendre_polys=3, on_invalid="nan")


def encoded(folder, values, encoder=SMALL, **options):
    """Write a column of geometries as Parquet, encode it, and return the features."""
    pd.DataFrame({"shape": values}).to_parquet(folder / "in.parquet")
    output = folder / "out.parquet"
    encode_table(
        encoder, folder / "in.parquet", output, geometry="shape", overwrite=True, **options
    )
    return pd.read_parquet(output).filter(like="sh_l").to_numpy()


@pytest.mark.parametrize("empty", ["POINT EMPTY", " point empty", "POLYGON EMPTY", "POINT Z EMPTY"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_empty_text_is_missing_wherever_it_stands(tmp_path, empty, suffix):
    """Texts were known by their parenthesis, which the first one has not."""
    table = pd.DataFrame({"shape": [empty, "POINT (1 2)", empty]})
    source = tmp_path / f"in{suffix}"
    table.to_csv(source) if suffix == ".csv" else table.to_parquet(source)
    written = encode_table(OR_NULL, source, tmp_path / "out.parquet", geometry="shape")
    assert (written.bad, written.first_bad) == (2, [0, 2])
    found = pd.read_parquet(tmp_path / "out.parquet").filter(like="sh_l").to_numpy()
    np.testing.assert_allclose(found[1:2], SMALL.fit_transform([[1, 2]]))
    with pytest.raises(CoordinateError, match=r"2 of 3|first: row 0"):
        encode_table(SMALL, source, tmp_path / "b.parquet", geometry="shape")


CURVES = {
    "text": "CURVEPOLYGON (CIRCULARSTRING (0 0, 1 1, 2 0, 1 -1, 0 0))",
    "line": "COMPOUNDCURVE ((2 0, 3 1), CIRCULARSTRING (3 1, 4 2, 5 1))",
    "bytes": bytes.fromhex("010800000003000000" + np.array([0, 0, 1, 1, 2, 0.0]).tobytes().hex()),
}


@pytest.mark.parametrize("kind", CURVES)
def test_curves_are_named(tmp_path, kind):
    with pytest.raises(CoordinateError, match=r"column 'shape' holds curves.*ST_CurveToLine"):
        encoded(tmp_path, [CURVES[kind]])


def test_hexadecimal_bytes_may_have_no_letter(tmp_path):
    """They were taken for an H3 cell in decimal digits."""
    digits = shapely.to_wkb(shapely.Point(139, 35), hex=True)
    assert digits.isdigit()
    found = encoded(tmp_path, [digits, digits])
    np.testing.assert_allclose(found[:1], SMALL.fit_transform([[139, 35]]))


@pytest.mark.parametrize("srid", [3857, 4301, 32632])
@pytest.mark.parametrize("hexadecimal", [False, True])
def test_ewkb_is_read_in_the_system_that_it_states(tmp_path, srid, hexadecimal):
    """Its numbers were taken for degrees of WGS84, which SRID 4301 is 450 m away from."""
    places = gpd.GeoSeries(shapely.points([[139.7, 35.7], [139.8, 35.6]]), crs=4326)
    if srid == 32632:
        places = gpd.GeoSeries(shapely.points([[9.1, 47.1], [8.2, 46.3]]), crs=4326)
    there = shapely.set_srid(places.to_crs(srid).to_numpy(), srid)
    values = list(shapely.to_wkb(there, include_srid=True, hex=hexadecimal))
    expected = SMALL.fit_transform(gpd.GeoSeries(there, crs=srid))
    np.testing.assert_allclose(encoded(tmp_path, values), expected, atol=1e-12)
    near = shapely.get_coordinates(places.to_numpy())
    np.testing.assert_allclose(encoded(tmp_path, values), SMALL.fit_transform(near), atol=1e-4)


def test_ewkb_of_degrees(tmp_path):
    points = shapely.set_srid(shapely.points([[1, 2], [3, 4]]), 4326)
    values = [*shapely.to_wkb(points, include_srid=True), None]
    found = encoded(tmp_path, values, OR_NULL)
    np.testing.assert_allclose(found[:2], SMALL.fit_transform([[1, 2], [3, 4]]), atol=1e-12)


@pytest.mark.parametrize(
    ("srids", "message"),
    [
        ([4326, 3857], r"column 'shape', in the rows from 0 on, holds.*SRIDs are 3857, 4326"),
        ([0, 3857], r"SRIDs are 0, 3857 \(0 states none\)"),
        ([999999, 999999], r"SRID 999999, which is not a known EPSG code.*Transform them to 4326"),
    ],
)
def test_ewkb_of_systems_that_cannot_be_meant(tmp_path, srids, message):
    points = shapely.set_srid(shapely.points([[1, 2], [3, 4]]), srids)
    with pytest.raises(CoordinateError, match=message):
        encoded(tmp_path, list(shapely.to_wkb(points, include_srid=True)))


def write_geo(path, geo, srid=0):
    point = shapely.set_srid(shapely.Point(1, 2), srid)
    column = pa.array([shapely.to_wkb(point, include_srid=True)])
    table = pa.table({"geometry": column}).replace_schema_metadata({"geo": geo})
    parquet.write_table(table, path)


def test_ewkb_and_geoparquet_that_contradict_each_other(tmp_path):
    geo = b'{"primary_column": "geometry", "columns": {"geometry": {"crs": "EPSG:3857"}}}'
    write_geo(tmp_path / "in.parquet", geo, srid=2056)
    with pytest.raises(CoordinateError, match=r"SRID 2056, and the file says.*another CRS"):
        encode_table(SMALL, tmp_path / "in.parquet", tmp_path / "out.parquet")
    write_geo(tmp_path / "in.parquet", geo, srid=3857)
    assert encode_table(SMALL, tmp_path / "in.parquet", tmp_path / "out.parquet").rows == 1


@pytest.mark.parametrize(
    "geo",
    [
        b"{", b"", b"[]", b"5", b"null", b"{}", b'{"primary_column": "geometry"}', b"\xff\xfe{",
        b'{"primary_column": "geometry", "columns": []}', b'{"primary_column": 5, "columns": {}}',
        b'{"primary_column": "geometry", "columns": {"geometry": 7}}', b"[" * 100_000,
        b'{"primary_column": "geometry", "columns": "crs"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("geometry", ["geometry", None])
def test_geoparquet_that_says_nothing_clear(tmp_path, geo, geometry):
    write_geo(tmp_path / "in.parquet", geo)
    with pytest.raises(ValueError, match=r"in\.parquet says that it is GeoParquet, and its 'geo'"):
        encode_table(SMALL, tmp_path / "in.parquet", tmp_path / "out.parquet", geometry=geometry)


LOCAL = pyproj.CRS('LOCAL_CS["site", UNIT["metre", 1]]').to_json().encode()


@pytest.mark.parametrize(
    "crs", [b'"nowhere"', b"7.5", b"{}", b'{"type": "ProjectedCRS"}', LOCAL], ids=range(5)
)
def test_geoparquet_of_a_system_that_is_none(tmp_path, crs):
    geo = b'{"primary_column": "geometry", "columns": {"geometry": {"crs": %s}}}' % crs
    write_geo(tmp_path / "in.parquet", geo)
    with pytest.raises(ValueError, match=r"in\.parquet.*CRS"):
        encode_table(SMALL, tmp_path / "in.parquet", tmp_path / "out.parquet")
