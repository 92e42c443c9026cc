"""Maps of similarity to places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skgeo_embed._region import WORLD, read_region
from skgeo_embed.inspection._earth import (
    OCEAN,
    ORANGE,
    check_encoder,
    degrees,
    draw_frame,
    draw_image,
    encode_places,
    figure_size,
    import_pyplot,
    in_degrees,
    model_name,
    ocean_mask,
    root_figure,
    sample_features,
    within,
)
from skgeo_embed.places.reading import read_coordinates
from skgeo_embed.streaming.grid import grid_axes, grid_blocks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SimilarityMapDisplay:
    """Cosine similarity of the whole Earth to places, with a map for each place.

    Use :meth:`from_estimator`.

    Parameters
    ----------
    similarity : ndarray of shape (n_places, n_lat, n_lon)
        Similarities in [-1, 1]; NaN is left blank.
    places : ndarray of shape (n_places, 2)
        Longitude and latitude, degrees.
    names : list of str
        Names of the places.
    region : tuple (west, south, east, north), default=the world
        What the grid covers, degrees; rows run from north to south.
    title : str, default=None
        Title, such as the name of the model.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        A map for each place.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> from skgeo_embed import SatCLIPEncoder
    >>> from skgeo_embed.inspection import SimilarityMapDisplay
    >>> encoder = SatCLIPEncoder().fit()
    >>> display = SimilarityMapDisplay.from_estimator(
    ...     encoder, [[-122.3, 38.5]], names=["Napa"], resolution=4
    ... )
    >>> display.similarity.shape
    (1, 45, 90)
    """

    axes_: np.ndarray
    figure_: Figure

    def __init__(
        self,
        similarity: np.ndarray,
        places: np.ndarray,
        names: list[str],
        region: Sequence[float] = WORLD,
        *,
        title: str | None = None,
    ) -> None:
        self.similarity = similarity
        self.places = places
        self.names = names
        self.region = read_region(region)
        self.title = title

    @classmethod
    def from_estimator(
        cls,
        encoder: Any,
        places: Any,
        *,
        names: Sequence[str] | None = None,
        region: Sequence[float] = WORLD,
        resolution: float = 1.0,
        land_only: bool = True,
        center: bool = True,
        axes: Any = None,
    ) -> SimilarityMapDisplay:
        """Compare every cell of a region with some places, and draw it.

        Parameters
        ----------
        encoder : SatCLIPEncoder or another fitted encoder with `transform_grid`
            The encoder whose features are compared.
        places : array-like of shape (n_places, 2)
            Longitude and latitude in degrees.
        names : sequence of str, default=None
            Names of the places; None shows their coordinates.
        region : tuple (west, south, east, north), default=the world
            Degrees.
        resolution : float, default=1.0
            Size of a cell in degrees.
        land_only : bool, default=True
            Leave the ocean blank.
        center : bool, default=True
            Subtract the mean features of the Earth (of its land with `land_only`) before the
            cosine, so that 0 is the average similarity of two places. Otherwise the features that
            all places share make everything similar.
        axes : sequence of matplotlib Axes, default=None
            One axes for each place; None makes a figure.

        Returns
        -------
        display : SimilarityMapDisplay
            Drawn.

        Raises
        ------
        CoordinateError
            If the places cannot be used.
        ValueError
            If the region or the resolution is impossible, or names and places differ in number.
        """
        check_encoder(encoder)
        import_pyplot()
        lonlat = read_coordinates(places).lonlat
        if names is None:
            names = [f"{degrees(x, 'W', 'E')}, {degrees(y, 'S', 'N')}" for x, y in lonlat.tolist()]
        if len(names) != len(lonlat):
            raise ValueError(f"there are {len(lonlat)} places and {len(names)} names")
        lon, lat = grid_axes(region, resolution)
        mean = np.float32(0)
        if center:
            mean = sample_features(encoder, land_only=land_only).mean(axis=0)
        anchors = _unit(encode_places(encoder, lonlat) - mean)
        similarity = np.empty((len(lonlat), len(lat), len(lon)), dtype=np.float32)
        for rows, features in grid_blocks(encoder, lon, lat):
            similarity[:, rows] = np.moveaxis(_unit(features - mean) @ anchors.T, -1, 0)
        if land_only:
            similarity[:, ocean_mask(lon, lat)] = np.nan
        display = cls(similarity, lonlat, list(names), region, title=model_name(encoder))
        return display.plot(axes=axes)

    def plot(self, *, axes: Any = None) -> SimilarityMapDisplay:
        """Draw the maps.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            One axes for each place; None makes a figure.

        Returns
        -------
        self : SimilarityMapDisplay
            With `axes_` and `figure_`.

        Raises
        ------
        ValueError
            If axes and places differ in number.
        """
        plt = import_pyplot()
        count = len(self.places)
        if axes is None:
            columns = 1 if count == 1 else 2
            rows = -(-count // columns)
            width, height = figure_size(self.region)
            scale = 1 if count == 1 else 0.75
            _figure, grid = plt.subplots(
                rows,
                columns,
                figsize=(scale * width * columns, scale * height * rows),
                squeeze=False,
                layout="constrained",
            )
            for spare in grid.ravel()[count:]:
                spare.set_visible(False)
            axes = grid.ravel()[:count]
        self.axes_ = np.ravel(np.asarray(axes, dtype=object))
        if len(self.axes_) != count:
            raise ValueError(f"{count} places need {count} axes, got {len(self.axes_)}.")
        self.figure_ = root_figure(self.axes_[0])
        known = self.similarity[np.isfinite(self.similarity)]
        low = min(0.0, float(np.quantile(known, 0.01))) if known.size else 0.0
        for axis, values, (lon, lat), name in zip(
            self.axes_, self.similarity, self.places, self.names, strict=True
        ):
            axis.set_facecolor(OCEAN)
            image = draw_image(axis, values, self.region, cmap="cividis", vmin=low, vmax=1)
            axis.plot(
                within(self.region, lon),
                lat,
                "*",
                markersize=13,
                color=ORANGE,
                markeredgecolor="white",
                zorder=4,
                **in_degrees(axis),
            )
            where = f" ({self.title})" if self.title else ""
            draw_frame(axis, self.region, f"Places like {name}{where}")
        self.figure_.colorbar(
            image, ax=list(self.axes_), shrink=0.7, label="cosine similarity of the features"
        )
        return self


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-12)
