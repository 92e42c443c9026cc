"""What places look like: summaries of global layers at several scales, as a feature grid.

Each band is averaged over boxes of constant ground size around every node of a grid of longitudes
and latitudes, and its deviation taken over the wider ones. Standardised over land, the summaries
are reduced to principal components, which is what a location network reads beside its harmonics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from skgeo_embed._region import read_region
from skgeo_embed._sphere import KM_PER_DEGREE
from skgeo_embed.datasets import land_mask
from skgeo_embed.datasets._blue_marble import BANDS, NORTH, SOUTH, read_band
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.pretraining.content_layers import (
    checked_pictures,
    content_layers,
    earth_content,
)

MEANS_KM = (10.0, 40.0, 160.0, 640.0)
DEVIATIONS_KM = (40.0, 160.0, 640.0)
LARGEST_DEVIATION = 6.0  # beyond it a standardised summary is cut
LARGEST_COMPONENT = 5.0  # deviations that a byte holds
SKEWED = ("lights",)  # layers whose summaries are taken the root of: few places are bright


def earth_grid(
    bands: Sequence[str] = tuple(BANDS),
    *,
    step: float = 0.25,
    channels: int = 24,
    bounds: Sequence[float] | None = None,
) -> FeatureGrid:
    """Build the feature grid of the layers that ship with the package.

    Parameters
    ----------
    bands : sequence of str, default=all of them
        As for :func:`skgeo_embed.datasets.load_earth_tiles`.
    step : float, default=0.25
        Degrees between nodes.
    channels : int, default=24
        Principal components that are kept.
    bounds : (west, south, east, north), default=None
        A region in degrees, at whose own variety the grid is scaled: 0.05° and a country take
        what the whole Earth takes at 0.25°. None is the whole Earth.

    Returns
    -------
    grid : FeatureGrid
        In bytes; its channels' variances over land add up to 1. Encoders that are trained with it
        have the layers themselves too, as ``layer="content"``.

    Examples
    --------
    >>> from skgeo_embed.pretraining.content import earth_grid
    >>> earth_grid(["august"], step=1.0, channels=4, bounds=(-10, 35, 5, 45))
    FeatureGrid(11 × 16, channels=4, int8, bounds=(-10.0, 35.0, 5.0, 45.0))
    """
    layers = {name: read_band(name) for name in bands}
    grid = _principal_grid(layers, step=step, channels=channels, bounds=bounds)
    return grid.keep_content(earth_content(bands))


def content_grid(
    layers: Mapping[str, np.ndarray],
    *,
    step: float = 0.25,
    channels: int = 24,
    bounds: Sequence[float] | None = None,
) -> FeatureGrid:
    """Build a feature grid of global layers.

    Parameters
    ----------
    layers : mapping of str to ndarray of shape (height, width, bands)
        Equirectangular pictures of the whole Earth, twice as wide as high, north up, from 180°W,
        without missing values.
    step, channels, bounds
        As for :func:`earth_grid`.

    Returns
    -------
    grid : FeatureGrid
        Principal components of the layers' summaries, one over the other. Encoders that are
        trained with it have the layers themselves too, as ``layer="content"``, in columns named
        after them.

    Raises
    ------
    TypeError, ValueError
        If a layer or a name cannot be used, or the region has no land.
    """
    layers = checked_pictures(layers)
    grid = _principal_grid(layers, step=step, channels=channels, bounds=bounds)
    return grid.keep_content(content_layers(layers))


def _principal_grid(
    layers: Mapping[str, np.ndarray],
    *,
    step: float,
    channels: int,
    bounds: Sequence[float] | None,
) -> FeatureGrid:
    lon, lat = _nodes(step, bounds)
    summaries = np.concatenate(
        [summarize_layer(layers[name], lon, lat, root=name in SKEWED) for name in layers], axis=2
    )
    on_land = land_mask((lon + 180) % 360 - 180, lat)
    land = on_land & (lat > SOUTH)[:, None] & (lat < NORTH)[:, None]
    if not land.any():
        raise ValueError(f"there is no land at the nodes within bounds={bounds!r}, step={step!r}")
    weight = np.broadcast_to(np.cos(np.deg2rad(lat))[:, None], land.shape)[land]
    components, deviations = _principal_components(summaries, land, weight, channels)
    components /= np.sqrt((deviations**2).sum())
    largest = LARGEST_COMPONENT * deviations / np.sqrt((deviations**2).sum())
    components = _coarsen_seas(components, on_land)
    height, width, count = components.shape
    grid = FeatureGrid(height, width, count, bounds=bounds)
    return grid.fill(torch.from_numpy(np.clip(components, -largest, largest)))


def _nodes(step: float, bounds: Sequence[float] | None) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes of a feature grid's nodes, about `step` degrees apart."""
    if bounds is None:
        rows = round(180 / step)
        return -180 + 360 / (2 * rows) * np.arange(2 * rows), np.linspace(-90, 90, rows + 1)
    west, south, east, north = read_region(bounds)
    across, up = round((east - west) / step), round((north - south) / step)
    return np.linspace(west, east, across + 1), np.linspace(south, north, up + 1)


def summarize_layer(
    picture: np.ndarray, lon: np.ndarray, lat: np.ndarray, *, root: bool = False
) -> np.ndarray:
    """Means and deviations of each band over boxes around the nodes, (n_lat, n_lon, summaries)."""
    parts = []
    for band in np.moveaxis(picture, -1, 0):
        values = band.astype(np.float64)
        centred = values - values.mean()  # or the difference of squares would lose its digits
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
    """Sums of the pixels above, (height + 1, width)."""
    sums = np.zeros((len(picture) + 1, picture.shape[1]))
    for row, pixels in enumerate(picture):  # numpy's own goes down each column: six times as long
        np.add(sums[row], pixels, out=sums[row + 1])
    return sums


def box_means(sums: np.ndarray, lon: np.ndarray, lat: np.ndarray, km: float) -> np.ndarray:
    """Mean over a box `km` wide and high on the ground around each node, (n_lat, n_lon).

    It is read off a picture's :func:`running_sums`. Boxes end between pixels, which then count in
    part; towards the poles they go once around.
    """
    height, width = sums.shape[0] - 1, sums.shape[1]
    half = km / 2 / KM_PER_DEGREE
    top = np.clip((90 - np.minimum(lat + half, 90)) * height / 180, 0, height)
    bottom = np.clip((90 - np.maximum(lat - half, -90)) * height / 180, 0, height)
    strips = (_between(sums, bottom) - _between(sums, top)) / (bottom - top)[:, None]
    wide = np.minimum(half / np.maximum(np.cos(np.deg2rad(lat)), 1e-9), 180) * width / 360
    centre = (lon + 180) * width / 360
    means = np.empty((len(lat), len(lon)))
    for row, (strip, reach) in enumerate(zip(strips, wide, strict=True)):
        across = np.concatenate([[0.0], strip.cumsum()])
        ends = (_around(across, centre + side * reach) for side in (-1, 1))
        west, east = ends
        means[row] = (east - west) / (2 * reach)
    return means


def _between(sums: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Read running sums (pixels + 1, ...) at fractions of pixels."""
    first = np.minimum(position.astype(int), len(sums) - 2)
    share = (position - first).reshape(-1, *[1] * (sums.ndim - 1))
    return sums[first] * (1 - share) + sums[first + 1] * share


def _around(sums: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Read running sums of a circle at any position, whole turns included."""
    turns, within = np.divmod(position, len(sums) - 1)
    return _between(sums, within) + turns * sums[-1]


def _principal_components(
    summaries: np.ndarray, land: np.ndarray, weight: np.ndarray, channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Project standardised summaries on their first components over land, with deviations."""
    weight = weight / weight.sum()
    inside = summaries[land].astype(np.float64)
    mean = weight @ inside
    scale = np.sqrt(weight @ (inside - mean) ** 2) + 1e-6
    standard = np.clip((inside - mean) / scale, -LARGEST_DEVIATION, LARGEST_DEVIATION)
    centre = weight @ standard
    covariance = ((standard - centre) * weight[:, None]).T @ (standard - centre)
    variances, axes = np.linalg.eigh(covariance)
    variances, axes = variances[::-1][:channels], axes[:, ::-1][:, :channels]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    components = np.empty((*land.shape, axes.shape[1]), dtype=np.float32)
    for row, values in enumerate(summaries):
        standard = np.clip((values - mean) / scale, -LARGEST_DEVIATION, LARGEST_DEVIATION)
        components[row] = (standard - centre) @ axes
    return components, np.sqrt(variances)


def _coarsen_seas(components: np.ndarray, land: np.ndarray, cells: int = 4) -> np.ndarray:
    """Give open sea one value in blocks of nodes, which a file holds in little room."""
    near = land.copy()
    for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
        near |= np.roll(land, shift, axis=axis)
    height, width, channels = components.shape
    rows = np.arange(height) // cells
    columns = np.arange(width) // cells
    sums = np.zeros((rows[-1] + 1, columns[-1] + 1, channels))
    counts = np.zeros(sums.shape[:2])
    np.add.at(sums, (rows[:, None], columns), components)
    np.add.at(counts, (rows[:, None], columns), 1)
    coarse = (sums / counts[..., None]).astype(np.float32)[rows[:, None], columns]
    return np.where(near[..., None], components, coarse)
