"""An encoder's features as a map."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from skgeo_embed._errors import UsageError
from skgeo_embed._region import WORLD, read_region
from skgeo_embed.datasets import load_coastlines
from skgeo_embed.inspection._earth import (
    OCEAN,
    check_encoder,
    draw_frame,
    draw_image,
    import_pyplot,
    map_axes,
    model_name,
    ocean_mask,
    sample_features,
)
from skgeo_embed.streaming.grid import grid_axes, grid_blocks
from skgeo_embed.streaming.progress import Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPREAD = 2.2  # standard deviations of a component from black to full colour


class EmbeddingMapDisplay:
    """A map of an encoder's features: one column, or three principal components as colours.

    Use :meth:`from_estimator` or :meth:`from_embeddings`.

    Parameters
    ----------
    values : ndarray of shape (n_lat, n_lon) or (n_lat, n_lon, 3)
        One column of features, or red, green and blue in [0, 1]; NaN is left blank.
    region : tuple (west, south, east, north)
        What the grid covers, degrees; rows run from north to south.
    label : str, default=None
        Name of a single column.
    title : str, default=None
        Title, such as the name of the model.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The map.
    figure_ : matplotlib Figure
        The figure that holds it.
    image_ : matplotlib AxesImage
        The picture.

    Examples
    --------
    >>> from skgeo_embed import SatCLIPEncoder
    >>> from skgeo_embed.inspection import EmbeddingMapDisplay
    >>> encoder = SatCLIPEncoder("bluemarble-l10").fit()
    >>> display = EmbeddingMapDisplay.from_estimator(encoder, resolution=4)
    >>> display.values.shape
    (45, 90, 3)
    """

    ax_: Axes
    figure_: Figure
    image_: Any

    def __init__(
        self,
        values: np.ndarray,
        region: Sequence[float] = WORLD,
        *,
        label: str | None = None,
        title: str | None = None,
    ) -> None:
        self.values = values
        self.region = read_region(region)
        self.label = label
        self.title = title

    @classmethod
    def from_estimator(
        cls,
        encoder: Any,
        *,
        feature: int | str | None = None,
        region: Sequence[float] = WORLD,
        resolution: float = 1.0,
        land_only: bool = True,
        ax: Axes | None = None,
    ) -> EmbeddingMapDisplay:
        """Encode a region and draw it.

        Parameters
        ----------
        encoder : SatCLIPEncoder or another fitted encoder with `transform_grid`
            What is shown.
        feature : int or str, default=None
            Number or name of the column to draw; None draws three principal components. They are
            computed from places all over the Earth, so that a colour means the same in every region
            and at every resolution.
        region : tuple (west, south, east, north), default=the world
            Degrees; across the antimeridian east is greater than 180, or less than west.
        resolution : float, default=1.0
            Size of a cell in degrees, rounded so that whole cells fill the region.
        land_only : bool, default=True
            Leave the ocean blank.
        ax : matplotlib Axes, default=None
            Where to draw, possibly with a projection of cartopy; None makes a figure.

        Returns
        -------
        display : EmbeddingMapDisplay
            Drawn.

        Raises
        ------
        ValueError
            If the region or the resolution is impossible, or the feature does not exist.
        ImportError
            If matplotlib is missing.
        """
        check_encoder(encoder)
        import_pyplot()
        names = encoder.get_feature_names_out().tolist()
        column = None if feature is None else _column_number(feature, names)
        lon, lat = grid_axes(region, resolution)
        if column is None:
            colours = Colours(sample_features(encoder, land_only=land_only))
            values = np.empty((len(lat), len(lon), 3))
            for rows, features in grid_blocks(encoder, lon, lat):
                values[rows] = colours.paint(features)
        else:
            values = np.empty((len(lat), len(lon)))
            for rows, features in grid_blocks(encoder, lon, lat):
                values[rows] = features[..., column]
        if land_only:
            values[ocean_mask(lon, lat)] = np.nan
        layer = getattr(encoder, "encoder_info_", {}).get("layer")
        what = "three principal components" if column is None else f"column {names[column]}"
        title = f"{model_name(encoder)}{f', {layer} layer' if layer else ''}: {what}"
        label = None if column is None else str(names[column])
        return cls(values, region, label=label, title=title).plot(ax=ax)

    @classmethod
    def from_embeddings(
        cls,
        embeddings: np.ndarray,
        *,
        feature: int | None = None,
        region: Sequence[float] = WORLD,
        title: str | None = None,
        ax: Axes | None = None,
    ) -> EmbeddingMapDisplay:
        """Draw a grid that is already encoded.

        Parameters
        ----------
        embeddings : ndarray of shape (n_lat, n_lon, d)
            Features of cells that fill the region, rows from north to south; NaN is left blank.
        feature : int, default=None
            The column to draw; None draws the grid's three principal components.
        region : tuple (west, south, east, north), default=the world
            What the grid covers, degrees.
        title : str, default=None
            The title.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : EmbeddingMapDisplay
            Drawn.

        Raises
        ------
        ValueError
            If `embeddings` is not three-dimensional, or all of it is NaN.
        """
        embeddings = np.asarray(embeddings)
        if embeddings.ndim != 3:
            raise ValueError(
                f"embeddings must have shape (n_lat, n_lon, d), got {embeddings.shape}"
            )
        if feature is not None:
            if not 0 <= feature < embeddings.shape[2]:
                last = embeddings.shape[2] - 1
                raise ValueError(f"feature must be between 0 and {last}, got {feature!r}")
            values = embeddings[..., feature].astype(float)
            return cls(values, region, label=f"column {feature}", title=title).plot(ax=ax)
        known = np.isfinite(embeddings).all(axis=-1)
        if known.sum() < 4 or embeddings.shape[2] < 3:
            raise ValueError(
                "three components need at least 4 cells without NaN and 3 columns, got "
                f"{known.sum()} and {embeddings.shape[2]}; draw one column by feature="
            )
        values = np.full((*known.shape, 3), np.nan)
        values[known] = Colours(embeddings[known]).paint(embeddings[known])
        return cls(values, region, title=title).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> EmbeddingMapDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        self : EmbeddingMapDisplay
            With `ax_`, `figure_` and `image_`.
        """
        ax, self.figure_ = map_axes(ax, self.region)
        self.ax_ = ax
        ax.set_facecolor(OCEAN)
        self.image_ = draw_image(ax, self._picture(), self.region, cmap="cividis")
        draw_frame(ax, self.region, self.title)
        if self.values.ndim == 2:
            self.figure_.colorbar(self.image_, ax=ax, shrink=0.7, label=self.label)
        return self

    def animate(
        self,
        path: str | Path,
        *,
        n_frames: int = 48,
        size: int = 360,
        lat: float = 20.0,
        verbose: bool = False,
    ) -> Path:
        """Write a GIF of the Earth turning once.

        Parameters
        ----------
        path : str or path-like
            File to write. It is created only when it is complete.
        n_frames : int, default=48
            Number of pictures.
        size : int, default=360
            Width and height in pixels.
        lat : float, default=20.0
            Latitude at the centre of the view, degrees.
        verbose : bool, default=False
            Show a bar on a terminal, or print a line every ten seconds.

        Returns
        -------
        path : Path
            Where the GIF is.

        Raises
        ------
        ValueError
            If the map is not one of the whole world.
        """
        plt = import_pyplot()
        from matplotlib.animation import PillowWriter

        if tuple(self.region) != WORLD:
            raise ValueError(f"a globe needs a map of the whole world, got region={self.region}")
        colours = self._colours()
        figure = plt.figure(figsize=(size / 100, size / 100), dpi=100)
        axis = figure.add_axes((0.02, 0.0, 0.96, 0.96))
        figure.suptitle(self.title or "", fontsize=8, y=0.995, va="top")
        path = Path(path).expanduser()
        temporary = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.gif")
        writer = PillowWriter(fps=12)
        try:
            with (
                writer.saving(figure, temporary, dpi=100),
                Progress("drawing", "pictures", n_frames, shown=verbose) as progress,
            ):
                for lon in -360 * np.arange(n_frames) / n_frames:
                    _draw_globe(axis, colours, lon, lat, size)
                    writer.grab_frame()
                    progress.update(1)
            os.replace(temporary, path)
        finally:
            plt.close(figure)
            temporary.unlink(missing_ok=True)
        return path

    def _picture(self) -> np.ndarray:
        if self.values.ndim == 2:
            return self.values
        blank = np.isnan(self.values).any(axis=-1)
        return np.dstack([np.where(blank[..., None], 0, self.values), ~blank])  # transparent

    def _colours(self) -> np.ndarray:
        """Return the map as red, green and blue, with blank cells in the ocean's colour."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import to_rgb

        values = self.values
        if values.ndim == 2:
            values = ScalarMappable(cmap="cividis").to_rgba(values)[..., :3]
        blank = np.isnan(self.values if self.values.ndim == 2 else self.values[..., 0])
        return np.where(blank[..., None], to_rgb(OCEAN), values)


def _column_number(feature: int | str, names: list[str]) -> int:
    if isinstance(feature, str):
        if feature not in names:
            raise UsageError(f"no column is named {feature!r}; the first is {names[0]!r}.")
        return names.index(feature)
    if not 0 <= feature < len(names):
        raise UsageError(f"feature must be between 0 and {len(names) - 1}, got {feature!r}")
    return feature


def principal_components(features: np.ndarray, count: int, *, whiten: bool = False) -> PCA:
    """Return the first principal components of features, the same ones in each call."""
    # several threads round differently from one, and wait for each other beside other work
    with threadpool_limits(1):
        return PCA(count, whiten=whiten, svd_solver="covariance_eigh").fit(features)


class Colours:
    """Three principal components as red, green and blue.

    They are in the order of explained variance. The sign of each makes its largest loading
    positive, which is scikit-learn's rule.
    """

    def __init__(self, features: np.ndarray) -> None:
        self._components = principal_components(np.asarray(features, dtype=float), 3, whiten=True)

    def paint(self, features: np.ndarray) -> np.ndarray:
        flat = features.reshape(-1, features.shape[-1])
        scores = self._components.transform(flat)
        return (0.5 + scores / (2 * SPREAD)).clip(0, 1).reshape(*features.shape[:-1], 3)


def _draw_globe(axis: Axes, colours: np.ndarray, lon0: float, lat0: float, size: int) -> None:
    """Draw an orthographic view from above (lon0, lat0)."""
    across = np.linspace(-1, 1, 2 * size)
    x, y = np.meshgrid(across, -across)
    towards = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    tilt = np.deg2rad(lat0)
    lat = np.rad2deg(np.arcsin(np.clip(y * np.cos(tilt) + towards * np.sin(tilt), -1, 1)))
    lon = lon0 + np.rad2deg(np.arctan2(x, towards * np.cos(tilt) - y * np.sin(tilt)))
    n_lat, n_lon = colours.shape[:2]
    row = ((90 - lat) / 180 * n_lat).astype(int).clip(0, n_lat - 1)
    column = ((lon + 180) % 360 / 360 * n_lon).astype(int) % n_lon
    picture = np.dstack(
        [colours[row, column] * (0.55 + 0.45 * towards)[..., None], x**2 + y**2 < 1]
    )
    axis.clear()
    axis.set_axis_off()
    axis.imshow(picture, extent=(-1, 1, -1, 1))
    for line in load_coastlines():
        angle, height = np.deg2rad(line[:, 0] - lon0), np.deg2rad(line[:, 1])
        east = np.cos(height) * np.sin(angle)
        ahead = np.cos(height) * np.cos(angle)
        north = np.sin(height) * np.cos(tilt) - ahead * np.sin(tilt)
        seen = np.sin(height) * np.sin(tilt) + ahead * np.cos(tilt) > 0
        if seen.any():
            axis.plot(
                np.where(seen, east, np.nan), np.where(seen, north, np.nan), "k", linewidth=0.3
            )
