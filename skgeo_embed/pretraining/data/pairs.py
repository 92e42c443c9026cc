"""Open images and coordinates of any kind as one dataset of pairs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch.utils.data import Dataset, IterableDataset

from skgeo_embed._errors import ImageError
from skgeo_embed.images.files import is_path_list
from skgeo_embed.images.pixels import check_finite_images, check_image_array
from skgeo_embed.places.reading import read_coordinates
from skgeo_embed.pretraining.data.arrays import ArrayPairs
from skgeo_embed.pretraining.data.files import ImageFile, check_files, list_paths, open_folder


def open_pairs(
    images: Any,
    coords: Any,
    side: int | None,
    on_bad_image: Literal["raise", "skip"],
    progress: bool = False,
) -> tuple[Dataset[Any], pd.DataFrame]:
    """Return a dataset of pairs, and the files that it leaves out.

    Parameters
    ----------
    images, coords : object
        As for :meth:`skgeo_embed.SatCLIPPretrainer.fit`.
    side, on_bad_image, progress : object
        As for :func:`skgeo_embed.pretraining.data.files.check_files`.
    """
    nothing = pd.DataFrame(columns=["file", "reason"])
    if isinstance(images, IterableDataset):
        raise TypeError(
            "images is an IterableDataset, which cannot be shuffled or split; pass a map-style "
            "torch Dataset with __len__ and __getitem__, or an array."
        )
    if isinstance(images, Dataset):
        if coords is not None:
            raise ValueError(
                'images is a Dataset, whose items have their own "point"; omit coords.'
            )
        return images, nothing
    if isinstance(images, (str, os.PathLike)):
        files, lonlat = _open_folder(Path(images), coords)
        return check_files(files, lonlat, side, on_bad_image, progress)
    if is_path_list(images):
        files = list_paths(images)
        lonlat = _read_coords(coords, len(files))
        return check_files(files, lonlat, side, on_bad_image, progress)
    array, lonlat = read_pairs(images, coords)
    return ArrayPairs(array, lonlat), nothing


def _open_folder(path: Path, coords: Any) -> tuple[list[ImageFile], np.ndarray]:
    if not path.expanduser().is_dir():
        raise ImageError(
            f"images={str(path)!r} is not a folder; pass a folder in the layout of S2-100K, a "
            "list of GeoTIFF paths with coords, or an array."
        )
    if coords is not None:
        raise ValueError(f"the coordinates of {path} come from its index.csv; omit coords.")
    return open_folder(path)


def read_pairs(images: Any, coords: Any) -> tuple[np.ndarray, np.ndarray]:
    """Check an array of images and its coordinates together."""
    images = check_image_array(images)
    lonlat = _read_coords(coords, len(images))
    check_finite_images(images)
    return images, lonlat


def _read_coords(coords: Any, n_images: int) -> np.ndarray:
    if coords is None:
        raise ValueError(
            "coords is missing: pass longitude and latitude of the images, of shape (n, 2)."
        )
    lonlat = read_coordinates(coords).lonlat
    if n_images != len(lonlat):
        raise ValueError(
            f"images and coords differ in length: {n_images} images, {len(lonlat)} coordinates; "
            "row i of both must be one pair."
        )
    return lonlat
