"""Errors of predictions: where they are, and how they are correlated in space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.neighbors import BallTree
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from skgeo_embed._sphere import great_circle_km, nearest_km
from skgeo_embed.inspection._earth import (
    BLUE,
    ORANGE,
    draw_frame,
    draw_land,
    region_around,
    within,
)
from skgeo_embed.inspection._several_plots import (
    SeveralPlots,
    bands_of_distance,
    block_of_rows,
    draw_blocks,
    draw_points,
)
from skgeo_embed.model_selection._spatial import taken_by
from skgeo_embed.places.numbers import plain_column
from skgeo_embed.places.reading import find_coordinates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST_PLACES = 10  # of a variogram
N_PAIRS = 200_000  # of rows, drawn for the variogram


class SpatialErrorDisplay(SeveralPlots):
    """Errors of predictions: on a map, by block, by distance to the training data, by lag.

    Use :meth:`from_estimator` or :meth:`from_predictions`. An error is prediction less truth.

    Parameters
    ----------
    lonlat : ndarray of shape (n, 2)
        Longitude and latitude of the rows, degrees.
    errors : ndarray of shape (n,)
        Prediction less truth, in the units of the target.
    train_lonlat : ndarray of shape (m, 2), default=None
        Places that the model was trained on.
    block_size : float or "auto", default="auto"
        Side of a block in degrees; "auto" is a tenth of the extent of the places.
    unit : str, default=None
        Unit of the target, for the labels.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One axes for each kind.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skgeo_embed import SatCLIPEncoder
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> from skgeo_embed.inspection import SpatialErrorDisplay
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> model = make_pipeline(SatCLIPEncoder(n_components=64), Ridge()).fit(X[::2], y[::2])
    >>> display = SpatialErrorDisplay.from_estimator(
    ...     model, X[1::2], y[1::2], train_coords=X[::2], unit="°C"
    ... )
    >>> len(display.axes_)
    4
    """

    def __init__(
        self,
        lonlat: np.ndarray,
        errors: np.ndarray,
        *,
        train_lonlat: np.ndarray | None = None,
        block_size: float | str = "auto",
        unit: str | None = None,
    ) -> None:
        self.lonlat = lonlat
        self.errors = errors
        self.train_lonlat = train_lonlat
        self.block_size = block_size
        self.unit = unit

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        coords: Any = None,
        train_coords: Any = None,
        block_size: float | str = "auto",
        unit: str | None = None,
        kind: str | Sequence[str] | None = None,
        axes: Any = None,
    ) -> SpatialErrorDisplay:
        """Predict rows that the estimator has not seen, and draw its errors.

        Parameters
        ----------
        estimator : estimator object
            A fitted regressor.
        X : array-like or frame of shape (n, d)
            Features; longitude and latitude are among the columns, unless `coords` gives them.
        y : array-like of shape (n,)
            True values.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the rows in degrees, if X does not hold them.
        train_coords, block_size, unit, kind, axes
            As for `from_predictions`.

        Returns
        -------
        display : SpatialErrorDisplay
            Drawn.
        """
        check_is_fitted(estimator)
        lonlat = find_coordinates(X, coords)
        return cls.from_predictions(
            y,
            estimator.predict(X, **taken_by(estimator.predict, coords=coords)),
            coords=lonlat,
            train_coords=train_coords,
            block_size=block_size,
            unit=unit,
            kind=kind,
            axes=axes,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        coords: Any,
        train_coords: Any = None,
        block_size: float | str = "auto",
        unit: str | None = None,
        kind: str | Sequence[str] | None = None,
        axes: Any = None,
    ) -> SpatialErrorDisplay:
        """Draw the errors of predictions, such as those of `cross_val_predict`.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n,)
            True values and predictions.
        coords : array-like or frame of shape (n, 2)
            Longitude and latitude of the rows, degrees.
        train_coords : array-like or frame of shape (m, 2), default=None
            Places that the model was trained on, for the errors by distance.
        block_size : float or "auto", default="auto"
            Side of a block in degrees; "auto" is a tenth of the extent of the places.
        unit : str, default=None
            Unit of the target, for the labels.
        kind : {"map", "blocks", "distance", "variogram"} or a list of them, default=None
            Plots to draw; None draws all for which there are data.
        axes : matplotlib Axes or sequence of them, default=None
            Where to draw, one axes for each kind; None makes a figure.

        Returns
        -------
        display : SpatialErrorDisplay
            Drawn.

        Raises
        ------
        ValueError
            If lengths differ, values are missing, or a kind is unknown or lacks `train_coords`.
        ImportError
            If matplotlib is missing.
        """
        truth, predicted = (
            column_or_1d(
                np.ma.filled(np.ma.asarray(plain_column(values), dtype=np.float64), np.nan)
            )
            for values in (y_true, y_pred)
        )
        lonlat = find_coordinates(coords, None)
        check_consistent_length(truth, predicted, lonlat)
        errors = predicted - truth
        if not np.isfinite(errors).all():
            rows = np.flatnonzero(~np.isfinite(errors))
            raise ValueError(
                f"errors are missing or infinite in {len(rows)} row(s) (first: row {rows[0]}); "
                "drop these rows."
            )
        train = None if train_coords is None else find_coordinates(train_coords, None)
        display = cls(lonlat, errors, train_lonlat=train, block_size=block_size, unit=unit)
        return display.plot(kind=kind, axes=axes)

    def _drawings(self) -> dict[str, Callable[[Axes], None]]:
        return {
            "map": self._draw_map,
            "blocks": self._draw_blocks,
            "distance": self._draw_distance,
            "variogram": self._draw_variogram,
        }

    def _what_is_missing(self, kind: str) -> str | None:
        if kind == "distance" and self.train_lonlat is None:
            return 'kind="distance" needs train_coords, the places of the training rows.'
        if kind == "variogram" and self._n_places() < FEWEST_PLACES:
            return f"a variogram needs at least {FEWEST_PLACES} places, got {self._n_places()}."
        return None

    def _n_places(self) -> int:
        return len(np.unique(self.lonlat, axis=0))

    def _draw_map(self, ax: Axes) -> None:
        region = region_around(self.lonlat)
        order = np.argsort(np.abs(self.errors))  # the largest on top
        size = np.clip(4000 / len(order), 4, 40)
        draw_land(ax, region)
        shown = draw_points(
            ax,
            self.lonlat[order],
            region,
            c=self.errors[order],
            s=size,
            linewidths=0.2,
            edgecolors="0.25",
            **_diverging(self.errors),
        )
        draw_frame(ax, region, "Error at each place")
        self._colour_bar(ax, shown, self.errors)

    def _draw_blocks(self, ax: Axes) -> None:
        region = region_around(self.lonlat)
        member = block_of_rows(self.lonlat, self.block_size)
        counts = np.bincount(member)
        mean, lon, lat = (
            np.bincount(member, values) / counts
            for values in (self.errors, within(region, self.lonlat[:, 0]), self.lonlat[:, 1])
        )
        draw_land(ax, region)
        places, colours = np.column_stack([lon, lat]), _diverging(mean[member])
        shown = draw_blocks(ax, places, region, counts, smallest=12, c=mean, **colours)
        draw_frame(ax, region, f"Mean error of {len(counts)} blocks")
        self._colour_bar(ax, shown, mean)

    def _draw_distance(self, ax: Axes) -> None:
        assert self.train_lonlat is not None
        distance = nearest_km(self.lonlat, self.train_lonlat)
        distance = np.maximum(distance, 0.1 * max(np.median(distance), 1e-3))  # the axis is log
        size = np.abs(self.errors)
        bands = bands_of_distance(distance)
        middle = np.array([np.median(distance[rows]) for rows in bands])
        low, half, high = np.array([np.quantile(size[rows], (0.1, 0.5, 0.9)) for rows in bands]).T
        ax.plot(distance, size, ".", color="0.75", markersize=2, zorder=1)
        ax.fill_between(middle, low, high, color=BLUE, alpha=0.2, linewidth=0, label="10 to 90 %")
        ax.plot(middle, half, "o-", color=BLUE, markersize=4, label="median")
        ax.set(xlabel="distance to the nearest training place, km", ylabel=self._label("|error|"))
        ax.set_xscale("log")
        ax.set_ylim(0, np.quantile(size, 0.99))
        ax.set_title("Errors by distance to the training data", loc="left")
        ax.legend(frameon=False, loc="upper left")

    def _draw_variogram(self, ax: Axes) -> None:
        rng = check_random_state(0)
        n_rows = len(self.errors)
        first, second = rng.randint(0, n_rows, (2, N_PAIRS))
        near = np.sort(_nearest_pairs(self.lonlat), axis=1)
        pairs = np.unique(np.vstack([np.column_stack([first, second]), near]), axis=0)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        lag = great_circle_km(self.lonlat[pairs[:, 0]], self.lonlat[pairs[:, 1]])
        half = 0.5 * (self.errors[pairs[:, 0]] - self.errors[pairs[:, 1]]) ** 2
        keep = lag <= lag.max() / 2
        edges = np.geomspace(max(np.quantile(lag[keep], 0.001), 1e-3), lag.max() / 2, 16)
        band = np.clip(np.searchsorted(edges, lag[keep]) - 1, 0, len(edges) - 2)
        counts = np.bincount(band, minlength=len(edges) - 1)
        known = counts >= 30
        gamma = np.bincount(band, half[keep], len(edges) - 1)[known] / counts[known]
        middle = np.bincount(band, lag[keep], len(edges) - 1)[known] / counts[known]
        ax.plot(middle, gamma, "o-", color=BLUE, markersize=4, label="errors")
        ax.axhline(self.errors.var(), color=ORANGE, linestyle="--", label="variance of all errors")
        ax.set(xscale="log", xlabel="distance between two rows, km")
        ax.set_ylabel("semivariance" + (f", {self.unit}²" if self.unit else ""))
        ax.set_ylim(bottom=0)
        ax.set_title("Variogram of the errors", loc="left")
        ax.legend(frameon=False, loc="lower right")

    def _colour_bar(self, ax: Axes, shown: Any, values: np.ndarray) -> None:
        limit = shown.get_clim()[1]
        extend = "both" if np.abs(values).max() > limit else "neither"
        label = self._label("prediction − truth")
        self.figure_.colorbar(shown, ax=ax, shrink=0.8, label=label, extend=extend)

    def _label(self, what: str) -> str:
        return what + (f", {self.unit}" if self.unit else "")


def _diverging(values: np.ndarray) -> dict[str, Any]:
    """Return colours for both signs, safe for colour-blind readers, up to the 98 % quantile."""
    limit = float(np.quantile(np.abs(values), 0.98)) or 1.0
    return {"cmap": "PuOr_r", "vmin": -limit, "vmax": limit}


def _nearest_pairs(lonlat: np.ndarray) -> np.ndarray:
    """Return pairs of neighbouring rows, (n, 2) row numbers."""
    count = min(9, len(lonlat))
    places = np.deg2rad(lonlat[:, ::-1])
    neighbor = BallTree(places, metric="haversine").query(places, k=count)[1]
    return np.column_stack([np.repeat(np.arange(len(lonlat)), count), neighbor.ravel()])
