"""Odd inputs over every encoder: refused clearly, read rightly, or wrong without a word.

    python benchmarks/odd_inputs.py

A case says beforehand what must become of it: the value that is right, which comes from the same
places as a plain array of floats, or the words that a refusal must contain. Prints a table with a
row per group, then every case that is silently wrong or unclear; exits 1 if there is any. Takes
the packages of requirements.txt and pyarrow, xarray, polars, dask, h5py and utm; GeoCLIP's cases
are left out where the package geoclip is missing. Encoders whose weights may not ship, or are
large, are small networks with weights from the tests' recipe.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's client is imported: no case may need it

import copy
import dataclasses
import importlib.util
import json
import logging
import pickle
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import warnings
import zipfile
from array import array
from collections import namedtuple
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import dask
import dask.array
import dask.bag
import dask.dataframe
import geopandas as gpd
import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import rasterio
import scipy.sparse
import shapely
import torch
import xarray as xr
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.linear_model import Ridge

from skgeo_embed import (
    ClimplicitEncoder,
    CSPEncoder,
    GeoCLIPEncoder,
    GPS2VecEncoder,
    ImageGeolocator,
    MINDEncoder,
    PositionalEncoder,
    RANGEEncoder,
    SatCLIPEncoder,
    SatCLIPImageEncoder,
    SINREncoder,
    TTEEncoder,
)
from skgeo_embed._errors import ModelFormatError, ModelNotFoundError, SkgeoEmbedError
from skgeo_embed.model_selection import LeaveOneRegionOut, SpatialBlockKFold
from skgeo_embed.models.registry import WEIGHTS_FOLDER
from skgeo_embed.nn.encodings import KINDS
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.vision.small_cnn import SmallConvNet

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import third_party_recipe

SPACE2VEC = Path(__file__).parent.parent / "tests/data/weights/space2vec_grid_yfcc.pth.tar"
# Inside UTM zone 31 N whichever of the two numbers comes first, so that a swap is no error, and
# exact in bfloat16, so that no type rounds them.
PLACES = np.array([[2.5, 5.5], [4.25, 1.75], [0.5, 3.125]])
LON, LAT = PLACES.T
SECONDS = 3  # of CPU a case may take, and fails beyond
MORE_MEMORY = 6 * 2**30  # bytes of address space beyond the imports; a case that wants more fails
REFUSALS = (SkgeoEmbedError, ValueError, TypeError)
BAD_FILE = (ModelFormatError, ModelNotFoundError)
OUTCOMES = ("refused clearly", "right", "silently wrong", "unclear")


@dataclasses.dataclass(frozen=True)
class Case:
    """What is done, and what must become of it.

    `right` gives the value that is right, `words` are what a refusal says; with both, either is
    good. `warns` is a word of the warning that must come; any other warning is unclear.
    """

    name: str
    act: Callable[[], Any]
    right: Callable[[], Any] | None = None
    words: tuple[str, ...] | None = None
    kinds: tuple[type, ...] = REFUSALS
    warns: str | None = None
    tolerance: float = 1e-5


@dataclasses.dataclass(frozen=True)
class Given:
    """An input: how it is made, the places that it holds or the words of its refusal."""

    name: str
    make: Callable[[], Any]
    words: tuple[str, ...] | None = None
    places: Any = None
    options: dict = dataclasses.field(default_factory=dict)
    tolerance: float = 1e-5
    either: bool = False


# --- judging


def judge(case):
    """Return the outcome and what happened."""
    touched = len(CONNECTIONS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            value, error = case.act(), None
        except Exception as problem:
            value, error = None, problem
        except SystemExit as problem:
            value, error = None, RuntimeError(f"exit {problem}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    if len(CONNECTIONS) > touched:
        return "silently wrong", f"touched the network: {CONNECTIONS[touched:]}"
    if error is not None:
        return judge_error(case, error)
    if case.right is None:
        return "silently wrong", f"accepted, gave {shorten(value)}"
    difference = compare(value, quietly(case.right), case.tolerance)
    if difference:
        return "silently wrong", difference
    said = [str(w.message) for w in caught if not issubclass(w.category, IGNORED_WARNINGS)]
    if case.warns is not None:
        known = any(case.warns.lower() in text.lower() for text in said)
        return ("right", "") if known else ("silently wrong", f"no warning of {case.warns!r}")
    return ("unclear", f"right, but warned: {said[0][:160]}") if said else ("right", "")


IGNORED_WARNINGS = (DeprecationWarning, PendingDeprecationWarning, ResourceWarning)


def judge_error(case, error):
    text = f"{type(error).__name__}: {error}"
    where = traceback.extract_tb(error.__traceback__)[-1]
    if case.words is None:
        return "unclear", f"refused what is right: {text[:220]}"
    if not isinstance(error, case.kinds):
        return "unclear", f"{text[:200]} ({Path(where.filename).name}:{where.lineno})"
    missing = [word for word in case.words if word.lower() not in str(error).lower()]
    if missing:
        return "unclear", f"does not say {missing}: {text[:240]}"
    return "refused clearly", ""


def compare(value, expected, tolerance):
    """Say what differs, "" if nothing does."""
    if isinstance(expected, (str, bool, list)):
        return "" if value == expected else f"gave {shorten(value)}, right is {shorten(expected)}"
    value, expected = np.asarray(value, dtype=float), np.asarray(expected, dtype=float)
    if value.shape != expected.shape:
        return f"gave shape {value.shape}, right is {expected.shape}"
    if (np.isnan(value) != np.isnan(expected)).any():
        return f"NaN in {np.isnan(value).sum()} values, right in {np.isnan(expected).sum()}"
    there = ~np.isnan(expected)
    scale = max(1.0, np.abs(expected[there]).max(initial=0))
    with np.errstate(all="ignore"):
        off = np.abs(value - expected)[there].max(initial=0)
    return "" if off <= tolerance * scale else f"off by {off:.3g} (values up to {scale:.3g})"


def shorten(value):
    if isinstance(value, np.ndarray):
        return f"array {value.shape}, first {value.ravel()[:2].tolist()}"
    return repr(value)[:80]


def quietly(make):
    """Make an input; warnings of the package that makes it are not the library's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


# --- the network, which nothing may touch

CONNECTIONS = []


def forbid_network():
    """Record and refuse every connection of Python's, and listen for those of GDAL's curl."""

    def refuse(self, address):
        if self.family == getattr(socket, "AF_UNIX", None):
            return connect(self, address)
        CONNECTIONS.append(address)
        raise ConnectionRefusedError(f"a case connects to {address}")

    connect = socket.socket.connect
    socket.socket.connect = socket.socket.connect_ex = refuse
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=listen, args=(server,), daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def listen(server):
    while True:
        client, _ = server.accept()
        CONNECTIONS.append("GDAL to the loopback server")
        client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        client.close()


# --- inputs that hold PLACES, or must be refused


def swapped(names):
    """A frame whose first column is latitude."""
    return pd.DataFrame(PLACES[:, ::-1], columns=names)


def structured(*extra):
    fields = [("lat", "f8"), ("lon", "f4"), *((name, "f8") for name in extra)]
    table = np.zeros(3, dtype=fields)
    table["lon"], table["lat"] = LON, LAT
    return table


def masked_fields():
    table = np.ma.array(structured())
    table["lat"][1] = np.ma.masked
    return table


def with_value(value, dtype=object):
    table = PLACES.astype(dtype)
    table[1, 0] = value
    return table


def points(crs=None):
    return gpd.GeoSeries(gpd.points_from_xy(LON, LAT), crs=crs)


def cells(first, dtype=None):
    """A frame whose first longitude is a text or another odd value."""
    return pd.DataFrame({"lon": pd.Series([first, *LON[1:]], dtype=dtype or object), "lat": LAT})


class Number:
    def __init__(self, value):
        self.value = value

    def __float__(self):
        return self.value


class Array:
    """What offers only numpy's protocol."""

    def __array__(self, dtype=None, copy=None):
        return PLACES.astype(dtype or float)


Pair = namedtuple("Pair", ["lat", "lon"])
ENGINEERING = (
    'ENGCRS["local",EDATUM["here"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],UNIT["m",1]]'
)
XY = {"lon": "x", "lat": "y"}
STRINGS = np.dtypes.StringDType()

ARRAYS = [
    Given("lists", lambda: PLACES.tolist()),
    Given("tuples", lambda: tuple(map(tuple, PLACES))),
    Given("list of arrays", lambda: list(PLACES)),
    Given("float32", lambda: PLACES.astype(np.float32)),
    Given("float16", lambda: PLACES.astype(np.float16)),
    Given("longdouble", lambda: PLACES.astype(np.longdouble)),
    Given("big-endian", lambda: PLACES.astype(">f8")),
    Given("Fortran order", lambda: np.asfortranarray(PLACES)),
    Given("negative strides", lambda: PLACES[::-1, ::-1].copy()[::-1, ::-1]),
    Given("a window of a wider array", lambda: np.hstack([PLACES, PLACES])[:, :2]),
    Given("read-only", lambda: np.frombuffer(PLACES.tobytes()).reshape(-1, 2)),
    Given("np.matrix", lambda: np.asmatrix(PLACES)),
    Given("memoryview", lambda: memoryview(np.ascontiguousarray(PLACES))),
    Given("array.array rows", lambda: [array("d", row) for row in PLACES]),
    Given("uint8", lambda: np.array([[2, 5], [4, 1]], np.uint8), places=[[2, 5], [4, 1]]),
    Given("objects of float", lambda: PLACES.astype(object)),
    Given("Decimal", lambda: [[Decimal(str(v)) for v in row] for row in PLACES]),
    Given("Fraction", lambda: [[Fraction(v) for v in row] for row in PLACES]),
    Given("objects with __float__", lambda: [[Number(v) for v in row] for row in PLACES]),
    Given("objects with __array__", Array),
    Given("denormals and -0.0", lambda: [[5e-324, -0.0]], places=[[0.0, 0.0]]),
    Given("masked, nothing masked", lambda: np.ma.array(PLACES)),
    Given("masked", lambda: np.ma.masked_equal(PLACES, 1.75), words=("NaN", "row 1")),
    Given("masked objects", lambda: np.ma.array(PLACES.astype(object), mask=PLACES == 1.75),
          words=("NaN",)),
    Given("masked integers", lambda: np.ma.masked_equal([[0, 0], [2, 5]], 0), words=("NaN",)),
    Given("list of masked rows", lambda: list(np.ma.masked_equal(PLACES, 1.75)),
          words=("NaN",)),
    Given("np.ma.masked in a list", lambda: [[2.5, 5.5], [np.ma.masked, 1.75]], words=()),
    Given("structured, lat first", structured),
    Given("recarray, lat first", lambda: structured().view(np.recarray)),
    Given("structured with a third field", lambda: structured("z"), words=("2 are required",)),
    Given("structured, masked field", masked_fields, words=("NaN",)),
    Given("structured, fields of two", lambda: np.zeros(3, [("lon", "f8", 2), ("lat", "f8", 2)]),
          words=()),
    Given("structured, unnamed fields", lambda: np.zeros(3, "f8,f8"), words=("told apart",)),
    Given("NaN", lambda: with_value(np.nan, float), words=("NaN", "row 1", "on_invalid")),
    Given("infinity", lambda: with_value(np.inf, float), words=("infinity", "row 1")),
    Given("None", lambda: [[2.5, 5.5], [None, 1.75]], words=("NaN", "row 1")),
    Given("pandas.NA in objects", lambda: with_value(pd.NA), words=("NaN",)),
    Given("pandas.NaT in objects", lambda: with_value(pd.NaT), words=()),
    Given("Decimal NaN", lambda: with_value(Decimal("NaN")), words=("NaN",)),
    Given("Decimal sNaN", lambda: with_value(Decimal("sNaN")), words=("NaN",)),
    Given("10**400", lambda: with_value(10**400), words=("degrees",)),
    Given("10**400 in a list", lambda: [[2.5, 10**400]], words=("degrees",)),
    Given("Decimal 1e999", lambda: with_value(Decimal("1e999")), words=()),
    Given("metres", lambda: PLACES * 111_000, words=("metres",)),
    Given("lon 361", lambda: [[361.0, 5.0]], words=("[-180, 360]", "lon=361")),
    Given("lon just above 360", lambda: [[np.nextafter(360, 400), 5.0]], words=("[-180, 360]",)),
    Given("lon just below -180", lambda: [[np.nextafter(-180, -400), 5]], words=("[-180, 360]",)),
    Given("lat just above 90", lambda: [[2.5, np.nextafter(90, 100)]], words=("[-90, 90]",)),
    Given("lat just below -90", lambda: [[2.5, np.nextafter(-90, -100)]], words=("[-90, 90]",)),
    Given("swapped", lambda: [[5.5, 102.5]], words=("swapped",)),
    Given("booleans", lambda: PLACES > 3, words=("booleans",)),
    Given("booleans in lists", lambda: [[True, False]], words=("booleans",)),
    Given("a bool beside a float in a list", lambda: [[True, 5.5]], words=("True",)),
    Given("a bool beside an int in a list", lambda: [[2, 5], [True, 1]], words=("True",)),
    Given("np.True_ in a list", lambda: [[np.True_, 5.5]], words=("True",)),
    Given("a bool among objects", lambda: with_value(True), words=("True", "row 1")),
    Given("complex", lambda: PLACES + 0j, words=("complex",)),
    Given("complex among objects", lambda: with_value(2j), words=("complex",)),
    Given("datetime64", lambda: PLACES.astype("M8[s]"), words=("dates",)),
    Given("timedelta64", lambda: PLACES.astype("m8[s]"), words=("durations",)),
    Given("datetime64 among objects", lambda: with_value(np.datetime64("2020-01-01")), words=()),
    Given("texts", lambda: PLACES.astype(str), words=("degrees", "to_numeric")),
    Given("bytes", lambda: PLACES.astype("S"), words=("degrees",)),
    Given("StringDType", lambda: PLACES.astype(STRINGS), words=("degrees",), either=True),
    Given("StringDType, decimal commas", lambda: np.array([["2,5", "5,5"]], STRINGS),
          words=('decimal=","',)),
    Given("void", lambda: np.zeros((3, 2), "V8"), words=("degrees",)),
    Given("texts in lists", lambda: [["2.5", 5.5]], words=("degrees", "2.5")),
    Given("decimal comma", lambda: [["2,5", "5,5"]], words=('decimal=","',)),
    Given("one text per place", lambda: ["2.5,5.5", "4.25,1.75"], words=("(n, 2)",)),
    Given("None", lambda: None, words=("(n, 2)",)),
    Given("a number", lambda: 5.0, words=("(n, 2)",)),
    Given("a text", lambda: "2.5,5.5", words=("text", "2.5,5.5")),
    Given("a path", lambda: Path("places.csv"), words=("(n, 2)",)),
    Given("empty list", lambda: [], words=("(n, 2)",)),
    Given("list of an empty list", lambda: [[]], words=("(n, 2)",)),
    Given("no rows", lambda: np.empty((0, 2)), words=("0 sample",)),
    Given("one place, one dimension", lambda: [2.5, 5.5], words=("[[lon, lat]]",)),
    Given("three columns", lambda: np.zeros((3, 3)), words=("two columns",)),
    Given("two rows of coordinates", lambda: PLACES.T, words=("two columns",)),
    Given("three dimensions", lambda: np.zeros((3, 2, 1)), words=("(n, 2)",)),
    Given("ragged", lambda: [[2.5, 5.5], [4.25]], words=("(n, 2)",)),
    Given("dict", lambda: {"lon": LON, "lat": LAT}, words=("dict", "DataFrame")),
    Given("list of dicts", lambda: [{"lon": 2.5, "lat": 5.5}], words=("frame",)),
    Given("set", lambda: {(2.5, 5.5)}, words=("(n, 2)",)),
    Given("generator", lambda: (row for row in PLACES), words=("(n, 2)",)),
    Given("zip", lambda: zip(LON, LAT, strict=True), words=("(n, 2)",)),
    Given("named tuples, lat first", lambda: [Pair(lat, lon) for lon, lat in PLACES],
          words=("lat",), either=True),
    Given("scipy sparse matrix", lambda: scipy.sparse.csr_matrix(PLACES), words=("toarray",)),
    Given("scipy sparse array", lambda: scipy.sparse.coo_array(PLACES), words=("toarray",)),
]  # fmt: skip

TENSORS = [
    Given("tensor", lambda: torch.tensor(PLACES)),
    Given("bfloat16 tensor", lambda: torch.tensor(PLACES, dtype=torch.bfloat16)),
    Given("float16 tensor", lambda: torch.tensor(PLACES).half()),
    Given("float8 tensor", lambda: torch.tensor(PLACES).to(torch.float8_e4m3fn), words=("float8",),
          either=True, places=np.asarray(torch.tensor(PLACES).to(torch.float8_e4m3fn).double())),
    Given("tensor with gradient", lambda: torch.tensor(PLACES, requires_grad=True)),
    Given("parameter", lambda: torch.nn.Parameter(torch.tensor(PLACES))),
    Given("transposed tensor", lambda: torch.tensor(PLACES.T.copy()).T),
    Given("integer tensor", lambda: torch.tensor([[2, 5]]), places=[[2, 5]]),
    Given("negative-bit tensor", lambda: torch._neg_view(torch.tensor(-PLACES))),
    Given("imaginary part of a conjugate",
          lambda: torch.complex(torch.zeros(3, 2).double(), torch.tensor(-PLACES)).conj().imag),
    Given("conjugate tensor", lambda: torch.tensor(PLACES + 1j).conj(), words=("complex",)),
    Given("boolean tensor", lambda: torch.tensor(PLACES) > 3, words=("booleans",)),
    Given("meta tensor", lambda: torch.empty(3, 2, device="meta"), words=("meta", "no values")),
    Given("sparse COO tensor", lambda: torch.tensor(PLACES).to_sparse(), words=("to_dense",)),
    Given("sparse CSR tensor", lambda: torch.tensor(PLACES).to_sparse_csr(), words=("to_dense",)),
    Given("mkldnn tensor", lambda: torch.tensor(PLACES).float().to_mkldnn(), words=("to_dense",)),
    Given("nested tensor", lambda: torch.nested.nested_tensor([torch.tensor(r) for r in PLACES]),
          words=(), either=True),
    Given("quantised tensor",
          lambda: torch.quantize_per_tensor(torch.tensor(PLACES).float(), 0.125, 0, torch.quint8),
          words=(), either=True),
    Given("list of tensors", lambda: list(torch.tensor(PLACES))),
    Given("list of bfloat16 tensors", lambda: list(torch.tensor(PLACES).bfloat16()), words=(),
          either=True),
    Given("list of tensors with gradient", lambda: list(torch.tensor(PLACES, requires_grad=True)),
          words=(), either=True),
    Given("list of meta tensors", lambda: list(torch.empty(3, 2, device="meta")), words=("meta",)),
    Given("list of negative-bit tensors", lambda: list(torch._neg_view(torch.tensor(-PLACES)))),
]  # fmt: skip

PANDAS = [
    Given("lon, lat", lambda: pd.DataFrame({"lon": LON, "lat": LAT})),
    *(
        Given(f"{names[0]}, {names[1]}", partial(swapped, names))
        for names in (
            ("lat", "lon"), ("LAT", "LON"), ("Latitude", "Longitude"), ("lats", "lons"),
            ("lat", "lng"), ("lat", "long"), ("decimalLatitude", "decimalLongitude"),
            ("site_lat", "site_lon"), (" lat ", "lon (°E)"), (b"lat", b"lon"),
            ("geo:lat", "geo:long"), ("Lat.", "Long."), ("start_latitude", "startLongitude"),
            ("lat1", "lon1"),
        )
    ),
    Given("MultiIndex", lambda: swapped(pd.MultiIndex.from_tuples([("p", "lat"), ("p", "lon")]))),
    Given("MultiIndex of three levels",
          lambda: swapped(pd.MultiIndex.from_tuples([("a", "p", "lat"), ("a", "p", "lon")]))),
    Given("MultiIndex, names on the first level",
          lambda: swapped(pd.MultiIndex.from_tuples([("lat", "deg"), ("lon", "deg")])),
          words=("told apart",), either=True),
    Given("MultiIndex with an empty last level",
          lambda: swapped(pd.MultiIndex.from_tuples([("lat", ""), ("lon", "")])),
          words=("told apart",), either=True),
    Given("categorical names", lambda: swapped(pd.CategoricalIndex(["lat", "lon"]))),
    Given("names of radians", lambda: swapped(["lat_rad", "lon_rad"]), words=("rad",)),
    Given("integer names", lambda: pd.DataFrame(PLACES)),
    Given("other integer names", lambda: pd.DataFrame(PLACES, columns=[7, 3])),
    Given("the same integer twice", lambda: pd.DataFrame(PLACES, columns=[0, 0])),
    Given("float names", lambda: pd.DataFrame(PLACES, columns=[0.5, 1.5]), words=("told apart",)),
    Given("boolean names", lambda: pd.DataFrame(PLACES, columns=[True, False]),
          words=("told apart",)),
    Given("names of dates", lambda: pd.DataFrame(PLACES, columns=pd.date_range("2020", periods=2)),
          words=("told apart",)),
    Given("lon twice", lambda: pd.DataFrame(PLACES, columns=["lon", "lon"]),
          words=("several are lon",)),
    Given("lon and longitude", lambda: pd.DataFrame(PLACES, columns=["lon", "longitude"]),
          words=("several are lon",)),
    Given("names alike", lambda: pd.DataFrame(PLACES, columns=["a", "b"]), words=("lon=",)),
    Given("easting, northing", lambda: pd.DataFrame(PLACES, columns=["easting", "northing"]),
          words=("told apart",)),
    Given("x, y", lambda: pd.DataFrame(PLACES, columns=["x", "y"]), words=("lon='x'", "lat='y'")),
    Given("Y, X", lambda: swapped(["Y", "X"]), words=("lon='X'", "lat='Y'")),
    Given("y, x with lon, lat", lambda: swapped(["y", "x"]), options=XY),
    Given("y, z, x with lon, lat",
          lambda: pd.DataFrame({"y": LAT, "z": 0.0, "x": LON}), options=XY),
    Given("lat, x with lon", lambda: swapped(["lat", "x"]), options={"lon": "x"}),
    Given("no such column", lambda: swapped(["lat", "lon"]), words=("no such column",),
          options=XY),
    Given("lon and lat the same column", lambda: swapped(["y", "x"]), words=("same",),
          options={"lon": "x", "lat": "x"}),
    Given("lon names a column of two", lambda: pd.DataFrame(PLACES, columns=["x", "x"]),
          words=("x",), options=XY),
    Given("a third column", lambda: pd.DataFrame({"lon": LON, "lat": LAT, "price": 1.0}),
          words=("2 are required", "ColumnTransformer")),
    Given("one column", lambda: pd.DataFrame({"lon": LON}), words=()),
    Given("a Series of numbers", lambda: pd.Series(LON), words=("(n, 2)",)),
    Given("a row as a Series", lambda: pd.Series({"lat": 5.5, "lon": 2.5}), words=("(n, 2)",)),
    Given("a Series of tuples", lambda: pd.Series([tuple(r) for r in PLACES]), words=("(n, 2)",),
          either=True),
    Given("rows as Series, lat first",
          lambda: [row for _, row in swapped(["lat", "lon"]).iterrows()],
          words=("lat",), either=True),
    Given("columns as Series, two places", lambda: [pd.Series(LAT[:2], name="lat"),
          pd.Series(LON[:2], name="lon")], words=("lat",), either=True, places=PLACES[:2]),
    Given("transposed, two places",
          lambda: pd.DataFrame([LAT[:2], LON[:2]], index=["lat", "lon"]),
          words=("lat",), either=True, places=PLACES[:2]),
    Given("MultiIndex of places",
          lambda: pd.MultiIndex.from_arrays([LAT, LON], names=["lat", "lon"]),
          words=("(n, 2)",), either=True),
    Given("no rows, named", lambda: swapped(["lat", "lon"])[:0], words=("0 sample",)),
    Given("odd index", lambda: swapped(["lat", "lon"]).set_index(pd.Index(["a", "a", None]))),
    Given("Float64", lambda: swapped(["lat", "lon"]).astype("Float64")),
    Given("Float64 with NA", lambda: cells(pd.NA, "Float64"), words=("NaN", "row 0")),
    Given("Int64 with NA", lambda: pd.DataFrame({"lon": pd.array([2, None], "Int64"), "lat": 5}),
          words=("NaN", "row 1")),
    Given("arrow double", lambda: swapped(["lat", "lon"]).astype("double[pyarrow]")),
    Given("arrow double with null", lambda: cells(None, "double[pyarrow]"), words=("NaN",)),
    Given("arrow decimal", lambda: swapped(["lat", "lon"]).astype(
        pd.ArrowDtype(pa.decimal128(9, 4)))),
    Given("pandas sparse", lambda: swapped(["lat", "lon"]).astype("Sparse[float64]")),
    Given("categories of numbers", lambda: swapped(["lat", "lon"]).astype("category"),
          words=("categor",), either=True),
    Given("objects with None", lambda: cells(None), words=("NaN", "row 0")),
    Given("boolean", lambda: pd.DataFrame({"lon": LON > 2, "lat": LAT}), words=("booleans",)),
    Given("nullable boolean", lambda: pd.DataFrame({"lon": pd.array(LON > 2, "boolean"),
          "lat": LAT}), words=("booleans",)),
    Given("arrow boolean", lambda: pd.DataFrame({"lon": pd.array(LON > 2, "bool[pyarrow]"),
          "lat": LAT}), words=("booleans",)),
    Given("sparse boolean", lambda: pd.DataFrame({"lon": pd.arrays.SparseArray(LON > 2),
          "lat": LAT}), words=("booleans",)),
    Given("categories of booleans", lambda: pd.DataFrame({"lon": pd.Categorical(LON > 2),
          "lat": LAT}), words=("True",)),
    Given("texts of numbers", lambda: cells("2.5", "str"), words=("text", "to_numeric")),
    *(
        Given(f"decimal comma {text}", partial(cells, text), words=('decimal=","',))
        for text in ("2,5", " -2,5 ", "+12,25", "−2,5", "1.234,5")
    ),
    *(
        Given(f"degrees {text}", partial(cells, text), words=("/ 60",))
        for text in ("2°30'0\"E", "2° 30′ E", "E 2.5", "2.5 E", "2.5°", "2 30 00", "2:30:00",
                     "W2.5", "2d30m0s", "2.5W", "2º30'", "2,5° E")
    ),
    Given("arrow texts, decimal comma", lambda: cells("2,5", "string[pyarrow]").astype(
        {"lon": "string[pyarrow]"}), words=('decimal=","',)),
    Given("categories of decimal commas", lambda: swapped(["lat", "lon"]).map(
        lambda v: str(v).replace(".", ",")).astype("category"), words=('decimal=","',)),
    Given("dates", lambda: pd.DataFrame({"lon": pd.date_range("2020", periods=3), "lat": LAT}),
          words=("dates",)),
    Given("dates with a zone", lambda: pd.DataFrame({"lat": LAT, "lon": pd.date_range(
        "2020", periods=3, tz="UTC")}), words=("degrees",)),
    Given("durations", lambda: pd.DataFrame({"lon": pd.to_timedelta(LON, "s"), "lat": LAT}),
          words=("durations",)),
    Given("periods", lambda: pd.DataFrame({"lon": pd.period_range("2020", periods=3, freq="D"),
          "lat": LAT}), words=("degrees",)),
    Given("intervals", lambda: pd.DataFrame({"lon": pd.interval_range(0, 3), "lat": LAT}),
          words=("degrees",)),
    Given("complex column", lambda: pd.DataFrame({"lon": LON + 1j, "lat": LAT}),
          words=("complex",)),
    Given("lists in cells", lambda: pd.DataFrame({"lon": [[2.5], [4.25], [0.5]], "lat": LAT}),
          words=("degrees",)),
]  # fmt: skip


def data_array(names=("lat", "lon"), values=PLACES[:, ::-1], dims=("place", "axis"), along="axis"):
    return xr.DataArray(values, dims=dims, coords={along: list(names)})


def dataset(dims=("place", "place")):
    return xr.Dataset({"lat": (dims[0], LAT), "lon": (dims[1], LON)})


ARROW = pa.table({"lat": LAT, "lon": LON})
POLARS = pl.DataFrame({"lat": LAT, "lon": LON})

TABLES = [
    Given("DataArray", lambda: xr.DataArray(PLACES)),
    Given("DataArray with names", data_array),
    Given("DataArray with bytes names", lambda: data_array((b"lat", b"lon"))),
    Given("DataArray with integer names", lambda: data_array((0, 1), PLACES)),
    Given("DataArray, missing", lambda: data_array(values=with_value(np.nan, float)),
          words=("NaN",)),
    Given("DataArray, two places, names on the first dimension",
          lambda: data_array(values=np.array([LAT[:2], LON[:2]]), dims=("axis", "place")),
          words=("lat",), either=True, places=PLACES[:2]),
    Given("DataArray, names on another coordinate",
          lambda: xr.DataArray(PLACES[:, ::-1], dims=("place", "axis"),
                               coords={"name": ("axis", ["lat", "lon"])}),
          words=("lat",), either=True),
    Given("DataArray with unknown names", lambda: data_array(("a", "b")), words=("told apart",)),
    Given("DataArray with x, y", lambda: data_array(("y", "x")), options=XY),
    Given("DataArray of three", lambda: xr.DataArray(np.zeros((3, 3))), words=("two columns",)),
    Given("DataArray of booleans", lambda: data_array(values=PLACES > 2), words=("booleans",)),
    Given("Dataset", dataset),
    Given("Dataset of coordinates", lambda: dataset().set_coords(["lon", "lat"])),
    Given("Dataset of coordinates and a value",
          lambda: dataset().set_coords(["lon", "lat"]).assign(t=("place", LON)),
          words=("lon",), either=True),
    Given("Dataset of a grid, as many of both", lambda: dataset(("lat", "lon")),
          words=("lat",)),
    Given("Dataset of a grid", lambda: xr.Dataset(coords={"lat": LAT, "lon": LON[:2]}),
          words=("lat",)),
    Given("xarray Variable", lambda: xr.Variable(("place", "axis"), PLACES),
          words=("(n, 2)",), either=True),
    Given("arrow table", lambda: ARROW),
    Given("arrow record batch", lambda: ARROW.to_batches()[0]),
    Given("arrow table in chunks", lambda: pa.concat_tables([ARROW[:1], ARROW[1:]])),
    Given("arrow decimals", lambda: ARROW.cast(pa.schema([(n, pa.decimal128(9, 4))
          for n in ("lat", "lon")]))),
    Given("arrow half floats", lambda: ARROW.cast(pa.schema([(n, pa.float16())
          for n in ("lat", "lon")]))),
    Given("arrow dictionaries", lambda: pa.table({n: ARROW[n].dictionary_encode()
          for n in ("lat", "lon")})),
    Given("arrow null", lambda: pa.table({"lon": [None, 2.5], "lat": [1.0, 2.0]}),
          words=("NaN", "row 0")),
    Given("arrow column of nulls", lambda: pa.table({"lon": pa.nulls(3), "lat": LAT}),
          words=("NaN",)),
    Given("arrow booleans", lambda: pa.table({"lon": LON > 2, "lat": LAT}), words=("booleans",)),
    Given("arrow booleans with null", lambda: pa.table({"lon": [True, None], "lat": [1.0, 2.0]}),
          words=("True",)),
    Given("arrow texts", lambda: pa.table({"lon": ["2,5"], "lat": [5.5]}), words=('decimal=","',)),
    Given("arrow dates", lambda: pa.table({"lon": pa.array([1, 2, 3], pa.timestamp("s")),
          "lat": LAT}), words=("degrees",)),
    Given("arrow names twice", lambda: pa.table([LON, LAT], names=["lon", "lon"]),
          words=("several are lon",)),
    Given("arrow array of pairs", lambda: pa.FixedSizeListArray.from_arrays(PLACES.ravel(), 2),
          words=("(n, 2)",), either=True),
    Given("arrow array of structs", lambda: ARROW.to_struct_array(), words=("(n, 2)",),
          either=True),
    Given("arrow array", lambda: pa.array(LON), words=("(n, 2)",)),
    Given("polars", lambda: POLARS),
    Given("polars, unknown names", lambda: POLARS.rename({"lat": "a", "lon": "b"}),
          words=("told apart",)),
    Given("polars column_0, column_1", lambda: pl.DataFrame(PLACES), words=("column_0",)),
    Given("polars x, y", lambda: POLARS.rename({"lat": "y", "lon": "x"}), options=XY),
    Given("polars LazyFrame", POLARS.lazy, words=("LazyFrame", "collect()")),
    Given("polars null", lambda: POLARS.with_columns(lon=pl.Series([None, 2.5, 1.0])),
          words=("NaN", "row 0")),
    Given("polars integers with null", lambda: pl.DataFrame({"lon": [2, None], "lat": [5, 1]}),
          words=("NaN", "row 1")),
    Given("polars Decimal", lambda: POLARS.cast(pl.Decimal(9, 4))),
    Given("polars Float32", lambda: POLARS.cast(pl.Float32)),
    Given("polars Boolean", lambda: POLARS.with_columns(lon=pl.col("lon") > 2),
          words=("booleans",)),
    Given("polars Boolean with null",
          lambda: POLARS.with_columns(lon=pl.Series([True, None, False])),
          words=()),
    Given("polars String", lambda: POLARS.cast(pl.String), words=("degrees",)),
    Given("polars Categorical", lambda: POLARS.cast(pl.String).cast(pl.Categorical),
          words=("degrees",)),
    Given("polars Date", lambda: POLARS.cast(pl.Int32).cast(pl.Date), words=("degrees",)),
    Given("polars Time", lambda: POLARS.cast(pl.Int64).cast(pl.Time), words=("degrees",)),
    Given("polars structs", lambda: POLARS.to_struct(), words=(), either=True),
    Given("polars lists", lambda: pl.Series([r.tolist() for r in PLACES]), words=("(n, 2)",),
          either=True),
    Given("polars arrays", lambda: pl.Series(PLACES.tolist(), dtype=pl.Array(pl.Float64, 2))),
    Given("polars column of lists",
          lambda: pl.DataFrame({"lon": [[2.5], [4.0]], "lat": [1.0, 2.0]}),
          words=("degrees",)),
    Given("dask Series", lambda: dask.dataframe.from_pandas(pd.DataFrame({"lon": LON}))["lon"],
          words=()),
    Given("dask bag", lambda: dask.bag.from_sequence(PLACES.tolist()), words=("dask",)),
    Given("dask delayed", lambda: dask.delayed(PLACES), words=("dask",)),
]  # fmt: skip

GEOMETRIES = [
    Given("shapely points", lambda: list(shapely.points(PLACES))),
    Given("array of points", lambda: shapely.points(PLACES)),
    Given("tuple of points", lambda: tuple(shapely.points(PLACES))),
    Given("Series of points", lambda: pd.Series(shapely.points(PLACES))),
    Given("points with heights", lambda: list(shapely.points(np.column_stack([PLACES, LON])))),
    Given("points, one missing", lambda: [*shapely.points(PLACES), None], words=("NaN", "row 3")),
    Given("points, one empty", lambda: [*shapely.points(PLACES), shapely.Point()],
          words=("NaN", "row 3")),
    Given("points with NaN", lambda: [*shapely.points(PLACES), shapely.Point(np.nan, 1)],
          words=("NaN", "row 3")),
    Given("points after a hundred missing", lambda: [None] * 100 + list(shapely.points(PLACES)),
          words=("NaN",)),
    Given("points out of range", lambda: [shapely.Point(5, 100)], words=("[-90, 90]",)),
    Given("several kinds at once", lambda: [*shapely.points(PLACES),
          shapely.GeometryCollection([shapely.Point(1, 2)])],
          words=("GeometryCollection", "row 3")),
    Given("several points of one place", lambda: [
        shapely.MultiPoint([place, place]) for place in PLACES], tolerance=1e-6),
    Given("small polygons", lambda: shapely.buffer(shapely.points(PLACES), 1e-7), tolerance=1e-3),
    Given("short lines", lambda: [shapely.LineString([place, place + 1e-7]) for place in PLACES],
          tolerance=1e-3),
    Given("small boxes", lambda: pd.DataFrame({"west": LON, "south": LAT, "east": LON + 1e-7,
          "north": LAT + 1e-7}), tolerance=1e-3),
    Given("boxes upside down", lambda: pd.DataFrame({"west": LON, "south": LAT, "east": LON,
          "north": LAT - 1}), words=("south", "north")),
    Given("an edge round the Earth", lambda: [shapely.box(-179, 0, 179, 1)],
          words=("358", "row 0")),
    Given("polygons of metres", lambda: [shapely.box(5e5, 4e6, 6e5, 5e6)], words=("metres",)),
    Given("an H3 cell and a text", lambda: ["85283473fffffff", "Paris"], words=("Paris", "row 1")),
    Given("a single point", lambda: shapely.Point(2.5, 5.5), words=("list",)),
    Given("a multipoint", lambda: shapely.MultiPoint(PLACES), words=("list",)),
    Given("points and numbers", lambda: [*shapely.points(PLACES), 7], words=("mixed",)),
    Given("points and texts", lambda: [shapely.Point(1, 2), "POINT (1 2)"], words=("mixed",)),
    Given("texts of points", lambda: ["POINT (2.5 5.5)"], words=("(n, 2)",)),
    Given("bytes of points", lambda: list(shapely.to_wkb(shapely.points(PLACES))), words=()),
    Given("column of points", lambda: shapely.points(PLACES)[:, None], words=()),
    Given("frame with points", lambda: pd.DataFrame({"geometry": shapely.points(PLACES)}),
          words=("geometry",), either=True),
    Given("GeoSeries", lambda: points("EPSG:4326")),
    Given("GeoSeries in Mercator", lambda: points("EPSG:4326").to_crs("EPSG:3857"), tolerance=1e-3),
    Given("GeoSeries in UTM", lambda: points("EPSG:4326").to_crs("EPSG:32631"), tolerance=1e-3),
    Given("GeoSeries in OGC:CRS84", lambda: points("OGC:CRS84")),
    Given("GeoSeries in latitude order", lambda: points("EPSG:4326").to_crs("EPSG:4979")),
    Given("GeoSeries without CRS", points, words=("no CRS", "set_crs")),
    Given("GeoSeries with a local CRS", lambda: points(ENGINEERING), words=("CRS", "set_crs")),
    Given("GeoSeries, not placed in UTM", lambda: gpd.GeoSeries([shapely.Point(1e30, 1e30)],
          crs="EPSG:32631"), words=()),
    Given("GeoSeries, missing", lambda: gpd.GeoSeries([shapely.Point(1, 2), None], crs=4326),
          words=("NaN", "row 1")),
    Given("GeoSeries of small polygons in UTM", lambda: points(4326).to_crs(32631).buffer(0.01),
          tolerance=1e-3),
    Given("GeoSeries of polygons without CRS", lambda: points().buffer(1), words=("no CRS",)),
    Given("GeoSeries, no rows", lambda: points(4326)[:0], words=("0 sample",)),
    Given("GeoDataFrame", lambda: gpd.GeoDataFrame({"price": LON}, geometry=points(4326))),
    Given("GeoDataFrame with other lat, lon", lambda: gpd.GeoDataFrame({"lat": LON, "lon": LAT},
          geometry=points(4326))),
    Given("GeoDataFrame with x, y and lon, lat", lambda: gpd.GeoDataFrame(
        {"y": LAT, "x": LON}, geometry=gpd.points_from_xy(LAT, LON), crs=4326), options=XY),
    Given("GeoDataFrame without geometry", lambda: gpd.GeoDataFrame({"price": LON}), words=()),
    Given("GeoDataFrame of lon, lat without geometry", lambda: gpd.GeoDataFrame(
        {"lat": LAT, "lon": LON}), words=("geometry",), either=True),
    Given("geometry array", lambda: points("EPSG:4326").values, words=("GeoSeries",), either=True),
    Given("geometry array in Mercator", lambda: points(4326).to_crs(3857).values,
          words=("GeoSeries",), either=True, tolerance=1e-3),
    Given("pandas Series of a geometry array in Mercator",
          lambda: pd.Series(points(4326).to_crs(3857).values), words=(), either=True,
          tolerance=1e-3),
    Given("list of points out of a GeoSeries in Mercator",
          lambda: list(points(4326).to_crs(3857)), words=("metres",)),
]  # fmt: skip

CHOSEN = [  # lon and lat are column numbers where there are no names
    Given("array, lat first", lambda: PLACES[:, ::-1], options={"lon": 1, "lat": 0}),
    Given("wide array", lambda: np.column_stack([LAT, LAT, LON]), options={"lon": 2, "lat": 0}),
    Given("numbers from the end", lambda: PLACES[:, ::-1], options={"lon": -1, "lat": -2}),
    Given("no such number", lambda: PLACES, words=("number",), options={"lon": 5, "lat": 0}),
    Given("a name for an array", lambda: PLACES, words=("no column names",), options=XY),
    Given("the same number twice", lambda: PLACES, words=("same",), options={"lon": 1, "lat": -1}),
    Given("lon=1 alone", lambda: PLACES[:, ::-1], words=("same",), options={"lon": 1}, either=True),
    Given("lat=0 alone", lambda: PLACES[:, ::-1], words=("same",), options={"lat": 0}, either=True),
    Given("tensor by number", lambda: torch.tensor(PLACES[:, ::-1].copy()),
          options={"lon": 1, "lat": 0}),
    Given("masked by number", lambda: np.ma.masked_equal(PLACES[:, ::-1], 1.75), words=("NaN",),
          options={"lon": 1, "lat": 0}),
    Given("integer names by number", lambda: pd.DataFrame(PLACES[:, ::-1]),
          options={"lon": 1, "lat": 0}),
    Given("integer names, lon alone", lambda: pd.DataFrame(PLACES[:, ::-1]),
          words=(), options={"lon": 1}, either=True),
    Given("last level of a MultiIndex", lambda: swapped(pd.MultiIndex.from_tuples(
        [("p", "y"), ("p", "x")])), options=XY),
    Given("a tuple of a MultiIndex", lambda: swapped(pd.MultiIndex.from_tuples(
        [("p", "y"), ("p", "x")])), options={"lon": ("p", "x"), "lat": ("p", "y")}),
    Given("bytes names chosen as bytes", lambda: swapped([b"y", b"x"]),
          options={"lon": b"x", "lat": b"y"}),
    Given("bytes names chosen as text", lambda: swapped([b"y", b"x"]), options=XY),
    Given("names exchanged on purpose", lambda: pd.DataFrame({"lat": LON, "lon": LAT}),
          options={"lon": "lat", "lat": "lon"}),
    Given("structured", lambda: structured("z"), options={"lon": "lon", "lat": "lat"}),
    Given("one dimension", lambda: PLACES[0], words=("(n, 2)",), options={"lon": 0, "lat": 1}),
    Given("arrow table", lambda: ARROW.append_column("z", [LON]).rename_columns(["y", "x", "z"]),
          options=XY),
    Given("Dataset", lambda: dataset().rename({"lon": "x", "lat": "y"}), options=XY),
    Given("list of points", lambda: list(shapely.points(PLACES)), words=("lon",), either=True,
          options=XY),
    Given("another case", lambda: swapped(["Y", "X"]), words=("X", "no such column"), options=XY),
]  # fmt: skip


@cache
def encoder_of(name, options=()):
    """A fitted encoder; options as sorted items, so that it is fitted once."""
    return ENCODERS[name](**dict(options)).fit()


def features_of(name, places, **options):
    places = tuple(map(tuple, np.array(places, dtype=float).tolist()))
    return features_once(name, places, tuple(options.items()))


@cache
def features_once(name, places, options):
    return encoder_of(name, options).transform(np.array(places))


def read_cases(encoder, inputs):
    """Transform every input with an encoder that was fitted without data."""
    for given in inputs:
        places = PLACES if given.places is None else given.places

        def act(given=given):
            fitted = encoder_of(encoder, tuple(given.options.items()))
            return fitted.transform(quietly(given.make))

        can_be_read = given.words is None or given.either
        yield Case(
            given.name + (f" ({given.options})" if given.options else ""),
            act,
            partial(features_of, encoder, places) if can_be_read else None,
            given.words,
            tolerance=given.tolerance,
        )


def fitted_cases(encoder, inputs):
    """`fit_transform` and `fit` on data read what `transform` reads."""
    for given in inputs:
        places = PLACES if given.places is None else given.places
        can_be_read = given.words is None or given.either
        for how in ("fit_transform", "fit, transform"):

            def act(given=given, how=how):
                X, estimator = quietly(given.make), ENCODERS[encoder](**given.options)
                if how == "fit_transform":
                    return estimator.fit_transform(X)
                return estimator.fit(X).transform(X)

            yield Case(
                f"{given.name} ({how})",
                act,
                partial(features_of, encoder, places) if can_be_read else None,
                given.words,
                tolerance=given.tolerance,
            )


GAP = np.where([[False], [True], [False]], np.nan, PLACES)  # the second place is missing
GAPS = [  # with on_invalid="nan": NaN where nothing is known; what is no number is refused
    Given("NaN", lambda: GAP),
    Given("half a place", lambda: np.where(PLACES == 1.75, np.nan, PLACES)),
    Given("infinity", lambda: np.where(PLACES == 1.75, -np.inf, PLACES)),
    Given("None", lambda: [[2.5, 5.5], [None, None], [0.5, 3.125]]),
    Given("masked fields", masked_fields),
    Given("Float64", lambda: pd.DataFrame(GAP[:, ::-1], columns=["lat", "lon"], dtype="Float64")),
    Given("objects with NA", lambda: pd.DataFrame(GAP[:, ::-1], columns=["lat", "lon"]).astype(
        object).fillna(pd.NA)),
    Given("polars null", lambda: POLARS.with_columns(lon=pl.Series([2.5, None, 0.5]))),
    Given("arrow null", lambda: pa.table({"lat": LAT, "lon": [2.5, None, 0.5]})),
    Given("DataArray", lambda: data_array(values=GAP[:, ::-1])),
    Given("tensor", lambda: torch.tensor(GAP)),
    Given("a missing point",
          lambda: [shapely.Point(p) if p[0] != 4.25 else None for p in PLACES]),
    Given("an empty point", lambda: [shapely.Point(p) if p[0] != 4.25 else shapely.Point()
          for p in PLACES]),
    Given("a missing geometry in Mercator", lambda: points(4326).where(LON != 4.25).to_crs(3857),
          tolerance=1e-3),
    Given("Decimal NaN", lambda: [[Decimal(str(v)) for v in row] for row in GAP]),
    Given("a bool", lambda: with_value(True), words=("True",)),
    Given("a text", lambda: with_value("x"), words=("'x'",)),
    Given("a text nan", lambda: with_value("nan"), words=("'nan'",)),
    Given("an empty text", lambda: cells(""), words=("''",)),
    Given("10**400", lambda: with_value(10**400), words=("degrees",)),
    Given("dates", lambda: pd.DataFrame({"lon": pd.to_datetime([None] * 3), "lat": LAT}),
          words=("dates",)),
]  # fmt: skip


def gap_cases(encoder):
    for given in GAPS:
        yield Case(
            f"on_invalid='nan', {given.name}",
            lambda given=given: encoder_of(encoder, (("on_invalid", "nan"),)).transform(
                quietly(given.make)
            ),
            partial(features_of, encoder, GAP, on_invalid="nan") if given.words is None else None,
            given.words,
            tolerance=given.tolerance,
        )
    for name, set_as in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        for given in (*PANDAS[:1], *TABLES[:2], *TABLES[13:16], *GEOMETRIES[:3]):
            if given.words is None:
                yield Case(
                    f"set_output({name!r}), {given.name}",
                    partial(framed, encoder, given, name, set_as),
                    partial(features_of, encoder, PLACES),
                )


def framed(encoder, given, name, kind):
    fitted = ENCODERS[encoder]().set_output(transform=name).fit()
    frame = fitted.transform(quietly(given.make))
    if not isinstance(frame, kind):
        raise RuntimeError(f"gave a {type(frame).__name__}")
    return frame.to_numpy()


WORLD = [  # places in two notations, and without the first
    ("both poles", [[0, 90], [77, 90], [-180, 90], [360, 90], [12, -90]],
     [[0, 90], [0, 90], [0, 90], [0, 90], [0, -90]]),
    ("the antimeridian", [[180, 5], [-180, 5], [180.0, -5]], [[-180, 5], [-180, 5], [-180, -5]]),
    ("east of 180", [[190, 10], [359.5, 10], [360, 10]], [[-170, 10], [-0.5, 10], [0, 10]]),
    ("negative zeros", [[-0.0, -0.0], [-0.0, 90.0]], [[0, 0], [0, 90]]),
    ("integers", [[-180, -90], [200, 0]], [[0, -90], [-160, 0]]),
]  # fmt: skip


def world_cases(encoder):
    for name, given, canonical in WORLD:
        if encoder == "GPS2VecEncoder":
            if "pole" not in name:
                continue
            yield Case(name, partial(features_of, encoder, given), words=("80°S",))
            continue
        yield Case(
            name, partial(features_of, encoder, given), partial(features_of, encoder, canonical)
        )
    yield Case(
        "20,000 rows of three places and gaps, on_invalid='nan'",
        partial(long_table, encoder),
        partial(long_table, encoder, one_by_one=True),
        warns="outside",
    )
    yield Case(
        "masked, on_invalid='nan'",
        lambda: encoder_of(encoder, (("on_invalid", "nan"),)).transform(
            np.ma.masked_equal(PLACES, 1.75)
        ),
        lambda: np.where([[False], [True], [False]], np.nan, features_of(encoder, PLACES)),
    )


def long_table(encoder, one_by_one=False):
    """Repeated places take another way than others; gaps, and rows out of range, are NaN."""
    table = np.tile(PLACES, (7000, 1))[:20_000]
    table[5::1000] = np.nan
    table[7::1000, 1] = 95.0
    if not one_by_one:
        fitted = encoder_of(encoder, (("on_invalid", "nan"),))
        return fitted.transform(table)[:3000, :64]
    features = np.tile(features_of(encoder, PLACES), (1000, 1))[:, :64]
    features[5::1000] = features[7::1000] = np.nan
    return features


def dask_cases(encoder):
    frame = partial(swapped, ["lat", "lon"])
    for name, make, options, words in (
        ("dask frame", frame, {}, None),
        ("dask frame, masked", lambda: cells(pd.NA, "Float64"), {}, ("NaN",)),
        ("dask frame of x, y", lambda: swapped(["y", "x"]), XY, None),
        ("dask frame, wider", lambda: swapped(["y", "x"]).assign(z=1.0), XY, None),
        ("dask frame of booleans", lambda: pd.DataFrame({"lon": LON > 2, "lat": LAT}), {},
         ("booleans",)),
        ("dask frame of texts", lambda: cells("2,5"), {}, ('decimal=","',)),
        ("dask array", lambda: PLACES, {}, None),
        ("dask array by number", lambda: PLACES[:, ::-1], {"lon": 1, "lat": 0}, None),
        ("dask array of three columns", lambda: np.zeros((3, 3)), {}, ("two columns",)),
        ("dask array of booleans", lambda: PLACES > 2, {}, ("booleans",)),
        ("dask masked array", lambda: np.ma.masked_equal(PLACES, 1.75), {}, ("NaN",)),
    ):  # fmt: skip

        def act(make=make, options=options):
            data = quietly(make)
            lazy = dask.dataframe.from_pandas if hasattr(data, "columns") else dask.array.from_array
            fitted = encoder_of(encoder, tuple(options.items()))
            with dask.config.set(scheduler="synchronous"):
                return np.asarray(fitted.transform(quietly(partial(lazy, data))).compute())

        right = None if words else partial(features_of, encoder, PLACES)
        yield Case(name, act, right, words)


# --- axes of grids

AXIS = {"lon": [0.5, 2.5, 4.25], "lat": [1.75, 3.125, 5.5, 0.0]}
LON_AXES = [
    Given("list", lambda: AXIS["lon"]),
    Given("array", lambda: np.array(AXIS["lon"], ">f4")),
    Given("tensor", lambda: torch.tensor(AXIS["lon"]).bfloat16()),
    Given("negative-bit tensor", lambda: torch._neg_view(-torch.tensor(AXIS["lon"]))),
    Given("pandas Index", lambda: pd.Index(AXIS["lon"])),
    Given("Series", lambda: pd.Series(AXIS["lon"], index=[2, 1, 0])),
    Given("Float64", lambda: pd.Series(AXIS["lon"], dtype="Float64")),
    Given("polars", lambda: pl.Series(AXIS["lon"])),
    Given("arrow", lambda: pa.array(AXIS["lon"])),
    Given("arrow in chunks", lambda: pa.chunked_array([AXIS["lon"]])),
    Given("DataArray", lambda: xr.DataArray(AXIS["lon"], dims="lon", name="lon")),
    Given("range", lambda: range(1, 4), places=[1.0, 2.0, 3.0]),
    Given("descending, twice", lambda: [4.0, 2.0, 2.0], places=[4.0, 2.0, 2.0]),
    Given("Decimal", lambda: [Decimal(str(v)) for v in AXIS["lon"]]),
    Given("masked, nothing masked", lambda: np.ma.array(AXIS["lon"])),
    Given("masked", lambda: np.ma.masked_equal(AXIS["lon"], 2.5), words=("NaN",)),
    Given("np.ma.masked in a list", lambda: [1.0, np.ma.masked], words=()),
    Given("NA", lambda: pd.Series([1.0, None], dtype="Float64"), words=("NaN",)),
    Given("polars null", lambda: pl.Series([1, None]), words=("NaN",)),
    Given("NaN", lambda: [1.0, np.nan], words=("NaN",)),
    Given("infinity", lambda: [1.0, np.inf], words=("infinity",)),
    Given("beyond 360", lambda: [1.0, 361.0], words=("[-180, 360]",)),
    Given("booleans", lambda: [True, False], words=("booleans",)),
    Given("a bool beside a float", lambda: [True, 2.5], words=("True",)),
    Given("texts", lambda: ["1", "2"], words=("degrees",)),
    Given("decimal commas", lambda: ["1,5"], words=('decimal=","',)),
    Given("dates", lambda: pd.date_range("2020", periods=2), words=("dates",)),
    Given("10**400", lambda: [10**400], words=("degrees",)),
    Given("complex", lambda: [2j], words=("complex",)),
    Given("empty", lambda: [], words=("lon axis", "empty")),
    Given("a number", lambda: 5.0, words=("lon axis", "one-dimensional")),
    Given("None", lambda: None, words=("lon axis",)),
    Given("two dimensions", lambda: [AXIS["lon"]], words=("lon axis", "one-dimensional")),
    Given("ragged", lambda: [[1.0], [1.0, 2.0]], words=("lon axis",)),
    Given("a text", lambda: "1,2,3", words=("lon axis",)),
    Given("dict", lambda: {1.0: 2}, words=("lon axis",)),
    Given("generator", lambda: (v for v in AXIS["lon"]), words=("lon axis",)),
    Given("meta tensor", lambda: torch.empty(3, device="meta"), words=("meta",)),
    Given("sparse tensor", lambda: torch.tensor(AXIS["lon"]).to_sparse(), words=("to_dense",)),
    Given("scipy sparse", lambda: scipy.sparse.csr_array([AXIS["lon"]]), words=("toarray",)),
    Given("dask array", lambda: dask.array.from_array(np.array(AXIS["lon"])), words=("compute",),
          either=True),
    Given("polars LazyFrame", POLARS.lazy, words=("collect",)),
    Given("frame", lambda: pd.DataFrame({"lon": AXIS["lon"]}), words=("lon axis",)),
    Given("points", lambda: list(shapely.points(PLACES)), words=("lon axis",)),
    Given("the latitude axis", lambda: xr.DataArray(AXIS["lat"], dims="lat", name="lat"),
          words=("lat",)),
]  # fmt: skip


def mesh(encoder, lon, lat, **options):
    """Features of the pairs of two axes, as points."""
    pairs = np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)
    return features_of(encoder, pairs, **options).reshape(len(lat), len(lon), -1)


def axis_cases(encoder, inputs):
    for given in inputs:
        lon = AXIS["lon"] if given.places is None else given.places
        right = partial(mesh, encoder, lon, AXIS["lat"])
        yield Case(
            f"longitudes: {given.name}",
            lambda given=given: encoder_of(encoder).transform_grid(
                quietly(given.make), AXIS["lat"]
            ),
            right if given.words is None or given.either else None,
            given.words,
        )
    for name, lat, words in (
        ("beyond 90", [0.0, np.nextafter(90, 100)], ("[-90, 90]",)),
        ("masked latitudes", np.ma.masked_equal([1.75, 5.5], 5.5), ("NaN",)),
        ("swapped axes", [1.0, 120.0], ("[-90, 90]",)),
    ):
        yield Case(
            name,
            lambda lat=lat: encoder_of(encoder).transform_grid(AXIS["lon"], lat),
            words=words,
        )
    shape = (4, 3, encoder_of(encoder)._width())
    for name, keywords, words in (
        ("output='text'", {"output": "text"}, ("output",)),
        ("out of another shape", {"out": np.zeros((1, 1, 1), np.float32)}, ("shape",)),
        ("out of integers", {"out": np.zeros(shape, int)}, ("dtype",)),
        ("out a list", {"out": []}, ("array",)),
        ("out a masked array", {"out": np.ma.zeros(shape, np.float16)}, ("dtype",)),
    ):
        yield Case(
            name,
            lambda keywords=keywords: encoder_of(encoder).transform_grid(
                AXIS["lon"], AXIS["lat"], **keywords
            ),
            words=words,
        )


WORLD_AXES = (
    [-180.0, -90, 0, 2.5, 90, 179.5, 180, 270, 359, 360],
    [-90.0, -89.9, -45, 0, -0.0, 33.3, 90],
)


def world_grids():
    """Every encoder and encoding, poles and antimeridian included."""
    variants = [("SatCLIPEncoder", {"model": model, "layer": layer, "dtype": dtype})
                for model in ("bluemarble-l10", "bluemarble-l20")
                for layer in ("embedding", "hidden")
                for dtype in ("float32", "float64")]  # fmt: skip
    variants += [
        ("SatCLIPEncoder", {"normalize": True}),
        ("SatCLIPEncoder", {"harmonics": "published"}),
        ("SatCLIPEncoder", {"batch_size": 3}),
        ("CSPEncoder", {}),
        ("CSPEncoder", {"scaling": "unit", "layer": "hidden"}),
        ("CSPEncoder", {"normalize": True, "batch_size": 1}),
        ("GeoCLIPEncoder", {"dtype": "float64"}),
        ("GeoCLIPEncoder", {"normalize": True}),
    ]
    variants += [
        (encoder, options)
        for encoder in (*OTHERS, "RANGEEncoder")
        for options in ({}, {"dtype": "float64"}, {"batch_size": 3})
    ]
    variants += [(encoder, {"normalize": True}) for encoder in OTHERS]
    variants += [
        ("ClimplicitEncoder", {"month": None}),
        ("ClimplicitEncoder", {"month": 11.5}),
        ("TTEEncoder", {"normalize": False}),
        ("MINDEncoder", {"layer": "hidden", "n_components": 5}),
        ("RANGEEncoder", {"beta": 0.5}),
        ("RANGEEncoder", {"beta": 0.0}),
    ]
    variants += [("PositionalEncoder", {"kind": kind}) for kind in KINDS]
    variants += [
        ("PositionalEncoder", {"harmonics_calculation": calculation, "legendre_polys": 7})
        for calculation in ("analytic", "closed-form", "discretized")
    ]
    for encoder, options in variants:
        if encoder in ENCODERS:
            yield Case(
                f"{encoder} {options}: grid against points",
                partial(grid_of, encoder, *WORLD_AXES, **options),
                partial(mesh, encoder, *WORLD_AXES, **options),
                tolerance=2e-5,
            )
    yield Case(
        "GPS2VecEncoder: grid beyond UTM",
        partial(grid_of, "GPS2VecEncoder", *WORLD_AXES),
        words=("80°S",),
    )
    yield Case(
        "GPS2VecEncoder: grid beyond UTM, on_invalid='nan'",
        partial(grid_of, "GPS2VecEncoder", [0.5, 2.5], [5.5, 90.0], on_invalid="nan"),
        partial(mesh, "GPS2VecEncoder", [0.5, 2.5], [5.5, 90.0], on_invalid="nan"),
        warns="80°S",
    )


def grid_of(encoder, lon, lat, **options):
    return encoder_of(encoder, tuple(options.items())).transform_grid(lon, lat)


# --- images

PLACED = rasterio.Affine(10.0, 0.0, 5e5, 0.0, -10.0, 5e6)
PIXELS = (np.random.RandomState(0).rand(3, 3, 32, 32) * 200).astype(np.uint8)
REFLECTANCE = PIXELS.astype(np.float32) / np.float32(255)


def write_tiff(path, image=REFLECTANCE[0], **profile):
    mask, update = profile.pop("mask", None), profile.pop("update", {})
    bands, height, width = image.shape
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width,
               "dtype": image.dtype, "transform": PLACED, **profile}  # fmt: skip
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(image)
        if mask is not None:
            file.write_mask(mask)
        for key, value in update.items():
            setattr(file, key, value)
    return path


def write_bytes(path, content):
    path.write_bytes(content)
    return path


def write_vrt(path, source):
    text = (
        '<VRTDataset rasterXSize="32" rasterYSize="32">'
        + "".join(
            f'<VRTRasterBand dataType="Float32" band="{band}"><SimpleSource>'
            f'<SourceFilename relativeToVRT="0">{source}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
            for band in (1, 2, 3)
        )
        + "</VRTDataset>"
    )
    return write_bytes(path, text.encode())


def sparse_tiff(path, side=60_000):
    """Some kilobytes that claim gigabytes."""
    profile = {"driver": "GTiff", "count": 3, "height": side, "width": side, "dtype": "uint8"}
    with rasterio.open(path, "w", tiled=True, sparse_ok=True, bigtiff=True, **profile):
        return path


def with_sidecar(path, suffix, write):
    """A GeoTIFF with a file beside it that GDAL may open too."""
    write(Path(f"{path}{suffix}"))
    return write_tiff(path)


def with_pixel(value, dtype=np.float32):
    images = REFLECTANCE.astype(dtype)
    images[1, 2, 3, 4] = value
    return images


def half_masked():
    mask = np.full((32, 32), 255, np.uint8)
    mask[:16] = 0
    return mask


def image_inputs(folder, url):
    """Images of PIXELS, for the bundled tower of three bands."""
    tiff = partial(lambda name, *args, **more: write_tiff(folder / name, *args, **more))
    first = {"places": REFLECTANCE[:1]}
    pam = '<PAMDataset><Metadata><MDI key="x">{}</MDI></Metadata></PAMDataset>'
    return [
        Given("uint8", lambda: PIXELS),
        Given("uint16", lambda: (REFLECTANCE * 10_000).round().astype(np.uint16), tolerance=1e-3),
        Given("big-endian uint16", lambda: (REFLECTANCE * 10_000).round().astype(">u2"),
              tolerance=1e-3),
        Given("big-endian float", lambda: REFLECTANCE.astype(">f4")),
        Given("float64", lambda: REFLECTANCE.astype(float)),
        Given("float16", lambda: REFLECTANCE.astype(np.float16), tolerance=5e-3),
        Given("lists", lambda: list(PIXELS)),
        Given("nested lists", lambda: REFLECTANCE.tolist()),
        Given("tensor", lambda: torch.tensor(REFLECTANCE)),
        Given("bfloat16 tensor", lambda: torch.tensor(REFLECTANCE).bfloat16(), tolerance=2e-2),
        Given("list of tensors", lambda: list(torch.tensor(REFLECTANCE))),
        Given("negative-bit tensor", lambda: torch._neg_view(torch.tensor(-REFLECTANCE))),
        Given("Fortran order", lambda: np.asfortranarray(PIXELS)),
        Given("negative strides", lambda: PIXELS[:, :, ::-1].copy()[:, :, ::-1]),
        Given("DataArray", lambda: xr.DataArray(PIXELS)),
        Given("mixed types in a list", lambda: [PIXELS[0], *REFLECTANCE[1:]]),
        Given("masked, nothing masked", lambda: np.ma.array(PIXELS)),
        Given("masked", lambda: np.ma.masked_less(PIXELS, 5), words=("masked",)),
        Given("list of masked images", lambda: list(np.ma.masked_less(PIXELS, 5)),
              words=("masked",)),
        Given("NaN", lambda: with_pixel(np.nan), words=("image 1", "NaN")),
        Given("infinity", lambda: with_pixel(-np.inf), words=("image 1", "NaN")),
        Given("1e20", lambda: with_pixel(1e20), words=("image 1", "1e+20")),
        Given("-3.4e38", lambda: with_pixel(-3.4e38), words=("image 1", "3.4e+38")),
        Given("float64 1e300", lambda: with_pixel(1e300, float), words=("image 1", "1e+300")),
        Given("one image", lambda: PIXELS[0], words=("images[None]",)),
        Given("bands last", lambda: PIXELS.transpose(0, 2, 3, 1), words=("transpose",)),
        Given("four bands", lambda: np.zeros((1, 4, 32, 32)), words=("3 bands", "with 4")),
        Given("no image", lambda: PIXELS[:0], words=("empty",)),
        Given("no pixel", lambda: PIXELS[..., :0], words=("empty",)),
        Given("empty list", lambda: [], words=("images",)),
        Given("five dimensions", lambda: PIXELS[None], words=("(n, bands",)),
        Given("complex", lambda: REFLECTANCE + 0j, words=("complex",)),
        Given("list of complex", lambda: list(REFLECTANCE + 0j), words=("complex",)),
        Given("objects", lambda: PIXELS.astype(object), words=("object",)),
        Given("texts of numbers", lambda: PIXELS.astype(str), words=("dtype",)),
        Given("dates", lambda: PIXELS.astype("M8[s]"), words=("dtype",)),
        Given("sizes that differ", lambda: [PIXELS[0], PIXELS[1][:, :16]], words=("differ",)),
        Given("None", lambda: None, words=("images",)),
        Given("a number", lambda: 3, words=("images",)),
        Given("dict", lambda: {"images": PIXELS}, words=("images",)),
        Given("generator", lambda: (image for image in PIXELS), words=("images",)),
        Given("dask array", lambda: dask.array.from_array(PIXELS), words=("dask",), either=True),
        Given("meta tensor", lambda: torch.empty(1, 3, 32, 32, device="meta"), words=("meta",)),
        Given("sparse tensor", lambda: torch.tensor(REFLECTANCE).to_sparse(), words=("to_dense",)),
        Given("complex tensor", lambda: torch.tensor(REFLECTANCE) + 1j, words=("complex",)),
        Given("GeoTIFF without a place", lambda: tiff("a0.tif", transform=None), **first),
        Given("a GeoTIFF", lambda: tiff("a.tif"), **first),
        Given("GeoTIFF as text", lambda: str(tiff("a.tif")), **first),
        Given("Series of GeoTIFFs", lambda: pd.Series([str(tiff("a.tif"))]), **first),
        Given("polars column of GeoTIFFs", lambda: pl.Series([str(tiff("a.tif"))]), **first),
        Given("array of GeoTIFFs", lambda: np.array([str(tiff("a.tif"))]), **first),
        Given("uint8 GeoTIFF, tiled, BigTIFF", lambda: tiff("b.tif", PIXELS[0], tiled=True,
              blockxsize=16, blockysize=16, bigtiff="YES", compress="deflate"), **first),
        Given("GeoTIFF, nodata 0", lambda: tiff("c.tif", nodata=0), **first),
        Given("GeoTIFF, nodata elsewhere", lambda: tiff("d.tif", nodata=-9999), **first),
        Given("GeoTIFF, nodata pixels", lambda: tiff("e.tif", with_pixel(-9999)[1], nodata=-9999),
              words=("without data", "e.tif")),
        Given("GeoTIFF, NaN pixels", lambda: tiff("f.tif", with_pixel(np.nan)[1], nodata=np.nan),
              words=("NaN",)),
        Given("GeoTIFF, pixels of 1e20", lambda: tiff("g.tif", with_pixel(1e20)[1]),
              words=("1e+20",)),
        Given("GeoTIFF, half of it masked", lambda: tiff("h.tif", mask=half_masked()),
              words=("without data", "h.tif")),
        Given("GeoTIFF with scales and offsets", lambda: tiff("i.tif", PIXELS[0], update={
              "scales": (0.01,) * 3, "offsets": (5.0,) * 3}), words=("scale",)),
        Given("complex GeoTIFF", lambda: tiff("j.tif", REFLECTANCE[0].astype(np.complex64)),
              words=("complex",)),
        Given("GeoTIFF of four bands", lambda: tiff("k.tif", np.zeros((4, 32, 32), np.uint8)),
              words=("3 bands", "with 4")),
        Given("sparse GeoTIFF of 60,000 pixels a side", lambda: sparse_tiff(folder / "l.tif"),
              words=("l.tif", "MiB")),
        Given("cut GeoTIFF", lambda: write_bytes(folder / "m.tif",
              tiff("a.tif").read_bytes()[:900]), words=("m.tif",)),
        Given("GeoTIFF whose directory lies beyond its end", lambda: write_bytes(
              folder / "n.tif", b"II*\0\xff\xff\xff\x7f"), words=("n.tif",)),
        Given("GeoTIFF whose directory is itself", lambda: write_bytes(
              folder / "n2.tif", b"II*\0\x08\0\0\0\0\0\x08\0\0\0"), words=("n2.tif",)),
        Given("empty .tif", lambda: write_bytes(folder / "o.tif", b""), words=("o.tif",)),
        Given("text as .tif", lambda: write_bytes(folder / "p.tif", b"hello"), words=("p.tif",)),
        Given("VRT as .tif", lambda: write_vrt(folder / "q.tif", tiff("a.tif")),
              words=("q.tif", "no GeoTIFF")),
        Given("VRT that asks the network", lambda: write_vrt(folder / "r.tif",
              f"/vsicurl/{url}/x.tif"), words=("r.tif", "no GeoTIFF")),
        Given("overviews that ask the network", lambda: with_sidecar(folder / "s.tif", ".ovr",
              lambda path: write_vrt(path, f"/vsicurl/{url}/x.tif")), **first),
        Given("mask that asks the network", lambda: with_sidecar(folder / "t.tif", ".msk",
              lambda path: write_vrt(path, f"/vsicurl/{url}/x.tif")),
              words=(), either=True, **first),
        Given("metadata beside it", lambda: with_sidecar(folder / "u.tif", ".aux.xml",
              lambda path: write_bytes(path, pam.format("y").encode())), **first),
        Given("an address", lambda: f"{url}/x.tif", words=("address",)),
        Given("/vsicurl/", lambda: f"/vsicurl/{url}/x.tif", words=("address",)),
        Given("//vsicurl/", lambda: f"//vsicurl/{url}/x.tif", words=("x.tif",)),
        Given("zip+https", lambda: "zip+https://127.0.0.1/x.zip!x.tif", words=("address",)),
        Given("subdataset", lambda: f"GTIFF_DIR:1:{tiff('a.tif')}", words=("GTIFF_DIR",)),
        Given("VRT in the name", lambda: f"<VRTDataset>{url}</VRTDataset>", words=("VRTDataset",)),
        Given("no such file", lambda: folder / "none.tif", words=("none.tif",)),
        Given("folder", lambda: folder, words=("cannot be read",)),
        Given("a null in the name", lambda: "a\0.tif", words=("null",)),
        Given("a long name", lambda: "a" * 5000 + ".tif", words=("image",)),
        Given("an empty name", lambda: "", words=("image",)),
        Given("bytes as name", lambda: [bytes(tiff("a.tif"))], words=("images",)),
        Given("paths and images", lambda: [tiff("a.tif"), PIXELS[0]], words=("path",)),
        Given("paths and None", lambda: [tiff("a.tif"), None], words=("images",)),
    ]  # fmt: skip


@lru_cache(maxsize=1)
def image_encoder():
    return SatCLIPImageEncoder("bluemarble-l10").fit()


class Tower(torch.nn.Module):
    """A vision tower whose output is whatever the case wants."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, images):
        return self.output(images)


def image_cases(folder, url):
    for given in image_inputs(folder, url):
        images = REFLECTANCE if given.places is None else given.places
        yield Case(
            given.name,
            lambda given=given: image_encoder().transform(quietly(given.make)),
            partial(image_encoder().transform, images)
            if given.words is None or given.either
            else None,
            given.words,
            tolerance=given.tolerance,
        )
    for name, output, words in (
        ("of NaN", lambda x: x.mean((2, 3)) * torch.nan, ("NaN",)),
        ("of infinity", lambda x: x.mean((2, 3)) + torch.inf, ("infinit",)),
        ("of maps", lambda x: x, ("(n, d)",)),
        ("of a number", lambda x: x.mean(), ("(n, d)",)),
        ("of a tuple", lambda x: (x.mean((2, 3)),), ("(n, d)",)),
        ("of None", lambda x: None, ("(n, d)",)),
        ("of one row", lambda x: x.mean((2, 3))[:1], ("rows",)),
        ("of complex numbers", lambda x: x.mean((2, 3)) + 1j, ("complex",)),
        ("of integers", lambda x: x.mean((2, 3)).mul(9).int(), None),
        ("that fails", lambda x: x @ torch.zeros(7, 7), ("Tower",)),
    ):
        right = None if words else lambda: np.trunc(REFLECTANCE.mean((2, 3)) * 9)
        yield Case(
            f"tower {name}",
            lambda output=output: SatCLIPImageEncoder(Tower(output)).fit().transform(REFLECTANCE),
            right,
            words,
        )
    thirteen = SmallConvNet(13, 8, (4,))
    bands = np.random.RandomState(0).rand(2, 12, 16, 16).astype(np.float32)
    full = np.insert(bands, 10, 0, axis=1)
    encode = SatCLIPImageEncoder(thirteen).fit().transform
    yield Case("12 bands for 13", lambda: encode(bands), lambda: encode(full))
    yield Case(
        "floats that are digital numbers",
        lambda: encode(full * 10_000),
        lambda: encode(full * 10_000),
        warns="digital numbers",
    )
    training = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Dropout(0.9), torch.nn.Linear(3072, 4)
    )
    yield Case(
        "tower left in training mode",
        lambda: SatCLIPImageEncoder(training.train()).fit().transform(REFLECTANCE),
        lambda: copy.deepcopy(training).eval()(torch.tensor(REFLECTANCE)).detach().numpy(),
    )


@cache
def geolocator(model="bluemarble-l10"):
    return ImageGeolocator(model, n_candidates=500).fit()


def geolocator_cases(folder):
    def places_of(make):
        return lambda: ImageGeolocator().fit(quietly(make)).candidates_

    for given in [
        *ARRAYS[:6],
        *(g for g in ARRAYS if g.words and ("mask" in g.name or "bool" in g.name)),
        *PANDAS[:10],
        *(g for g in TABLES if not g.options)][::2]:  # fmt: skip
        places = PLACES if given.places is None else given.places
        right = None if given.words and not given.either else (lambda places=places: places)
        yield Case(f"candidates: {given.name}", places_of(given.make), right, given.words)
    dask_frame = partial(
        dask.dataframe.from_pandas, pd.DataFrame({"lon": LON, "lat": LAT}), npartitions=1
    )
    yield Case("candidates: dask", places_of(dask_frame), words=("dask", "compute"))
    for k in (0, 501, -1, 2.5, "3", None, np.nan):
        yield Case(f"k={k!r}", lambda k=k: geolocator().predict_top_k(PIXELS, k), words=("k must",))
    for name, images, coords, words in (
        ("lengths that differ", PIXELS, PLACES[:2], ("3 images", "2 coordinates")),
        ("truth of booleans", PIXELS, PLACES > 3, ("booleans",)),
        ("truth with NaN", PIXELS, with_value(np.nan, float), ("NaN",)),
        ("truth masked", PIXELS, np.ma.masked_equal(PLACES, 1.75), ("NaN",)),
    ):
        yield Case(
            f"score: {name}",
            lambda images=images, coords=coords: geolocator().score(images, coords),
            words=words,
        )
    swapped_truth = swapped(["lat", "lon"])
    yield Case(
        "score: latitude first",
        lambda: geolocator().score(PIXELS, swapped_truth),
        lambda: geolocator().score(PIXELS, PLACES),
    )
    for model, words in (
        (Ridge(), ("Ridge", "two towers")),
        (Ridge, ("model",)),
        (None, ("model",)),
        (torch.nn.Linear(2, 2), ("two-tower",)),
        (LocationEncoder(4, 8, 8), ("two-tower",)),
        (SatCLIPEncoder("bluemarble-l10"), ("two towers",)),
    ):
        yield Case(
            f"model={model!r:.40}", lambda model=model: ImageGeolocator(model).fit(), words=words
        )
    for name, value, words in (
        ("NaN", np.nan, ("logit_scale", "NaN")),
        ("infinite", np.inf, ("logit_scale", "infinite")),
        ("800, which makes the temperature zero", 800.0, ("logit_scale",)),
        ("120, which makes it zero in single precision", 120.0, ("logit_scale",)),
        ("-800, which makes it infinite", -800.0, ("logit_scale",)),
        ("two numbers", [1.0, 2.0], ("logit_scale",)),
        ("missing", None, ("logit_scale",)),
    ):
        yield Case(
            f"logit_scale {name}",
            partial(geolocate_with, folder, value),
            words=words,
            kinds=BAD_FILE,
        )


def geolocate_with(folder, scale):
    """Copy the bundled two towers with another temperature, and place three images."""
    source = WEIGHTS_FOLDER / "bluemarble-l10"
    target = folder / f"towers-{time.perf_counter_ns()}"
    target.mkdir()
    weights = load_file(source / "model.safetensors")
    weights.pop("logit_scale")
    if scale is not None:
        weights["logit_scale"] = torch.tensor(scale)
    save_file(weights, target / "model.safetensors")
    (target / "config.json").write_bytes((source / "config.json").read_bytes())
    return ImageGeolocator(target, n_candidates=50).fit().predict(PIXELS)


# --- model files


def small_model(folder):
    """A folder with a location encoder of two dozen numbers, and its features of PLACES."""
    torch.manual_seed(0)
    encoder = SatCLIPEncoder(LocationEncoder(4, 5, 6)).fit()
    encoder.save_pretrained(folder / "small")
    return folder / "small", encoder.transform(PLACES)


def changed_config(source, target, changes):
    config = json.loads((source / "config.json").read_text())
    for path, value in changes.items():
        *parents, last = path.split(".")
        entry = config
        for parent in parents:
            entry = entry[parent]
        entry[last] = value
    return written_folder(source, target, json.dumps(config).encode())


def written_folder(source, target, config=None, weights=None):
    target.mkdir()
    config = (source / "config.json").read_bytes() if config is None else config
    weights = (source / "model.safetensors").read_bytes() if weights is None else weights
    (target / "config.json").write_bytes(config)
    (target / "model.safetensors").write_bytes(weights)
    return target


def changed_weights(source, target, change):
    weights = load_file(source / "model.safetensors")
    change(weights)
    target = written_folder(source, target)
    save_file(weights, target / "model.safetensors")
    return target


BAD_CONFIG = [  # what the description says, against tensors that say otherwise
    *(({"location.num_hidden_layers": v}) for v in
      (1_000_000, 10**400, -1, 0, 1, "2", 2.5, None, True, [2], {}, float("inf"), float("nan"))),
    *(({"location.legendre_polys": v}) for v in
      (5, 0, -4, 10**9, 10**400, "4", None, 4.5, True, [4], {}, float("nan"))),
    *(({"location.embed_dim": v}) for v in (10**12, 0, -5, "5", None, 5.5, [5])),
    *(({"location.hidden_dim": v}) for v in (10**12, 0, "6", None)),
    *(({"location.network": v}) for v in ("mlp", "linear", "nope", 5, None, ["siren"], {})),
    *(({"location.harmonics_calculation": v}) for v in ("nope", 5, None, ["analytic"])),
    *(({"location.harmonics": v}) for v in ("nope", 5, None, ["exact"], {})),
    *(({"location.positional_encoding": v}) for v in ("nope", "wrap", "grid", 5, None, [])),
    *(({"location.hidden_scale": v}) for v in
      (float("nan"), float("inf"), 1e39, None, [1.0])),
    {"location.unknown": 1}, {"location.self": 1},
    {"location": None}, {"location": []}, {"location": "x"}, {"location": {}},
    *(({"default_layer": v}) for v in ("x", 5, None, [], {}, "auto")),
    *(({"format_version": v}) for v in ("1", 2, 10**400, None, 1.5, [], float("nan"))),
    *(({"library": v}) for v in ("other", None, 5)),
    *(({key: v}) for key in ("name", "licence", "trained_on") for v in (5, {}, [])),
    {"image": 5}, {"image": "x"}, {"image": [1]},
]  # fmt: skip

GOOD_CONFIG = [  # nothing that changes a number: right, or refused
    {"training": {"x": float("nan")}}, {"unknown": 1}, {"format_version": True},
    {"format_version": 0}, {"format_version": -1}, {"name": "../../etc/passwd"}, {"name": ""},
    *(({"location.dropout": v}) for v in ("x", 5.0, float("nan"))),
    *(({"location.hidden_scale": v}) for v in (0.0, "1", True)), {"location.n_frequencies": "x"},
    {"location.dropout": 0.9}, {"location.spectral_decay": 3.0}, {"licence": "x" * 10_000},
]  # fmt: skip

BAD_CONFIG_BYTES = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "a number": b"5",
    "null": b"null",
    "a long number": b'{"format_version": ' + b"1" * 5000 + b"}",
    "nested": b"[" * 200_000,
    "nested rightly": b'{"location": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "UTF-16": '{"library": "skgeo_embed"}'.encode("utf-16"),
    "no UTF-8": b'{"library": "\xff"}',
    "binary": bytes(range(256)),
    "huge": b" " * 2**21,
}


def fill(value, key=None, dtype=None):
    def change(weights):
        name = key or next(iter(weights))
        tensor = weights[name].to(dtype) if dtype else weights[name].clone()
        tensor.view(-1)[0] = value
        weights[name] = tensor

    return change


def replace(make, only=None):
    """Replace all tensors, or those whose name contains `only`."""

    def change(weights):
        for key, value in list(weights.items()):
            if only is None or only in key:
                weights[key] = make(value).contiguous()

    return change


BAD_WEIGHTS = {
    "NaN": fill(np.nan),
    "infinity": fill(np.inf),
    "-infinity": fill(-np.inf),
    "1e300 in double precision": lambda w: replace(
        lambda t: torch.full(t.shape, 1e300, dtype=torch.double)
    )(w),
    "3e38": replace(lambda t: torch.full_like(t, 3e38)),
    "a missing tensor": lambda w: w.pop("location.nnet.last_layer.bias"),
    "no last layer": lambda w: w.pop("location.nnet.last_layer.weight"),
    "a tensor too many": lambda w: w.update({"location.more": torch.zeros(2)}),
    "a layer too many": lambda w: w.update({"location.nnet.layers.7.weight": torch.zeros(6, 6)}),
    "transposed": replace(lambda t: t.T if t.ndim == 2 else t),
    "no dimension": replace(lambda t: t.sum()),
    "no first dimension": replace(lambda t: t.sum(), "layers.0.weight"),
    "no row": replace(lambda t: t[:0]),
    "three dimensions": replace(lambda t: t[None]),
    "integers": replace(lambda t: t.mul(9).int()),
    "bytes": replace(lambda t: t.mul(9).byte()),
    "booleans": replace(lambda t: t > 0),
    "complex": replace(lambda t: t + 1j),
    "another prefix": lambda w: [w.update({f"x.{key}": w.pop(key)}) for key in list(w)],
    "nothing": lambda w: w.clear(),
}

GOOD_WEIGHTS = {
    "float64": replace(lambda t: t.double()),
    "one tensor float64": replace(lambda t: t.double(), "last_layer"),
    "float8": replace(lambda t: t.to(torch.float8_e4m3fn)),
    "an image tower besides": lambda w: w.update({"image.x": torch.zeros(2)}),
}


def encode_with(make):
    return SatCLIPEncoder(quietly(make)).fit().transform(PLACES)


def numbered(prefix):
    return f"{prefix}-{time.perf_counter_ns()}"


def folder_cases(folder):
    small, right = small_model(folder)
    yield Case("the folder as it is", partial(encode_with, lambda: small), lambda: right)
    for kind, changes_list in (("refused", BAD_CONFIG), ("good", GOOD_CONFIG)):
        for changes in changes_list:
            target = folder / numbered("config")
            yield Case(
                f"config {str(changes)[:70]}",
                partial(encode_with, partial(changed_config, small, target, changes)),
                None if kind == "refused" else lambda: right,
                (target.name,),
                BAD_FILE,
            )
    for name, content in BAD_CONFIG_BYTES.items():
        target = folder / numbered("config")
        yield Case(
            f"config {name}",
            partial(encode_with, partial(written_folder, small, target, content)),
            None,
            (target.name, "config.json"),
            BAD_FILE,
        )
    for good, changes in ((False, BAD_WEIGHTS), (True, GOOD_WEIGHTS)):
        for name, change in changes.items():
            target = folder / numbered("weights")
            yield Case(
                f"weights: {name}",
                partial(encode_with, partial(changed_weights, small, target, change)),
                (lambda: right) if good else None,
                (target.name,),
                BAD_FILE,
                tolerance=1e-5,
            )
    whole = (small / "model.safetensors").read_bytes()
    for name, content in {
        "empty": b"",
        "cut in the header": whole[:20],
        "cut": whole[:-10],
        "header longer than the file": b"\xff" * 8 + whole[8:],
        "header no JSON": whole[:8] + b"x" * (len(whole) - 8),
        "text": b"hello",
        "too long": whole + b"\0" * 10,
        "a pickle": pickle.dumps({"x": 1}),
    }.items():
        target = folder / numbered("bytes")
        yield Case(
            f"model.safetensors {name}",
            partial(encode_with, partial(written_folder, small, target, None, content)),
            None,
            (target.name, "model.safetensors"),
            BAD_FILE,
        )


MODEL_NAMES = [
    "../../etc/passwd", "/etc/passwd", "", ".", "/", "~", "..", "/dev/null", "bluemarble",
    "Bluemarble-L10", " bluemarble-l10", "bluemarble-l10/", "bluemarble-l10\n", "a\0b", "a" * 5000,
    "a/" + "b" * 5000, "https://huggingface.co/microsoft/SatCLIP-ViT16-L40", "file:///etc/passwd",
    "nobody/nothing", "a/b/c", "microsoft/SatCLIP-ViT16-L50", "\udcff", "hf://nobody/nothing",
]  # fmt: skip


class Payload:
    """Writes to a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def checkpoint(**changes):
    """What the original's code writes, small."""
    torch.manual_seed(0)
    module = LocationEncoder(4, 5, 6).eval()
    state = {f"model.location.{key}": value for key, value in module.state_dict().items()}
    hyper = {"le_type": "sphericalharmonics", "legendre_polys": 4, "embed_dim": 5}
    return {"state_dict": state, "hyper_parameters": hyper, **changes}


def state_with(change):
    content = checkpoint()
    change(content["state_dict"])
    return content


FIRST = "model.location.nnet.layers.0.weight"
BAD_CHECKPOINTS = {
    "integer keys": lambda: checkpoint(state_dict={1: torch.zeros(2)}),
    "keys None": lambda: checkpoint(state_dict={None: torch.zeros(2)}),
    "integer keys beside right ones": lambda: state_with(lambda s: s.update({1: torch.ones(1)})),
    "no tensors": lambda: checkpoint(state_dict={FIRST: "x"}),
    "nested": lambda: checkpoint(state_dict={"model": {"location": {}}}),
    "a list": lambda: [1, 2],
    "a tensor": lambda: torch.zeros(3),
    "state_dict a list": lambda: checkpoint(state_dict=[1]),
    "no state_dict": lambda: {"x": 1},
    "no dimension": lambda: state_with(lambda s: s.update({FIRST: torch.tensor(1.0)})),
    "one dimension": lambda: state_with(lambda s: s.update({FIRST: torch.zeros(16)})),
    "no square": lambda: state_with(lambda s: s.update({FIRST: torch.zeros(6, 15)})),
    "no column": lambda: state_with(lambda s: s.update({FIRST: torch.zeros(6, 0)})),
    "NaN": lambda: state_with(lambda s: s.update({FIRST: torch.full((6, 16), np.nan)})),
    "sparse": lambda: state_with(lambda s: s.update({FIRST: s[FIRST].to_sparse()})),
    "4 TB of one number": lambda: state_with(
        lambda s: s.update({FIRST: torch.zeros(1).expand(2**20, 2**20)})
    ),
    "complex": lambda: state_with(lambda s: s.update({FIRST: s[FIRST] + 1j})),
    "integers": lambda: state_with(lambda s: s.update({FIRST: s[FIRST].int()})),
    "hyper_parameters a list": lambda: checkpoint(hyper_parameters=[1]),
    "hyper_parameters a text": lambda: checkpoint(hyper_parameters="x"),
    "hyper_parameters disagree": lambda: checkpoint(hyper_parameters={"legendre_polys": 5}),
    "le_type unknown": lambda: checkpoint(hyper_parameters={"le_type": "nope"}),
    "le_type a number": lambda: checkpoint(hyper_parameters={"le_type": 5}),
    "le_type None": lambda: checkpoint(hyper_parameters={"le_type": None}),
    "harmonics unknown": lambda: checkpoint(hyper_parameters={"harmonics_calculation": "x"}),
    "harmonics a list": lambda: checkpoint(hyper_parameters={"harmonics_calculation": [1]}),
    "min_radius 0": lambda: checkpoint(hyper_parameters={"le_type": "grid", "min_radius": 0}),
}


def torch_file(path, make):
    torch.save(make(), path)
    return path


def damaged_zip(path, make, change):
    torch_file(path, make)
    return write_bytes(path, change(path.read_bytes()))


def other_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/hello.txt", "hello")
    return path


def flipped(content, first, step=1):
    damaged = bytearray(content)
    for position in range(first, len(damaged), step):
        damaged[position] ^= 0xFF
    return bytes(damaged)


def bad_file_makers():
    """Files that are no checkpoint, for every encoder that opens one."""
    return {
        "empty": lambda path: write_bytes(path, b""),
        "text": lambda path: write_bytes(path, b"hello"),
        "web page": lambda path: write_bytes(path, b"<!DOCTYPE html><html></html>"),
        "git-lfs pointer": lambda path: write_bytes(path, b"version https://git-lfs.github.com/x"),
        "numpy file": lambda path: write_bytes(path, b"\x93NUMPY\x01\0v\0"),
        "HDF5": lambda path: write_bytes(path, b"\x89HDF\r\n\x1a\n" + b"\0" * 100),
        "pickle": lambda path: write_bytes(path, pickle.dumps({"state_dict": {}})),
        "pickle protocol 0": lambda path: write_bytes(path, pickle.dumps([1, 2], 0)),
        "pickle cut": lambda path: write_bytes(path, pickle.dumps(list(range(99)))[:20]),
        "another zip": other_zip,
        "zip cut": lambda path: damaged_zip(path, checkpoint, lambda c: c[: len(c) // 2]),
        "zip cut at its end": lambda path: damaged_zip(path, checkpoint, lambda c: c[:-5]),
        "zip with bits turned": lambda path: damaged_zip(
            path, checkpoint, lambda c: flipped(c, 60, 97)
        ),
        "zip with its directory turned": lambda path: damaged_zip(
            path, checkpoint, lambda c: flipped(c, len(c) - 60)
        ),
        "half a zip after text": lambda path: write_bytes(
            path, b"x" * 50 + b"PK\x05\x06" + b"\0" * 18
        ),
    }  # fmt: skip


def file_cases(folder):
    for name, make in bad_file_makers().items():
        for encoder, suffix in (
            (SatCLIPEncoder, ".ckpt"), (SatCLIPImageEncoder, ".ckpt"), (CSPEncoder, ".pth.tar"),
            (GeoCLIPEncoder, ".pth"),
        ):  # fmt: skip
            path = folder / (numbered("file") + suffix)
            yield Case(
                f"{encoder.__name__}, {name}",
                lambda encoder=encoder, make=make, path=path: encoder(make(path)).fit(),
                None,
                (path.name,),
                BAD_FILE,
            )
    path = folder / numbered("good.ckpt")
    yield Case(
        "a small checkpoint",
        partial(encode_with, partial(torch_file, path, checkpoint)),
        lambda: SatCLIPEncoder(folder / "small").fit_transform(PLACES),
    )
    for name, make in BAD_CHECKPOINTS.items():
        path = folder / (numbered("bad") + ".ckpt")
        yield Case(
            f"checkpoint, {name}",
            partial(encode_with, partial(torch_file, path, make)),
            None,
            (path.name,),
            BAD_FILE,
        )
    for encoder in (SatCLIPEncoder, SatCLIPImageEncoder, CSPEncoder, GeoCLIPEncoder):
        path, mark = folder / numbered("code.ckpt"), folder / numbered("ran")
        yield Case(
            f"{encoder.__name__}, code in a pickle",
            partial(run_payload, encoder, path, mark),
            None,
            (path.name,),
            BAD_FILE,
        )
    renamed = folder / "satclip-vit16-l40.ckpt"
    yield Case(
        "a checkpoint named like a published one",
        partial(encode_with, partial(torch_file, renamed, checkpoint)),
        None,
        ("named like",),
        BAD_FILE,
    )


def run_payload(encoder, path, mark):
    torch.save({"state_dict": Payload(mark), "params": Payload(mark)}, path)
    try:
        return encoder(path).fit()
    finally:
        if mark.exists():
            raise SystemError("the pickle's code ran")


def name_cases():
    for encoder in (SatCLIPEncoder, GeoCLIPEncoder, CSPEncoder, GPS2VecEncoder, ClimplicitEncoder,
                    SINREncoder, TTEEncoder, MINDEncoder, RANGEEncoder):  # fmt: skip
        for name in MODEL_NAMES:
            fit = partial(lambda encoder, name: encoder(name).fit(), encoder, name)
            shown = repr(name)[:40]
            said = (
                name.rpartition("/")[2].strip()[:10] if name.isprintable() and name != "~" else ""
            )
            yield Case(f"{encoder.__name__}({shown})", fit, None, (said,), BAD_FILE)
        for model in (5, b"bluemarble-l10", [], {}, object, LocationEncoder, Ridge(), np.zeros(3),
                      torch.nn.Linear(2, 4)):  # fmt: skip
            yield Case(
                f"{encoder.__name__}({model!r:.40})",
                lambda encoder=encoder, model=model: encoder(model).fit(),
                words=("database" if encoder is RANGEEncoder else "model",),
            )


def geoclip_weights(**changes):
    shapes = {"capsule.0.b": (6, 2), "head.0.weight": (7, 10), "head.0.bias": (7,)}
    for layer, width in ((1, 12), (3, 10), (5, 10)):
        shapes[f"capsule.{layer}.weight"], shapes[f"capsule.{layer}.bias"] = (10, width), (10,)
    state = {f"LocEnc{i}.{key}": torch.full(shape, 0.1) for i in range(3)
             for key, shape in shapes.items()}  # fmt: skip
    return {key: value for key, value in {**state, **changes}.items() if value is not None}


B0, HEAD = "LocEnc0.capsule.0.b", "LocEnc0.head.0.weight"
BAD_GEOCLIP = {
    "NaN": {B0: torch.full((6, 2), np.nan)},
    "infinity": {HEAD: torch.full((7, 10), np.inf)},
    "1e300": {HEAD: torch.full((7, 10), 1e300, dtype=torch.double)},
    "no dimension": {HEAD: torch.tensor(1.0)},
    "no dimension in the frequencies": {B0: torch.tensor(1.0)},
    "frequencies of three": {B0: torch.zeros(6, 3)},
    "no frequencies": {B0: torch.zeros(0, 2)},
    "missing": {B0: None},
    "another shape": {"LocEnc1.capsule.1.weight": torch.zeros(10, 13)},
    "another head": {"LocEnc1.head.0.weight": torch.zeros(8, 10)},
    "texts": {HEAD: "x"},
    "integers": {HEAD: torch.ones(7, 10, dtype=torch.int)},
    "complex": {HEAD: torch.ones(7, 10) + 1j},
    "sparse": {HEAD: torch.ones(7, 10).to_sparse()},
    "another key": {"x": torch.zeros(2)},
    "one capsule more by name": {"LocEnc7.x": torch.zeros(2)},
    "an integer key": {5: torch.zeros(2)},
}

BAD_CSP = {  # of params
    "frequency_num": ("16", 17, 0, -1, 16.5, None, [], 10**9),
    "min_radius": (0, -1, np.nan, np.inf, "1", None, 1e-320),
    "max_radius": (0, -1, np.nan, np.inf, "360", None, []),
    "spa_f_act": ("nope", 5, None, []),
    "spa_enc_type": ("rbf", 5, None, []),
    "freq_init": ("random", 5, None, []),
}


def csp_file(path, params=None, change=None):
    content = torch.load(SPACE2VEC, map_location="cpu", weights_only=True)
    content["params"].update(params or {})
    if change:
        change(content["state_dict"])
    torch.save(content, path)
    return path


def first_csp(make):
    def change(state):
        key = next(key for key in state if key.endswith("ffn.layers.0.linear.weight"))
        state[key] = make(state[key])

    return change


def baseline_file_cases(folder):
    for name, changes in BAD_GEOCLIP.items():
        path = folder / (numbered("geoclip") + ".pth")
        yield Case(
            f"GeoCLIP, {name}",
            lambda path=path, changes=changes: GeoCLIPEncoder(
                torch_file(path, lambda: {**geoclip_weights(**{k: v for k, v in changes.items()
                if isinstance(k, str)}), **{k: v for k, v in changes.items() if k == 5}})
            ).fit_transform(PLACES),
            None,
            (path.name,),
            BAD_FILE,
        )  # fmt: skip
    for name, config in {
        "another type": b'{"model_type": "x"}', "a list": b"[]", "a text": b'"x"', "no JSON": b"{",
        "nested": b"[" * 100_000, "empty": b"",
    }.items():  # fmt: skip
        target = folder / numbered("geoclip")
        yield Case(
            f"GeoCLIP, config {name}",
            lambda target=target, config=config: GeoCLIPEncoder(
                written_folder(folder / "small", target, config)
            ).fit(),
            None,
            (target.name,),
            BAD_FILE,
        )
    for key, values in BAD_CSP.items():
        for value in values:
            path = folder / numbered("csp.pth.tar")
            yield Case(
                f"CSP, {key}={value!r}",
                lambda path=path, key=key, value=value: CSPEncoder(
                    csp_file(path, {key: value})
                ).fit_transform(PLACES),
                None,
                (path.name,),
                BAD_FILE,
            )
    for name, make in {
        "NaN": lambda t: t * np.nan, "no dimension": lambda t: t.sum(),
        "transposed": lambda t: t.T.contiguous(), "three dimensions": lambda t: t[None],
        "text": lambda t: "x", "None": lambda t: None, "complex": lambda t: t + 1j,
        "1e300": lambda t: torch.full(t.shape, 1e300, dtype=torch.double),
    }.items():  # fmt: skip
        path = folder / numbered("csp.pth.tar")
        yield Case(
            f"CSP, first layer {name}",
            lambda path=path, make=make: CSPEncoder(
                csp_file(path, change=first_csp(make))
            ).fit_transform(PLACES),
            None,
            (path.name,),
            BAD_FILE,
        )
    for name, change in BAD_ZONES.items():
        target = folder / numbered("zones")
        yield Case(
            f"GPS2Vec, {name}",
            lambda target=target, change=change: GPS2VecEncoder(
                bad_zone(target, change)
            ).fit_transform(PLACES),
            None,
            ("model_31 N.h5",),
            BAD_FILE,
        )


# --- other authors' encoders

TAXABIND = json.dumps({"sigma": [1, 16, 256], "encoded_size": 12})


def taxabind_weights():
    return third_party_recipe.weights({key: tuple(t.shape) for key, t in geoclip_weights().items()})


OTHERS = {  # the class, small weights in its layout, and what it is made with
    "ClimplicitEncoder": (
        ClimplicitEncoder, lambda: third_party_recipe.climplicit(32, 16, 4), {"month": 7},
    ),
    "SINREncoder": (SINREncoder, lambda: third_party_recipe.sinr(32), {}),
    "TTEEncoder": (TTEEncoder, lambda: third_party_recipe.tte(64, 16, 32, 8), {}),
    "MINDEncoder": (MINDEncoder, lambda: third_party_recipe.mind(48, 3, 24), {}),
    "GeoCLIPEncoder of TaxaBind": (GeoCLIPEncoder, taxabind_weights, {}),
}  # fmt: skip


def looks():
    """A location encoder of a model of two towers, for RANGE."""
    return SatCLIPEncoder("bluemarble-l10", layer="embedding", dtype="float64")


BAD_TENSORS = {  # what becomes of the first weight of a file, by name
    "NaN": lambda t: t * np.nan,
    "infinity": lambda t: t * np.inf,
    "1e300": lambda t: torch.full(t.shape, 1e300, dtype=torch.double),
    "no dimension": lambda t: t.sum(),
    "one dimension": lambda t: t.flatten(),
    "three dimensions": lambda t: t[None],
    "transposed": lambda t: t.T.contiguous(),
    "one row less": lambda t: t[1:],
    "one column more": lambda t: torch.cat([t, t[:, :1]], dim=1),
    "no rows": lambda t: t[:0],
    "complex": lambda t: t + 1j,
    "integers": lambda t: t.int(),
    "booleans": lambda t: t > 0,
    "sparse": lambda t: t.to_sparse(),
    "text": lambda t: "x",
    "None": lambda t: None,
    "4 TB of one number": lambda t: torch.zeros(1).expand(2**20, 2**20),
}
FIRST_OF = {
    "ClimplicitEncoder": "location_encoder.layers.0.weight",
    "SINREncoder": "feats.0.weight",
    "TTEEncoder": "location._directions",
    "MINDEncoder": "first.linear.weight",
    "GeoCLIPEncoder of TaxaBind": "LocEnc0.capsule.0.b",
}


def other_file_cases(folder):
    for name, (encoder, weights, more) in OTHERS.items():
        first = FIRST_OF[name]

        def opened(path, encoder=encoder, more=more):
            return encoder(path, **more).fit_transform(PLACES)

        def changed(path, change, weights=weights, opened=opened):
            content = dict(weights())
            change(content)
            torch.save(content, path)
            return opened(path)

        def at_first(make, first=first):
            return lambda content: content.update({first: make(content[first])})

        for suffix, save in ((".pth", torch.save), (".safetensors", save_file)):
            path = folder / (numbered("good") + suffix)
            yield Case(
                f"{name}, the file as it is, {suffix}",
                lambda path=path, save=save, weights=weights, opened=opened: (
                    save(weights(), path), opened(path)
                )[1],
                partial(features_of, name, PLACES),
            )  # fmt: skip
        changes = {f"first weight {what}": at_first(make) for what, make in BAD_TENSORS.items()}
        changes |= {
            "first weight missing": lambda content, first=first: content.pop(first),
            "no tensors": lambda content: content.clear(),
            "a tensor more": lambda content, first=first: content.update(
                {f"{first.rpartition('.')[0]}.x": torch.zeros(2)}
            ),
            "an integer key": lambda content: content.update({5: torch.zeros(2)}),
            "keys of another model": lambda content: [
                content.update({f"x.{key}": content.pop(key)}) for key in list(content)
            ],
            "the last bias of another length": lambda content: content.update(
                {last_bias(content): torch.zeros(3)}
            ),
        }
        for what, change in changes.items():
            path = folder / (numbered("other") + ".pth")
            yield Case(
                f"{name}, {what}",
                partial(changed, path, change),
                None,
                (path.name,),
                BAD_FILE,
            )
        for what, make in bad_file_makers().items():
            for suffix in (".pth", ".safetensors"):
                path = folder / (numbered("file") + suffix)
                yield Case(
                    f"{name}, {what}, {suffix}",
                    lambda path=path, make=make, opened=opened: opened(make(path)),
                    None,
                    (path.name,),
                    BAD_FILE,
                )
        path, mark = folder / numbered("code.pth"), folder / numbered("ran")
        yield Case(
            f"{name}, code in a pickle",
            partial(run_payload, encoder, path, mark),
            None,
            (path.name,),
            BAD_FILE,
        )
        target = folder / numbered("folder")
        yield Case(
            f"{name}, an empty folder",
            lambda target=target, opened=opened: (target.mkdir(), opened(target))[1],
            None,
            (target.name,),
            BAD_FILE,
        )
    yield from year_cases(folder)


def last_bias(content):
    return [key for key in content if key.endswith("bias") and "chelsa" not in key
            and "img_to" not in key][-1]  # fmt: skip


def year_cases(folder):
    """MIND's networks with a year, of which none is released."""
    path = folder / (numbered("years") + ".safetensors")

    def encoder(year):
        save_file(third_party_recipe.mind(16, 2, 10, year=True), path)
        return MINDEncoder(path, year=year)

    yield Case(
        "MIND with a year, none given",
        lambda: encoder(None).fit(),
        words=("year",),
    )
    yield Case(
        "MIND with a year, a column of the one year",
        lambda: encoder("year").fit_transform(np.column_stack([PLACES, [2020] * 3])),
        lambda: encoder(2020).fit_transform(PLACES),
    )
    for year in (1899, 2101, np.nan, 20.2, "2020"):
        yield Case(
            f"MIND with a year, {year!r}",
            lambda year=year: encoder(year).fit_transform(PLACES),
            words=("year",) if year != "2020" else ("2020",),
        )
    yield Case(
        "MIND with a year, years of two digits in a column",
        lambda: encoder("year").fit_transform(np.column_stack([PLACES, [20, 21, 22]])),
        words=("year", "row 0"),
    )


def npz(path, change=None, save=np.savez, **arrays):
    """A database of twenty images, but for some of its arrays; None leaves one out."""
    rng = np.random.RandomState(0)
    content = {
        "locs": rng.uniform(-80, 80, (20, 2)),
        "satclip_embeddings": rng.randn(20, 256),
        "image_embeddings": rng.randn(20, 5),
        **arrays,
    }
    save(path, **{key: value for key, value in content.items() if value is not None})
    if change is not None:
        path.write_bytes(change(path.read_bytes()))
    return path


def overstated(path):
    """A header that claims 2 TB, over 40 numbers."""
    npz(path, locs=None)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (137438953472, 2), }"
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("locs.npy", b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header)
    return path


def pickled(path):
    """An array of objects whose pickle runs code."""
    mark = path.with_suffix(".ran")
    rows = np.empty((20, 2), dtype=object)
    rows[:] = Payload(mark)
    npz(path, locs=rows)
    try:
        return RANGEEncoder(path, location_encoder=looks()).fit()
    finally:
        if mark.exists():
            raise SystemError("the pickle's code ran")


ROWS_OF_NAN = np.full((20, 5), np.nan)
BAD_DATABASES = {
    "empty": lambda path: write_bytes(path, b""),
    "text": lambda path: write_bytes(path, b"hello"),
    "an .npy": lambda path: np.save(path.open("wb"), np.zeros((3, 2))) or path,
    "another zip": other_zip,
    "cut": lambda path: npz(path, change=lambda c: c[: len(c) // 2]),
    "cut at its end": lambda path: npz(path, change=lambda c: c[:-5]),
    "bits turned": lambda path: npz(path, change=lambda c: flipped(c, 60, 97)),
    "no places": lambda path: npz(path, locs=None),
    "no keys": lambda path: npz(path, satclip_embeddings=None),
    "no features": lambda path: npz(path, image_embeddings=None),
    "places NaN": lambda path: npz(path, locs=np.full((20, 2), np.nan)),
    "places out of range": lambda path: npz(path, locs=np.full((20, 2), 1000.0)),
    "places swapped": lambda path: npz(path, locs=np.column_stack([[10.0] * 20, [120.0] * 20])),
    "places of three": lambda path: npz(path, locs=np.zeros((20, 3))),
    "places of one dimension": lambda path: npz(path, locs=np.zeros(20)),
    "places fewer": lambda path: npz(path, locs=np.zeros((19, 2))),
    "places texts": lambda path: npz(path, locs=np.full((20, 2), "1.0")),
    "places booleans": lambda path: npz(path, locs=np.ones((20, 2), bool)),
    "places complex": lambda path: npz(path, locs=np.ones((20, 2), complex)),
    "places dates": lambda path: npz(path, locs=np.ones((20, 2), "M8[s]")),
    "places structured": lambda path: npz(path, locs=np.zeros(20, [("lon", "f8"), ("lat", "f8")])),
    "features NaN": lambda path: npz(path, image_embeddings=ROWS_OF_NAN),
    "features infinite": lambda path: npz(path, image_embeddings=ROWS_OF_NAN * 0 + np.inf),
    "features too large for float32": lambda path: npz(
        path, image_embeddings=np.full((20, 5), 1e300)
    ),
    "features of no columns": lambda path: npz(path, image_embeddings=np.zeros((20, 0))),
    "features of three dimensions": lambda path: npz(path, image_embeddings=np.zeros((20, 5, 1))),
    "keys fewer": lambda path: npz(path, satclip_embeddings=np.ones((19, 256))),
    "keys NaN": lambda path: npz(path, satclip_embeddings=np.full((20, 256), np.nan)),
    "keys all zero": lambda path: npz(path, satclip_embeddings=np.zeros((20, 256))),
    "keys structured": lambda path: npz(path, satclip_embeddings=np.zeros(20, "f4,f4")),
    "no rows": lambda path: npz(
        path, locs=np.zeros((0, 2)), satclip_embeddings=np.zeros((0, 256)),
        image_embeddings=np.zeros((0, 5)),
    ),
    "2 TB that are not there": overstated,
}  # fmt: skip
GOOD_DATABASES = {
    "compressed": lambda path: npz(path, save=np.savez_compressed),
    "an array more": lambda path: npz(path, x=np.zeros(3)),
    "big-endian": lambda path: npz(path, locs=database_arrays()["locs"].astype(">f8")),
    "Fortran order": lambda path: npz(path, **{
        key: np.asfortranarray(value) for key, value in database_arrays().items()
    }),
}  # fmt: skip


def database_arrays():
    rng = np.random.RandomState(0)
    return {
        "locs": rng.uniform(-80, 80, (20, 2)),
        "satclip_embeddings": rng.randn(20, 256),
        "image_embeddings": rng.randn(20, 5),
    }


def from_images(coords=None, features=None, **more):
    arrays = database_arrays()
    coords = arrays["locs"] if coords is None else coords
    features = arrays["satclip_embeddings"] if features is None else features
    return RANGEEncoder.from_images(looks(), features, coords, **more).fit_transform(PLACES)


def as_floats(values):
    if isinstance(values, torch.Tensor):
        values = values.detach().double()
    return np.asarray(values, float)


def database_cases(folder):
    def opened(path, **more):
        return RANGEEncoder(path, location_encoder=looks(), **more).fit_transform(PLACES)

    for beta in (None, 0.5):
        for name, make in BAD_DATABASES.items():
            path = folder / (numbered("database") + ".npz")
            yield Case(
                f"{name}, beta={beta}",
                lambda path=path, make=make, beta=beta: opened(make(path), beta=beta),
                None,
                (path.name,),
                BAD_FILE,
            )
        for name, make in GOOD_DATABASES.items():
            path, plain = (folder / (numbered(word) + ".npz") for word in ("database", "plain"))
            yield Case(
                f"{name}, beta={beta}",
                lambda path=path, make=make, beta=beta: opened(make(path), beta=beta),
                lambda plain=plain, beta=beta: opened(npz(plain), beta=beta),
            )
    path = folder / (numbered("pickled") + ".npz")
    yield Case("objects that run code", partial(pickled, path), None, (path.name,), BAD_FILE)
    path = folder / (numbered("other") + ".npz")
    yield Case(
        "a location encoder of other columns",
        lambda: RANGEEncoder(npz(path), location_encoder=PositionalEncoder()).fit(),
        words=("location encoder", "256"),
    )
    arrays = database_arrays()
    lonlat, features = arrays["locs"], arrays["satclip_embeddings"]
    for name, coords, words in (
        ("a frame, latitude first", pd.DataFrame({"lat": lonlat[:, 1], "lon": lonlat[:, 0]}), None),
        ("points", list(shapely.points(lonlat)), None),
        ("a tensor", torch.tensor(lonlat), None),
        ("360 notation", np.column_stack([lonlat[:, 0] % 360, lonlat[:, 1]]), None),
        ("NaN", np.where(lonlat == lonlat[3, 0], np.nan, lonlat), ("NaN", "row 3")),
        ("masked", np.ma.masked_equal(lonlat, lonlat[3, 0]), ("NaN", "row 3")),
        ("out of range", lonlat * 10, ("[-90, 90]",)),
        ("fewer", lonlat[:19], ("19", "20")),
        ("texts", lonlat.astype(str), ("degrees",)),
    ):  # fmt: skip
        yield Case(
            f"from_images, places {name}",
            partial(from_images, coords),
            None if words else from_images,
            words,
            kinds=(*REFUSALS, ModelFormatError),
        )
    for name, values, words in (
        ("lists", features.tolist(), None),
        ("a tensor", torch.tensor(features), None),
        ("a tensor with gradient", torch.tensor(features, requires_grad=True), None),
        ("bfloat16", torch.ones(20, 256).bfloat16(), None),
        ("a frame", pd.DataFrame(features), None),
        ("NaN", np.full((20, 256), np.nan), ("NaN", "row 0")),
        ("masked", np.ma.masked_greater(features, 2.0), ("mask",)),
        ("texts", np.full((20, 256), "x"), ("features",)),
        ("complex", features + 1j, ("complex",)),
        ("booleans", features > 0, None),
        ("one dimension", features[:, 0], ("shape",)),
        ("three dimensions", features[:, :, None], ("shape",)),
        ("fewer", features[:19], ("19", "20")),
        ("of other columns than the encoder's", features[:, :9], ("9", "256")),
        ("sparse", scipy.sparse.csr_array(features), ("features",)),
        ("too large for float32", np.full((20, 256), 1e300), ("infinite",)),
    ):  # fmt: skip
        yield Case(
            f"from_images, features {name}",
            partial(from_images, None, values),
            None if words else lambda values=values: from_images(None, as_floats(values)),
            words,
            kinds=(*REFUSALS, ModelFormatError),
        )


MONTHS = np.array([1.0, 7.0, 12.0])


def months_frame(months=MONTHS, **more):
    return pd.DataFrame({"lat": LAT, "month": months, "lon": LON, **more})


def monthly(places=PLACES, months=MONTHS):
    """Features of each place in its month, one after another."""
    return np.vstack([
        features_of("ClimplicitEncoder", [place], month=float(month))
        for place, month in zip(places, months, strict=True)
    ])  # fmt: skip


TIMED = np.column_stack([PLACES, MONTHS])
MONTH_TABLES = [  # places with their month, or words of the refusal
    Given("array of three columns", lambda: TIMED),
    Given("lists", lambda: TIMED.tolist()),
    Given("tuples", lambda: tuple(map(tuple, TIMED))),
    Given("float32", lambda: TIMED.astype("f4")),
    Given("objects", lambda: TIMED.astype(object)),
    Given("Decimal", lambda: [[Decimal(str(v)) for v in row] for row in TIMED]),
    Given("tensor", lambda: torch.tensor(TIMED)),
    Given("bfloat16 tensor", lambda: torch.tensor(TIMED).bfloat16()),
    Given("array of two columns", lambda: PLACES, words=("month", "(n, 3)")),
    Given("array of four columns", lambda: np.hstack([PLACES, PLACES]), words=("month", "(n, 3)")),
    Given("one row", lambda: TIMED[0], words=("(n, 3)",)),
    Given("no rows", lambda: TIMED[:0], words=("0 sample",)),
    Given("None", lambda: None, words=("month",)),
    Given("list of points", lambda: list(shapely.points(PLACES)), words=("month",)),
    Given("points with the month as height", lambda: list(shapely.points(TIMED)),
          words=("month",)),
    Given("masked", lambda: np.ma.masked_equal(TIMED, 7.0), words=("month", "row 1")),
    Given("masked places", lambda: np.ma.masked_equal(TIMED, 1.75), words=("NaN", "row 1")),
    Given("booleans", lambda: TIMED > 3, words=("booleans",)),
    Given("texts", lambda: TIMED.astype(str), words=()),
    Given("complex", lambda: TIMED + 0j, words=("complex",)),
    Given("scipy sparse", lambda: scipy.sparse.csr_array(TIMED), words=("toarray",)),
    Given("month 0", lambda: TIMED - np.array([0, 0, 1]), words=("month", "row 0")),
    Given("month 13", lambda: TIMED + np.array([0, 0, 1]), words=("month", "row 2")),
    Given("NaN", lambda: np.where(TIMED == 7.0, np.nan, TIMED), words=("month", "row 1")),
    Given("infinity", lambda: np.where(TIMED == 7.0, np.inf, TIMED), words=("month", "row 1")),
    Given("frame", months_frame),
    Given("frame, integers", lambda: months_frame(MONTHS.astype(int))),
    Given("frame, uint8", lambda: months_frame(MONTHS.astype("u1"))),
    Given("frame, Int64", lambda: months_frame(pd.array(MONTHS, "Int64"))),
    Given("frame, Int64 with NA", lambda: months_frame(pd.array([1, None, 12], "Int64")),
          words=("month", "row 1")),
    Given("frame, Float32", lambda: months_frame(pd.array(MONTHS, "Float32"))),
    Given("frame, arrow integers", lambda: months_frame(pd.array([1, 7, 12], "int64[pyarrow]"))),
    Given("frame, sparse", lambda: months_frame(pd.arrays.SparseArray(MONTHS))),
    Given("frame, categories", lambda: months_frame(pd.Categorical([1, 7, 12])),
          words=("month",), either=True),
    Given("frame, objects", lambda: months_frame(np.array([1, 7, 12], object))),
    Given("frame, objects with None", lambda: months_frame(np.array([1, None, 12], object)),
          words=("month", "row 1")),
    Given("frame, objects with True", lambda: months_frame(np.array([True, 7, 12], object)),
          words=("month", "True")),
    Given("frame, booleans", lambda: months_frame(MONTHS < 9), words=("month", "boolean")),
    Given("frame, texts", lambda: months_frame(["1", "7", "12"]), words=("month",)),
    Given("frame, names of months", lambda: months_frame(["Jan", "Jul", "Dec"]),
          words=("month", "Jan")),
    Given("frame, dates", lambda: months_frame(pd.date_range("2020", periods=3)),
          words=("month", "dates")),
    Given("frame, periods", lambda: months_frame(pd.period_range("2020", periods=3, freq="M")),
          words=("month",)),
    Given("frame, durations", lambda: months_frame(pd.to_timedelta(MONTHS, "D")),
          words=("month", "durations")),
    Given("frame, month 0", lambda: months_frame(MONTHS - 1), words=("month", "row 0")),
    Given("frame, month 13", lambda: months_frame(MONTHS + 1), words=("month", "row 2")),
    Given("frame, no month", lambda: swapped(["lat", "lon"]), words=("month", "no column")),
    Given("frame, Month", lambda: months_frame().rename(columns={"month": "Month"}),
          words=("month", "no column")),
    Given("frame, b'month'", lambda: months_frame().rename(columns={"month": b"month"}),
          words=("month",), either=True),
    Given("frame, month twice", lambda: months_frame().set_axis(
        ["month", "month", "lon"], axis=1), words=("latitude",)),
    Given("frame, month twice beside places", lambda: pd.concat(
        [months_frame(), months_frame()[["month"]]], axis=1), words=("month",)),
    Given("frame with more columns", lambda: months_frame(price=1.0),
          words=("price",), either=True),
    Given("frame, MultiIndex", lambda: months_frame().set_axis(pd.MultiIndex.from_tuples(
        [("p", "lat"), ("p", "month"), ("p", "lon")]), axis=1), words=("month",), either=True),
    Given("frame, odd index", lambda: months_frame().set_index(pd.Index(["a", "a", None]))),
    Given("frame, integer names", lambda: pd.DataFrame(TIMED), words=("month",), either=True),
    Given("x, y, month", lambda: months_frame().set_axis(["y", "month", "x"], axis=1),
          options=XY),
    Given("x, y, month, unnamed", lambda: months_frame().set_axis(["y", "month", "x"], axis=1),
          words=("lon=",)),
    Given("structured", lambda: np.rec.fromarrays([LAT, MONTHS, LON], names="lat,month,lon")),
    Given("structured, masked month", lambda: masked_months(), words=("month", "row 1")),
    Given("arrow", lambda: pa.table({"lat": LAT, "month": [1, 7, 12], "lon": LON})),
    Given("arrow, null", lambda: pa.table({"lat": LAT, "month": [1, None, 12], "lon": LON}),
          words=("month", "row 1")),
    Given("arrow, booleans", lambda: pa.table({"lat": LAT, "month": MONTHS < 9, "lon": LON}),
          words=("month",)),
    Given("polars", lambda: POLARS.with_columns(month=pl.Series([1, 7, 12]))),
    Given("polars, null", lambda: POLARS.with_columns(month=pl.Series([1, None, 12])),
          words=("month", "row 1")),
    Given("polars, booleans", lambda: POLARS.with_columns(month=pl.col("lon") > 2),
          words=("month",)),
    Given("polars, texts", lambda: POLARS.with_columns(month=pl.Series(["1", "7", "12"])),
          words=("month",)),
    Given("polars LazyFrame", lambda: POLARS.with_columns(month=pl.Series([1, 7, 12])).lazy(),
          words=("collect",)),
    Given("DataArray", lambda: data_array(("lat", "lon", "month"), TIMED[:, [1, 0, 2]])),
    Given("Dataset", lambda: dataset().assign(month=("place", MONTHS))),
    Given("Dataset, month along another dimension",
          lambda: dataset().assign(month=("time", MONTHS)), words=("grid",)),
    Given("GeoDataFrame", lambda: gpd.GeoDataFrame({"month": MONTHS}, geometry=points(4326))),
    Given("GeoDataFrame in Mercator", lambda: gpd.GeoDataFrame(
        {"month": MONTHS}, geometry=points(4326)).to_crs(3857), tolerance=1e-3),
    Given("GeoDataFrame, booleans", lambda: gpd.GeoDataFrame(
        {"month": MONTHS < 9}, geometry=points(4326)), words=("month",)),
    Given("GeoDataFrame, no month", lambda: gpd.GeoDataFrame({"x": MONTHS}, geometry=points(4326)),
          words=("month",)),
    Given("GeoSeries", lambda: points(4326), words=("month",)),
    Given("dict", lambda: {"lon": LON, "lat": LAT, "month": MONTHS}, words=("DataFrame",)),
]  # fmt: skip


def masked_months():
    table = np.ma.array(np.rec.fromarrays([LAT, MONTHS, LON], names="lat,month,lon"))
    table["month"][1] = np.ma.masked
    return table


GAP_MONTHS = np.where(MONTHS == 7, np.nan, MONTHS)


def month_cases():
    """Climplicit's month: a number for all places, or a column of theirs."""

    def fitted(**options):
        return encoder_of("ClimplicitEncoder", tuple({"month": "month", **options}.items()))

    for given in MONTH_TABLES:
        can_be_read = given.words is None or given.either
        for how in ("fitted before", "fit_transform"):

            def act(given=given, how=how):
                data = quietly(given.make)
                if how == "fitted before":
                    return fitted(**given.options).transform(data)
                return ENCODERS["ClimplicitEncoder"](month="month", **given.options).fit_transform(
                    data
                )

            yield Case(
                f"{given.name} ({how})",
                act,
                monthly if can_be_read else None,
                given.words,
                tolerance=given.tolerance,
            )
    for name, make in (
        ("array", lambda: np.column_stack([PLACES, GAP_MONTHS])),
        ("frame", lambda: months_frame(GAP_MONTHS)),
        ("month 13", lambda: months_frame(np.where(MONTHS == 7, 13, MONTHS))),
        ("Int64", lambda: months_frame(pd.array([1, None, 12], "Int64"))),
        ("polars null", lambda: POLARS.with_columns(month=pl.Series([1, None, 12]))),
        ("masked", lambda: np.ma.masked_equal(TIMED, 7.0)),
        ("GeoDataFrame",
         lambda: gpd.GeoDataFrame({"month": GAP_MONTHS}, geometry=points(4326))),
        ("a missing place", lambda: np.where(TIMED == 1.75, np.nan, TIMED)),
    ):  # fmt: skip
        yield Case(
            f"on_invalid='nan', {name}",
            lambda make=make: fitted(on_invalid="nan").transform(quietly(make)),
            lambda: np.where([[False], [True], [False]], np.nan, monthly()),
        )
    for value in (7.0, np.int64(7), np.float32(7), Fraction(7)):
        yield Case(
            f"month={value!r}",
            lambda value=value: ENCODERS["ClimplicitEncoder"](month=value).fit_transform(PLACES),
            partial(features_of, "ClimplicitEncoder", PLACES),
        )
    yield Case(
        "a month for all is not read of a column",
        lambda: encoder_of("ClimplicitEncoder").transform(months_frame()),
        words=("2 are required",),
    )
    yield Case(
        "a grid has no months",
        lambda: fitted().transform_grid(LON, LAT),
        words=("month",),
    )
    yield Case(
        "one place in twelve months, and again",
        lambda: fitted().transform([[2.5, 5.5, m % 12 + 1] for m in range(24)]),
        lambda: monthly([PLACES[0]] * 24, np.arange(24) % 12 + 1),
    )
    yield Case(
        "20,000 rows of nine places and months",
        lambda: fitted().transform(np.tile(
            [[*place, month] for place in PLACES for month in MONTHS], (2300, 1))[:20_000])[-9:],
        lambda: np.roll(monthly(np.repeat(PLACES, 3, axis=0), np.tile(MONTHS, 3)),
                        -(20_000 % 9), axis=0),
    )  # fmt: skip
    for name, given, canonical in WORLD:
        months = np.arange(len(given)) % 12 + 1
        yield Case(
            f"{name}, with months",
            lambda given=given, months=months: fitted().transform(np.column_stack([given, months])),
            partial(monthly, canonical, months),
        )
    with_dask = partial(dask.dataframe.from_pandas, months_frame(), npartitions=2)
    for name, make in (
        ("dask frame", with_dask),
        ("dask array", lambda: dask.array.from_array(TIMED, chunks=(2, 3))),
    ):

        def lazily(make=make):
            with dask.config.set(scheduler="synchronous"):
                return np.asarray(fitted().transform(quietly(make)).compute())

        yield Case(f"{name} with months", lazily, monthly)


# --- zones of GPS2Vec

ZONE_SHAPES = {"layer1": (400, 8), "layer2": (8, 8), "layer3": (8, 8), "object": (8, 1000),
               "scene": (8, 365)}  # fmt: skip


def write_zone(path):
    """A zone's networks, small; in Keras's layout."""
    rng = np.random.RandomState(0)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in ZONE_SHAPES]
        for name, shape in ZONE_SHAPES.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [
                f"{name}/{part}:0".encode() for part in ("kernel", "bias")
            ]
            group.create_dataset(f"{name}/kernel:0", data=rng.randn(*shape).astype("f4"))
            group.create_dataset(f"{name}/bias:0", data=rng.randn(shape[1]).astype("f4"))
    return path


def bad_zone(folder, change):
    folder.mkdir()
    path = write_zone(folder / "model_31 N.h5")
    if change is not None:
        with h5py.File(path, "r+") as file:
            change(file)
    return folder


def set_kernel(layer, **dataset):
    def change(file):
        name = f"{layer}/{layer}/kernel:0"
        del file[name]
        file.create_dataset(name, **dataset)

    return change


def set_link(link):
    def change(file):
        del file["layer1"]
        file["layer1"] = link

    return change


BAD_ZONES = {
    "no dimension": set_kernel("layer1", data=1.0),
    "one dimension": set_kernel("layer1", data=np.zeros(400, "f4")),
    "three dimensions": set_kernel("layer1", data=np.zeros((1, 400, 8), "f4")),
    "other inputs": set_kernel("layer1", data=np.zeros((399, 8), "f4")),
    "other outputs": set_kernel("object", data=np.zeros((8, 999), "f4")),
    "texts": set_kernel("layer2", data=np.array([[b"x"] * 8] * 8)),
    "references": set_kernel("layer2", shape=(8, 8), dtype=h5py.ref_dtype),
    "structures": set_kernel("layer2", data=np.zeros((8, 8), "f4,f4")),
    "complex": set_kernel("layer2", data=np.zeros((8, 8), "c8")),
    "NaN": set_kernel("layer2", data=np.full((8, 8), np.nan)),
    "1e300": set_kernel("layer2", data=np.full((8, 8), 1e300)),
    "16 TB that are not there": set_kernel(
        "layer1", shape=(400, 10**10), dtype="f4", chunks=(1, 1000)
    ),
    "another file's bytes": set_kernel(
        "layer2", shape=(8, 8), dtype="f4", external=[("/etc/passwd", 0, 256)]
    ),
    "no layer": lambda file: file.pop("layer3"),
    "no names": lambda file: file["layer1"].attrs.pop("weight_names"),
    "names of numbers": lambda file: file["layer1"].attrs.update({"weight_names": [1, 2]}),
    "a name alone": lambda file: file["layer1"].attrs.update({"weight_names": "kernel"}),
    "a layer that is a table": lambda file: (file.pop("layer1"), file.update({"layer1": [1.0]})),
    "a link to nothing": set_link(h5py.SoftLink("/nothing")),
    "a link to itself": set_link(h5py.SoftLink("/layer1")),
    "a link to another file": set_link(h5py.ExternalLink("../zones/model_31 N.h5", "/layer1")),
    "model_weights a table": lambda file: file.update({"model_weights": [1.0]}),
}


# --- states of estimators

CHANGES = {  # after `fit` none of these may change anything
    "SatCLIPEncoder": {
        "model": "bluemarble-l10", "layer": "embedding", "harmonics": "published",
        "normalize": True, "device": "gpu", "dtype": "float64", "batch_size": 1,
        "on_invalid": "nan", "lon": 1, "lat": 0, "token": "x", "revision": "x", "cache_dir": "/",
    },
    "PositionalEncoder": {
        "kind": "wrap", "legendre_polys": 3, "harmonics_calculation": "closed-form",
        "n_frequencies": 3, "min_radius": 9.0, "max_radius": 9.0, "dtype": "float32",
        "batch_size": 1, "on_invalid": "nan", "lon": 1, "lat": 0,
    },
    "GeoCLIPEncoder": {
        "model": "nothing", "normalize": True, "device": "gpu", "dtype": "float64",
        "batch_size": 1, "on_invalid": "nan", "lon": 1, "lat": 0,
    },
    "CSPEncoder": {
        "model": "nothing", "scaling": "unit", "layer": "hidden", "normalize": True,
        "device": "gpu", "dtype": "float64", "batch_size": 1, "on_invalid": "nan", "lon": 1,
        "lat": 0,
    },
    "GPS2VecEncoder": {
        "model": "nothing", "kind": "tag", "device": "gpu", "dtype": "float64", "batch_size": 1,
        "on_invalid": "nan", "lon": 1, "lat": 0,
    },
    "GeoCLIPEncoder of TaxaBind": {
        "model": "nothing", "normalize": True, "device": "gpu", "dtype": "float64",
        "batch_size": 1, "on_invalid": "nan", "lon": 1, "lat": 0,
    },
    "SINREncoder": {
        "model": "nothing", "normalize": True, "device": "gpu", "dtype": "float64",
        "batch_size": 1, "on_invalid": "nan", "lon": 1, "lat": 0, "token": "x", "revision": "x",
        "cache_dir": "/",
    },
    "ClimplicitEncoder": {
        "model": "nothing", "month": 1, "normalize": True, "device": "gpu", "dtype": "float64",
        "batch_size": 1, "on_invalid": "nan", "lon": 1, "lat": 0,
    },
    "TTEEncoder": {
        "model": "nothing", "normalize": False, "device": "gpu", "dtype": "float64",
        "batch_size": 1, "on_invalid": "nan", "lon": 1, "lat": 0,
    },
    "MINDEncoder": {
        "model": "nothing", "layer": "hidden", "n_components": 3, "year": 2020, "normalize": True,
        "device": "gpu", "dtype": "float64", "batch_size": 1, "on_invalid": "nan", "lon": 1,
        "lat": 0,
    },
    "RANGEEncoder": {
        "database": "nothing", "location_encoder": PositionalEncoder(), "beta": 0.5,
        "location_encoder__layer": "hidden", "device": "gpu", "dtype": "float64",
        "batch_size": 1, "on_invalid": "nan", "lon": 1, "lat": 0,
    },
}  # fmt: skip

BAD_PARAMETERS = {
    "device": ("gpu", "cuda:9", "cuda", "meta", 5, [], "cpu:7:7", ""),
    "dtype": ("float16", np.float32, None, 5),
    "batch_size": (0, -1, 2.5, "8", np.nan, 10.0),
    "on_invalid": ("ignore", None, True),
    "normalize": ("yes", None, 2),
    "layer": ("x", None, 5),
    "lon": ("no such column", 7),
    "local_files_only": ("yes",),
    "revision": (5,),
    "token": (5,),
    "month": (0, 13, -1, 0.999, 12.001, np.nan, np.inf, 10**400, True, [7], b"7", Decimal(7),
              np.array([7])),
    "year": (2020, 1e9, np.nan, True, [2020]),
    "n_components": (0, -1, 2.5, "8", np.nan, 10**6),
    "beta": (-0.1, 1.1, np.nan, np.inf, "0.5", [0.5]),
    "location_encoder": (5, "satclip-vit16-l40", Ridge()),
}  # fmt: skip


def everything(estimator):
    """All that a fitted encoder does, in one list of numbers and texts."""
    refused = ""
    try:
        estimator.transform([[np.nan, 1.0]])
    except ValueError as error:
        refused = str(error)
    return [
        np.asarray(estimator.transform(PLACES), dtype=float).tolist(),
        np.asarray(estimator.transform_grid(LON, LAT), dtype=float).tolist(),
        str(estimator.transform(PLACES).dtype),
        list(estimator.get_feature_names_out()),
        refused,
    ]


@cache
def everything_of(encoder):
    return everything(encoder_of(encoder))


def state_cases():
    for encoder, changes in CHANGES.items():
        if encoder not in ENCODERS:
            continue
        for name, value in changes.items():
            yield Case(
                f"{encoder}: set_params({name}={value!r}) after fit",
                partial(changed_after_fit, encoder, name, value),
                partial(everything_of, encoder),
            )
        for how in ("pickle", "deepcopy"):
            yield Case(
                f"{encoder}: set_params, then {how}",
                partial(changed_after_fit, encoder, "on_invalid", "nan", how),
                partial(everything_of, encoder),
            )
        for name, values in BAD_PARAMETERS.items():
            if name not in ENCODERS[encoder]().get_params():
                continue
            for value in values:
                yield Case(
                    f"{encoder}({name}={value!r})",
                    lambda encoder=encoder, name=name, value=value: ENCODERS[encoder](
                        **{name: value}
                    ).fit(PLACES),
                    words=(name,),
                )
        yield from failed_fits(encoder)
        yield Case(
            f"{encoder}: transform before fit",
            lambda encoder=encoder: ENCODERS[encoder]().transform(PLACES),
            words=("not fitted",),
        )
        yield Case(
            f"{encoder}: fit(), transform(frame) is silent",
            lambda encoder=encoder: ENCODERS[encoder]().fit().transform(swapped(["lat", "lon"])),
            partial(features_of, encoder, PLACES),
        )
        yield Case(
            f"{encoder}: fit(frame), transform(frame) in another order",
            lambda encoder=encoder: (
                ENCODERS[encoder]()
                .fit(swapped(["lat", "lon"]))
                .transform(swapped(["lat", "lon"])[["lon", "lat"]])
            ),
            partial(features_of, encoder, PLACES),
        )
        yield Case(
            f"{encoder}: fit(frame), fit(), transform(other names)",
            lambda encoder=encoder: (
                ENCODERS[encoder]()
                .fit(swapped(["lat", "lon"]))
                .fit()
                .transform(swapped(["latitude", "longitude"]))
            ),
            partial(features_of, encoder, PLACES),
        )
        yield Case(
            f"{encoder}: fit(frame), transform(frame of other names)",
            lambda encoder=encoder: (
                ENCODERS[encoder]()
                .fit(swapped(["lat", "lon"]))
                .transform(swapped(["latitude", "longitude"]))
            ),
            words=("feature names",),
        )
        yield Case(
            f"{encoder}: names left from an earlier fit",
            lambda encoder=encoder: hasattr(
                ENCODERS[encoder]().fit(swapped(["lat", "lon"])).fit(), "feature_names_in_"
            ),
            lambda: False,
        )
        yield Case(
            f"{encoder}: transform changes nothing",
            partial(attributes_changed, encoder),
            lambda: [],
        )


def changed_after_fit(encoder, name, value, how=None):
    fitted = ENCODERS[encoder]().fit().set_params(**{name: value})
    if how == "pickle":
        fitted = pickle.loads(pickle.dumps(fitted))
    if how == "deepcopy":
        fitted = copy.deepcopy(fitted)
    return everything(fitted)


def attributes_changed(encoder):
    fitted = ENCODERS[encoder]().fit()
    before = {key: repr(value) for key, value in vars(fitted).items()}
    fitted.transform(swapped(["lat", "lon"]))
    fitted.transform(points(4326))
    fitted.transform(structured())
    fitted.transform_grid(LON, LAT)
    after = {key: repr(value) for key, value in vars(fitted).items()}
    return sorted(k for k in after.keys() | before.keys() if after.get(k) != before.get(k))


def failed_fits(encoder):
    for name, parameters, X in (
        ("bad places", {}, [[2.5, 95.0]]),
        ("booleans", {}, PLACES > 3),
        ("a bad parameter", {"batch_size": 0}, PLACES),
        ("no such device", {"device": "gpu"}, PLACES),
        ("no such model", {"model": "./nowhere"}, PLACES),
        ("no such database", {"database": "./nowhere"}, PLACES),
        ("a month that is none", {"month": 13}, PLACES),
        ("a year that the network does not take", {"year": 2020}, PLACES),
        ("no such column", {"lon": "x"}, swapped(["lat", "lon"])),
    ):
        if not parameters.keys() <= ENCODERS[encoder]().get_params().keys():
            continue
        yield Case(
            f"{encoder}: transform after a fit that failed, {name}",
            partial(transform_after_failure, encoder, parameters, X),
            words=("not fitted",),
        )


def transform_after_failure(encoder, parameters, X):
    estimator = ENCODERS[encoder]().fit().set_params(**parameters)
    try:
        estimator.fit(X)
    except (SkgeoEmbedError, ValueError, TypeError):
        return estimator.transform(PLACES)
    raise RuntimeError("fit did not fail")


POSITIONAL = [  # parameters that make no encoding, or one of infinities
    {"kind": "x"}, {"kind": None}, {"legendre_polys": 0}, {"legendre_polys": 2.5},
    {"legendre_polys": "4"}, {"legendre_polys": 10**30},
    {"kind": "grid", "n_frequencies": 0}, {"harmonics_calculation": "x"},
    *({"kind": kind, key: value} for kind in ("grid", "spherem") for key, value in (
        ("min_radius", 0), ("min_radius", -1), ("min_radius", np.nan), ("min_radius", np.inf),
        ("min_radius", 1e-320), ("min_radius", "1"), ("max_radius", np.inf), ("max_radius", 0),
        ("max_radius", np.nan))),
]  # fmt: skip


def positional_cases():
    for parameters in POSITIONAL:
        name = list(parameters)[-1] if "kind" in parameters else next(iter(parameters))
        yield Case(
            f"PositionalEncoder({parameters})",
            lambda parameters=parameters: PositionalEncoder(**parameters).fit_transform(PLACES),
            words=(name,),
        )
    for kind in KINDS:
        yield Case(
            f"PositionalEncoder(kind={kind!r}, n_frequencies=1) is finite",
            lambda kind=kind: bool(
                np.isfinite(PositionalEncoder(kind, n_frequencies=1).fit_transform(PLACES)).all()
            ),
            lambda: True,
        )
    for size in (1, 2, 60, 200):
        yield Case(
            f"PositionalEncoder(legendre_polys={size}, closed-form) against scipy",
            partial(harmonics, size),
            partial(scipy_harmonics, size),
            tolerance=1e-10,
        )


EVERYWHERE = np.array([[2.5, 5.5], [-180, 0], [77, 90], [359, -90], [180, 89.999], [0, -45.5]])


def harmonics(size):
    encoder = PositionalEncoder(legendre_polys=size, harmonics_calculation="closed-form")
    return encoder.fit_transform(EVERYWHERE)


def scipy_harmonics(size):
    """Real harmonics with the sign of Condon and Shortley; see PositionalEncoder for the angles."""
    from scipy.special import sph_harm_y

    lon, lat = EVERYWHERE.T
    lon = np.where(np.abs(lat) == 90, 0, lon)
    theta, phi = np.deg2rad(lat + 90), np.deg2rad(lon + 180)
    columns = []
    for degree in range(size):
        for order in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(order), theta, phi)
            part = value.imag if order < 0 else value.real
            columns.append(part * (np.sqrt(2) if order else 1))
    return np.column_stack(columns)


class OwnForward(LocationEncoder):
    def forward(self, lonlat, layer="embedding"):
        return super().forward(lonlat, layer) * 0 + 7.0


def module_cases():
    torch.manual_seed(1)
    module = LocationEncoder(4, 5, 6).eval()
    with torch.no_grad():
        right = module(torch.tensor(PLACES)).numpy()

    def encode(model, **options):
        return SatCLIPEncoder(model, **options).fit().transform(PLACES)

    yield Case("a module", lambda: encode(module), lambda: right)
    yield Case("a module in training mode", lambda: encode(copy.deepcopy(module).train()),
               lambda: right)  # fmt: skip
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        yield Case(
            f"a module in {dtype}",
            lambda dtype=dtype: encode(copy.deepcopy(module).to(dtype)),
            lambda: right,
            tolerance=0.05,
        )
    yield Case("a subclass with its own forward", lambda: encode(OwnForward(4, 5, 6)),
               lambda: np.full((3, 5), 7.0))  # fmt: skip
    yield Case(
        "a subclass with its own forward, by grid",
        lambda: SatCLIPEncoder(OwnForward(4, 5, 6)).fit().transform_grid(LON, LAT),
        lambda: np.full((3, 3, 5), 7.0),
    )
    for value in (np.nan, np.inf):
        broken = copy.deepcopy(module)
        next(iter(broken.parameters())).data[0] = value
        yield Case(f"a module with {value}", lambda broken=broken: encode(broken), words=("NaN",))
    yield Case("a module on meta", lambda: encode(copy.deepcopy(module).to("meta")),
               words=("meta",))  # fmt: skip
    hooked = copy.deepcopy(module)
    hooked.register_forward_hook(lambda module, args, out: out + 1)
    yield Case("a module with a forward hook", lambda: encode(hooked), lambda: right + 1,
               words=("hook",))  # fmt: skip
    patched = copy.deepcopy(module)
    patched.forward = lambda lonlat, layer="embedding": torch.full((len(lonlat), 5), 7.0)
    yield Case("a module with a forward put on it", lambda: encode(patched),
               lambda: np.full((3, 5), 7.0), words=("forward",))  # fmt: skip
    normed = copy.deepcopy(module)
    torch.nn.utils.parametrizations.weight_norm(normed.nnet.last_layer)
    yield Case("a module with a weight norm", lambda: encode(normed), lambda: right,
               words=("network",))  # fmt: skip
    changed = copy.deepcopy(module)
    fitted = SatCLIPEncoder(changed).fit()
    for parameter in changed.parameters():
        parameter.data.zero_()
    yield Case("a module trained on after fit", lambda: fitted.transform(PLACES), lambda: right)
    yield Case("clone of an encoder of a module", lambda: clone(fitted).fit().transform(PLACES)[0],
               lambda: np.zeros(5))  # fmt: skip


def own_state_cases():
    """States of the estimators of images."""
    yield Case("geolocator: set_params(radius_km) after fit", partial(score_after, radius_km=1e5),
               partial(score_after))  # fmt: skip
    for name, value in {"n_candidates": 3, "device": "gpu", "resize": True, "batch_size": 1,
                        "model": "nothing"}.items():  # fmt: skip
        yield Case(
            f"geolocator: set_params({name}={value!r}) after fit",
            lambda name=name, value=value: (
                ImageGeolocator(n_candidates=500).fit().set_params(**{name: value}).predict(PIXELS)
            ),
            lambda: geolocator().predict(PIXELS),
        )
    for name, value in {"normalize": True, "device": "gpu", "resize": True, "batch_size": 1,
                        "model": "nothing"}.items():  # fmt: skip
        yield Case(
            f"image encoder: set_params({name}={value!r}) after fit",
            lambda name=name, value=value: (
                SatCLIPImageEncoder("bluemarble-l10")
                .fit()
                .set_params(**{name: value})
                .transform(PIXELS)
            ),
            lambda: image_encoder().transform(PIXELS),
        )
    for estimator, X in (
        (SatCLIPImageEncoder("bluemarble-l10"), PIXELS[0]),
        (ImageGeolocator(n_candidates=500), [[2.5, 95.0]]),
    ):
        yield Case(
            f"{type(estimator).__name__}: used after a fit that failed",
            partial(used_after_failure, estimator, X),
            words=("not fitted",),
        )


def score_after(**changes):
    return ImageGeolocator(n_candidates=500).fit().set_params(**changes).score(PIXELS, PLACES)


def used_after_failure(estimator, X):
    estimator.fit()
    try:
        estimator.fit(X)
    except ValueError:
        return (getattr(estimator, "predict", None) or estimator.transform)(PIXELS)
    raise RuntimeError("fit did not fail")


def saving_cases(folder):
    """What is saved again says what it is."""
    small = folder / "small"

    def save_twice():
        encoder, target = SatCLIPEncoder(small).fit(), folder / numbered("licence")
        encoder.save_pretrained(target, licence="MIT")
        older = SatCLIPEncoder(target).fit()
        encoder.save_pretrained(target, licence="CC0-1.0")
        newer = SatCLIPEncoder(target).fit()
        return [older.encoder_info_["licence"], newer.encoder_info_["licence"]]

    def facts(name):
        target = folder / numbered("facts")
        SatCLIPEncoder(name).fit().save_pretrained(target)
        return sorted(json.loads((target / "config.json").read_text()).items(), key=str)

    def known(name):
        return json.loads((WEIGHTS_FOLDER / name / "config.json").read_text())

    def saved(encoder, target, **more):
        return encoder.save_pretrained(target, **more)

    yield Case("another licence", save_twice, lambda: ["MIT", "CC0-1.0"])
    for name in ("bluemarble-l10", "bluemarble-l20"):
        for key in sorted(known(name).keys() - {"name", "image", "location", "made_from"}):
            yield Case(
                f"{name}: {key} is kept",
                lambda name=name, key=key: json.dumps(dict(facts(name)).get(key)),
                lambda name=name, key=key: json.dumps(known(name)[key]),
            )
    both = folder / numbered("both")
    yield Case(
        "over a model of two towers",
        lambda: saved(
            SatCLIPEncoder(small).fit(),
            written_folder(WEIGHTS_FOLDER / "bluemarble-l10", both),
        ),
        words=("image tower",),
    )
    file = write_bytes(folder / "taken", b"")
    yield Case("where a file is", lambda: saved(SatCLIPEncoder(small).fit(), file),
               words=("taken",), kinds=(*REFUSALS, OSError))  # fmt: skip
    yield Case("before fit", lambda: saved(SatCLIPEncoder(small), folder / "x"),
               words=("not fitted",))  # fmt: skip
    yield Case("a class of its own", lambda: saved(SatCLIPEncoder(OwnForward(4, 5, 6)).fit(),
               folder / "x"), words=("OwnForward",))  # fmt: skip
    yield Case("a licence that is no text", lambda: saved(SatCLIPEncoder(small).fit(),
               folder / numbered("licence"), licence=5), words=("licence",))  # fmt: skip
    for name, make in (
        *ENCODERS.items(),
        ("SatCLIPImageEncoder", partial(SatCLIPImageEncoder, "bluemarble-l10")),
        ("ImageGeolocator", partial(ImageGeolocator, n_candidates=50)),
    ):
        yield Case(f"{name}: fit draws no random number", partial(draws_random, make),
                   lambda: [False, False])  # fmt: skip


def draws_random(make):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    make().fit()
    after = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    return [not torch.equal(before[0], after[0]), not np.array_equal(before[1], after[1])]


# --- splitters

WIDE = np.column_stack([np.linspace(-170, 175, 40), np.linspace(-80, 80, 40)])


def folds(X, splitter=None, **keywords):
    splitter = splitter or SpatialBlockKFold(3)
    fold = np.full(len(WIDE), -1)
    for number, (_, test) in enumerate(splitter.split(X, **keywords)):
        fold[test] = number
    return fold


def wide_frame(*names, **more):
    columns = {names[0]: WIDE[:, 1], names[1]: WIDE[:, 0], **more}
    return pd.DataFrame(columns)


def splitter_inputs():
    masked = np.ma.array(WIDE)
    masked[3, 0] = np.ma.masked
    tuples = pd.MultiIndex.from_tuples([("p", "lat"), ("p", "lon")])
    far = pd.DataFrame({"lon": WIDE[:, 0], "lat": WIDE[:, 1], "sampled_lat": WIDE[::-1, 1]})
    geo = gpd.GeoSeries(gpd.points_from_xy(*WIDE.T), crs=4326)
    return [
        Given("array", lambda: WIDE),
        Given("lists", lambda: WIDE.tolist()),
        Given("tensor", lambda: torch.tensor(WIDE)),
        Given("lat, lon", lambda: wide_frame("lat", "lon")),
        Given("lat, lon and more", lambda: wide_frame("lat", "lon", price=1.0, name="x")),
        Given("bytes names", lambda: wide_frame(b"lat", b"lon")),
        Given("bytes names and more", lambda: wide_frame(b"lat", b"lon", price=1.0)),
        Given("MultiIndex", lambda: pd.DataFrame(WIDE[:, ::-1], columns=tuples)),
        Given("arrow", lambda: pa.table({"lat": WIDE[:, 1], "lon": WIDE[:, 0], "z": WIDE[:, 0]})),
        Given("polars", lambda: pl.DataFrame({"lat": WIDE[:, 1], "lon": WIDE[:, 0], "z": 1})),
        Given("structured", lambda: np.rec.fromarrays(WIDE.T[::-1], names="lat,lon")),
        Given("DataArray", lambda: data_array(values=WIDE[:, ::-1])),
        Given("shapely", lambda: list(shapely.points(WIDE))),
        Given("GeoSeries in plate carrée", lambda: geo.to_crs("EPSG:4087")),
        Given("360 notation", lambda: np.column_stack([WIDE[:, 0] % 360, WIDE[:, 1]])),
        Given("integer names", lambda: pd.DataFrame(WIDE)),
        Given("lon, lat, sampled_lat", lambda: far, words=("lat may be", "sampled_lat")),
        Given("lon, lat, Longitude", lambda: wide_frame("lat", "lon", Longitude=0.0),
              words=("lon may be",)),
        Given("x, y", lambda: wide_frame("y", "x"), words=("coords", "lon=")),
        Given("no coordinates", lambda: pd.DataFrame({"a": [1.0], "b": 2.0, "c": 3}),
              words=("coords",)),
        Given("masked", lambda: masked, words=("NaN", "row 3")),
        Given("booleans", lambda: WIDE > 0, words=("booleans",)),
        Given("NaN", lambda: np.where(WIDE[3, 0] == WIDE, np.nan, WIDE), words=("NaN", "row 3")),
        Given("many features", lambda: np.zeros((40, 7)), words=("coords",)),
        Given("None", lambda: None, words=("coords",)),
        Given("dict", lambda: {"lon": WIDE[:, 0]}, words=("DataFrame",)),
        Given("sparse", lambda: scipy.sparse.csr_array(WIDE), words=("toarray",)),
        Given("LazyFrame", lambda: pl.LazyFrame({"lat": [1.0], "lon": [1.0]}), words=("collect",)),
        Given("dask frame", lambda: dask.dataframe.from_pandas(wide_frame("lat", "lon")),
              words=("dask", "compute")),
        Given("dask array", lambda: dask.array.from_array(WIDE), words=("dask", "compute")),
        Given("swapped", lambda: np.column_stack([WIDE[:, 1], WIDE[:, 0]]), words=("swapped",)),
        Given("one block", lambda: np.zeros((40, 2)), words=("block_size",)),
    ]  # fmt: skip


def splitter_cases():
    for given in splitter_inputs():
        right = partial(folds, WIDE) if given.words is None else None
        yield Case(
            f"X: {given.name}",
            lambda given=given: folds(quietly(given.make)),
            right,
            given.words,
        )
        yield Case(
            f"coords: {given.name}",
            lambda given=given: folds(np.zeros((40, 5)), coords=quietly(given.make)),
            right,
            () if given.words and "coords" in given.words else given.words,
            kinds=REFUSALS,
        ) if given.name not in ("None", "lon, lat, sampled_lat", "lat, lon and more",
                                "bytes names and more", "arrow", "polars",
                                "lon, lat, Longitude") else None  # fmt: skip
    for name, X in (
        ("array", np.zeros((7, 5))),
        ("list", [[0.0] * 5] * 7),
        ("frame", pd.DataFrame(np.zeros((7, 5)))),
        ("arrow", pa.table({"a": [1.0] * 7})),
        ("sparse", scipy.sparse.csr_array(np.zeros((7, 5)))),
    ):
        yield Case(
            f"coords of another length than X, {name}",
            lambda X=X: folds(X, coords=WIDE),
            words=("40", "7"),
        )
    for name, value in (
        ("n_splits", 1), ("n_splits", 2.0), ("n_splits", "3"), ("n_splits", None),
        ("n_splits", True), ("n_splits", 1000), ("block_size", 0), ("block_size", -1),
        ("block_size", np.nan), ("block_size", np.inf), ("block_size", "10"),
        ("block_size", 181), ("block_size", 1e-300), ("unit", "miles"),
        ("unit", None), ("buffer_km", -1), ("buffer_km", np.nan), ("buffer_km", "10"),
        ("buffer_km", None), ("buffer_km", 1e6),
    ):  # fmt: skip
        yield Case(
            f"SpatialBlockKFold({name}={value!r})",
            lambda name=name, value=value: folds(
                WIDE, SpatialBlockKFold(**{"n_splits": 3, "shuffle": True, name: value})
            ),
            words=(name,),
        )
    for name, first, second in (
        ("a pole's longitudes", [[0, 90], [77, 90]], [[-180, 90], [200, 90]]),
        ("the antimeridian", [[180, 5], [190, 5]], [[-180, 5], [-170, 5]]),
        ("zeros", [[-0.0, 0], [360, 0.0]], [[0, -0.0], [0, 0]]),
    ):
        for unit, size in (("degrees", 7.0), ("km", 900.0)):
            splitter = SpatialBlockKFold(block_size=size, unit=unit)
            yield Case(
                f"blocks of {name}, {unit}",
                partial(splitter.blocks, first),
                partial(splitter.blocks, second),
            )
    regions = np.repeat(["a", "b"], 20)
    for name, groups, words in (
        ("none", None, ("groups",)),
        ("one", ["a"] * 40, ("one region",)),
        ("NaN", np.r_[np.nan, np.zeros(39)], ("NaN",)),
        ("None among texts", [None, *regions[1:]], ("groups",)),
        ("masked", np.ma.array(np.arange(40) % 3, mask=np.arange(40) < 5), ("mask",)),
        ("NA", pd.Series([pd.NA, *regions[1:]], dtype="string"), ("NA",)),
        ("two columns", np.arange(80).reshape(40, 2) % 3, ("groups",)),
        ("of another length", regions[:30], ("30", "40")),
    ):
        yield Case(
            f"LeaveOneRegionOut, groups {name}",
            lambda groups=groups: folds(WIDE, LeaveOneRegionOut(), groups=groups),
            words=words,
        )
    yield Case(
        "LeaveOneRegionOut, categories",
        lambda: folds(WIDE, LeaveOneRegionOut(), groups=pd.Series(regions, dtype="category")),
        lambda: np.repeat([0, 1], 20),
    )


# --- running

ENCODERS: dict[str, Callable] = {
    "SatCLIPEncoder": SatCLIPEncoder,
    "PositionalEncoder": PositionalEncoder,
}


def groups_of_cases(folder, url):
    """Yield the name of each row of the table and its cases."""
    for encoder in ENCODERS:
        inputs = [*ARRAYS, *TENSORS, *PANDAS, *TABLES, *GEOMETRIES, *CHOSEN]
        yield f"coordinates × {encoder}", [
            *read_cases(encoder, inputs), *world_cases(encoder), *gap_cases(encoder),
            *dask_cases(encoder)
        ]  # fmt: skip
    inputs = [*ARRAYS, *TENSORS, *PANDAS, *TABLES, *GEOMETRIES]
    yield "coordinates in fit", fitted_cases("PositionalEncoder", inputs)
    for encoder in ENCODERS:
        yield f"axes × {encoder}", axis_cases(encoder, LON_AXES)
    yield "grids of the world", world_grids()
    yield "images", image_cases(folder, url)
    yield "geolocator", geolocator_cases(folder)
    yield "model folders", folder_cases(folder)
    yield "checkpoints", file_cases(folder)
    yield "files of GeoCLIP, CSP, GPS2Vec", baseline_file_cases(folder)
    yield "files of other authors", other_file_cases(folder)
    yield "databases of RANGE", database_cases(folder)
    yield "months", month_cases()
    yield "names of models", name_cases()
    yield "modules", module_cases()
    yield "saving", saving_cases(folder)
    yield "states", [*state_cases(), *own_state_cases()]
    yield "parameters of encodings", positional_cases()
    yield "splitters", splitter_cases()


def run_group(cases, counts):
    """Judge the cases of a group; return what is to be told of them."""
    told = []
    for case in filter(None, cases):
        outcome, what = judge(case)
        counts[outcome] += 1
        if what:
            told.append((outcome, case.name, what))
    return told


def out_of_time(*_):
    raise TimeoutError(f"took more than {SECONDS} s")


def main():
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)  # the networks meet a few places at a time
    url = forbid_network()
    signal.signal(signal.SIGPROF, out_of_time)
    limit_memory()
    start, only = time.process_time(), sys.argv[1:]
    told, total = [], dict.fromkeys(OUTCOMES, 0)
    print(f"{'':42}" + "".join(f"{outcome:>17}" for outcome in OUTCOMES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_encoders(folder)
        for group, cases in groups_of_cases(folder, url):
            if only and not any(word in group for word in only):
                continue
            counts = dict.fromkeys(OUTCOMES, 0)
            told += [(group, *entry) for entry in run_group(cases, counts)]
            total = {outcome: total[outcome] + counts[outcome] for outcome in OUTCOMES}
            print_row(group, counts)
    print_row("all", total)
    print(f"{sum(total.values())} cases, {time.process_time() - start:.0f} s of CPU")
    for outcome in OUTCOMES[2:]:
        print(f"\n{outcome}:")
        tell([entry for entry in told if entry[1] == outcome])
    return int(bool(told))


def tell(entries):
    """Print cases, those of several groups once."""
    groups = {}
    for group, _, case, what in entries:
        key = case.removesuffix(" (fit_transform)").removesuffix(" (fit, transform)")
        groups.setdefault(key, ([], what))[0].append(group)
    for case, (names, what) in groups.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        print(f"  [{names[0]}{more}] {case}\n      {' '.join(what.split())}")


def print_row(name, counts):
    print(f"{name:42}" + "".join(f"{counts[outcome]:>17,}" for outcome in OUTCOMES), flush=True)


def limit_memory():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def prepare_encoders(folder):
    """Add the encoders whose weights are files: one in the tests, one installed, one made here."""
    zones = folder / "zones"
    zones.mkdir()
    write_zone(zones / "model_31 N.h5")
    if importlib.util.find_spec("geoclip") is not None:
        ENCODERS["GeoCLIPEncoder"] = GeoCLIPEncoder
    ENCODERS["CSPEncoder"] = lambda model=SPACE2VEC, **more: CSPEncoder(model, **more)
    ENCODERS["GPS2VecEncoder"] = lambda model=zones, **more: GPS2VecEncoder(model, **more)
    for name, (encoder, weights, more) in OTHERS.items():
        target = folder / f"{encoder.__name__}-of-the-recipe"
        target.mkdir()
        save_file(weights(), target / "model.safetensors")
        if encoder is GeoCLIPEncoder:
            (target / "config.json").write_text(TAXABIND)
        ENCODERS[name] = partial(encoder, target, **more)
    database = third_party_recipe.range_database(folder / "recipe.npz", n=40, k=256, d=12)
    ENCODERS["RANGEEncoder"] = lambda **more: RANGEEncoder(
        database, **{"location_encoder": looks(), **more}
    )


if __name__ == "__main__":
    sys.exit(main())
