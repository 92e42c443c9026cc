"""Databases that RANGE retrieves image features from."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError
from skgeo_embed.models.checks import as_format_error, named_path
from skgeo_embed.models.hub import HubOptions, fetch
from skgeo_embed.models.model_file import Origin, local_origin
from skgeo_embed.models.registry import THIRD_PARTY
from skgeo_embed.models.third_party.model import warn_of_licence

KEYS = ("locs", "satclip_embeddings", "image_embeddings")
NUMBERS = 2**24  # read at a time
LONGEST_HEADER = 2**14  # bytes, of an array
LARGEST = 2**32  # bytes that a database may take in memory; the authors' take up to 1 GB
LARGEST_SQUEEZED = 2**24  # bytes of an array, whatever it is compressed to
MOST_SQUEEZED = 50  # times; larger arrays that compress better hold no features
HEADERS: dict[tuple[int, int], Callable[[Any], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True, eq=False)
class RangeDatabase:
    """Places, keys that queries are compared with, and image features: float32, row by row.

    Attributes
    ----------
    lonlat : ndarray of shape (n, 2), float64
        Degrees.
    keys : ndarray of shape (n, k)
        Of unit length.
    values : ndarray of shape (n, d)
        Image features.
    name, sha256 : str
        Where it came from.
    reopen : callable or None
        Opens it again: a pickle holds this in place of the arrays. None for a user's own arrays.
    """

    lonlat: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    name: str
    sha256: str | None = None
    reopen: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> RangeDatabase:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self.reopen is not None:
            return _open_again, (self.reopen, self.name, self.sha256)
        return RangeDatabase, (self.lonlat, self.keys, self.values, self.name, self.sha256)


def open_database(database: Any, options: HubOptions) -> RangeDatabase:
    """Open a database by name, from the hub, or the path of its .npz; nothing in it is run."""
    if not isinstance(database, (str, os.PathLike)):
        raise TypeError(f"database must be text or a path, got {type(database).__name__}.")
    name, row = str(database), THIRD_PARTY.get(str(database))
    if row is not None and row.repo_type == "dataset":
        found = fetch(str(row.repository), str(row.file), options, dataset=True)
        origin = Origin("hub", name, found.path, found.sha256, found.commit, found.state)
        with origin.as_found():
            arrays = _read_arrays(found.path)
        warn_of_licence(row)
        reopen = partial(open_database, name, options.pinned(found.commit))
        return RangeDatabase(*arrays, name=name, sha256=found.sha256, reopen=reopen)
    path = named_path(database)
    if not path.is_file():
        raise ModelNotFoundError(
            f"there is no database {name!r}; pass 'range-large' or 'range-medium' (on the hub), or "
            f"the path of an .npz file with the arrays {', '.join(KEYS)}. RANGEEncoder.from_images "
            "makes a database from your own images."
        )
    origin = local_origin("checkpoint", path.name, path)
    with origin.as_found():
        arrays = _read_arrays(path)
    return RangeDatabase(*arrays, name=path.name, sha256=origin.sha256)


def checked_database(
    lonlat: np.ndarray, keys: np.ndarray, values: np.ndarray, names: tuple[str, str, str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check that the rows of the named arrays belong together; scale the keys to unit length.

    Raises
    ------
    ValueError
        If they do not, or if there are none, or if values are missing.
    """
    arrays = dict(zip(names, (lonlat, keys, values), strict=False))
    named = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    if not (lonlat.ndim == keys.ndim == values.ndim == 2 and lonlat.shape[1] == 2):
        raise ValueError(f"each image needs one row; the shapes are {named}")
    if not len(lonlat) == len(keys) == len(values) > 0:
        raise ValueError(f"all need the same number of rows, at least one; the shapes are {named}")
    for name, array in arrays.items():
        if not array.shape[1]:
            raise ValueError(f"{name} has no columns")
        if not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
            raise ValueError(f"{name} is NaN or infinite, first in row {row}")
    largest = np.abs(keys).max(axis=1, keepdims=True)  # squares of large ones would be infinite
    keys = keys / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(keys, axis=1, keepdims=True)
    zero = np.flatnonzero(length[:, 0] == 0)
    if len(zero):
        raise ValueError(
            f"{len(zero)} row(s) of {names[1]} are 0 (first: row {zero[0]}), which is not "
            "similar to any place; leave these images out"
        )
    return lonlat, keys / np.maximum(length, np.float32(1e-12)), values


def _read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with as_format_error(path, "a RANGE database"), zipfile.ZipFile(path) as archive:
        missing = [key for key in KEYS if f"{key}.npy" not in archive.namelist()]
        if missing:
            raise ValueError(f"it holds no {', '.join(missing)}; found {archive.namelist()[:5]}")
        _check_sizes(archive)
        lonlat = _read_array(archive, KEYS[0], np.dtype(np.float64))
        keys, values = (_read_array(archive, key, np.dtype(np.float32)) for key in KEYS[1:])
        return checked_database(lonlat, keys, values, KEYS)


def _check_sizes(archive: zipfile.ZipFile) -> None:
    """Check the sizes in the arrays' headers before allocating memory for them."""
    shapes, total = {}, 0
    for key in KEYS:
        entry = archive.getinfo(f"{key}.npy")
        with archive.open(entry) as file:
            shape, _, stored = _read_header(file, key)
            size = math.prod(shape) * stored.itemsize
            if file.tell() + size != entry.file_size:
                other = "less" if file.tell() + size > entry.file_size else "more"
                raise ValueError(f"{key} says it is {shape}, and the file holds {other}")
        if entry.file_size > max(LARGEST_SQUEEZED, MOST_SQUEEZED * entry.compress_size):
            raise ValueError(
                f"{key} takes {entry.file_size:,} bytes, compressed to {entry.compress_size:,}; "
                f"image features and places never compress to less than 1/{MOST_SQUEEZED}"
            )
        shapes[key] = shape
        total += math.prod(shape) * (8 if key == KEYS[0] else 4)
    if len({shape[0] for shape in shapes.values()}) > 1:
        named = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise ValueError(f"all need the same number of rows, at least one; the shapes are {named}")
    if total > LARGEST:
        raise ValueError(f"its arrays would take {total:,} bytes; at most {LARGEST:,} are allowed")


def _read_header(file: IO[bytes], key: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    # of so many bytes: numpy reads as long a header as a file claims to have
    beginning = io.BytesIO(file.read(LONGEST_HEADER))
    version = np.lib.format.read_magic(beginning)
    if version not in HEADERS:
        raise ValueError(f"{key} is an array of version {version}, not of one of {list(HEADERS)}")
    shape, fortran, stored = HEADERS[version](beginning)
    file.seek(beginning.tell())
    if stored.hasobject or len(shape) != 2 or stored.kind not in "fiu":
        raise ValueError(f"{key} is {stored} of shape {shape}, not a table of real numbers")
    return shape, fortran, stored


def _read_array(archive: zipfile.ZipFile, key: str, dtype: np.dtype) -> np.ndarray:
    """Read a table in pieces, so that float64 files need no second copy of themselves."""
    with archive.open(f"{key}.npy") as file:
        shape, fortran, stored = _read_header(file, key)
        array = np.empty(shape, dtype=dtype, order="F" if fortran else "C")
        as_stored = array.reshape(-1, order="A")  # a view
        for start in range(0, array.size, NUMBERS):
            piece = as_stored[start : start + NUMBERS]
            data = file.read(piece.size * stored.itemsize)
            with np.errstate(over="ignore"):  # infinity is refused with its row
                piece[:] = np.frombuffer(data, dtype=stored).reshape(piece.shape)
        return array


def _open_again(reopen: Any, name: str, sha256: str) -> RangeDatabase:
    database = reopen()
    if database.sha256 != sha256:
        raise ModelFormatError(
            f"the database {name!r} now has other contents than the pickled object was made with; "
            "fit again."
        )
    return database
