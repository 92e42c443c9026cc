"""Places with a month of their own: every container, and what is wrong with them."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import xarray as xr

from skgeo_embed import ClimplicitEncoder
from skgeo_embed._errors import CoordinateError
from skgeo_embed.places.timed import TimedReader
from tests.encoders.zoo import weights_file

TIMED = np.array([[7.8, 36.8, 1.0], [-122.3, 38.5, 7.0], [100.0, -33.0, 12.0]])
FRAME = pd.DataFrame(TIMED[:, [1, 2, 0]], columns=["lat", "month", "lon"])
READER = TimedReader(time="month", lowest=1.0, highest=12.0)


@pytest.mark.parametrize(
    "X",
    [
        TIMED,
        FRAME,
        FRAME.convert_dtypes(dtype_backend="pyarrow"),
        pl.DataFrame(FRAME.to_dict("list")),
        xr.DataArray(FRAME.to_numpy(), dims=("place", "what"), coords={"what": list(FRAME)}),
        xr.Dataset({name: ("place", FRAME[name]) for name in FRAME}),
        FRAME.to_records(index=False),
    ],
)
def test_every_container_reads_the_same(X):
    np.testing.assert_allclose(READER.read(X).lonlat, TIMED)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (scipy.sparse.csr_array(TIMED), r"toarray\(\)"),
        (pl.DataFrame(FRAME.to_dict("list")).lazy(), r"collect\(\)"),
        (FRAME.to_dict("list"), r"pandas\.DataFrame\(X\)"),
        (pd.concat([FRAME, FRAME[["month"]]], axis=1), "2 columns are named 'month'"),
        (FRAME.set_axis(["month", "month", "lon"], axis=1), "2 columns are named 'month'"),
        (np.zeros(3, [("lon", "f8"), ("lat", "f8"), ("month", "f8", 2)]), r"'month'.*\(3, 2\)"),
        (TIMED[:, :2], r"\(n, 3\): longitude, latitude and month; got shape \(3, 2\)"),
    ],
)
def test_what_cannot_be_read(X, words):
    with pytest.raises(CoordinateError, match=words):
        READER.read(X)


def test_dask_collections_with_months():
    dask = pytest.importorskip("dask")
    dd, da = pytest.importorskip("dask.dataframe"), pytest.importorskip("dask.array")
    encoder = ClimplicitEncoder(weights_file("climplicit"), month="month").fit()
    expected = encoder.transform(FRAME)
    frame = dd.from_pandas(FRAME, npartitions=2)
    array = da.from_array(TIMED, chunks=(2, 3))
    with dask.config.set(scheduler="synchronous"):
        for lazy, how in (
            (frame, encoder.transform),
            (array, encoder.transform),
            (frame, ClimplicitEncoder(weights_file("climplicit"), month="month").fit_transform),
        ):
            np.testing.assert_allclose(np.asarray(how(lazy).compute()), expected, atol=1e-6)
        wrong = dd.from_pandas(FRAME.assign(month=[1, 13, 7]), npartitions=1)
        later = encoder.transform(wrong)
        with pytest.raises(CoordinateError, match="got 13 in row 1"):
            later.compute()
    with pytest.raises(CoordinateError, match="there is no column 'month'"):
        encoder.transform(frame.drop(columns="month"))
    with pytest.raises(CoordinateError, match=r"\(n, 3\)"):
        encoder.transform(array[:, :2])


NO_MONTHS = {"True": True, "13": 13, "1e400": 10**400, "-1e400": -(10**400), "1e5000": 10**5000}


@pytest.mark.parametrize("month", NO_MONTHS.values(), ids=NO_MONTHS)
def test_numbers_that_are_no_month(month):
    with pytest.raises(ValueError, match=r"month must be .*from 1 to 12"):
        ClimplicitEncoder(weights_file("climplicit"), month=month).fit()
