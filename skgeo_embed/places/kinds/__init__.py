"""Kinds of input that hold places, in the order in which they are tried."""

from __future__ import annotations

from typing import Any

from skgeo_embed.places.kinds.arrays import Array
from skgeo_embed.places.kinds.base import PlaceInput, Table
from skgeo_embed.places.kinds.boxes import Boxes
from skgeo_embed.places.kinds.cells import Cells
from skgeo_embed.places.kinds.frames import (
    ArrowTable,
    Frame,
    StructuredArray,
    XarrayColumns,
    XarrayDataset,
)
from skgeo_embed.places.kinds.geometries import GeoTable, ShapelyGeometries
from skgeo_embed.places.kinds.h3 import H3Cells
from skgeo_embed.places.kinds.lazy import DaskCollection, refuse_what_holds_no_rows
from skgeo_embed.places.numbers import is_dask

KINDS: tuple[type[PlaceInput], ...] = (
    DaskCollection,
    GeoTable,
    ShapelyGeometries,
    H3Cells,
    Boxes,
    ArrowTable,
    XarrayDataset,
    XarrayColumns,
    StructuredArray,
    Frame,
    Array,
)


def recognise(X: Any, *, columns_are_named: bool = False) -> PlaceInput:
    """Find out which kind of input X is.

    Parameters
    ----------
    X : object
        What a user passed as places.
    columns_are_named : bool, default=False
        Whether lon= and lat= name columns; then X is a table even if it has geometries too.

    Returns
    -------
    found : PlaceInput
        The first kind that recognises it.

    Raises
    ------
    CoordinateError
        If X holds no rows of places.
    """
    if isinstance(X, PlaceInput):
        return X
    if not is_dask(X):  # some of its objects answer to every name
        refuse_what_holds_no_rows(X)
    for kind in KINDS:
        if columns_are_named and kind.yields_to_named_columns:
            continue
        found = kind.recognise(X)
        if found is not None:
            return found
    raise AssertionError("the last kind takes anything")


__all__ = ["KINDS", "Cells", "PlaceInput", "Table", "recognise"]
