"""Six Sentinel-2 patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skgeo_embed.datasets._air_temperature import DATA_FOLDER
from skgeo_embed.images.files import image_batches

_DESCR = """\
Six Sentinel-2 L2A patches: 12 bands (B01, B02, B03, B04, B05, B06, B07, B08, B8A, B09, B11, B12) of
uint16 digital numbers (reflectance times 10000), 256 x 256 pixels of 10 m, with the longitude and
latitude (degrees) of their centres. From the examples of microsoft/satclip (MIT). Contains modified
Copernicus Sentinel data 2021-2023. Some patches carry the offset of 1000 of processing baseline
04.00 and later, some do not, as in S2-100K."""


def load_sentinel2_patches(*, return_X_y: bool = False) -> Any:
    """Load six Sentinel-2 patches with their coordinates.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(images, coords)`` instead of a Bunch.

    Returns
    -------
    patches : Bunch
        With `images` (6, 12, 256, 256), uint16; `coords`, a frame with lon and lat in degrees;
        `paths`, the GeoTIFF files; `DESCR`.
    (images, coords) : tuple
        If `return_X_y`.

    Raises
    ------
    ImportError
        If rasterio is missing.

    Examples
    --------
    >>> from skgeo_embed.datasets import load_sentinel2_patches
    >>> patches = load_sentinel2_patches()
    >>> patches.images.shape
    (6, 12, 256, 256)
    """
    folder = DATA_FOLDER / "sentinel2"
    index = pd.read_csv(folder / "index.csv")
    paths = [folder / name for name in index["fn"]]
    images = np.stack(next(image_batches(paths, len(paths))))
    coords = index[["lon", "lat"]]
    if return_X_y:
        return images, coords
    return Bunch(images=images, coords=coords, paths=paths, DESCR=_DESCR)
