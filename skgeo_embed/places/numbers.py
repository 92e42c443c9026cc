"""Conversion of columns of any kind to float64, with missing values as NaN."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from skgeo_embed._errors import CoordinateError

_DECIMAL_COMMA = re.compile(r"\s*[-+−]?[\d.]+,\d+\s*")
_DEGREES_MINUTES = re.compile(
    r"\s*[-+−]?\d.*[°'\"′″ NSEWnsew]\s*|[NSEWnsew]\s*\d.*|\s*[-+−]?\d+[ :]\d+([ :][\d.]+)?\s*"
)


def comes_from_package(X: Any, *packages: str) -> bool:
    """Say whether an object's class is a package's; the package is not imported for it."""
    return type(X).__module__.partition(".")[0] in packages


def is_dask(X: Any) -> bool:
    """Say whether `X` is a dask collection; dask is not imported for it."""
    # dask_expr until dask 2025.1
    return comes_from_package(X, "dask", "dask_expr", "dask_geopandas")


def to_numpy(X: Any) -> Any:
    """Return a torch tensor as a numpy array, and anything else as it is."""
    if not (comes_from_package(X, "torch") and hasattr(X, "detach")):
        return X
    if X.is_nested:
        raise CoordinateError("got a nested tensor; use torch.nested.to_padded_tensor or a list.")
    if X.device.type == "meta":
        raise CoordinateError(
            f"got a tensor on the device meta (shape {tuple(X.shape)}), which holds no values."
        )
    if X.layout.__repr__() != "torch.strided":
        raise CoordinateError(f"got a sparse tensor ({X.layout}); use X.to_dense().")
    X = X.detach().cpu().resolve_conj().resolve_neg()
    return (X.float() if str(X.dtype) == "torch.bfloat16" else X).numpy()  # numpy has no bfloat16


def plain_column(values: Any) -> Any:
    """Return a column of arrow as pandas holds its plain values, and anything else as it is.

    An arrow dictionary is a way to store a column, and numpy makes the last word of what is
    missing in one.
    """
    if not (comes_from_package(values, "pyarrow") and hasattr(values, "to_pandas")):
        return values
    import pyarrow as pa
    from pyarrow import compute

    if hasattr(values, "schema"):  # a table of several columns is refused by its shape
        return plain_column(values.column(0)) if values.num_columns == 1 else values.to_pandas()
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    elif pa.types.is_run_end_encoded(values.type):
        values = compute.run_end_decode(values)
    return values.to_pandas()


def without_mask(values: Any) -> Any:
    """Return a masked array with NaN, NaT or None where it is masked, and others as they are."""
    if not isinstance(values, np.ma.MaskedArray):
        return values
    data, mask = np.ma.getdata(values), np.ma.getmaskarray(values)
    if values.dtype.names or not mask.any():
        return data
    if data.dtype.kind in "mM":
        return np.where(mask, np.array("NaT", data.dtype), data)
    if data.dtype.kind in "biuf":
        return np.where(mask, np.nan, data.astype(np.float64))
    objects = data.astype(object)
    objects[mask] = None
    return objects


def first_value(values: Iterable[Any]) -> Any:
    """Return the first value that is not missing, or None."""
    return next((value for value in values if not is_missing(value)), None)


def is_missing(value: Any) -> bool:
    """Say whether a single value is None, NaN or pandas' NA."""
    is_nan = isinstance(value, (float, np.floating)) and value != value
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")


def to_float64(values: Any, what: str, unit: str = " in degrees") -> np.ndarray:
    """Convert numbers of any kind; masked and missing values become NaN.

    Raises
    ------
    CoordinateError
        If they are not numbers; the message names `what`, the `unit` and the first that is not.
    """
    array = as_array(values, what, unit)
    _check_kind(array, what, unit)
    if array.dtype.kind == "O":
        array = _without_missing_objects(array)
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        # scikit-learn's contract: objects without a number raise TypeError in its own words.
        kind = TypeError if isinstance(error, TypeError) else CoordinateError
        raise kind(f"{what} must be numbers{unit}: {error}") from error
    return numbers.filled(np.nan) if isinstance(numbers, np.ma.MaskedArray) else numbers


def as_array(values: Any, what: str, unit: str = " in degrees") -> np.ndarray:
    """Make an array of nested sequences; masks of rows and tensors among them are kept."""
    if isinstance(values, np.ma.MaskedArray):
        return values
    if isinstance(values, (list, tuple)):
        _check_rows(values, what, unit)
        if any(comes_from_package(row, "torch") for row in values):
            values = [to_numpy(row) for row in values]
        if any(isinstance(row, np.ma.MaskedArray) for row in values):
            values = np.ma.stack(values)
    try:
        return values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    except ValueError as error:
        raise CoordinateError(
            f"{what} must be rows of one length, (n, 2) in a table: {error}"
        ) from error


def _check_rows(rows: Any, what: str, unit: str) -> None:
    """Raise for rows with names, which would be lost, and for booleans, which are not degrees."""
    for number, row in enumerate(rows):
        if hasattr(row, "_fields") or comes_from_package(row, "pandas") or isinstance(row, dict):
            names = list(_names_of_row(row))
            raise CoordinateError(
                f"{what} are a list of {type(row).__name__} with names of their own "
                f"({names[:4]}); use pandas.DataFrame(X), whose columns are recognised."
            )
        values = row if isinstance(row, (list, tuple)) else [row]
        if any(isinstance(value, (bool, np.bool_)) for value in values):
            raise CoordinateError(
                f"{what} must be numbers{unit}, got booleans (True, False) in row {number}."
            )


def _names_of_row(row: Any) -> Any:
    if hasattr(row, "_fields"):
        return row._fields
    return [row.name, *row.index] if comes_from_package(row, "pandas") else row


def _without_missing_objects(array: np.ndarray) -> np.ndarray:
    """Put NaN instead of pandas' and Python's missing values."""
    filled = array.copy()
    for position, value in enumerate(np.ma.getdata(array).flat):
        if is_missing(value):
            filled.flat[position] = np.nan
    return filled


def _check_kind(array: Any, what: str, unit: str) -> None:
    kind = array.dtype.kind
    if kind == "c":
        raise CoordinateError(f"Complex data not supported: {what} have dtype {array.dtype}.")
    if kind == "b":
        raise CoordinateError(f"{what} must be numbers{unit}, got booleans.")
    if kind in "USTMm":
        first = array.ravel()[0] if array.size else ""
        raise CoordinateError(
            f"{what} must be numbers{unit}, got dtype {array.dtype} "
            f"(first value {first.item() if hasattr(first, 'item') else first!r}); "
            f"{_advice(str(first)) if kind in 'UST' else 'they are dates or durations.'}"
        )
    if kind != "O":
        return
    for position, value in enumerate(np.ma.getdata(array).ravel()):
        row = position // max(1, array.shape[-1]) if array.ndim == 2 else position
        if isinstance(value, (str, bytes)):
            text = value.decode(errors="replace") if isinstance(value, bytes) else value
            raise CoordinateError(
                f"{what} must be numbers{unit}, got the text {value!r} in row {row}; "
                f"{_advice(text)}"
            )
        if isinstance(value, (bool, np.bool_)):
            raise CoordinateError(f"{what} must be numbers{unit}, got {value} in row {row}.")


def _advice(text: str) -> str:
    if _DECIMAL_COMMA.fullmatch(text):
        return (
            'it has a decimal comma: read the file with pandas.read_csv(..., decimal=","), or '
            'convert the column with .str.replace(",", ".").astype(float).'
        )
    if _DEGREES_MINUTES.fullmatch(text):
        return (
            "it looks like degrees, minutes and seconds or has a letter for the hemisphere: "
            "convert it to degrees + minutes / 60 + seconds / 3600, negative for S and W."
        )
    return "convert it, for example with pandas.to_numeric."
