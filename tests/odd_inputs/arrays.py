"""Arrays, lists and tensors that hold PLACES, are chosen columns of them, or must be refused."""

from array import array
from collections import namedtuple
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse
import torch

from tests.odd_inputs.checking import either, reads, refuses
from tests.odd_inputs.encoders import LAT, LON, PLACES


def structured(*extra):
    """Make a structured array whose first field is latitude."""
    fields = [("lat", "f8"), ("lon", "f4"), *((name, "f8") for name in extra)]
    table = np.zeros(3, dtype=fields)
    table["lon"], table["lat"] = LON, LAT
    return table


def masked_fields():
    table = np.ma.array(structured())
    table["lat"][1] = np.ma.masked
    return table


def with_value(value, dtype=object):
    """Put a value in the place of the second longitude."""
    table = PLACES.astype(dtype)
    table[1, 0] = value
    return table


class Number:
    def __init__(self, value):
        self.value = value

    def __float__(self):
        return self.value


class Array:
    """An object that offers numpy's protocol alone."""

    def __array__(self, dtype=None, copy=None):
        return PLACES.astype(dtype or float)


Pair = namedtuple("Pair", ["lat", "lon"])
STRINGS = np.dtypes.StringDType()

ARRAYS = [
    reads("lists", lambda: PLACES.tolist()),
    reads("tuples", lambda: tuple(map(tuple, PLACES))),
    reads("list of arrays", lambda: list(PLACES)),
    reads("float32", lambda: PLACES.astype(np.float32)),
    reads("float16", lambda: PLACES.astype(np.float16)),
    reads("longdouble", lambda: PLACES.astype(np.longdouble)),
    reads("big-endian", lambda: PLACES.astype(">f8")),
    reads("Fortran order", lambda: np.asfortranarray(PLACES)),
    reads("negative strides", lambda: PLACES[::-1, ::-1].copy()[::-1, ::-1]),
    reads("a window of a wider array", lambda: np.hstack([PLACES, PLACES])[:, :2]),
    reads("read-only", lambda: np.frombuffer(PLACES.tobytes()).reshape(-1, 2)),
    reads("np.matrix", lambda: np.asmatrix(PLACES)),
    reads("memoryview", lambda: memoryview(np.ascontiguousarray(PLACES))),
    reads("array.array rows", lambda: [array("d", row) for row in PLACES]),
    reads("uint8", lambda: np.array([[2, 5], [4, 1]], np.uint8), places=[[2, 5], [4, 1]]),
    reads("objects of float", lambda: PLACES.astype(object)),
    reads("Decimal", lambda: [[Decimal(str(v)) for v in row] for row in PLACES]),
    reads("Fraction", lambda: [[Fraction(v) for v in row] for row in PLACES]),
    reads("objects with __float__", lambda: [[Number(v) for v in row] for row in PLACES]),
    reads("objects with __array__", Array),
    reads("denormals and -0.0", lambda: [[5e-324, -0.0]], places=[[0.0, 0.0]]),
    reads("masked, nothing masked", lambda: np.ma.array(PLACES)),
    refuses("masked", lambda: np.ma.masked_equal(PLACES, 1.75), "NaN", "row 1"),
    refuses("masked objects", lambda: np.ma.array(PLACES.astype(object), mask=PLACES == 1.75),
        "NaN"),
    refuses("masked integers", lambda: np.ma.masked_equal([[0, 0], [2, 5]], 0), "NaN"),
    refuses("list of masked rows", lambda: list(np.ma.masked_equal(PLACES, 1.75)), "NaN"),
    refuses("np.ma.masked in a list", lambda: [[2.5, 5.5], [np.ma.masked, 1.75]]),
    reads("structured, lat first", structured),
    reads("recarray, lat first", lambda: structured().view(np.recarray)),
    refuses("structured with a third field", lambda: structured("z"), "2 are required"),
    refuses("structured, masked field", masked_fields, "NaN"),
    refuses("structured, fields of two", lambda: np.zeros(3, [("lon", "f8", 2), ("lat", "f8", 2)])),
    refuses("structured, unnamed fields", lambda: np.zeros(3, "f8,f8"), "recognised as the"),
    refuses("NaN", lambda: with_value(np.nan, float), "NaN", "row 1", "on_invalid"),
    refuses("infinity", lambda: with_value(np.inf, float), "infinity", "row 1"),
    refuses("None", lambda: [[2.5, 5.5], [None, 1.75]], "NaN", "row 1"),
    refuses("pandas.NA in objects", lambda: with_value(pd.NA), "NaN"),
    refuses("pandas.NaT in objects", lambda: with_value(pd.NaT)),
    refuses("Decimal NaN", lambda: with_value(Decimal("NaN")), "NaN"),
    refuses("Decimal sNaN", lambda: with_value(Decimal("sNaN")), "NaN"),
    refuses("10**400", lambda: with_value(10**400), "degrees"),
    refuses("10**400 in a list", lambda: [[2.5, 10**400]], "degrees"),
    refuses("Decimal 1e999", lambda: with_value(Decimal("1e999"))),
    refuses("metres", lambda: PLACES * 111_000, "metres"),
    refuses("lon 361", lambda: [[361.0, 5.0]], "[-180, 360]", "lon=361"),
    refuses("lon just above 360", lambda: [[360 + 2e-9, 5.0]], "[-180, 360]"),
    refuses("lon just below -180", lambda: [[-180 - 2e-9, 5]], "[-180, 360]"),
    refuses("lat just above 90", lambda: [[2.5, 90 + 2e-9]], "[-90, 90]"),
    refuses("lat just below -90", lambda: [[2.5, -90 - 2e-9]], "[-90, 90]"),
    refuses("swapped", lambda: [[5.5, 102.5]], "swapped"),
    refuses("booleans", lambda: PLACES > 3, "booleans"),
    refuses("booleans in lists", lambda: [[True, False]], "booleans"),
    refuses("a bool beside a float in a list", lambda: [[True, 5.5]], "True"),
    refuses("a bool beside an int in a list", lambda: [[2, 5], [True, 1]], "True"),
    refuses("np.True_ in a list", lambda: [[np.True_, 5.5]], "True"),
    refuses("a bool among objects", lambda: with_value(True), "True", "row 1"),
    refuses("complex", lambda: PLACES + 0j, "complex"),
    refuses("complex among objects", lambda: with_value(2j), "complex"),
    refuses("datetime64", lambda: PLACES.astype("M8[s]"), "dates"),
    refuses("timedelta64", lambda: PLACES.astype("m8[s]"), "durations"),
    refuses("datetime64 among objects", lambda: with_value(np.datetime64("2020-01-01"))),
    refuses("texts", lambda: PLACES.astype(str), "degrees", "to_numeric"),
    refuses("bytes", lambda: PLACES.astype("S"), "degrees"),
    either("StringDType", lambda: PLACES.astype(STRINGS), "degrees"),
    refuses("StringDType, decimal commas", lambda: np.array([["2,5", "5,5"]], STRINGS),
        'decimal=","'),
    refuses("void", lambda: np.zeros((3, 2), "V8"), "degrees"),
    refuses("texts in lists", lambda: [["2.5", 5.5]], "degrees", "2.5"),
    refuses("decimal comma", lambda: [["2,5", "5,5"]], 'decimal=","'),
    refuses("one text per place", lambda: ["2.5,5.5", "4.25,1.75"], "(n, 2)"),
    refuses("None", lambda: None, "(n, 2)"),
    refuses("a number", lambda: 5.0, "(n, 2)"),
    refuses("a text", lambda: "2.5,5.5", "text", "2.5,5.5"),
    refuses("a path", lambda: Path("places.csv"), "(n, 2)"),
    refuses("empty list", lambda: [], "(n, 2)"),
    refuses("list of an empty list", lambda: [[]], "(n, 2)"),
    refuses("no rows", lambda: np.empty((0, 2)), "0 sample"),
    refuses("one place, one dimension", lambda: [2.5, 5.5], "[[lon, lat]]"),
    refuses("three columns", lambda: np.zeros((3, 3)), "two columns"),
    refuses("two rows of coordinates", lambda: PLACES.T, "two columns"),
    refuses("three dimensions", lambda: np.zeros((3, 2, 1)), "(n, 2)"),
    refuses("ragged", lambda: [[2.5, 5.5], [4.25]], "(n, 2)"),
    refuses("dict", lambda: {"lon": LON, "lat": LAT}, "dict", "DataFrame"),
    refuses("list of dicts", lambda: [{"lon": 2.5, "lat": 5.5}], "frame"),
    refuses("set", lambda: {(2.5, 5.5)}, "(n, 2)"),
    refuses("generator", lambda: (row for row in PLACES), "(n, 2)"),
    refuses("zip", lambda: zip(LON, LAT, strict=True), "(n, 2)"),
    either("named tuples, lat first", lambda: [Pair(lat, lon) for lon, lat in PLACES], "lat"),
    refuses("scipy sparse matrix", lambda: scipy.sparse.csr_matrix(PLACES), "toarray"),
    refuses("scipy sparse array", lambda: scipy.sparse.coo_array(PLACES), "toarray"),
]  # fmt: skip

TENSORS = [
    reads("tensor", lambda: torch.tensor(PLACES)),
    reads("bfloat16 tensor", lambda: torch.tensor(PLACES, dtype=torch.bfloat16)),
    reads("float16 tensor", lambda: torch.tensor(PLACES).half()),
    either("float8 tensor", lambda: torch.tensor(PLACES).to(torch.float8_e4m3fn), "float8",
        places=np.asarray(torch.tensor(PLACES).to(torch.float8_e4m3fn).double())),
    reads("tensor with gradient", lambda: torch.tensor(PLACES, requires_grad=True)),
    reads("parameter", lambda: torch.nn.Parameter(torch.tensor(PLACES))),
    reads("transposed tensor", lambda: torch.tensor(PLACES.T.copy()).T),
    reads("integer tensor", lambda: torch.tensor([[2, 5]]), places=[[2, 5]]),
    reads("negative-bit tensor", lambda: torch._neg_view(torch.tensor(-PLACES))),
    reads("imaginary part of a conjugate",
        lambda: torch.complex(torch.zeros(3, 2).double(), torch.tensor(-PLACES)).conj().imag),
    refuses("conjugate tensor", lambda: torch.tensor(PLACES + 1j).conj(), "complex"),
    refuses("boolean tensor", lambda: torch.tensor(PLACES) > 3, "booleans"),
    refuses("meta tensor", lambda: torch.empty(3, 2, device="meta"), "meta", "no values"),
    refuses("sparse COO tensor", lambda: torch.tensor(PLACES).to_sparse(), "to_dense"),
    refuses("sparse CSR tensor", lambda: torch.tensor(PLACES).to_sparse_csr(), "to_dense"),
    refuses("mkldnn tensor", lambda: torch.tensor(PLACES).float().to_mkldnn(), "to_dense"),
    either("nested tensor", lambda: torch.nested.nested_tensor([torch.tensor(r) for r in PLACES])),
    either("quantised tensor", lambda: torch.quantize_per_tensor(torch.tensor(PLACES).float(),
        0.125, 0, torch.quint8)),
    reads("list of tensors", lambda: list(torch.tensor(PLACES))),
    either("list of bfloat16 tensors", lambda: list(torch.tensor(PLACES).bfloat16())),
    either("list of tensors with gradient", lambda: list(torch.tensor(PLACES, requires_grad=True))),
    refuses("list of meta tensors", lambda: list(torch.empty(3, 2, device="meta")), "meta"),
    reads("list of negative-bit tensors", lambda: list(torch._neg_view(torch.tensor(-PLACES)))),
]  # fmt: skip
