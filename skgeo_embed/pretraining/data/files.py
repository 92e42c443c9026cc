"""Images in files: a list of paths, a folder in the layout of S2-100K, or its tar shards."""

from __future__ import annotations

import json
import os
import tarfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from skgeo_embed._errors import ImageError, TrainingWarning, warn_caller
from skgeo_embed._files import cache_folder, write_atomically
from skgeo_embed.images.crop import crop_centre
from skgeo_embed.images.files import read_geotiff
from skgeo_embed.images.pixels import check_pixels, keep_integers, to_float_images
from skgeo_embed.places.reading import read_coordinates
from skgeo_embed.pretraining.data.arrays import fingerprint_of
from skgeo_embed.pretraining.data.batches import Batch

READERS = min(8, os.cpu_count() or 1)  # threads
NAMED_IN_ERRORS = 10


@dataclass(frozen=True)
class ImageFile:
    """An image in its own file, or in a tar file if `size` is given."""

    path: str
    name: str
    offset: int = 0
    size: int | None = None

    def read(self) -> np.ndarray:
        """Read the pixels, (bands, height, width)."""
        if self.size is None:
            return read_geotiff(self.path)
        with open(self.path, "rb") as shard:
            shard.seek(self.offset)
            return read_geotiff(self.name, shard.read(self.size))


class FilePairs(Dataset[Batch]):
    """Images in files with their coordinates; several threads read the files of a batch.

    Parameters
    ----------
    files : sequence of ImageFile
        The images.
    lonlat : ndarray of shape (n, 2)
        Canonical coordinates.
    side : int, default=None
        Cut images to ``side × side`` pixels at their centre; None does not cut them.
    """

    def __init__(
        self, files: Sequence[ImageFile], lonlat: np.ndarray, side: int | None = None
    ) -> None:
        self.files = list(files)
        self.lonlat = lonlat
        self.side = side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Batch:
        return {key: value[0] for key, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        with ThreadPoolExecutor(READERS) as pool:
            images = list(pool.map(self._read, indices))
        if len({image.dtype for image in images}) > 1:
            images = [to_float_images(image) for image in images]
        return {
            "image": torch.from_numpy(keep_integers(np.stack(images))),
            "point": torch.from_numpy(self.lonlat[np.asarray(indices)]),
        }

    def _read(self, index: int) -> np.ndarray:
        image = self.files[index].read()
        if self.side is not None:
            image = crop_centre(image, self.side, self.side)
        return image

    def fingerprint(self) -> str:
        """Return a hash of the files' names, positions, sizes and times, and of the cut."""
        members = [(f.name, f.offset, f.size) for f in self.files]
        return fingerprint_of(f"{self.side}{members}", sorted({f.path for f in self.files}))


def list_paths(paths: Any) -> list[ImageFile]:
    """Return the files of a list or column of paths."""
    names = [os.fspath(path) for path in (paths.to_list() if hasattr(paths, "to_list") else paths)]
    return [ImageFile(str(Path(name).expanduser()), name) for name in names]


def open_folder(folder: str | Path) -> tuple[list[ImageFile], np.ndarray]:
    """List the images and the coordinates of a folder in the layout of S2-100K.

    Raises
    ------
    ImageError
        If the index is missing or lacks a column, or there are neither images nor shards.
    """
    root = Path(folder).expanduser()
    index_file = root / "index.csv"
    if not index_file.is_file():
        raise ImageError(
            f"{folder} has no index.csv; a folder in the layout of S2-100K holds index.csv with "
            "the columns fn, lon and lat, and images/*.tif or data/shard-*.tar."
        )
    index = pd.read_csv(index_file)
    missing = {"fn", "lon", "lat"} - set(index.columns)
    if missing:
        raise ImageError(
            f"{index_file} lacks the column(s) {', '.join(sorted(missing))}; it has "
            f"{', '.join(map(str, index.columns))}."
        )
    lonlat = read_coordinates(index[["lon", "lat"]]).lonlat
    listed = [str(name) for name in index["fn"]]
    names = [os.path.basename(name) for name in listed]
    shards = sorted(root.glob("data/*.tar"))
    if (root / "images").is_dir():
        return _find_in_folder(root / "images", listed), lonlat
    if not shards:
        raise ImageError(f"{folder} holds an index.csv but neither images/ nor data/*.tar.")
    return _find_in_shards(shards, names, lonlat)


def _find_in_folder(images: Path, listed: Sequence[str]) -> list[ImageFile]:
    """Find images at the path that the index gives, or by their names alone in one folder."""
    files = []
    for name in listed:
        flat = images / os.path.basename(name)
        inside = not os.path.isabs(name) and ".." not in Path(name).parts
        given = [images / name, images.parent / name] if inside else []
        path = next((p for p in given if p.is_file()), flat)
        files.append(ImageFile(str(path), name))
    twice = [path for path, count in Counter(f.path for f in files).items() if count > 1]
    if twice and len(set(listed)) == len(listed):
        raise ImageError(
            f"{len(twice)} file(s) of {images} match several rows of index.csv, such as "
            f"{twice[0]}; if names differ only in their folders, create these folders in images/."
        )
    return files


def _find_in_shards(
    shards: Sequence[Path], names: list[str], lonlat: np.ndarray
) -> tuple[list[ImageFile], np.ndarray]:
    """Find the indexed images in the shards that were downloaded."""
    found: dict[str, ImageFile] = {}
    for shard in shards:
        try:
            with tarfile.open(shard, "r:") as archive:
                end = 0
                for member in archive:
                    if member.isfile():
                        name = os.path.basename(member.name)
                        place = (member.offset_data, member.size)
                        found[name] = ImageFile(str(shard), name, *place)
                    end = member.offset_data + member.size
                _check_end(shard, end)
        except tarfile.TarError as error:
            raise ImageError(
                f"{shard} is not a tar file, or is truncated ({error}); download it again."
            ) from error
    rows = [row for row, name in enumerate(names) if name in found]
    if 0 < len(rows) < len(names):
        missing = next(name for name in names if name not in found)
        warn_caller(
            f"{len(names) - len(rows)} of the {len(names)} images of index.csv (first: {missing}) "
            f"are in none of the {len(shards)} tar file(s) of {shards[0].parent}, and are left "
            "out. To train on all of them, download the other shards.",
            TrainingWarning,
        )
    if not rows:
        raise ImageError(
            f"none of the {len(names)} images of index.csv ({names[0]}, …) is in the "
            f"{len(shards)} tar file(s) of {shards[0].parent}, which hold {len(found)} files."
        )
    return [found[names[row]] for row in rows], lonlat[rows]


def _check_end(shard: Path, end: int) -> None:
    """Refuse a tar file that ends in a member, or without the final blocks of zeros."""
    with shard.open("rb") as file:
        file.seek(-(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)
        rest = file.read(2 * tarfile.BLOCKSIZE)
    if len(rest) < 2 * tarfile.BLOCKSIZE or any(rest):
        raise tarfile.TarError("there is no end-of-archive mark")


def check_files(
    files: Sequence[ImageFile],
    lonlat: np.ndarray,
    side: int | None,
    on_bad_image: Literal["raise", "skip"],
    progress: bool = False,
) -> tuple[FilePairs, pd.DataFrame]:
    """Read every file once, and leave out or report files that training cannot use.

    Parameters
    ----------
    files : sequence of ImageFile
        The images.
    lonlat : ndarray of shape (n, 2)
        Their coordinates.
    side : int or None
        Smallest height and width; None takes the most frequent one.
    on_bad_image : {"raise", "skip"}
        What to do about bad files.
    progress : bool, default=False
        Show a bar.

    Returns
    -------
    pairs : FilePairs
        The good files; if their sizes differ, images are cut to the smallest.
    bad : DataFrame
        The others: `file` and `reason`.

    Raises
    ------
    ImageError
        If a file is bad and `on_bad_image` is "raise", or if no file is left.
    """
    reports = _inspect_all(files, progress)
    shapes = [tuple(r) for r in reports if not isinstance(r, str)]
    if not shapes:
        raise ImageError(
            f"none of the {len(files)} image files can be used, for instance {files[0].name}: "
            f"{reports[0]}"
        )
    bands = Counter(shape[0] for shape in shapes).most_common(1)[0][0]
    common = Counter(min(shape[1:]) for shape in shapes).most_common(1)[0][0]
    needed = side or common
    reasons = [_reason(report, bands, needed) for report in reports]
    good = [row for row, reason in enumerate(reasons) if reason is None]
    bad = pd.DataFrame(
        [(f.name, why) for f, why in zip(files, reasons, strict=True) if why],
        columns=["file", "reason"],
    )
    if len(bad) and (on_bad_image == "raise" or not good):
        lines = "\n".join(f"  {name}: {why}" for name, why in bad.values[:NAMED_IN_ERRORS])
        more = len(bad) - NAMED_IN_ERRORS
        raise ImageError(
            f"training cannot use {len(bad)} of {len(files)} image files:\n{lines}\n"
            + (f"  and {more} more\n" if more > 0 else "")
            + 'Repair or remove them, or leave them out with on_bad_image="skip".'
        )
    sizes = {tuple(reports[row][1:]) for row in good}
    cut = None if len(sizes) == 1 else min(min(size) for size in sizes)
    return FilePairs([files[row] for row in good], lonlat[good], cut), bad


def _reason(report: list[int] | str, bands: int, side: int) -> str | None:
    if isinstance(report, str):
        return report
    if report[0] != bands:
        return f"it has {report[0]} bands, and most files have {bands}"
    if min(report[1:]) < side:
        return f"it has {report[1]} × {report[2]} pixels, and {side} × {side} are needed"
    return None


def _inspect_all(files: Sequence[ImageFile], progress: bool) -> list[Any]:
    """Return each image's shape, or its fault; shapes are cached until the files change."""
    readable = [f.path for f in files if os.path.isfile(f.path)]
    members = [(f.path, f.offset, f.size) for f in files]
    key = fingerprint_of(f"inspection 1 {members}", sorted(set(readable)))
    reports = _cached_reports(key, len(files))
    # faults are not cached: a network drive may have been away
    open_rows = [row for row, report in enumerate(reports) if not isinstance(report, list)]
    with ThreadPoolExecutor(READERS) as pool:
        results = tqdm(
            pool.map(inspect_file, [files[row] for row in open_rows]),
            total=len(open_rows),
            desc="checking images",
            unit="image",
            disable=not progress or not open_rows,
        )
        for row, report in zip(open_rows, results, strict=True):
            reports[row] = report
    if open_rows:
        _cache_reports(key, reports)
    return reports


def _cached_reports(key: str, n_files: int) -> list[Any]:
    """Return the cached report of each file, or None if it is absent or damaged."""
    try:
        reports = json.loads((cache_folder("inspections") / f"{key}.json").read_bytes())
    except (
        OSError,
        ValueError,
        RecursionError,
    ):  # `_cache_reports` warns of a folder that cannot be used
        reports = None
    whole = isinstance(reports, list) and len(reports) == n_files
    return reports if whole else [None] * n_files


def _cache_reports(key: str, reports: list[Any]) -> None:
    try:
        write_atomically(cache_folder("inspections") / f"{key}.json", json.dumps(reports).encode())
    except OSError as error:
        warn_caller(
            f"the result of checking the image files cannot be stored ({error}), so every fit "
            "checks them again. Set the environment variable SKGEO_EMBED_CACHE to a folder that "
            "can be written.",
            TrainingWarning,
        )


def inspect_file(file: ImageFile) -> list[int] | str:
    """Return the shape of an image, or what is wrong with it."""
    if not os.path.isfile(file.path):
        return "there is no such file"
    try:
        image = file.read()
        check_pixels(image, "the image")
    except ImageError as error:
        return str(error)
    if not image.any():
        return "no data: every pixel is 0"
    return list(image.shape)
