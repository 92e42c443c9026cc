"""Summaries of global layers at several scales: means and deviations over boxes.

Each band is averaged over boxes of constant ground size around every node of a grid of longitudes
and latitudes; its deviation is taken over the wider boxes.
"""

from __future__ import annotations

import numpy as np

from skgeo_embed._sphere import KM_PER_DEGREE

MEANS_KM = (10.0, 40.0, 160.0, 640.0)
DEVIATIONS_KM = (40.0, 160.0, 640.0)


def summarize_layer(
    picture: np.ndarray, lon: np.ndarray, lat: np.ndarray, *, root: bool = False
) -> np.ndarray:
    """Return means and deviations of each band over boxes, (n_lat, n_lon, summaries).

    Parameters
    ----------
    picture : ndarray of shape (height, width, bands)
        The whole Earth, north up, from 180°W.
    lon, lat : ndarray of shape (n_lon,) and (n_lat,)
        Nodes at the boxes' centres.
    root : bool, default=False
        Take the root of means and deviations, for skewed layers.
    """
    parts = []
    for band in np.moveaxis(picture, -1, 0):
        values = band.astype(np.float64)
        centred = values - values.mean()  # or the difference of squares would lose digits
        sums, sums_of_squares = running_sums(centred), running_sums(centred**2)
        for km in sorted({*MEANS_KM, *DEVIATIONS_KM}):
            mean = box_means(sums, lon, lat, km)
            if km in MEANS_KM:
                shown = mean + values.mean()
                parts.append(np.sqrt(np.maximum(shown, 0)) if root else shown)
            if km in DEVIATIONS_KM:
                variance = np.maximum(box_means(sums_of_squares, lon, lat, km) - mean**2, 0)
                parts.append(variance**0.25 if root else np.sqrt(variance))
    return np.stack([part.astype(np.float32) for part in parts], axis=2)


def running_sums(picture: np.ndarray) -> np.ndarray:
    """Return sums of the pixels above, (height + 1, width)."""
    sums = np.zeros((len(picture) + 1, picture.shape[1]))
    for row, pixels in enumerate(picture):  # np.cumsum goes down each column: six times as long
        np.add(sums[row], pixels, out=sums[row + 1])
    return sums


def box_means(sums: np.ndarray, lon: np.ndarray, lat: np.ndarray, km: float) -> np.ndarray:
    """Return means over boxes of `km` × `km` on the ground around each node, (n_lat, n_lon).

    They are read from a picture's :func:`running_sums`. Pixels that a box covers in part count in
    part; near the poles a box goes once around the Earth.
    """
    height, width = sums.shape[0] - 1, sums.shape[1]
    half = km / 2 / KM_PER_DEGREE
    top = np.clip((90 - np.minimum(lat + half, 90)) * height / 180, 0, height)
    bottom = np.clip((90 - np.maximum(lat - half, -90)) * height / 180, 0, height)
    strips = (read_between(sums, bottom) - read_between(sums, top)) / (bottom - top)[:, None]
    wide = np.minimum(half / np.maximum(np.cos(np.deg2rad(lat)), 1e-9), 180) * width / 360
    centre = (lon + 180) * width / 360
    means = np.empty((len(lat), len(lon)))
    for row, (strip, reach) in enumerate(zip(strips, wide, strict=True)):
        across = np.concatenate([[0.0], strip.cumsum()])
        west, east = (_around(across, centre + side * reach) for side in (-1, 1))
        means[row] = (east - west) / (2 * reach)
    return means


def read_between(sums: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Read running sums (pixels + 1, ...) at fractions of pixels."""
    first = np.minimum(position.astype(int), len(sums) - 2)
    share = (position - first).reshape(-1, *[1] * (sums.ndim - 1))
    return sums[first] * (1 - share) + sums[first + 1] * share


def _around(sums: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Read running sums of a circle at any position, beyond whole turns too."""
    turns, within = np.divmod(position, len(sums) - 1)
    return read_between(sums, within) + turns * sums[-1]
