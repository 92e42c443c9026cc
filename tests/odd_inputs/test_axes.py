"""Odd axes in `transform_grid`, and grids of the world against the same places one by one."""

from decimal import Decimal

import dask.array
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import torch
import xarray as xr

from skgeo_embed.nn.encodings import KINDS
from tests.odd_inputs.checking import by_name, check, each, either, reads, refuses
from tests.odd_inputs.encoders import ENCODERS, OF_ONE_FILE, features_of_pairs, fitted
from tests.odd_inputs.frames import POINTS, POLARS

pytestmark = pytest.mark.slow
every_encoder = pytest.mark.parametrize("encoder", ENCODERS)
AXIS = {"lon": [0.5, 2.5, 4.25], "lat": [1.75, 3.125, 5.5, 0.0]}


LON_AXES = [
    reads("list", lambda: AXIS["lon"]),
    reads("array", lambda: np.array(AXIS["lon"], ">f4")),
    reads("tensor", lambda: torch.tensor(AXIS["lon"]).bfloat16()),
    reads("negative-bit tensor", lambda: torch._neg_view(-torch.tensor(AXIS["lon"]))),
    reads("pandas Index", lambda: pd.Index(AXIS["lon"])),
    reads("Series", lambda: pd.Series(AXIS["lon"], index=[2, 1, 0])),
    reads("Float64", lambda: pd.Series(AXIS["lon"], dtype="Float64")),
    reads("polars", lambda: pl.Series(AXIS["lon"])),
    reads("arrow", lambda: pa.array(AXIS["lon"])),
    reads("arrow in chunks", lambda: pa.chunked_array([AXIS["lon"]])),
    reads("DataArray", lambda: xr.DataArray(AXIS["lon"], dims="lon", name="lon")),
    reads("range", lambda: range(1, 4), places=[1.0, 2.0, 3.0]),
    reads("descending, twice", lambda: [4.0, 2.0, 2.0], places=[4.0, 2.0, 2.0]),
    reads("Decimal", lambda: [Decimal(str(v)) for v in AXIS["lon"]]),
    reads("masked, nothing masked", lambda: np.ma.array(AXIS["lon"])),
    refuses("masked", lambda: np.ma.masked_equal(AXIS["lon"], 2.5), "NaN"),
    refuses("np.ma.masked in a list", lambda: [1.0, np.ma.masked]),
    refuses("NA", lambda: pd.Series([1.0, None], dtype="Float64"), "NaN"),
    refuses("polars null", lambda: pl.Series([1, None]), "NaN"),
    refuses("NaN", lambda: [1.0, np.nan], "NaN"),
    refuses("infinity", lambda: [1.0, np.inf], "infinity"),
    refuses("beyond 360", lambda: [1.0, 361.0], "[-180, 360]"),
    refuses("booleans", lambda: [True, False], "booleans"),
    refuses("a bool beside a float", lambda: [True, 2.5], "True"),
    refuses("texts", lambda: ["1", "2"], "degrees"),
    refuses("decimal commas", lambda: ["1,5"], 'decimal=","'),
    refuses("dates", lambda: pd.date_range("2020", periods=2), "dates"),
    refuses("10**400", lambda: [10**400], "degrees"),
    refuses("complex", lambda: [2j], "complex"),
    refuses("empty", lambda: [], "lon axis", "empty"),
    refuses("a number", lambda: 5.0, "lon axis", "one-dimensional"),
    refuses("None", lambda: None, "lon axis"),
    refuses("two dimensions", lambda: [AXIS["lon"]], "lon axis", "one-dimensional"),
    refuses("ragged", lambda: [[1.0], [1.0, 2.0]], "lon axis"),
    refuses("a text", lambda: "1,2,3", "lon axis"),
    refuses("dict", lambda: {1.0: 2}, "lon axis"),
    refuses("generator", lambda: (v for v in AXIS["lon"]), "lon axis"),
    refuses("meta tensor", lambda: torch.empty(3, device="meta"), "meta"),
    refuses("sparse tensor", lambda: torch.tensor(AXIS["lon"]).to_sparse(), "to_dense"),
    refuses("scipy sparse", lambda: scipy.sparse.csr_array([AXIS["lon"]]), "toarray"),
    either("dask array", lambda: dask.array.from_array(np.array(AXIS["lon"])), "compute"),
    refuses("polars LazyFrame", POLARS.lazy, "collect"),
    refuses("frame", lambda: pd.DataFrame({"lon": AXIS["lon"]}), "lon axis"),
    refuses("points", lambda: list(POINTS), "lon axis"),
    refuses("the latitude axis", lambda: xr.DataArray(AXIS["lat"], dims="lat", name="lat"), "lat"),
]  # fmt: skip


@every_encoder
@each(LON_AXES)
def test_longitudes(encoder, odd):
    odd.check(
        lambda lon: fitted(encoder).transform_grid(lon, AXIS["lat"]),
        lambda: features_of_pairs(encoder, odd.places_or(AXIS["lon"]), AXIS["lat"]),
    )


LAT_AXES = [
    refuses("beyond 90", lambda: [0.0, 90 + 2e-9], "[-90, 90]"),
    refuses("masked", lambda: np.ma.masked_equal([1.75, 5.5], 5.5), "NaN"),
    refuses("swapped", lambda: [1.0, 120.0], "[-90, 90]"),
]


@every_encoder
@each(LAT_AXES)
def test_latitudes(encoder, odd):
    odd.check(lambda lat: fitted(encoder).transform_grid(AXIS["lon"], lat), None)


OUTPUTS = {  # what is asked for, given the shape that is right; and the word of the refusal
    "output a text": (lambda shape: {"output": "text"}, "output"),
    "another shape": (lambda shape: {"out": np.zeros((1, 1, 1), np.float32)}, "shape"),
    "integers": (lambda shape: {"out": np.zeros(shape, int)}, "dtype"),
    "a list": (lambda shape: {"out": []}, "array"),
    "a masked array": (lambda shape: {"out": np.ma.zeros(shape, np.float16)}, "dtype"),
}


@every_encoder
@by_name("asked, word", OUTPUTS)
def test_outputs(encoder, asked, word):
    keywords = asked((4, 3, len(fitted(encoder).get_feature_names_out())))
    check(lambda: fitted(encoder).transform_grid(*AXIS.values(), **keywords), words=(word,))


# --- grids of the world, poles and antimeridian included


WORLD_AXES = (
    [-180.0, -90, 0, 2.5, 90, 179.5, 180, 270, 359, 360],
    [-90.0, -89.9, -45, 0, -0.0, 33.3, 90],
)
VARIANTS = [
    *(("SatCLIPEncoder", {"model": model, "layer": layer, "dtype": dtype})
      for model in ("bluemarble-l10", "bluemarble-l20")
      for layer in ("embedding", "hidden")
      for dtype in ("float32", "float64")),
    ("SatCLIPEncoder", {"normalize": True}),
    ("SatCLIPEncoder", {"harmonics": "published"}),
    ("SatCLIPEncoder", {"batch_size": 3}),
    ("CSPEncoder", {}),
    ("CSPEncoder", {"scaling": "unit", "layer": "hidden"}),
    ("CSPEncoder", {"normalize": True, "batch_size": 1}),
    ("GeoCLIPEncoder", {"dtype": "float64"}),
    ("GeoCLIPEncoder", {"normalize": True}),
    *((encoder, options) for encoder in (*OF_ONE_FILE, "RANGEEncoder")
      for options in ({}, {"dtype": "float64"}, {"batch_size": 3})),
    *((encoder, {"normalize": True}) for encoder in OF_ONE_FILE),
    ("ClimplicitEncoder", {"month": None}),
    ("ClimplicitEncoder", {"month": 11.5}),
    ("TTEEncoder", {"normalize": False}),
    ("MINDEncoder", {"layer": "hidden", "n_components": 5}),
    ("RANGEEncoder", {"beta": 0.5}),
    ("RANGEEncoder", {"beta": 0.0}),
    *(("PositionalEncoder", {"kind": kind}) for kind in KINDS),
    *(("PositionalEncoder", {"harmonics_calculation": calculation, "legendre_polys": 7})
      for calculation in ("analytic", "closed-form", "discretized")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("encoder", "options"),
    [pytest.param(*row, id="{} {}".format(*row)) for row in VARIANTS if row[0] in ENCODERS],
)
def test_grids_of_the_world(encoder, options):
    check(
        lambda: fitted(encoder, **options).transform_grid(*WORLD_AXES),
        lambda: features_of_pairs(encoder, *WORLD_AXES, **options),
        tolerance=2e-5,
    )


def test_grids_beyond_utm():
    check(lambda: fitted("GPS2VecEncoder").transform_grid(*WORLD_AXES), words=("80°S",))


def test_grids_beyond_utm_are_nan():
    axes = [0.5, 2.5], [5.5, 90.0]
    check(
        lambda: fitted("GPS2VecEncoder", on_invalid="nan").transform_grid(*axes),
        lambda: features_of_pairs("GPS2VecEncoder", *axes, on_invalid="nan"),
        warns="80°S",
    )
