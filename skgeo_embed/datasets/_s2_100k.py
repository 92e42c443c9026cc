"""S2-100K, the images that SatCLIP was trained on."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.utils import Bunch

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError

REPOSITORY = "torchgeo/s2-100k"
_DESCR = """\
S2-100K (Klemmer et al., AAAI 2025, arXiv 2311.17179): 100,000 Sentinel-2 L2A patches of 256 x 256
pixels of 10 m and 12 bands, uniform over the land, 2021-2023, with the longitude and latitude of
their centres. Contains modified Copernicus Sentinel data. From the hub's torchgeo/s2-100k."""


def fetch_s2_100k(
    *,
    n_shards: int | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Any:
    """Download S2-100K, or a part of it, from the hub.

    Files in the cache are not downloaded again, and an interrupted download is resumed. The tar
    shards stay packed: ``SatCLIPPretrainer().fit(fetch_s2_100k().folder)`` reads them.

    Parameters
    ----------
    n_shards : int, default=None
        Number of tar shards to download; None downloads all of them (more than 100 GB).
    revision : str, default=None
        Branch, tag or commit of the repository.
    cache_dir : str or path-like, default=None
        Where files are kept; None is the hub's own cache.
    token : str or bool, default=None
        Access token; None takes that of the user who is logged in.
    local_files_only : bool, default=False
        Use the cache only, and no network.

    Returns
    -------
    dataset : Bunch
        With `folder`, the Path to train from; `index`, a frame with fn, lon and lat in degrees
        of all 100,000 patches; `shards`, the Paths of the downloaded shards; `DESCR`.

    Raises
    ------
    ModelNotFoundError
        If the layout of the repository has changed, or nothing is cached and
        `local_files_only`; a FileNotFoundError.
    ModelFormatError
        If the index is damaged; a ValueError.
    ModelDownloadError
        If the network or the disk failed, or a file is damaged; a ConnectionError. Call again to
        resume.
    ValueError
        If `n_shards` is not positive.
    """
    from skgeo_embed.models.hub import HubOptions, fetch, list_dataset

    if n_shards is not None and n_shards < 1:
        raise ValueError(f"n_shards must be positive or None, got {n_shards}.")
    options = HubOptions(revision, cache_dir, token, local_files_only)
    index_file = fetch(REPOSITORY, "index.csv", options, dataset=True).path
    folder = index_file.parent
    if local_files_only:
        shards = sorted(folder.glob("data/*.tar"))[:n_shards]
        if not shards:
            raise ModelNotFoundError(
                f"the cache holds no shard of {REPOSITORY}, and local_files_only=True forbids "
                "downloads."
            )
    else:
        listed = sorted(fnmatch.filter(list_dataset(REPOSITORY, options), "data/*.tar"))
        if not listed:
            raise ModelNotFoundError(
                f"{REPOSITORY} holds no data/*.tar any more: its layout has changed. Download it "
                "yourself, and pass the folder to SatCLIPPretrainer.fit."
            )
        shards = [fetch(REPOSITORY, name, options, dataset=True).path for name in listed[:n_shards]]
    return Bunch(folder=folder, index=_read_index(index_file), shards=shards, DESCR=_DESCR)


def _read_index(file: Path) -> pd.DataFrame:
    try:
        index = pd.read_csv(file)
    except ValueError as error:  # of pandas' parser, or of the encoding
        raise ModelFormatError(f"{file} is not a table of images: {error}") from error
    missing = {"fn", "lon", "lat"} - set(index.columns)
    if missing:
        raise ModelFormatError(
            f"{file} must have the columns fn, lon and lat; it has {', '.join(index.columns)}. "
            "Remove it from the hub's cache, and call again."
        )
    return index
