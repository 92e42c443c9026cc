"""Parts of maps: axes in degrees, coasts, grids of an encoder."""

from __future__ import annotations

import functools
import textwrap
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._region import Region
from skgeo_embed._sphere import GOLDEN_TURN, golden_spiral
from skgeo_embed.datasets import land_mask, load_coastlines
from skgeo_embed.datasets._land import places_on_land
from skgeo_embed.places.reading import read_coordinates
from skgeo_embed.streaming.grid import grid_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OCEAN = "#e8ecef"
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"  # colour-blind readers can tell them apart
N_SAMPLED = 6_000  # places that colours and means are computed from


def import_pyplot() -> Any:
    """Return matplotlib.pyplot, or raise an error that says how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('drawing needs matplotlib: pip install "skgeo-embed[plot]"') from error
    return plt


def figure_size(region: Sequence[float]) -> tuple[float, float]:
    """Return the width and height in inches of a figure that a region fills."""
    west, south, east, north = region
    shape = (east - west) * _stretch(region) / (north - south)
    width = float(np.clip(4.6 * shape, 4.5, 10))
    return width, width / shape + 0.8


def check_encoder(encoder: Any) -> None:
    """Raise if `encoder` is not a fitted encoder of coordinates."""
    if not hasattr(encoder, "transform_grid"):
        raise TypeError(
            f"a map needs an encoder with transform_grid, such as SatCLIPEncoder; got a "
            f"{type(encoder).__name__}"
        )
    check_is_fitted(encoder)


def map_axes(ax: Axes | None, region: Sequence[float]) -> tuple[Axes, Figure]:
    """Return axes for a map, new ones if `ax` is None, and their figure."""
    return axes_or_new(ax, figure_size(region))


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> tuple[Axes, Figure]:
    """Return axes, those of a new figure of this size in inches if `ax` is None, and the figure."""
    if ax is None:
        _, ax = import_pyplot().subplots(figsize=size, layout="constrained")
    return ax, root_figure(ax)


def map_panels(
    axes: Any, kinds: Sequence[str], region: Sequence[float]
) -> tuple[np.ndarray, Figure]:
    """Return one axes for each kind, new ones if `axes` is None, and their figure."""
    plt = import_pyplot()
    if axes is None:
        width, height = figure_size(region)
        rows, columns = (len(kinds) + 1) // 2, min(len(kinds), 2)
        size = columns * min(width, 7), rows * min(height, 4.2)
        _, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    axes = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if len(axes) < len(kinds):
        raise ValueError(f"{len(kinds)} kinds need {len(kinds)} axes, got {len(axes)}.")
    for unused in axes[len(kinds) :]:
        unused.set_visible(False)
    return axes[: len(kinds)], root_figure(axes[0])


def region_around(lonlat: np.ndarray) -> Region:
    """Return a region around all places; across the antimeridian if that is shorter."""
    lon = np.sort(lonlat[:, 0] % 360)
    gaps = np.diff(np.append(lon, lon[0] + 360))
    start = (int(gaps.argmax()) + 1) % len(lon)
    width = 360 - gaps.max()
    south, north = lonlat[:, 1].min(), lonlat[:, 1].max()
    margin = max(0.04 * max(width, north - south), 1e-3)
    south, north = max(south - margin, -90.0), min(north + margin, 90.0)
    if width + 2 * margin >= 300:
        return -180.0, south, 180.0, north
    west = lon[start] - margin
    if west > 180 or west + width + 2 * margin > 360:
        west -= 360
    if west < -180:
        west, width = -180.0, width + west + 180
    return float(west), float(south), float(west + width + 2 * margin), float(north)


def model_name(encoder: Any) -> str:
    """Return the name of an encoder's model, or of its class."""
    return str(getattr(encoder, "encoder_info_", {}).get("name", type(encoder).__name__))


def ocean_mask(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Say which cells are not on land, and warn if none is."""
    on_land = land_mask(lon, lat)
    if not on_land.any():
        warnings.warn(
            "this region has no land, so the map is empty; pass land_only=False (--ocean)",
            UserWarning,
            stacklevel=3,
        )
    return ~on_land


def sample_features(encoder: Any, *, land_only: bool) -> np.ndarray:
    """Encode places spread evenly over the Earth or its land."""
    return encode_places(encoder, sphere_sample(N_SAMPLED, land_only=land_only))


@functools.cache
def sphere_sample(n_points: int, *, land_only: bool) -> np.ndarray:
    """Return places spread evenly over the sphere or its land, the same ones every time."""
    # westward, from half a turn: colours of maps depend on the sample
    places = golden_spiral(n_points, first=0.5, turn=1 - GOLDEN_TURN)
    if not land_only:
        return places
    return places[places_on_land(places)]


def encode_places(encoder: Any, lonlat: np.ndarray) -> np.ndarray:
    """Encode checked places, whatever the columns that the encoder was fitted with."""
    return np.asarray(encoder.encode_places(read_coordinates(lonlat)))


def root_figure(ax: Axes) -> Figure:
    """Return the figure that axes are on."""
    figure = ax.figure
    while not hasattr(figure, "savefig"):  # a part of a figure
        figure = figure.figure
    return figure  # type: ignore[return-value]


def within(region: Sequence[float], lon: np.ndarray) -> np.ndarray:
    """Return longitudes in the notation of a region."""
    return (np.asarray(lon, dtype=float) - region[0]) % 360 + region[0]


def is_cartopy(ax: Any) -> bool:
    """Say whether axes carry a map projection of cartopy's."""
    return hasattr(ax, "projection") and hasattr(ax, "coastlines")


def in_degrees(ax: Any) -> dict[str, Any]:
    """Return the arguments for drawing degrees on `ax`."""
    if not is_cartopy(ax):
        return {}
    import cartopy.crs as ccrs

    return {"transform": ccrs.PlateCarree()}


def draw_frame(ax: Axes, region: Sequence[float], title: str | None) -> None:
    """Draw coasts, limits, degrees on both axes, and the title."""
    from matplotlib.collections import LineCollection

    west, south, east, north = region
    lines = load_coastlines()
    if east > 180 and not is_cartopy(ax):
        lines = lines + [np.add(line, (360, 0)) for line in lines]
    ax.add_collection(
        LineCollection(lines, colors="black", linewidths=0.5, zorder=3, **in_degrees(ax)),
        autolim=False,
    )
    if title:
        inches = root_figure(ax).get_figwidth() * ax.get_position().width
        ax.set_title(textwrap.fill(title, round(9 * inches)), loc="left")
    if is_cartopy(ax):
        return
    ax.set(xlim=(west, east), ylim=(south, north), xlabel="longitude", ylabel="latitude")
    ax.set_aspect(1 / _stretch(region))
    ax.xaxis.set_major_locator(_degree_locator())
    ax.yaxis.set_major_locator(_degree_locator())
    ax.xaxis.set_major_formatter(lambda value, _: degrees((value + 180) % 360 - 180, "W", "E"))
    ax.yaxis.set_major_formatter(lambda value, _: degrees(value, "S", "N"))


def draw_land(ax: Axes, region: Sequence[float]) -> None:
    """Fill land and sea in pale colours, below everything else."""
    lon, lat = grid_axes(region, max(region[2] - region[0], 1) / 1440)
    draw_image(
        ax, np.where(land_mask(lon, lat)[..., None], 0.97, (0.88, 0.91, 0.94)), region, zorder=0
    )


def draw_image(ax: Axes, values: np.ndarray, region: Sequence[float], **options: Any) -> Any:
    """Draw a grid of cells, north up."""
    west, south, east, north = region
    return ax.imshow(
        values,
        extent=(west, east, south, north),
        interpolation="nearest",
        **in_degrees(ax),
        **options,
    )


def degrees(value: float, negative: str, positive: str) -> str:
    """Write degrees as 30.5°W."""
    letter = "" if value == 0 else (negative if value < 0 else positive)
    return f"{abs(value):g}°{letter}"


def _degree_locator() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=7, steps=[1, 1.5, 3, 5, 6, 10])


def _stretch(region: Sequence[float]) -> float:
    """Return the east-west scale that is true in a region's middle, and 1 for the world."""
    _, south, _, north = region
    if north - south > 90:
        return 1.0
    return float(np.cos(np.deg2rad((south + north) / 2)))
