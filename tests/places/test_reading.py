import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import shapely
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skgeo_embed import PositionalEncoder
from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.columns import classify_column
from skgeo_embed.places.reading import read_axis, read_coordinates

POINTS = np.array([[7.83, 36.83], [-122.3, 38.5], [151.2, -33.9]])
LON_NAMES = ("lon", "LNG", "long", "Longitude", "decimalLongitude", "station_lon", "remainder__lon")
LAT_NAMES = ("lat", "LAT", "lat", "Latitude", "decimalLatitude", "station_lat", "remainder__lat")

longitudes = st.floats(-180, 360)
latitudes = st.floats(-90, 90)
valid_points = st.lists(st.tuples(longitudes, latitudes), min_size=1, max_size=20)


def _unit_vectors(lonlat):
    lon, lat = np.deg2rad(np.asarray(lonlat, dtype=float)).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        lambda p: p.astype(np.float32).astype(object),
        np.ndarray.tolist,
        torch.from_numpy,
        lambda p: torch.tensor(p, requires_grad=True),
        lambda p: pd.DataFrame(p, columns=["lon", "lat"]),
        lambda p: pd.DataFrame(p),
        lambda p: pd.DataFrame(p[:, ::-1], columns=["lat", "lon"]),
        lambda p: pd.DataFrame(p, columns=["lon", "lat"]).convert_dtypes(dtype_backend="pyarrow"),
        lambda p: pd.DataFrame(p, columns=["lon", "lat"], dtype="Float64"),
        lambda p: pd.DataFrame(p, columns=["lon", "lat"], dtype=object),
        lambda p: pl.DataFrame(p, schema=["lon", "lat"]),
        lambda p: pl.DataFrame(p[:, ::-1], schema=["Latitude", "Longitude"]),
        lambda p: gpd.GeoSeries.from_xy(*p.T, crs=4326),
        lambda p: gpd.GeoDataFrame(
            {"price": [1, 2, 3]}, geometry=gpd.GeoSeries.from_xy(*p.T, crs=4326)
        ),
        lambda p: gpd.GeoSeries.from_xy(*p.T, crs=4326).to_crs(3857),
    ],
)
def test_every_input_type_reads_the_same(convert):
    result = read_coordinates(convert(POINTS))
    assert result.lonlat.dtype == np.float64
    assert result.valid.all()
    np.testing.assert_allclose(result.lonlat, POINTS, atol=1e-5)


@pytest.mark.parametrize(("lon", "lat"), list(zip(LON_NAMES, LAT_NAMES, strict=True)))
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("swapped", [False, True])
def test_named_columns_in_any_order(lon, lat, frame, swapped):
    columns = {lon: POINTS[:, 0], lat: POINTS[:, 1]}
    if swapped:
        columns = dict(reversed(columns.items()))
    np.testing.assert_array_equal(read_coordinates(frame(columns)).lonlat, POINTS)


@pytest.mark.parametrize("field", ["lon", "lat"])
def test_columns_of_several_numbers_a_row(field):
    fields = [(name, "f8", 2) if name == field else (name, "f8") for name in ("lon", "lat")]
    with pytest.raises(CoordinateError, match=rf"column '{field}' .*\(3, 2\)"):
        read_coordinates(np.zeros(3, fields))
    with pytest.raises(CoordinateError, match=r"column 'lon' .*\(3, 2\)"):
        read_coordinates(np.zeros(3, [("lon", "f8", 2), ("lat", "f8", 2)]))


def test_integer_columns_are_degrees():
    np.testing.assert_array_equal(read_coordinates([[10, 20]]).lonlat, [[10.0, 20.0]])


@pytest.mark.parametrize("name", ["price", "x", "longest", "latent", "lonlat", "lat_lon", 3, None])
def test_other_names_are_not_coordinates(name):
    assert classify_column(name) is None


@given(valid_points)
def test_canonical_form_is_the_same_place(points):
    result = read_coordinates(points).lonlat
    assert ((result[:, 0] >= -180) & (result[:, 0] < 180)).all()
    np.testing.assert_allclose(_unit_vectors(result), _unit_vectors(points), atol=1e-12)


@given(st.floats(0, 179.99), latitudes)
def test_both_notations_give_one_result(lon, lat):
    west = read_coordinates([[lon - 180, lat]]).lonlat
    east = read_coordinates([[lon + 180, lat]]).lonlat
    np.testing.assert_allclose(west, east, atol=1e-10)


@given(longitudes, st.sampled_from([-90.0, 90.0]))
def test_poles_have_one_notation(lon, lat):
    np.testing.assert_array_equal(read_coordinates([[lon, lat]]).lonlat, [[0.0, lat]])


def test_antimeridian_has_one_notation():
    result = read_coordinates([[180, 5], [-180, 5]]).lonlat
    np.testing.assert_array_equal(result[0], result[1])


@given(hnp.arrays(np.float64, (4, 2), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_every_row_is_read_or_reported(values):
    result = read_coordinates(values, on_invalid="nan")
    lon, lat = values.T
    expected = (lon >= -180) & (lon <= 360) & (np.abs(lat) <= 90)
    np.testing.assert_array_equal(result.valid, expected)
    assert np.isnan(result.lonlat[~expected]).all()
    assert np.isfinite(result.lonlat[expected]).all()
    if not expected.all():
        with pytest.raises(CoordinateError):
            read_coordinates(values)


@given(valid_points, st.integers(0, 19), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_missing_values_name_their_row(points, position, value):
    row = position % len(points)
    broken = np.array(points)
    broken[row, position % 2] = value
    with pytest.raises(CoordinateError, match=rf"out of {len(points)} \(first: row {row}\)"):
        read_coordinates(broken)


def test_missing_counts_and_advice():
    with pytest.raises(CoordinateError) as error:
        read_coordinates([[np.nan, 1], [2, np.inf], [1, 1], [np.nan, np.nan]])
    message = str(error.value)
    assert "2 row(s) with NaN and 1 with infinity, out of 4" in message
    assert "row 0, row 1, row 3" in message
    assert 'on_invalid="nan"' in message


@pytest.mark.parametrize("missing", [None, pd.NA, np.nan])
def test_missing_in_nullable_columns(missing):
    frame = pd.DataFrame({"lon": [1.0, missing], "lat": [2.0, 3.0]}, dtype="Float64")
    np.testing.assert_array_equal(read_coordinates(frame, on_invalid="nan").valid, [True, False])
    with pytest.raises(CoordinateError, match="row 1"):
        read_coordinates(frame.astype(object))


def test_polars_null_is_missing():
    frame = pl.DataFrame({"lon": [1, None], "lat": [2.0, 3.0]})
    np.testing.assert_array_equal(read_coordinates(frame, on_invalid="nan").valid, [True, False])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            [[36.8, 127.8], [38.5, -122.3]],
            "row 0: lon=36.8, lat=127.8, row 1: lon=38.5, lat=-122.3. The columns look swapped",
        ),
        ([[500000.0, 4649776.0]], "projected coordinates in metres"),
        ([[10, 20], [361, 20]], "row 1: lon=361, lat=20. Check the units"),
        ([[-180.5, 0]], "row 0: lon=-180.5"),
        ([[10, 90.5], [100, 0]], "Check the units"),
    ],
)
def test_out_of_range_says_what_it_looks_like(values, expected):
    with pytest.raises(CoordinateError) as error:
        read_coordinates(values)
    assert expected in str(error.value)


def test_only_the_first_bad_rows_are_named():
    with pytest.raises(CoordinateError) as error:
        read_coordinates(np.full((1000, 2), 400.0))
    assert "1000 of 1000" in str(error.value)
    assert "row 4:" in str(error.value)
    assert "row 5:" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0], r"Expected 2D array, got 1D array instead.*\[\[lon, lat\]\]"),
        (np.zeros((2, 2, 2)), "got 3D array"),
        (np.zeros((0, 2)), r"0 sample\(s\) \(shape=\(0, 2\)\) while a minimum of 1"),
        (pd.DataFrame({"lon": [], "lat": []}), "0 sample"),
        (np.zeros((3, 3)), r"3 feature\(s\).*df\[\[\"lon\", \"lat\"\]\]"),
        (np.zeros((3, 1)), r"1 feature\(s\)"),
        (pd.DataFrame({"lat": [1], "lon": [2], "price": [3]}), r"X\[\['lon', 'lat'\]\]"),
        (pd.DataFrame({"a": [1], "b": [2]}), r"rename them to 'lon' and 'lat'"),
        (pd.DataFrame({"lon": [1], "price": [2]}), "no column that is recognised as the latitude"),
        (np.array([["7.8", "36.8"]]), "numbers in degrees.*pandas.to_numeric"),
        (pd.DataFrame({"lon": ["7,8"], "lat": [1.0]}), "'lon' must be numbers"),
        ([["7.8", 36.8]], "numbers in degrees"),
        (np.array([[1.0, 2.0], ["x", 1.0]], dtype=object), "the text 'x' in row 1"),
        (np.zeros((2, 2), dtype=complex), "Complex data not supported"),
    ],
)
def test_wrong_input_says_what_to_do(values, expected):
    with pytest.raises(CoordinateError, match=expected):
        read_coordinates(values)


def test_objects_without_a_number_are_a_type_error():
    with pytest.raises(TypeError, match="numbers in degrees"):
        read_coordinates(np.array([[{}, 1.0]], dtype=object))


def test_sparse_is_refused():
    from scipy.sparse import csr_array

    with pytest.raises(CoordinateError, match="toarray"):
        read_coordinates(csr_array(POINTS))


def test_geometries_need_a_crs():
    with pytest.raises(CoordinateError, match="set_crs"):
        read_coordinates(gpd.GeoSeries.from_xy(*POINTS.T))


def test_geometries_must_be_points():
    areas = gpd.GeoSeries.from_xy(*POINTS.T, crs=3857).buffer(10)
    with pytest.raises(CoordinateError, match="3 of 3 geometries are not points"):
        read_coordinates(areas)


def test_missing_geometries_are_missing_values():
    points = gpd.GeoSeries.from_xy(*POINTS.T, crs=4326)
    points.iloc[1] = None
    np.testing.assert_array_equal(read_coordinates(points, on_invalid="nan").valid, [1, 0, 1])
    with pytest.raises(CoordinateError, match="row 1"):
        read_coordinates(points)


def test_no_geometries_is_empty():
    with pytest.raises(CoordinateError, match="0 sample"):
        read_coordinates(gpd.GeoSeries([], crs=4326))


def test_input_is_not_changed():
    values = np.array([[190.0, 90.0], [180.0, 1.0]])
    before = values.copy()
    read_coordinates(values)
    np.testing.assert_array_equal(values, before)


def test_axes():
    np.testing.assert_array_equal(read_axis([0, 190, 360], "lon"), [0, -170, 0])
    np.testing.assert_array_equal(read_axis(torch.tensor([-90.0, 90.0]), "lat"), [-90, 90])
    with pytest.raises(CoordinateError, match="one-dimensional"):
        read_axis([[1.0]], "lat")
    with pytest.raises(CoordinateError, match="row 0"):
        read_axis([91], "lat")


# --- what was read wrongly, or refused without saying what to do


def test_what_is_masked_is_missing():
    masked = np.ma.masked_equal([[0.0, 0.0], [7.8, 36.8]], 0.0)
    np.testing.assert_array_equal(read_coordinates(masked, on_invalid="nan").valid, [False, True])
    with pytest.raises(CoordinateError, match="row 0"):
        read_coordinates(masked)
    integers = np.ma.masked_array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]])
    np.testing.assert_array_equal(read_coordinates(integers, on_invalid="nan").valid, [False, True])
    objects = np.ma.masked_array(np.array([["x", 2.0], [3, 4]], dtype=object), [[1, 0], [0, 0]])
    with pytest.raises(CoordinateError, match="text 'x'"):
        read_coordinates(objects)


SWAPPED = POINTS[:, ::-1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: pd.DataFrame(SWAPPED, columns=pd.MultiIndex.from_product([["p"], ["lat", "lon"]])),
        lambda: pd.DataFrame(SWAPPED, columns=[b"lat", b"lon"]),
        lambda: xr.DataArray(SWAPPED, dims=("n", "c"), coords={"c": ["lat", "lon"]}),
        lambda: xr.Dataset({"lat": ("n", SWAPPED[:, 0]), "lon": ("n", SWAPPED[:, 1])}),
        lambda: pa.table({"lat": SWAPPED[:, 0], "lon": SWAPPED[:, 1]}),
        lambda: pa.RecordBatch.from_pydict({"lat": SWAPPED[:, 0], "lon": SWAPPED[:, 1]}),
        lambda: np.rec.fromarrays(SWAPPED.T, names="lat,lon"),
        lambda: list(shapely.points(POINTS)),
        lambda: pd.Series(shapely.points(POINTS)),
        lambda: shapely.points(POINTS),
    ],
    ids=["multiindex", "bytes", "DataArray", "Dataset", "pyarrow", "batch", "records", "shapely",
         "shapely series", "shapely array"],
)  # fmt: skip
def test_names_and_geometries_say_which_is_which(make):
    np.testing.assert_allclose(read_coordinates(make()).lonlat, POINTS)


def test_arrays_of_xarray_without_names_are_lon_lat():
    np.testing.assert_array_equal(
        read_coordinates(xr.DataArray(POINTS, dims=("n", "c"))).lonlat, POINTS
    )


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: np.array([[True, False]]), "got booleans"),
        (lambda: np.array([[True, 1.5]], dtype=object), "got True in row 0"),
        (lambda: pd.DataFrame({"lon": [True], "lat": [1.0]}), "column 'lon'.*booleans"),
        (lambda: pd.DataFrame({"lon": [True], "lat": [1.0]}, dtype="boolean"), "booleans"),
        (lambda: pd.DataFrame({"lon": ["7,8"], "lat": [1.0]}), r'decimal=","'),
        (lambda: [["7°48'N", 1.0]], "degrees, minutes and seconds.*minutes / 60"),
        (lambda: [["36.8 N", 1.0]], "letter for the hemisphere"),
        (
            lambda: pd.DataFrame({"x": [1.0], "y": [2.0]}),
            "if 'x' and 'y' are degrees, name them with lon=",
        ),
        (lambda: pl.LazyFrame({"lon": [1.0], "lat": [2.0]}), r"pass X\.collect\(\)"),
        (lambda: [[10**400, 1]], "must be numbers in degrees"),
        (lambda: torch.zeros(2, 2).to_sparse(), r"X\.to_dense\(\)"),
        (lambda: torch.zeros(2, 2, device="meta"), "holds no values"),
        (lambda: pd.DataFrame([[1.0, 2.0]], columns=["lon", 3]), "recognised as the latitude"),
        (
            lambda: pd.DataFrame([[1.0, 2.0]], columns=[None, 1.5]),
            "the longitude; there is no column",
        ),
        (
            lambda: pd.DataFrame([[1.0, 2.0]], columns=["lon", "lon"]),
            "several columns could be the longitude: 'lon', 'lon'",
        ),
        (lambda: {"lon": [1.0], "lat": [2.0]}, r"pandas\.DataFrame\(X\)"),
        (lambda: "lon,lat", "got the text 'lon,lat' as coordinates"),
        (lambda: [shapely.Point(1, 2), shapely.LineString([(0, 0), (1, 1)])], "row 1, a LineStr"),
        (lambda: [shapely.Point(1, 2), 5], "geometries and other values are mixed"),
        (lambda: shapely.Point(1, 2), r"such as \[point\]"),
        (lambda: gpd.GeoSeries.from_xy([1.0], [2.0], crs='LOCAL_CS["a",UNIT["m",1]]'), "CRS"),
        (lambda: pd.DataFrame({"lon": [], "lat": []}), "0 sample"),
    ],
)
def test_dead_ends_say_what_to_do(make, expected):
    with pytest.raises(CoordinateError, match=expected):
        read_coordinates(make())


def test_a_dask_collection_where_none_is_taken():
    da = pytest.importorskip("dask.array")
    with pytest.raises(CoordinateError, match=r"X\.compute\(\)"):
        read_coordinates(da.zeros((3, 2)))


def test_tensors_of_every_kind():
    negative = torch.complex(torch.zeros(2, 2), torch.ones(2, 2)).conj().imag
    assert negative.is_neg()
    np.testing.assert_array_equal(read_coordinates(negative).lonlat, -np.ones((2, 2)))
    np.testing.assert_array_equal(
        read_coordinates(torch.tensor([[1.5, 2.5]], dtype=torch.bfloat16)).lonlat, [[1.5, 2.5]]
    )


def test_integer_names_may_come_twice():
    frame = pd.DataFrame(POINTS, columns=[0, 0])
    np.testing.assert_array_equal(read_coordinates(frame).lonlat, POINTS)


def test_missing_shapely_points():
    points = [shapely.Point(1, 2), None, shapely.Point()]
    read = read_coordinates(points, on_invalid="nan")
    np.testing.assert_array_equal(read.valid, [True, False, False])
    np.testing.assert_array_equal(read.lonlat[0], [1, 2])


@pytest.mark.parametrize("lon", ["x", 1])
def test_named_columns_of_wider_tables(lon):
    frame = pd.DataFrame({"lat": POINTS[:, 1], "x": POINTS[:, 0], "price": 1.0})
    table = frame if lon == "x" else frame.to_numpy()
    lat = "lat" if lon == "x" else 0
    np.testing.assert_array_equal(read_coordinates(table, lon=lon, lat=lat).lonlat, POINTS)
    with pytest.raises(CoordinateError, match=r"lat=.*there are|lat='y', but the input has no"):
        read_coordinates(table, lon=lon, lat="y")


@pytest.mark.parametrize("unit", ["radian", "radians", "rad", "Radians"])
def test_radians_of_xarray_become_degrees(unit):
    attrs = {"units": unit}
    lon, lat = np.deg2rad([10.0, 20.0]), np.deg2rad([50.0, -60.0])
    wanted = [[10, 50], [20, -60]]
    dataset = xr.Dataset({"lat": ("place", lat, attrs), "lon": ("place", lon, attrs)})
    columns = xr.DataArray(
        np.column_stack([lat, lon]), dims=("place", "c"), coords={"c": ["lat", "lon"]}, attrs=attrs
    )
    plain = xr.DataArray(np.column_stack([lon, lat]), dims=("place", "c"), attrs=attrs)
    fields = [pa.field(name, pa.float64(), metadata=attrs) for name in ("lon", "lat")]
    arrow = pa.table([lon, lat], schema=pa.schema(fields))
    for table in (dataset, dataset.set_coords(["lon", "lat"]), columns, plain, arrow):
        np.testing.assert_allclose(read_coordinates(table).lonlat, wanted)
    axes = (xr.DataArray(values, dims="d", attrs=attrs) for values in (lon, lat))
    grid = PositionalEncoder(legendre_polys=4).fit().transform_grid(*axes, output="xarray")
    np.testing.assert_allclose(grid.lon, [10, 20])
    np.testing.assert_allclose(grid.lat, [50, -60])
    expected = PositionalEncoder(legendre_polys=4).fit().transform_grid([10, 20], [50, -60])
    np.testing.assert_allclose(grid, expected, atol=1e-12)


def test_units_that_are_degrees_and_units_that_are_not():
    for unit in ("degrees_east", "degree_E", "degreesE", "degrees", "deg", "°", "", "1"):
        axis = xr.DataArray([10.0], dims="lon", attrs={"units": unit})
        assert read_axis(axis, "lon") == [10]
    metres = xr.DataArray([10.0], dims="x", attrs={"units": "m"})
    with pytest.raises(CoordinateError, match=r"lon axis have the unit 'm'.*degrees"):
        read_axis(metres, "lon")
    dataset = xr.Dataset({"lat": ("p", [5.0]), "lon": ("p", [6.0], {"units": "degrees_north"})})
    with pytest.raises(CoordinateError, match=r"'lon' have the unit 'degrees_north'.*swapped"):
        read_coordinates(dataset)


def test_steps_that_add_up_to_just_beyond_a_pole():
    lat, lon = np.arange(-90, 90.2, 0.2), np.arange(-180, 360.1, 0.3)
    assert lat[-1] > 90
    assert lon[-1] > 360
    assert read_axis(lat, "lat")[-1] == 90
    assert read_axis(lon, "lon")[-1] == 0
    found = read_coordinates([[360 + 1e-12, 0], [-180 - 1e-12, 0], [5, -90 - 3e-12]]).lonlat
    assert found.tolist() == [[0, 0], [-180, 0], [0, -90]]
    with pytest.raises(CoordinateError, match="outside"):
        read_coordinates([[0, 90 + 1e-8]])
    areas = [
        shapely.box(-180 - 1e-12, 80, 180, 90 + 3e-12),
        shapely.LineString([(0, 0), (0, 90 + 3e-12)]),
    ]
    assert PositionalEncoder(legendre_polys=4).fit_transform(areas).shape == (2, 16)


def test_heights_that_are_missing_do_not_make_projected_places_missing():
    points = [shapely.Point(5e5, 5.5e6, height) for height in (np.nan, 12.0)]
    found = read_coordinates(gpd.GeoSeries(points, crs=32632)).lonlat
    np.testing.assert_array_equal(found[0], found[1])
    corners = [(5e5, 5.5e6), (5.1e5, 5.5e6), (5.1e5, 5.6e6)]
    solid = shapely.Polygon([(*corner, np.nan) for corner in corners])
    flat = gpd.GeoSeries([shapely.Polygon(corners)], crs=32632)
    encoder = PositionalEncoder(legendre_polys=4).fit()
    expected = encoder.transform(flat)
    np.testing.assert_array_equal(encoder.transform(gpd.GeoSeries([solid], crs=32632)), expected)


def test_geometries_that_carry_another_reference_system():
    tokyo = shapely.set_srid(shapely.Point(139.7, 35.6), 4301)
    bonn = shapely.set_srid(shapely.Point(366000, 5621000), 32632)
    plain = shapely.Point(7.1, 50.7)
    read = shapely.from_wkb([shapely.to_wkb(p, include_srid=True) for p in (tokyo, bonn, plain)])
    own = [gpd.GeoSeries([p], crs=p_crs) for p, p_crs in ((tokyo, 4301), (bonn, 32632))]
    expected = np.concatenate([*(read_coordinates(s).lonlat for s in own), [[7.1, 50.7]]])
    np.testing.assert_array_equal(read_coordinates(list(read)).lonlat, expected)
    square = shapely.set_srid(shapely.box(3.6e5, 5.6e6, 3.7e5, 5.7e6), 32632)
    encoder = PositionalEncoder(legendre_polys=4).fit()
    np.testing.assert_array_equal(
        encoder.transform([square]), encoder.transform(gpd.GeoSeries([square], crs=32632))
    )
    with pytest.raises(CoordinateError, match=r"first: row 0\) carry the SRID 999999"):
        read_coordinates([shapely.set_srid(plain, 999999)])


def test_what_is_barely_out_of_range_is_shown_with_its_digits():
    """The message said lat=90, and that the columns look swapped."""
    with pytest.raises(
        CoordinateError, match=r"lat=90\.0000076\. .* looks like rounding.*clip"
    ) as e:
        read_coordinates(np.array([[3, 90.00001]], dtype=np.float32))
    assert "swapped" not in str(e.value)


def test_two_columns_of_the_chosen_name_are_to_be_renamed():
    frame = pd.DataFrame([[1.0, 2.0, 3.0]], columns=["x", "x", "y"])
    with pytest.raises(CoordinateError, match=r"2 columns are named 'x'.*: rename one of them\.$"):
        read_coordinates(frame, lon="x", lat="y")


def test_a_single_wrong_latitude_does_not_make_the_columns_swapped():
    places = np.tile([[11.0, 50.0]], (40, 1))
    places[3, 1] = 91
    with pytest.raises(CoordinateError, match=r"row 3: lon=11, lat=91\. Check the units"):
        read_coordinates(places)
    with pytest.raises(CoordinateError, match="look swapped"):
        read_coordinates(np.tile([[50.0, 111.0]], (40, 1)))


@pytest.mark.parametrize("code", [4978, 5773])
def test_geometries_of_systems_that_are_not_of_maps(code):
    """Their x and y were taken for a place on a map, far from where they are."""
    point = shapely.Point(10, 45)
    for X in (gpd.GeoSeries([point], crs=code), [shapely.set_srid(point, code)]):
        with pytest.raises(CoordinateError, match=r"CRS is a \w+ CRS .*transform them"):
            read_coordinates(X)
