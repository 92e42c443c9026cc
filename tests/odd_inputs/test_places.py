"""Odd places in every encoder: read as their plain floats are, or refused in words that help."""

from decimal import Decimal
from functools import partial

import dask
import dask.array
import dask.dataframe
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import shapely
import torch

from tests.odd_inputs.arrays import ARRAYS, TENSORS, masked_fields, with_value
from tests.odd_inputs.checking import check, each, quietly, reads, refuses
from tests.odd_inputs.encoders import ENCODERS, GAP, LAT, LON, PLACES, features, fitted, make
from tests.odd_inputs.frames import (
    CHOSEN,
    PANDAS,
    SECOND_FIRST,
    TABLES,
    XY,
    cells,
    data_array,
    frame,
    polars,
    swapped,
)
from tests.odd_inputs.geometries import GEOMETRIES, points

pytestmark = pytest.mark.slow
INPUTS = [*ARRAYS, *TENSORS, *PANDAS, *TABLES, *GEOMETRIES]
every_encoder = pytest.mark.parametrize("encoder", ENCODERS)


@every_encoder
@each([*INPUTS, *CHOSEN])
def test_transform(encoder, odd):
    odd.check(
        lambda X: fitted(encoder, **odd.options).transform(X),
        lambda: features(encoder, odd.places_or(PLACES)),
    )


@pytest.mark.parametrize("how", ["fit_transform", "fit, transform"])
@each(INPUTS)
def test_fit(how, odd):
    """`fit` and `fit_transform` read what `transform` reads."""

    def act(X):
        encoder = make("PositionalEncoder", **odd.options)
        return encoder.fit_transform(X) if how == "fit_transform" else encoder.fit(X).transform(X)

    odd.check(act, lambda: features("PositionalEncoder", odd.places_or(PLACES)))


# --- missing places


GAPS = [  # NaN rows where nothing is known; what is no number is refused all the same
    reads("NaN", lambda: GAP),
    reads("half a place", lambda: np.where(PLACES == 1.75, np.nan, PLACES)),
    reads("infinity", lambda: np.where(PLACES == 1.75, -np.inf, PLACES)),
    reads("None", lambda: [[2.5, 5.5], [None, None], [0.5, 3.125]]),
    reads("masked fields", masked_fields),
    reads("Float64", lambda: pd.DataFrame(GAP[:, ::-1], columns=["lat", "lon"], dtype="Float64")),
    reads("objects with NA", lambda: pd.DataFrame(GAP[:, ::-1],
        columns=["lat", "lon"]).astype(object).fillna(pd.NA)),
    reads("polars null", lambda: polars(lon=[2.5, None, 0.5])),
    reads("arrow null", lambda: pa.table({"lat": LAT, "lon": [2.5, None, 0.5]})),
    reads("DataArray", lambda: data_array(values=GAP[:, ::-1])),
    reads("tensor", lambda: torch.tensor(GAP)),
    reads("a missing point", lambda: [shapely.Point(p) if p[0] != 4.25 else None for p in PLACES]),
    reads("an empty point",
        lambda: [shapely.Point(p) if p[0] != 4.25 else shapely.Point() for p in PLACES]),
    reads("a missing geometry in Mercator", lambda: points(4326).where(LON != 4.25).to_crs(3857),
        tolerance=1e-3),
    reads("Decimal NaN", lambda: [[Decimal(str(v)) for v in row] for row in GAP]),
    refuses("a bool", lambda: with_value(True), "True"),
    refuses("a text", lambda: with_value("x"), "'x'"),
    refuses("a text nan", lambda: with_value("nan"), "'nan'"),
    refuses("an empty text", lambda: cells(""), "''"),
    refuses("10**400", lambda: with_value(10**400), "degrees"),
    refuses("dates", lambda: frame(pd.to_datetime([None] * 3)), "dates"),
]  # fmt: skip


@every_encoder
@each(GAPS)
def test_missing_places_are_nan(encoder, odd):
    odd.check(
        lambda X: fitted(encoder, on_invalid="nan").transform(X),
        lambda: features(encoder, GAP, on_invalid="nan"),
    )


@every_encoder
def test_masked_places_are_nan(encoder):
    check(
        lambda: fitted(encoder, on_invalid="nan").transform(np.ma.masked_equal(PLACES, 1.75)),
        lambda: np.where(np.isnan(GAP[:, :1]), np.nan, features(encoder, PLACES)),
    )


@every_encoder
def test_long_tables(encoder):
    """Repeated places take another way than others; missing and impossible ones are NaN."""
    table = np.tile(PLACES, (7000, 1))[:20_000]
    table[5::1000] = np.nan
    table[7::1000, 1] = 95.0

    def one_by_one():
        expected = np.tile(features(encoder, PLACES), (1000, 1))[:, :64]
        expected[5::1000] = expected[7::1000] = np.nan
        return expected

    check(
        lambda: fitted(encoder, on_invalid="nan").transform(table)[:3000, :64],
        one_by_one,
        warns="outside",
    )


# --- one place in two notations


WORLD = [  # places, and the same in the notation that is read as it stands
    ("both poles", [[0, 90], [77, 90], [-180, 90], [360, 90], [12, -90]],
     [[0, 90], [0, 90], [0, 90], [0, 90], [0, -90]]),
    ("the antimeridian", [[180, 5], [-180, 5], [180.0, -5]], [[-180, 5], [-180, 5], [-180, -5]]),
    ("east of 180", [[190, 10], [359.5, 10], [360, 10]], [[-170, 10], [-0.5, 10], [0, 10]]),
    ("negative zeros", [[-0.0, -0.0], [-0.0, 90.0]], [[0, 0], [0, 90]]),
    ("integers", [[-180, -90], [200, 0]], [[0, -90], [-160, 0]]),
]  # fmt: skip
each_notation = pytest.mark.parametrize(
    ("given", "canonical"), [pytest.param(*row, id=name) for name, *row in WORLD]
)


@pytest.mark.parametrize("encoder", [name for name in ENCODERS if name != "GPS2VecEncoder"])
@each_notation
def test_notations_of_one_place(encoder, given, canonical):
    check(lambda: features(encoder, given), lambda: features(encoder, canonical))


def test_zones_end_before_the_poles():
    check(lambda: features("GPS2VecEncoder", WORLD[0][1]), words=("80°S",))


# --- frames out, and lazy frames


FRAMED = {odd.name: odd for odd in [*PANDAS, *TABLES, *GEOMETRIES]}


@every_encoder
@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
@pytest.mark.parametrize(
    "odd",
    ["lon, lat", "DataArray", "DataArray with names", "Dataset", "arrow table", "polars",
     "shapely points", "array of points", "tuple of points", "GeoSeries"],
)  # fmt: skip
def test_set_output(encoder, library, odd):
    def act(X):
        encoded = make(encoder).set_output(transform=library.__name__).fit().transform(X)
        assert isinstance(encoded, library.DataFrame)
        return encoded.to_numpy()

    FRAMED[odd].check(act, lambda: features(encoder, PLACES))


LAZY = [
    reads("dask frame", swapped),
    refuses("dask frame, masked", lambda: cells(pd.NA, "Float64"), "NaN"),
    reads("dask frame of x, y", lambda: swapped("y", "x"), options=XY),
    reads("dask frame, wider", lambda: swapped("y", "x").assign(z=1.0), options=XY),
    refuses("dask frame of booleans", lambda: frame(LON > 2), "booleans"),
    refuses("dask frame of texts", lambda: cells("2,5"), 'decimal=","'),
    reads("dask array", lambda: PLACES),
    reads("dask array by number", lambda: PLACES[:, ::-1], options=SECOND_FIRST),
    refuses("dask array of three columns", lambda: np.zeros((3, 3)), "two columns"),
    refuses("dask array of booleans", lambda: PLACES > 2, "booleans"),
    refuses("dask masked array", lambda: np.ma.masked_equal(PLACES, 1.75), "NaN"),
]


@every_encoder
@each(LAZY)
def test_lazy_places(encoder, odd):
    def act(data):
        lazy = dask.dataframe.from_pandas if hasattr(data, "columns") else dask.array.from_array
        encode = fitted(encoder, **odd.options).transform
        with dask.config.set(scheduler="synchronous"):
            return np.asarray(encode(quietly(partial(lazy, data))).compute())

    odd.check(act, lambda: features(encoder, PLACES))
