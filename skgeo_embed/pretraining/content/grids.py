"""Feature grids of global layers: what places look like, for location networks to read.

The layers' :mod:`~skgeo_embed.pretraining.content.summaries` are standardised over land and reduced
to principal components, which a location network reads beside its harmonics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from skgeo_embed._region import read_region
from skgeo_embed.datasets import land_mask
from skgeo_embed.datasets._blue_marble import BANDS, NORTH, SOUTH, read_band
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.pretraining.content.columns import (
    checked_pictures,
    content_layers,
    earth_content,
)
from skgeo_embed.pretraining.content.summaries import summarize_layer

LARGEST_DEVIATION = 6.0  # standardised summaries are clipped to it
LARGEST_COMPONENT = 5.0  # components are clipped to so many deviations, which a byte holds
SKEWED = ("lights",)  # few places are bright: of these layers' summaries the root is taken


def earth_grid(
    bands: Sequence[str] = tuple(BANDS),
    *,
    step: float = 0.25,
    channels: int = 24,
    bounds: Sequence[float] | None = None,
) -> FeatureGrid:
    """Build a feature grid of the global layers that the package contains.

    Pass it as ``Recipe(feature_grid=...)``, so that the location network knows what a place looks
    like.

    Parameters
    ----------
    bands : sequence of str, default=all of them
        Layers: "august", "autumn", "may", "lights", "elevation", as for
        :func:`skgeo_embed.datasets.load_earth_tiles`.
    step : float, default=0.25
        Degrees between nodes.
    channels : int, default=24
        Number of principal components.
    bounds : (west, south, east, north), default=None
        Region in degrees that the grid covers; its components describe how places of that region
        differ. A country at a step of 0.05° takes as much memory as the Earth at 0.25°. None is
        the whole Earth.

    Returns
    -------
    grid : FeatureGrid
        Components of the layers' means and deviations over boxes of 10 to 640 km, stored in bytes;
        the channels' variances over land add up to 1. Encoders that are trained with the grid
        offer its layers as ``layer="content"``.

    See Also
    --------
    content_grid : Build a grid of your own layers.
    earth_content : Build readable columns of the same layers.

    Examples
    --------
    >>> from skgeo_embed.pretraining.content import earth_grid
    >>> earth_grid(["august"], step=1.0, channels=4, bounds=(-10, 35, 5, 45))
    FeatureGrid(11 × 16, channels=4, int8, bounds=(-10.0, 35.0, 5.0, 45.0))
    """
    layers = {name: read_band(name) for name in bands}
    grid = principal_grid(layers, step=step, channels=channels, bounds=bounds)
    return grid.keep_content(earth_content(bands))


def content_grid(
    layers: Mapping[str, np.ndarray],
    *,
    step: float = 0.25,
    channels: int = 24,
    bounds: Sequence[float] | None = None,
) -> FeatureGrid:
    """Build a feature grid of your own global layers.

    Parameters
    ----------
    layers : mapping of str to ndarray of shape (height, width, bands)
        Equirectangular pictures of the whole Earth, twice as wide as high, north up, starting at
        180°W, without missing values.
    step, channels, bounds
        As for :func:`earth_grid`.

    Returns
    -------
    grid : FeatureGrid
        Principal components of the summaries of all layers. Encoders that are trained with the
        grid offer the layers as ``layer="content"``, in columns named after them.

    Raises
    ------
    TypeError, ValueError
        If a layer or a name cannot be used, or the region has no land.

    See Also
    --------
    earth_grid : Build a grid of the layers that the package contains.
    content_layers : Build readable columns of your own layers.

    Examples
    --------
    >>> import numpy as np
    >>> from skgeo_embed.pretraining.content import content_grid
    >>> rain = np.random.default_rng(0).gamma(2.0, size=(90, 180))
    >>> content_grid({"rain": rain}, step=5.0, channels=4)
    FeatureGrid(37 × 72, channels=4, int8)
    """
    layers = checked_pictures(layers)
    grid = principal_grid(layers, step=step, channels=channels, bounds=bounds)
    return grid.keep_content(content_layers(layers))


def principal_grid(
    layers: Mapping[str, np.ndarray],
    *,
    step: float,
    channels: int,
    bounds: Sequence[float] | None,
) -> FeatureGrid:
    """Build a grid of the principal components of checked layers."""
    lon, lat = _nodes(step, bounds)
    summaries = np.concatenate(
        [summarize_layer(layers[name], lon, lat, root=name in SKEWED) for name in layers], axis=2
    )
    on_land = land_mask((lon + 180) % 360 - 180, lat)
    land = on_land & (lat > SOUTH)[:, None] & (lat < NORTH)[:, None]
    if not land.any():
        raise ValueError(
            f"no node of the grid is on land with bounds={bounds!r}, step={step!r}; choose a "
            "larger region or a smaller step."
        )
    weight = np.broadcast_to(np.cos(np.deg2rad(lat))[:, None], land.shape)[land]
    components, deviations = _principal_components(summaries, land, weight, channels)
    components /= np.sqrt((deviations**2).sum())
    largest = LARGEST_COMPONENT * deviations / np.sqrt((deviations**2).sum())
    components = _coarsen_seas(components, on_land)
    height, width, count = components.shape
    grid = FeatureGrid(height, width, count, bounds=bounds)
    return grid.fill(torch.from_numpy(np.clip(components, -largest, largest)))


def _nodes(step: float, bounds: Sequence[float] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return longitudes and latitudes of a feature grid's nodes, about `step` degrees apart."""
    if bounds is None:
        rows = round(180 / step)
        return -180 + 360 / (2 * rows) * np.arange(2 * rows), np.linspace(-90, 90, rows + 1)
    west, south, east, north = read_region(bounds)
    across, up = round((east - west) / step), round((north - south) / step)
    return np.linspace(west, east, across + 1), np.linspace(south, north, up + 1)


def _principal_components(
    summaries: np.ndarray, land: np.ndarray, weight: np.ndarray, channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Project summaries on their first components over land; return these and deviations."""
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
    """Give open sea one value in blocks of nodes, which compress well in a file."""
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
