"""Tells whether files have changed since `fit`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from skgeo_embed._errors import ImageError
from skgeo_embed._files import beginning_and_end

MOST_FILES = 10_000  # of a Zarr store; of larger ones only the descriptions are looked at
DESCRIPTIONS = {"zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"}
Stamp = tuple[str, str]  # a path, and a digest of what tells its files from others
OPENED_BESIDE = (".msk", ".MSK", ".ovr", ".OVR")  # GDAL opens these with a file, by any driver
BESIDE = (*OPENED_BESIDE, ".aux.xml")
MISSING = ""


def stamps_of(paths: Iterable[str]) -> tuple[Stamp, ...]:
    """Return what tells files, with those beside them, and folders from later ones.

    That is their sizes and times, and of single files the beginning and the end: copies may keep
    the time, and rasters of one shape have one size.
    """
    return tuple(_stamp(path) for path in paths)


def check_unchanged(stamps: Iterable[Stamp]) -> None:
    """Compare files with what they were in `fit`.

    Raises
    ------
    ImageError
        If one has changed, is gone, or is new.
    """
    for stamp in stamps:
        found = _stamp(stamp[0])
        if found != stamp:
            what = "is gone" if found[1] == MISSING else "has changed"
            raise ImageError(f"{stamp[0]} {what} since fit; fit again.")


def _stamp(path: str) -> Stamp:
    if not os.path.exists(path):
        return path, MISSING
    found = hashlib.sha256()
    for file in sorted(_files(path)):
        with suppress(FileNotFoundError):
            stat = os.stat(file)
            found.update(f"{file} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    if os.path.isfile(path):
        # opening an unreadable file raises its own error
        with suppress(OSError):
            found.update(beginning_and_end(path))
    return path, found.hexdigest()


def _files(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path, *(path + suffix for suffix in BESIDE)]
    files = list(islice(_walked(path), MOST_FILES + 1))
    if len(files) <= MOST_FILES:
        return files
    folders = [Path(path), *(entry for entry in Path(path).iterdir() if entry.is_dir())]
    return [
        str(folder / name)
        for folder in folders
        for name in DESCRIPTIONS
        if (folder / name).exists()
    ]


def _walked(folder: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        yield from (os.path.join(parent, name) for name in names)
