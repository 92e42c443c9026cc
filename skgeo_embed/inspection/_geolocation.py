"""Predicted and true places of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._region import WORLD, read_region
from skgeo_embed._sphere import great_circle_km, lonlat_of, unit_vectors
from skgeo_embed.inspection._earth import (
    BLUE,
    ORANGE,
    draw_frame,
    draw_land,
    import_pyplot,
    in_degrees,
    map_axes,
    within,
)
from skgeo_embed.places.reading import read_coordinates

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARC_POINTS = 60
FLOOR = 1e-3  # the smallest probability drawn, relative to the largest


class GeolocationDisplay:
    """Predicted and true places with great circles between them, and a probability map.

    Use :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    predicted : ndarray of shape (n, 2)
        Longitude and latitude, degrees.
    true : ndarray of shape (n, 2), default=None
        True places of the images.
    candidates, probability : ndarray of shape (m, 2) and (m,), default=None
        Places and their probabilities, drawn as a map.
    region : tuple (west, south, east, north), default=the world
        Part of the Earth to draw, in degrees.
    title : str, default=None
        Title, such as the name of the model.

    Attributes
    ----------
    errors_km : ndarray of shape (n,) or None
        Great-circle distances between predicted and true places.
    ax_ : matplotlib Axes
        The map.
    figure_ : matplotlib Figure
        The figure that holds it.

    Examples
    --------
    >>> from skgeo_embed import ImageGeolocator
    >>> from skgeo_embed.datasets import load_blue_marble
    >>> from skgeo_embed.inspection import GeolocationDisplay
    >>> tiles = load_blue_marble(5, tile_size=16, km_per_pixel=20, random_state=2)
    >>> geolocator = ImageGeolocator(n_candidates=2000).fit()
    >>> display = GeolocationDisplay.from_estimator(geolocator, tiles.images, tiles.coords)
    >>> display.errors_km.shape
    (5,)
    """

    ax_: Axes
    figure_: Figure

    def __init__(
        self,
        predicted: np.ndarray,
        true: np.ndarray | None = None,
        *,
        candidates: np.ndarray | None = None,
        probability: np.ndarray | None = None,
        region: Sequence[float] = WORLD,
        title: str | None = None,
    ) -> None:
        self.predicted = predicted
        self.true = true
        self.candidates = candidates
        self.probability = probability
        self.region = read_region(region)
        self.title = title
        self.errors_km = None if true is None else great_circle_km(true, predicted)

    @classmethod
    def from_estimator(
        cls,
        geolocator: Any,
        images: Any,
        coords: Any = None,
        *,
        region: Sequence[float] = WORLD,
        ax: Axes | None = None,
    ) -> GeolocationDisplay:
        """Geolocate images and draw the predicted places.

        Parameters
        ----------
        geolocator : ImageGeolocator
            Fitted.
        images : as for `ImageGeolocator.predict`
            Images; for a single one the probability of every candidate is drawn too.
        coords : array-like of shape (n, 2), default=None
            True places of the images.
        region : tuple (west, south, east, north), default=the world
            Part of the Earth to draw, in degrees.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : GeolocationDisplay
            Drawn.
        """
        check_is_fitted(geolocator)
        import_pyplot()
        predicted = geolocator.predict(images)
        true = None if coords is None else read_coordinates(coords).lonlat
        if true is not None and len(true) != len(predicted):
            raise ValueError(f"there are {len(predicted)} images and {len(true)} coordinates")
        candidates = probability = None
        if len(predicted) == 1:
            candidates, probability = geolocator.candidates_, geolocator.predict_proba(images)[0]
        name = geolocator.location_encoder_.encoder_info_["name"]
        return cls(
            predicted,
            true,
            candidates=candidates,
            probability=probability,
            region=region,
            title=name,
        ).plot(ax=ax)

    @classmethod
    def from_predictions(
        cls,
        true: Any,
        predicted: Any,
        *,
        region: Sequence[float] = WORLD,
        title: str | None = None,
        ax: Axes | None = None,
    ) -> GeolocationDisplay:
        """Draw predicted places against true ones.

        Parameters
        ----------
        true, predicted : array-like of shape (n, 2)
            Longitude and latitude in degrees.
        region : tuple (west, south, east, north), default=the world
            Part of the Earth to draw, in degrees.
        title : str, default=None
            The title.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : GeolocationDisplay
            Drawn.
        """
        first, second = read_coordinates(true).lonlat, read_coordinates(predicted).lonlat
        if len(first) != len(second):
            raise ValueError(f"there are {len(first)} true and {len(second)} predicted places")
        return cls(second, first, region=region, title=title).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> GeolocationDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        self : GeolocationDisplay
            With `ax_` and `figure_`.
        """
        ax, self.figure_ = map_axes(ax, self.region)
        self.ax_ = ax
        draw_land(ax, self.region)
        if self.probability is not None:
            self._draw_probability(ax)
        if self.true is not None:
            self._draw_arcs(ax)
        self._draw_places(ax, self.predicted, "o", ORANGE, "predicted")
        if self.true is not None:
            self._draw_places(ax, self.true, "*", BLUE, "true")
        draw_frame(ax, self.region, self._title())
        ax.legend(loc="lower left", framealpha=0.9)
        return self

    def _title(self) -> str | None:
        if self.errors_km is None:
            return self.title
        median = f"{np.median(self.errors_km):,.0f} km"
        error = f"error {median}" if len(self.errors_km) == 1 else f"median error {median}"
        return f"{self.title}: {error}" if self.title else error

    def _draw_probability(self, ax: Axes) -> None:
        assert self.probability is not None
        assert self.candidates is not None
        relative = np.maximum(self.probability / self.probability.max(), FLOOR)
        order = np.argsort(relative)
        shown = order[relative[order] > FLOOR]
        spacing = np.sqrt(41_253 / len(relative))  # square degrees of the sphere
        point = 72 * self.figure_.get_figwidth() * 0.75 / (self.region[2] - self.region[0])
        points = ax.scatter(
            *self._place(self.candidates[shown]),
            c=relative[shown],
            norm="log",
            vmin=FLOOR,
            vmax=1,
            s=(1.3 * spacing * point) ** 2,
            marker="s",
            cmap="cividis_r",
            linewidths=0,
            zorder=1,
            **in_degrees(ax),
        )
        self.figure_.colorbar(points, ax=ax, shrink=0.7, label="relative probability")

    def _draw_arcs(self, ax: Axes) -> None:
        from matplotlib.collections import LineCollection

        assert self.true is not None
        lines: list[np.ndarray] = []
        for start, end in zip(self.true, self.predicted, strict=True):
            arc = np.column_stack(self._place(great_circle(start, end)))
            jumps = np.flatnonzero(np.abs(np.diff(arc[:, 0])) > 180) + 1  # over the map's edge
            lines += np.split(arc, jumps)
        ax.add_collection(
            LineCollection(
                lines, colors="0.25", linewidths=0.8, alpha=0.6, zorder=3, **in_degrees(ax)
            ),
            autolim=False,
        )

    def _draw_places(
        self, ax: Axes, places: np.ndarray, marker: str, colour: str, label: str
    ) -> None:
        size = 9 if len(places) < 30 else 5
        ax.plot(
            *self._place(places),
            marker,
            color=colour,
            markeredgecolor="white",
            markeredgewidth=0.5,
            markersize=size * (1.4 if marker == "*" else 1),
            label=label,
            zorder=4,
            **in_degrees(ax),
        )

    def _place(self, lonlat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return longitudes in the notation of the region, and latitudes."""
        lon, lat = np.asarray(lonlat, dtype=float).T
        return within(self.region, lon), lat


def great_circle(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return places on the great circle from one place to another, (n, 2) degrees."""
    first, second = unit_vectors(np.stack([start, end]))
    angle = np.arccos(np.clip(first @ second, -1, 1))
    share = np.linspace(0, 1, ARC_POINTS)[:, None]
    if np.sin(angle) < 1e-9:  # one place, or two opposite ones: any way is the shortest
        return start + share * (end - start)
    points = (np.sin((1 - share) * angle) * first + np.sin(share * angle) * second) / np.sin(angle)
    return lonlat_of(points)
