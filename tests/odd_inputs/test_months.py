"""Odd months of Climplicit and years of MIND: a number for all places, or a column of theirs."""

from decimal import Decimal
from fractions import Fraction

import dask
import dask.array
import dask.dataframe
import geopandas as gpd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import shapely
import torch
from safetensors.torch import save_file

from skgeo_embed import MINDEncoder
from tests import third_party_recipe
from tests.odd_inputs.checking import check, each, either, reads, refuses, shown
from tests.odd_inputs.encoders import LAT, LON, PLACES, features, fitted, make
from tests.odd_inputs.frames import POINTS, POLARS, XY, data_array, dataset, polars, swapped
from tests.odd_inputs.geometries import points
from tests.odd_inputs.test_places import each_notation

pytestmark = pytest.mark.slow
MONTHS = np.array([1.0, 7.0, 12.0])
GAP_MONTHS = np.where(MONTHS == 7, np.nan, MONTHS)
TIMED = np.column_stack([PLACES, MONTHS])


def months_frame(months=MONTHS, **more):
    return pd.DataFrame({"lat": LAT, "month": months, "lon": LON, **more})


def arrow_months(months):
    return pa.table({"lat": LAT, "month": months, "lon": LON})


def geo_frame(**columns):
    return gpd.GeoDataFrame(columns, geometry=points(4326))


def structured_months(masked=False):
    table = np.rec.fromarrays([LAT, MONTHS, LON], names="lat,month,lon")
    if not masked:
        return table
    table = np.ma.array(table)
    table["month"][1] = np.ma.masked
    return table


def monthly(places=PLACES, months=MONTHS):
    """Encode each place in its month, one after another."""
    return np.vstack([
        features("ClimplicitEncoder", [place], month=float(month))
        for place, month in zip(places, months, strict=True)
    ])  # fmt: skip


def with_months(**options):
    """Return a fitted encoder that reads months in a column."""
    return fitted("ClimplicitEncoder", month="month", **options)


MONTH_TABLES = [
    reads("array of three columns", lambda: TIMED),
    reads("lists", lambda: TIMED.tolist()),
    reads("tuples", lambda: tuple(map(tuple, TIMED))),
    reads("float32", lambda: TIMED.astype("f4")),
    reads("objects", lambda: TIMED.astype(object)),
    reads("Decimal", lambda: [[Decimal(str(v)) for v in row] for row in TIMED]),
    reads("tensor", lambda: torch.tensor(TIMED)),
    reads("bfloat16 tensor", lambda: torch.tensor(TIMED).bfloat16()),
    refuses("array of two columns", lambda: PLACES, "month", "(n, 3)"),
    refuses("array of four columns", lambda: np.hstack([PLACES, PLACES]), "month", "(n, 3)"),
    refuses("one row", lambda: TIMED[0], "(n, 3)"),
    refuses("no rows", lambda: TIMED[:0], "0 sample"),
    refuses("None", lambda: None, "month"),
    refuses("list of points", lambda: list(POINTS), "month"),
    refuses("points with the month as height", lambda: list(shapely.points(TIMED)), "month"),
    refuses("masked", lambda: np.ma.masked_equal(TIMED, 7.0), "month", "row 1"),
    refuses("masked places", lambda: np.ma.masked_equal(TIMED, 1.75), "NaN", "row 1"),
    refuses("booleans", lambda: TIMED > 3, "booleans"),
    refuses("texts", lambda: TIMED.astype(str)),
    refuses("complex", lambda: TIMED + 0j, "complex"),
    refuses("scipy sparse", lambda: scipy.sparse.csr_array(TIMED), "toarray"),
    refuses("month 0", lambda: TIMED - np.array([0, 0, 1]), "month", "row 0"),
    refuses("month 13", lambda: TIMED + np.array([0, 0, 1]), "month", "row 2"),
    refuses("NaN", lambda: np.where(TIMED == 7.0, np.nan, TIMED), "month", "row 1"),
    refuses("infinity", lambda: np.where(TIMED == 7.0, np.inf, TIMED), "month", "row 1"),
    reads("frame", months_frame),
    reads("frame, integers", lambda: months_frame(MONTHS.astype(int))),
    reads("frame, uint8", lambda: months_frame(MONTHS.astype("u1"))),
    reads("frame, Int64", lambda: months_frame(pd.array(MONTHS, "Int64"))),
    refuses("frame, Int64 with NA", lambda: months_frame(pd.array([1, None, 12], "Int64")), "month",
        "row 1"),
    reads("frame, Float32", lambda: months_frame(pd.array(MONTHS, "Float32"))),
    reads("frame, arrow integers", lambda: months_frame(pd.array([1, 7, 12], "int64[pyarrow]"))),
    reads("frame, sparse", lambda: months_frame(pd.arrays.SparseArray(MONTHS))),
    either("frame, categories", lambda: months_frame(pd.Categorical([1, 7, 12])), "month"),
    reads("frame, objects", lambda: months_frame(np.array([1, 7, 12], object))),
    refuses("frame, objects with None", lambda: months_frame(np.array([1, None, 12], object)),
        "month", "row 1"),
    refuses("frame, objects with True", lambda: months_frame(np.array([True, 7, 12], object)),
        "month", "True"),
    refuses("frame, booleans", lambda: months_frame(MONTHS < 9), "month", "boolean"),
    refuses("frame, texts", lambda: months_frame(["1", "7", "12"]), "month"),
    refuses("frame, names of months", lambda: months_frame(["Jan", "Jul", "Dec"]), "month", "Jan"),
    refuses("frame, dates", lambda: months_frame(pd.date_range("2020", periods=3)), "month",
        "dates"),
    refuses("frame, periods", lambda: months_frame(pd.period_range("2020", periods=3, freq="M")),
        "month"),
    refuses("frame, durations", lambda: months_frame(pd.to_timedelta(MONTHS, "D")), "month",
        "durations"),
    refuses("frame, month 0", lambda: months_frame(MONTHS - 1), "month", "row 0"),
    refuses("frame, month 13", lambda: months_frame(MONTHS + 1), "month", "row 2"),
    refuses("frame, no month", lambda: swapped(), "month", "no column"),
    refuses("frame, Month", lambda: months_frame().rename(columns={"month": "Month"}), "month",
        "no column"),
    either("frame, b'month'", lambda: months_frame().rename(columns={"month": b"month"}), "month"),
    refuses("frame, month twice",
        lambda: months_frame().set_axis(["month", "month", "lon"], axis=1), "month"),
    refuses("frame, month twice beside places",
        lambda: pd.concat([months_frame(), months_frame()[["month"]]], axis=1), "month"),
    either("frame with more columns", lambda: months_frame(price=1.0), "price"),
    either("frame, MultiIndex", lambda: months_frame().set_axis(
        pd.MultiIndex.from_product([["p"], ["lat", "month", "lon"]]), axis=1), "month"),
    reads("frame, odd index", lambda: months_frame().set_index(pd.Index(["a", "a", None]))),
    either("frame, integer names", lambda: pd.DataFrame(TIMED), "month"),
    reads("x, y, month", lambda: months_frame().set_axis(["y", "month", "x"], axis=1), options=XY),
    refuses("x, y, month, unnamed", lambda: months_frame().set_axis(["y", "month", "x"], axis=1),
        "lon="),
    reads("structured", structured_months),
    refuses("structured, masked month", lambda: structured_months(masked=True), "month", "row 1"),
    reads("arrow", lambda: arrow_months([1, 7, 12])),
    refuses("arrow, null", lambda: arrow_months([1, None, 12]), "month", "row 1"),
    refuses("arrow, booleans", lambda: arrow_months(MONTHS < 9), "month"),
    reads("polars", lambda: polars(month=[1, 7, 12])),
    refuses("polars, null", lambda: polars(month=[1, None, 12]), "month", "row 1"),
    refuses("polars, booleans", lambda: POLARS.with_columns(month=pl.col("lon") > 2), "month"),
    refuses("polars, texts", lambda: polars(month=["1", "7", "12"]), "month"),
    refuses("polars LazyFrame", lambda: polars(month=[1, 7, 12]).lazy(), "collect"),
    reads("DataArray", lambda: data_array(("lat", "lon", "month"), TIMED[:, [1, 0, 2]])),
    reads("Dataset", lambda: dataset().assign(month=("place", MONTHS))),
    refuses("Dataset, month along another dimension",
        lambda: dataset().assign(month=("time", MONTHS)), "grid"),
    reads("GeoDataFrame", lambda: geo_frame(month=MONTHS)),
    reads("GeoDataFrame in Mercator", lambda: geo_frame(month=MONTHS).to_crs(3857), tolerance=1e-3),
    refuses("GeoDataFrame, booleans", lambda: geo_frame(month=MONTHS < 9), "month"),
    refuses("GeoDataFrame, no month", lambda: geo_frame(x=MONTHS), "month"),
    refuses("GeoSeries", lambda: points(4326), "month"),
    refuses("dict", lambda: {"lon": LON, "lat": LAT, "month": MONTHS}, "DataFrame"),
]  # fmt: skip


@pytest.mark.parametrize("how", ["fitted before", "fit_transform"])
@each(MONTH_TABLES)
def test_columns_of_months(how, odd):
    def act(X):
        if how == "fitted before":
            return with_months(**odd.options).transform(X)
        return make("ClimplicitEncoder", month="month", **odd.options).fit_transform(X)

    odd.check(act, monthly)


MISSING = [
    reads("array", lambda: np.column_stack([PLACES, GAP_MONTHS])),
    reads("frame", lambda: months_frame(GAP_MONTHS)),
    reads("month 13", lambda: months_frame(np.where(MONTHS == 7, 13, MONTHS))),
    reads("Int64", lambda: months_frame(pd.array([1, None, 12], "Int64"))),
    reads("polars null", lambda: polars(month=[1, None, 12])),
    reads("masked", lambda: np.ma.masked_equal(TIMED, 7.0)),
    reads("GeoDataFrame", lambda: geo_frame(month=GAP_MONTHS)),
    reads("a missing place", lambda: np.where(TIMED == 1.75, np.nan, TIMED)),
]


@each(MISSING)
def test_missing_months_are_nan(odd):
    odd.check(
        lambda X: with_months(on_invalid="nan").transform(X),
        lambda: np.where([[False], [True], [False]], np.nan, monthly()),
    )


@pytest.mark.parametrize("month", [7.0, np.int64(7), np.float32(7), Fraction(7)], ids=shown)
def test_one_month_for_all(month):
    check(
        lambda: make("ClimplicitEncoder", month=month).fit_transform(PLACES),
        lambda: features("ClimplicitEncoder", PLACES),
    )


def test_a_month_for_all_is_not_read_of_a_column():
    check(lambda: fitted("ClimplicitEncoder").transform(months_frame()), words=("2 are required",))


def test_a_grid_has_no_months():
    check(lambda: with_months().transform_grid(LON, LAT), words=("month",))


def test_one_place_in_twelve_months_and_again():
    check(
        lambda: with_months().transform([[2.5, 5.5, m % 12 + 1] for m in range(24)]),
        lambda: monthly([PLACES[0]] * 24, np.arange(24) % 12 + 1),
    )


def test_many_rows_of_nine_places_and_months():
    nine = np.column_stack([np.repeat(PLACES, 3, axis=0), np.tile(MONTHS, 3)])
    table = np.tile(nine, (2300, 1))[:20_000]
    check(
        lambda: with_months().transform(table)[-9:],
        lambda: np.roll(monthly(nine[:, :2], nine[:, 2]), -(20_000 % 9), axis=0),
    )


@each_notation
def test_notations_with_months(given, canonical):
    months = np.arange(len(given)) % 12 + 1
    check(
        lambda: with_months().transform(np.column_stack([given, months])),
        lambda: monthly(canonical, months),
    )


LAZY = [
    reads("dask frame", lambda: dask.dataframe.from_pandas(months_frame(), npartitions=2)),
    reads("dask array", lambda: dask.array.from_array(TIMED, chunks=(2, 3))),
]


@each(LAZY)
def test_lazy_months(odd):
    def act(X):
        with dask.config.set(scheduler="synchronous"):
            return np.asarray(with_months().transform(X).compute())

    odd.check(act, monthly)


# --- MIND's networks with a year, of which none is released


@pytest.fixture
def of_years(tmp_path):
    path = tmp_path / "years.safetensors"
    save_file(third_party_recipe.mind(16, 2, 10, year=True), path)
    return lambda year: MINDEncoder(path, year=year)


def test_a_year_is_needed(of_years):
    check(lambda: of_years(None).fit(), words=("year",))


def test_a_column_of_one_year(of_years):
    table = np.column_stack([PLACES, [2020] * 3])
    check(
        lambda: of_years("year").fit_transform(table), lambda: of_years(2020).fit_transform(PLACES)
    )


@pytest.mark.parametrize("year", [1899, 2101, np.nan, 20.2, "2020"], ids=shown)
def test_years(of_years, year):
    check(
        lambda: of_years(year).fit_transform(PLACES),
        words=("2020",) if year == "2020" else ("year",),
    )


def test_years_of_two_digits_in_a_column(of_years):
    table = np.column_stack([PLACES, [20, 21, 22]])
    check(lambda: of_years("year").fit_transform(table), words=("year", "row 0"))
