"""Odd tables, parameters and groups of the splitters of places."""

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

from skgeo_embed.model_selection import LeaveOneRegionOut, SpatialBlockKFold
from tests.odd_inputs.checking import check, each, entries, reads, refuses
from tests.odd_inputs.frames import data_array

pytestmark = pytest.mark.slow
WIDE = np.column_stack([np.linspace(-170, 175, 40), np.linspace(-80, 80, 40)])


def folds(X, splitter=None, **keywords):
    """Return the number of the fold of each place."""
    splitter = splitter or SpatialBlockKFold(3)
    fold = np.full(len(WIDE), -1)
    for number, (_, test) in enumerate(splitter.split(X, **keywords)):
        fold[test] = number
    return fold


def wide_frame(*names, **more):
    return pd.DataFrame({names[0]: WIDE[:, 1], names[1]: WIDE[:, 0], **more})


def masked_wide():
    masked = np.ma.array(WIDE)
    masked[3, 0] = np.ma.masked
    return masked


INPUTS = [
    reads("array", lambda: WIDE),
    reads("lists", lambda: WIDE.tolist()),
    reads("tensor", lambda: torch.tensor(WIDE)),
    reads("lat, lon", lambda: wide_frame("lat", "lon")),
    reads("lat, lon and more", lambda: wide_frame("lat", "lon", price=1.0, name="x")),
    reads("bytes names", lambda: wide_frame(b"lat", b"lon")),
    reads("bytes names and more", lambda: wide_frame(b"lat", b"lon", price=1.0)),
    reads("MultiIndex", lambda: pd.DataFrame(WIDE[:, ::-1],
        columns=pd.MultiIndex.from_product([["p"], ["lat", "lon"]]))),
    reads("arrow", lambda: pa.table({"lat": WIDE[:, 1], "lon": WIDE[:, 0], "z": WIDE[:, 0]})),
    reads("polars", lambda: pl.DataFrame({"lat": WIDE[:, 1], "lon": WIDE[:, 0], "z": 1})),
    reads("structured", lambda: np.rec.fromarrays(WIDE.T[::-1], names="lat,lon")),
    reads("DataArray", lambda: data_array(values=WIDE[:, ::-1])),
    reads("shapely", lambda: list(shapely.points(WIDE))),
    reads("GeoSeries in plate carrée",
        lambda: gpd.GeoSeries(gpd.points_from_xy(*WIDE.T), crs=4326).to_crs(4087)),
    reads("360 notation", lambda: np.column_stack([WIDE[:, 0] % 360, WIDE[:, 1]])),
    reads("integer names", lambda: pd.DataFrame(WIDE)),
    refuses("lon, lat, sampled_lat", lambda: wide_frame("lat", "lon", sampled_lat=WIDE[::-1, 1]),
        "could be the latitude", "sampled_lat"),
    refuses("lon, lat, Longitude", lambda: wide_frame("lat", "lon", Longitude=0.0),
        "could be the longitude"),
    refuses("x, y", lambda: wide_frame("y", "x"), "coords"),
    refuses("no coordinates", lambda: pd.DataFrame({"a": [1.0], "b": 2.0, "c": 3}), "coords"),
    refuses("masked", masked_wide, "NaN", "row 3"),
    refuses("booleans", lambda: WIDE > 0, "booleans"),
    refuses("NaN", lambda: np.where(WIDE[3, 0] == WIDE, np.nan, WIDE), "NaN", "row 3"),
    refuses("many features", lambda: np.zeros((40, 7)), "coords"),
    refuses("None", lambda: None, "coords"),
    refuses("dict", lambda: {"lon": WIDE[:, 0]}, "DataFrame"),
    refuses("sparse", lambda: scipy.sparse.csr_array(WIDE), "toarray"),
    refuses("LazyFrame", lambda: pl.LazyFrame({"lat": [1.0], "lon": [1.0]}), "collect"),
    refuses("dask frame", lambda: dask.dataframe.from_pandas(wide_frame("lat", "lon")), "dask",
        "compute"),
    refuses("dask array", lambda: dask.array.from_array(WIDE), "dask", "compute"),
    refuses("swapped", lambda: np.column_stack([WIDE[:, 1], WIDE[:, 0]]), "swapped"),
    refuses("one block", lambda: np.zeros((40, 2)), "block_size"),
]  # fmt: skip
WITH_MORE = {  # what is read as X among other columns, and is more than coordinates
    "lat, lon and more", "bytes names and more", "arrow", "polars", "lon, lat, sampled_lat",
    "lon, lat, Longitude",
}  # fmt: skip


@each(INPUTS)
def test_tables(odd):
    odd.check(folds, lambda: folds(WIDE))


@each([odd for odd in INPUTS if odd.name not in WITH_MORE | {"None"}])
def test_coordinates(odd):
    check(
        lambda: folds(np.zeros((40, 5)), coords=odd.value()),
        (lambda: folds(WIDE)) if odd.readable else None,
        () if odd.words and "coords" in odd.words else odd.words,
    )


LENGTHS = [
    refuses("array", lambda: np.zeros((7, 5)), "40", "7"),
    refuses("list", lambda: [[0.0] * 5] * 7, "40", "7"),
    refuses("frame", lambda: pd.DataFrame(np.zeros((7, 5))), "40", "7"),
    refuses("arrow", lambda: pa.table({"a": [1.0] * 7}), "40", "7"),
    refuses("sparse", lambda: scipy.sparse.csr_array(np.zeros((7, 5))), "40", "7"),
]


@each(LENGTHS)
def test_coordinates_of_another_length(odd):
    odd.check(lambda X: folds(X, coords=WIDE), None)


BAD_PARAMETERS = {
    "n_splits": (1, 2.0, "3", None, True, 1000),
    "block_size": (0, -1, np.nan, np.inf, "10", 181, 1e-300),
    "unit": ("miles", None),
    "buffer_km": (-1, np.nan, "10", None, 1e6),
}


@entries(BAD_PARAMETERS)
def test_parameters(key, value):
    splitter = SpatialBlockKFold(**{"n_splits": 3, "shuffle": True, key: value})
    check(lambda: folds(WIDE, splitter), words=(key,))


NOTATIONS = {
    "longitudes of a pole": ([[0, 90], [77, 90]], [[-180, 90], [200, 90]]),
    "the antimeridian": ([[180, 5], [190, 5]], [[-180, 5], [-170, 5]]),
    "zeros": ([[-0.0, 0], [360, 0.0]], [[0, -0.0], [0, 0]]),
}


@pytest.mark.parametrize(("unit", "size"), [("degrees", 7.0), ("km", 900.0)])
@pytest.mark.parametrize(("first", "second"), NOTATIONS.values(), ids=list(NOTATIONS))
def test_blocks_of_two_notations(unit, size, first, second):
    splitter = SpatialBlockKFold(block_size=size, unit=unit)
    check(lambda: splitter.blocks(first), lambda: splitter.blocks(second))


REGIONS = np.repeat(["a", "b"], 20)
GROUPS = [
    refuses("not given", lambda: None, "groups"),
    refuses("one", lambda: ["a"] * 40, "one region"),
    refuses("NaN", lambda: np.r_[np.nan, np.zeros(39)], "NaN"),
    refuses("None among texts", lambda: [None, *REGIONS[1:]], "groups"),
    refuses("masked", lambda: np.ma.array(np.arange(40) % 3, mask=np.arange(40) < 5), "mask"),
    refuses("NA", lambda: pd.Series([pd.NA, *REGIONS[1:]], dtype="string"), "NA"),
    refuses("two columns", lambda: np.arange(80).reshape(40, 2) % 3, "groups"),
    refuses("of another length", lambda: REGIONS[:30], "30", "40"),
    reads("categories", lambda: pd.Series(REGIONS, dtype="category")),
]


@each(GROUPS)
def test_groups_of_regions(odd):
    odd.check(
        lambda groups: folds(WIDE, LeaveOneRegionOut(), groups=groups),
        lambda: np.repeat([0, 1], 20),
    )
