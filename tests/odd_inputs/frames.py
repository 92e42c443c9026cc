"""Frames and tables that hold PLACES, latitude first, or must be refused."""

from functools import partial

import dask
import dask.bag
import dask.dataframe
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import shapely
import torch
import xarray as xr

from tests.odd_inputs.arrays import structured, with_value
from tests.odd_inputs.checking import either, reads, refuses
from tests.odd_inputs.encoders import LAT, LON, PLACES

XY = {"lon": "x", "lat": "y"}  # parameters that name the columns
SECOND_FIRST = {"lon": 1, "lat": 0}


def swapped(*names):
    """Make a frame whose first column is latitude."""
    return pd.DataFrame(PLACES[:, ::-1], columns=list(names or ("lat", "lon")))


def named(*names):
    """Make a frame whose first column is longitude."""
    return pd.DataFrame(PLACES, columns=list(names))


def frame(lon):
    """Make a frame with an odd column of longitudes."""
    return pd.DataFrame({"lon": lon, "lat": LAT})


def cells(first, dtype=None):
    """Make a frame whose first longitude is a text or another odd value."""
    return frame(pd.Series([first, *LON[1:]], dtype=dtype or object))


def data_array(names=("lat", "lon"), values=PLACES[:, ::-1], dims=("place", "axis"), along="axis"):
    return xr.DataArray(values, dims=dims, coords={along: list(names)})


def dataset(dims=("place", "place")):
    return xr.Dataset({"lat": (dims[0], LAT), "lon": (dims[1], LON)})


def arrow(lon):
    return pa.table({"lon": lon, "lat": LAT})


def polars(**columns):
    """Make a polars frame with odd columns."""
    return POLARS.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


POINTS = shapely.points(PLACES)
ARROW = pa.table({"lat": LAT, "lon": LON})
POLARS = pl.DataFrame({"lat": LAT, "lon": LON})
NAMES = [  # of latitude and longitude
    ("lat", "lon"), ("LAT", "LON"), ("Latitude", "Longitude"), ("lats", "lons"), ("lat", "lng"),
    ("lat", "long"), ("decimalLatitude", "decimalLongitude"), ("site_lat", "site_lon"),
    (" lat ", "lon (°E)"), (b"lat", b"lon"), ("geo:lat", "geo:long"), ("Lat.", "Long."),
    ("start_latitude", "startLongitude"), ("lat1", "lon1"),
]  # fmt: skip
SEXAGESIMAL = [
    "2°30'0\"E", "2° 30′ E", "E 2.5", "2.5 E", "2.5°", "2 30 00", "2:30:00", "W2.5", "2d30m0s",
    "2.5W", "2º30'", "2,5° E",
]  # fmt: skip

PANDAS = [
    reads("lon, lat", lambda: frame(LON)),
    *(reads(f"{names[0]}, {names[1]}", partial(swapped, *names)) for names in NAMES),
    reads("MultiIndex", lambda: swapped(("p", "lat"), ("p", "lon"))),
    reads("MultiIndex of three levels", lambda: swapped(("a", "p", "lat"), ("a", "p", "lon"))),
    either("MultiIndex, names on the first level", lambda: swapped(("lat", "deg"), ("lon", "deg")),
        "recognised as the"),
    either("MultiIndex with an empty last level", lambda: swapped(("lat", ""), ("lon", "")),
        "recognised as the"),
    reads("categorical names",
        lambda: swapped().set_axis(pd.CategoricalIndex(["lat", "lon"]), axis=1)),
    refuses("names of radians", lambda: swapped("lat_rad", "lon_rad"), "rad"),
    reads("integer names", lambda: pd.DataFrame(PLACES)),
    reads("other integer names", lambda: named(7, 3)),
    reads("the same integer twice", lambda: named(0, 0)),
    refuses("float names", lambda: named(0.5, 1.5), "recognised as the"),
    refuses("boolean names", lambda: named(True, False), "recognised as the"),
    refuses("names of dates",
        lambda: pd.DataFrame(PLACES, columns=pd.date_range("2020", periods=2)), "recognised"),
    refuses("lon twice", lambda: named("lon", "lon"), "could be the longitude"),
    refuses("lon and longitude", lambda: named("lon", "longitude"), "could be the longitude"),
    refuses("names alike", lambda: named("a", "b"), "lon="),
    refuses("easting, northing", lambda: named("easting", "northing"), "recognised as the"),
    refuses("x, y", lambda: named("x", "y"), "'x' and 'y' are degrees"),
    refuses("Y, X", lambda: swapped("Y", "X"), "'X' and 'Y' are degrees"),
    reads("y, x with lon, lat", lambda: swapped("y", "x"), options=XY),
    reads("y, z, x with lon, lat", lambda: pd.DataFrame({"y": LAT, "z": 0.0, "x": LON}),
        options=XY),
    reads("lat, x with lon", lambda: swapped("lat", "x"), options={"lon": "x"}),
    refuses("no such column", swapped, "no such column", options=XY),
    refuses("lon and lat the same column", lambda: swapped("y", "x"), "same",
        options={"lon": "x", "lat": "x"}),
    refuses("lon names a column of two", lambda: named("x", "x"), "x", options=XY),
    refuses("a third column", lambda: pd.DataFrame({"lon": LON, "lat": LAT, "price": 1.0}),
        "2 are required", "ColumnTransformer"),
    refuses("one column", lambda: pd.DataFrame({"lon": LON})),
    refuses("a Series of numbers", lambda: pd.Series(LON), "(n, 2)"),
    refuses("a row as a Series", lambda: pd.Series({"lat": 5.5, "lon": 2.5}), "(n, 2)"),
    either("a Series of tuples", lambda: pd.Series([tuple(r) for r in PLACES]), "(n, 2)"),
    either("rows as Series, lat first", lambda: [row for _, row in swapped().iterrows()], "lat"),
    either("columns as Series, two places", lambda: [pd.Series(LAT[:2], name="lat"),
        pd.Series(LON[:2], name="lon")], "lat", places=PLACES[:2]),
    either("transposed, two places", lambda: pd.DataFrame([LAT[:2], LON[:2]], index=["lat", "lon"]),
        "lat", places=PLACES[:2]),
    either("MultiIndex of places",
        lambda: pd.MultiIndex.from_arrays([LAT, LON], names=["lat", "lon"]), "(n, 2)"),
    refuses("no rows, named", lambda: swapped()[:0], "0 sample"),
    reads("odd index", lambda: swapped().set_index(pd.Index(["a", "a", None]))),
    reads("Float64", lambda: swapped().astype("Float64")),
    refuses("Float64 with NA", lambda: cells(pd.NA, "Float64"), "NaN", "row 0"),
    refuses("Int64 with NA", lambda: pd.DataFrame({"lon": pd.array([2, None], "Int64"), "lat": 5}),
        "NaN", "row 1"),
    reads("arrow double", lambda: swapped().astype("double[pyarrow]")),
    refuses("arrow double with null", lambda: cells(None, "double[pyarrow]"), "NaN"),
    reads("arrow decimal", lambda: swapped().astype(pd.ArrowDtype(pa.decimal128(9, 4)))),
    reads("pandas sparse", lambda: swapped().astype("Sparse[float64]")),
    either("categories of numbers", lambda: swapped().astype("category"), "categor"),
    refuses("objects with None", lambda: cells(None), "NaN", "row 0"),
    refuses("boolean", lambda: frame(LON > 2), "booleans"),
    refuses("nullable boolean", lambda: frame(pd.array(LON > 2, "boolean")), "booleans"),
    refuses("arrow boolean", lambda: frame(pd.array(LON > 2, "bool[pyarrow]")), "booleans"),
    refuses("sparse boolean", lambda: frame(pd.arrays.SparseArray(LON > 2)), "booleans"),
    refuses("categories of booleans", lambda: frame(pd.Categorical(LON > 2)), "True"),
    refuses("texts of numbers", lambda: cells("2.5", "str"), "text", "to_numeric"),
    *(refuses(f"decimal comma {text}", partial(cells, text), 'decimal=","')
        for text in ("2,5", " -2,5 ", "+12,25", "−2,5", "1.234,5")),
    *(refuses(f"degrees {text}", partial(cells, text), "/ 60") for text in SEXAGESIMAL),
    refuses("arrow texts, decimal comma",
        lambda: cells("2,5", "string[pyarrow]").astype({"lon": "string[pyarrow]"}), 'decimal=","'),
    refuses("categories of decimal commas", lambda: swapped().map(
        lambda v: str(v).replace(".", ",")).astype("category"), 'decimal=","'),
    refuses("dates", lambda: frame(pd.date_range("2020", periods=3)), "dates"),
    refuses("dates with a zone", lambda: pd.DataFrame(
        {"lat": LAT, "lon": pd.date_range("2020", periods=3, tz="UTC")}), "degrees"),
    refuses("durations", lambda: frame(pd.to_timedelta(LON, "s")), "durations"),
    refuses("periods", lambda: frame(pd.period_range("2020", periods=3, freq="D")), "degrees"),
    refuses("intervals", lambda: frame(pd.interval_range(0, 3)), "degrees"),
    refuses("complex column", lambda: frame(LON + 1j), "complex"),
    refuses("lists in cells", lambda: frame([[2.5], [4.25], [0.5]]), "degrees"),
]  # fmt: skip

TABLES = [
    reads("DataArray", lambda: xr.DataArray(PLACES)),
    reads("DataArray with names", data_array),
    reads("DataArray with bytes names", lambda: data_array((b"lat", b"lon"))),
    reads("DataArray with integer names", lambda: data_array((0, 1), PLACES)),
    refuses("DataArray, missing", lambda: data_array(values=with_value(np.nan, float)), "NaN"),
    either("DataArray, two places, names on the first dimension", lambda: data_array(
        values=np.array([LAT[:2], LON[:2]]), dims=("axis", "place")), "lat", places=PLACES[:2]),
    either("DataArray, names on another coordinate", lambda: xr.DataArray(PLACES[:, ::-1],
        dims=("place", "axis"), coords={"name": ("axis", ["lat", "lon"])}), "lat"),
    refuses("DataArray with unknown names", lambda: data_array(("a", "b")), "recognised as the"),
    reads("DataArray with x, y", lambda: data_array(("y", "x")), options=XY),
    refuses("DataArray of three", lambda: xr.DataArray(np.zeros((3, 3))), "two columns"),
    refuses("DataArray of booleans", lambda: data_array(values=PLACES > 2), "booleans"),
    reads("Dataset", dataset),
    reads("Dataset of coordinates", lambda: dataset().set_coords(["lon", "lat"])),
    either("Dataset of coordinates and a value",
        lambda: dataset().set_coords(["lon", "lat"]).assign(t=("place", LON)), "lon"),
    refuses("Dataset of a grid, as many of both", lambda: dataset(("lat", "lon")), "lat"),
    refuses("Dataset of a grid", lambda: xr.Dataset(coords={"lat": LAT, "lon": LON[:2]}), "lat"),
    either("xarray Variable", lambda: xr.Variable(("place", "axis"), PLACES), "(n, 2)"),
    reads("arrow table", lambda: ARROW),
    reads("arrow record batch", lambda: ARROW.to_batches()[0]),
    reads("arrow table in chunks", lambda: pa.concat_tables([ARROW[:1], ARROW[1:]])),
    reads("arrow decimals",
        lambda: ARROW.cast(pa.schema([(n, pa.decimal128(9, 4)) for n in ("lat", "lon")]))),
    reads("arrow half floats",
        lambda: ARROW.cast(pa.schema([(n, pa.float16()) for n in ("lat", "lon")]))),
    reads("arrow dictionaries",
        lambda: pa.table({n: ARROW[n].dictionary_encode() for n in ("lat", "lon")})),
    refuses("arrow null", lambda: pa.table({"lon": [None, 2.5], "lat": [1.0, 2.0]}), "NaN",
        "row 0"),
    refuses("arrow column of nulls", lambda: arrow(pa.nulls(3)), "NaN"),
    refuses("arrow booleans", lambda: arrow(LON > 2), "booleans"),
    refuses("arrow booleans with null", lambda: pa.table({"lon": [True, None], "lat": [1.0, 2.0]}),
        "True"),
    refuses("arrow texts", lambda: pa.table({"lon": ["2,5"], "lat": [5.5]}), 'decimal=","'),
    refuses("arrow dates", lambda: arrow(pa.array([1, 2, 3], pa.timestamp("s"))), "degrees"),
    refuses("arrow names twice", lambda: pa.table([LON, LAT], names=["lon", "lon"]),
        "could be the longitude"),
    either("arrow array of pairs", lambda: pa.FixedSizeListArray.from_arrays(PLACES.ravel(), 2),
        "(n, 2)"),
    either("arrow array of structs", lambda: ARROW.to_struct_array(), "(n, 2)"),
    refuses("arrow array", lambda: pa.array(LON), "(n, 2)"),
    reads("polars", lambda: POLARS),
    refuses("polars, unknown names", lambda: POLARS.rename({"lat": "a", "lon": "b"}), "recognised"),
    refuses("polars column_0, column_1", lambda: pl.DataFrame(PLACES), "column_0"),
    reads("polars x, y", lambda: POLARS.rename({"lat": "y", "lon": "x"}), options=XY),
    refuses("polars LazyFrame", POLARS.lazy, "LazyFrame", "collect()"),
    refuses("polars null", lambda: polars(lon=[None, 2.5, 1.0]), "NaN", "row 0"),
    refuses("polars integers with null", lambda: pl.DataFrame({"lon": [2, None], "lat": [5, 1]}),
        "NaN", "row 1"),
    reads("polars Decimal", lambda: POLARS.cast(pl.Decimal(9, 4))),
    reads("polars Float32", lambda: POLARS.cast(pl.Float32)),
    refuses("polars Boolean", lambda: POLARS.with_columns(lon=pl.col("lon") > 2), "booleans"),
    refuses("polars Boolean with null", lambda: polars(lon=[True, None, False])),
    refuses("polars String", lambda: POLARS.cast(pl.String), "degrees"),
    refuses("polars Categorical", lambda: POLARS.cast(pl.String).cast(pl.Categorical), "degrees"),
    refuses("polars Date", lambda: POLARS.cast(pl.Int32).cast(pl.Date), "degrees"),
    refuses("polars Time", lambda: POLARS.cast(pl.Int64).cast(pl.Time), "degrees"),
    either("polars structs", lambda: POLARS.to_struct()),
    either("polars lists", lambda: pl.Series([r.tolist() for r in PLACES]), "(n, 2)"),
    reads("polars arrays", lambda: pl.Series(PLACES.tolist(), dtype=pl.Array(pl.Float64, 2))),
    refuses("polars column of lists",
        lambda: pl.DataFrame({"lon": [[2.5], [4.0]], "lat": [1.0, 2.0]}), "degrees"),
    refuses("dask Series", lambda: dask.dataframe.from_pandas(pd.DataFrame({"lon": LON}))["lon"]),
    refuses("dask bag", lambda: dask.bag.from_sequence(PLACES.tolist()), "dask"),
    refuses("dask delayed", lambda: dask.delayed(PLACES), "dask"),
]  # fmt: skip

CHOSEN = [
    reads("array, lat first", lambda: PLACES[:, ::-1], options=SECOND_FIRST),
    reads("wide array", lambda: np.column_stack([LAT, LAT, LON]), options={"lon": 2, "lat": 0}),
    reads("numbers from the end", lambda: PLACES[:, ::-1], options={"lon": -1, "lat": -2}),
    refuses("no such number", lambda: PLACES, "number", options={"lon": 5, "lat": 0}),
    refuses("a name for an array", lambda: PLACES, "no column names", options=XY),
    refuses("the same number twice", lambda: PLACES, "same", options={"lon": 1, "lat": -1}),
    either("lon=1 alone", lambda: PLACES[:, ::-1], "both", options={"lon": 1}),
    either("lat=0 alone", lambda: PLACES[:, ::-1], "both", options={"lat": 0}),
    reads("tensor by number", lambda: torch.tensor(PLACES[:, ::-1].copy()), options=SECOND_FIRST),
    refuses("masked by number", lambda: np.ma.masked_equal(PLACES[:, ::-1], 1.75), "NaN",
        options=SECOND_FIRST),
    reads("integer names by number", lambda: pd.DataFrame(PLACES[:, ::-1]), options=SECOND_FIRST),
    either("integer names, lon alone", lambda: pd.DataFrame(PLACES[:, ::-1]), options={"lon": 1}),
    reads("last level of a MultiIndex", lambda: swapped(("p", "y"), ("p", "x")), options=XY),
    reads("a tuple of a MultiIndex", lambda: swapped(("p", "y"), ("p", "x")),
        options={"lon": ("p", "x"), "lat": ("p", "y")}),
    reads("bytes names chosen as bytes", lambda: swapped(b"y", b"x"),
        options={"lon": b"x", "lat": b"y"}),
    reads("bytes names chosen as text", lambda: swapped(b"y", b"x"), options=XY),
    reads("names exchanged on purpose", lambda: pd.DataFrame({"lat": LON, "lon": LAT}),
        options={"lon": "lat", "lat": "lon"}),
    reads("structured", lambda: structured("z"), options={"lon": "lon", "lat": "lat"}),
    refuses("one dimension", lambda: PLACES[0], "(n, 2)", options={"lon": 0, "lat": 1}),
    reads("arrow table", lambda: ARROW.append_column("z", [LON]).rename_columns(["y", "x", "z"]),
        options=XY),
    reads("Dataset", lambda: dataset().rename({"lon": "x", "lat": "y"}), options=XY),
    either("list of points", lambda: list(POINTS), "lon", options=XY),
    refuses("another case", lambda: swapped("Y", "X"), "X", "no such column", options=XY),
]  # fmt: skip
