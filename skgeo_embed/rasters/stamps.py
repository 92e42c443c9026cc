"""Tells whether files have changed since `fit`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from skgeo_embed._errors import ImageError

MOST_FILES = 10_000  # of a Zarr store; of larger ones only the descriptions are looked at
DESCRIPTIONS = {"zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"}
Stamp = tuple[str, int, int]  # a path, its bytes, and the sum of its files' times in nanoseconds
OPENED_BESIDE = (".msk", ".MSK", ".ovr", ".OVR")  # GDAL opens these with a file, by any driver
BESIDE = (*OPENED_BESIDE, ".aux.xml")
MISSING = -1


def stamps_of(paths: Iterable[str]) -> tuple[Stamp, ...]:
    """Return sizes and times of files, with those beside them, and of folders; -1 if missing."""
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
        return path, MISSING, MISSING
    size, times = 0, 0
    for file in _files(path):
        with suppress(FileNotFoundError):
            stat = os.stat(file)
            size, times = size + stat.st_size, times + stat.st_mtime_ns
    return path, size, times


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
