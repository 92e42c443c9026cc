"""Probabilities of classes on a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted

from skgeo_embed._region import WORLD, read_region
from skgeo_embed.datasets import land_mask
from skgeo_embed.inspection._earth import (
    OCEAN,
    draw_frame,
    draw_image,
    draw_land,
    map_panels,
    region_around,
)
from skgeo_embed.inspection._several_plots import draw_points
from skgeo_embed.places.columns import find_lonlat
from skgeo_embed.places.numbers import plain_column
from skgeo_embed.places.reading import find_coordinates
from skgeo_embed.streaming.grid import grid_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS_AT_ONCE = 100_000


class ProbabilityMapDisplay:
    """Probabilities of classes, a map for each class: of a whole region, or at places.

    Use :meth:`from_estimator` for a region, and :meth:`from_predictions` for places.

    Parameters
    ----------
    probabilities : ndarray of shape (n_lat, n_lon, n_classes) or (n, n_classes)
        Of the cells of `region`, rows from north to south, or of places; NaN is left blank.
    classes : sequence of length n_classes
        Names of the classes.
    region : tuple (west, south, east, north), default=None
        What the grid covers, degrees; None draws the surroundings of the places.
    lonlat : ndarray of shape (n, 2), default=None
        Longitude and latitude of the places, degrees.
    y_true : ndarray of shape (n,), default=None
        True classes of the places.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        A map for each class.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skgeo_embed import SatCLIPEncoder
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> from skgeo_embed.inspection import ProbabilityMapDisplay
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> kinds = np.select([y < 5, y > 20], ["cold", "hot"], "mild")
    >>> model = make_pipeline(SatCLIPEncoder(n_components=32), LogisticRegression(max_iter=500))
    >>> model = model.fit(X[::4], kinds[::4])
    >>> display = ProbabilityMapDisplay.from_estimator(
    ...     model, region=(-10, 35, 30, 60), resolution=2
    ... )
    >>> display.probabilities.shape
    (12, 20, 3)
    """

    axes_: np.ndarray
    figure_: Figure

    def __init__(
        self,
        probabilities: np.ndarray,
        classes: Sequence[Any],
        *,
        region: Sequence[float] | None = None,
        lonlat: np.ndarray | None = None,
        y_true: np.ndarray | None = None,
    ) -> None:
        self.probabilities = probabilities
        self.classes = classes
        self.region = region
        self.lonlat = lonlat
        self.y_true = y_true

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        region: Sequence[float] = WORLD,
        resolution: float = 1.0,
        land_only: bool = True,
        shown: Sequence[Any] | None = None,
        axes: Any = None,
    ) -> ProbabilityMapDisplay:
        """Predict the probabilities of a region's cells at their centres, and draw them.

        Parameters
        ----------
        estimator : estimator object
            A fitted classifier of places alone, with `predict_proba`.
        region : tuple (west, south, east, north), default=the world
            Degrees; across the antimeridian east is greater than 180, or less than west.
        resolution : float, default=1.0
            Size of a cell in degrees, rounded so that whole cells fill the region.
        land_only : bool, default=True
            Leave the ocean blank.
        shown : sequence of classes, default=None
            The classes to draw; None draws all.
        axes : matplotlib Axes or sequence of them, default=None
            One axes for each class that is drawn; None makes a figure.

        Returns
        -------
        display : ProbabilityMapDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator is not a classifier with `predict_proba`.
        ValueError
            If the estimator takes other columns than longitude and latitude, the region or the
            resolution is impossible, the region has no land, or a class is unknown.
        """
        check_is_fitted(estimator)
        if not (is_classifier(estimator) and hasattr(estimator, "predict_proba")):
            raise TypeError(
                f"a map of probabilities needs a classifier with predict_proba; got a "
                f"{type(estimator).__name__}."
            )
        lon, lat = grid_axes(region, resolution)
        cells = land_mask(lon, lat) if land_only else np.ones((len(lat), len(lon)), dtype=bool)
        if not cells.any():
            raise ValueError("this region has no land; pass land_only=False, or another region.")
        rows, columns = np.nonzero(cells)
        places = _as_fitted(estimator, np.column_stack([lon[columns], lat[rows]]))
        probabilities = np.full((*cells.shape, len(estimator.classes_)), np.nan)
        probabilities[cells] = np.concatenate(
            [
                estimator.predict_proba(places[start : start + ROWS_AT_ONCE])
                for start in range(0, len(places), ROWS_AT_ONCE)
            ]
        )
        display = cls(probabilities, estimator.classes_, region=read_region(region))
        return display.plot(shown=shown, axes=axes)

    @classmethod
    def from_predictions(
        cls,
        y_proba: Any,
        *,
        coords: Any,
        classes: Sequence[Any],
        y_true: Any = None,
        shown: Sequence[Any] | None = None,
        axes: Any = None,
    ) -> ProbabilityMapDisplay:
        """Draw probabilities at places, such as those of `cross_val_predict`.

        Parameters
        ----------
        y_proba : array-like of shape (n, n_classes)
            Probabilities.
        coords : array-like or frame of shape (n, 2)
            Longitude and latitude of the rows, degrees.
        classes : sequence of length n_classes
            Names of the columns of `y_proba`, as in the model's `classes_`.
        y_true : array-like of shape (n,), default=None
            True classes: on each map the places that are of its class have a black edge.
        shown : sequence of classes, default=None
            The classes to draw; None draws all.
        axes : matplotlib Axes or sequence of them, default=None
            One axes for each class that is drawn; None makes a figure.

        Returns
        -------
        display : ProbabilityMapDisplay
            Drawn.

        Raises
        ------
        ValueError
            If shapes differ, values are missing or not probabilities, or a class is unknown.
        """
        probabilities = check_array(y_proba, dtype=np.float64, input_name="y_proba")
        if probabilities.min() < 0 or probabilities.max() > 1:
            raise ValueError(
                f"y_proba must hold probabilities from 0 to 1; got values from "
                f"{probabilities.min():g} to {probabilities.max():g}. Use predict_proba."
            )
        if probabilities.shape[1] != len(classes):
            raise ValueError(
                f"y_proba has {probabilities.shape[1]} columns, and there are {len(classes)} "
                "classes."
            )
        lonlat = find_coordinates(coords, None)
        truth = None if y_true is None else np.asarray(plain_column(y_true))
        check_consistent_length(probabilities, lonlat, truth)
        display = cls(probabilities, classes, lonlat=lonlat, y_true=truth)
        return display.plot(shown=shown, axes=axes)

    def plot(
        self, *, shown: Sequence[Any] | None = None, axes: Any = None
    ) -> ProbabilityMapDisplay:
        """Draw the maps.

        Parameters
        ----------
        shown, axes
            As for `from_predictions`.

        Returns
        -------
        self : ProbabilityMapDisplay
            With `axes_` and `figure_`.
        """
        known = list(self.classes)
        names = known if shown is None else list(shown)
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise ValueError(f"shown must be among the classes {known}, got {shown!r}.")
        region = self.region
        if region is None:
            assert self.lonlat is not None
            region = region_around(self.lonlat)
        self.axes_, self.figure_ = map_panels(axes, [str(name) for name in names], region)
        for name, ax in zip(names, self.axes_, strict=True):
            values = self.probabilities[..., known.index(name)]
            colours = {"cmap": "cividis", "vmin": 0, "vmax": 1}
            if self.lonlat is None:
                ax.set_facecolor(OCEAN)
                image = draw_image(ax, values, region, **colours)
            else:
                draw_land(ax, region)
                image = self._draw_places(ax, values, name, region, colours)
            draw_frame(ax, region, str(name).replace("$", r"\$"))
        self.figure_.colorbar(image, ax=list(self.axes_), shrink=0.8, label="probability")
        return self

    def _draw_places(
        self, ax: Any, values: np.ndarray, name: Any, region: Sequence[float], colours: Any
    ) -> Any:
        assert self.lonlat is not None
        order = np.argsort(values)  # the largest on top
        edges: Any = "0.6"
        if self.y_true is not None:
            edges = np.where(self.y_true[order] == name, "black", "none")
        return draw_points(
            ax,
            self.lonlat[order],
            region,
            c=values[order],
            s=np.clip(4000 / len(order), 8, 40),
            linewidths=0.2 if self.y_true is None else 0.8,
            edgecolors=edges,
            **colours,
        )


def _as_fitted(estimator: Any, lonlat: np.ndarray) -> Any:
    """Return places with the columns that an estimator was fitted with."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        if getattr(estimator, "n_features_in_", 2) == 2:
            return lonlat
        names = range(estimator.n_features_in_)
    found = find_lonlat(list(names), None, None) if len(names) == 2 else None
    if found is None:
        raise ValueError(
            f"the estimator takes the columns {', '.join(map(str, names))}, and a map of a region "
            "has longitude and latitude alone; predict the rows of a table, and pass their "
            "probabilities to from_predictions."
        )
    return pd.DataFrame(lonlat[:, np.argsort(found)], columns=names)
