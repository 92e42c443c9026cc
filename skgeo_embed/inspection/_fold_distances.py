"""How far test rows are from training rows, and places to predict at from all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import wasserstein_distance

from skgeo_embed.inspection._earth import BLUE, GREEN, ORANGE, axes_or_new
from skgeo_embed.model_selection._nearest import FoldDistances, fold_distances
from skgeo_embed.model_selection._prediction_places import read_prediction_places
from skgeo_embed.model_selection._spatial import taken_by
from skgeo_embed.places.reading import find_coordinates

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class FoldDistancesDisplay:
    """Three distributions of distances, which say what a cross-validation measures.

    From each row to the nearest row at another place; from each place where the model will predict
    to the nearest row; and from each test row to the nearest training row of its fold. Folds
    measure the error of a map if the last two agree (Linnenbrink et al. 2024,
    doi 10.5194/gmd-17-5897-2024). Use :meth:`from_splitter` or :meth:`from_distances`.

    Parameters
    ----------
    distances : FoldDistances
        The three distributions, in km.
    name : str, default=None
        Name of the folds.

    Attributes
    ----------
    wasserstein_km_ : float
        Wasserstein distance between the distances of the folds and of the prediction, km.
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> from skgeo_embed.inspection import FoldDistancesDisplay
    >>> from skgeo_embed.model_selection import SpatialBlockKFold
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> europe = (-10, 36, 30, 60)
    >>> display = FoldDistancesDisplay.from_splitter(SpatialBlockKFold(), X, predict_at=europe)
    >>> display.wasserstein_km_ > 100
    True
    """

    ax_: Axes
    figure_: Figure

    def __init__(self, distances: FoldDistances, *, name: str | None = None) -> None:
        self.distances = distances
        self.name = name
        self.wasserstein_km_ = float(
            wasserstein_distance(distances.cv, distances.prediction_to_sample)
        )

    @classmethod
    def from_splitter(
        cls,
        splitter: Any,
        X: Any,
        y: Any = None,
        *,
        predict_at: Any = None,
        coords: Any = None,
        groups: Any = None,
        n_places: int = 1000,
        ax: Axes | None = None,
    ) -> FoldDistancesDisplay:
        """Split rows, measure the distances, and draw them.

        Parameters
        ----------
        splitter : splitter
            Any, of scikit-learn's or of this library's.
        X : array-like or frame of shape (n, d)
            The data; longitude and latitude are among the columns, unless `coords` gives them.
        y : array-like of shape (n,), default=None
            Target, if the splitter needs it.
        predict_at : object, default=None
            Where the model will predict, as for
            :class:`~skgeo_embed.model_selection.NearestNeighborDistanceKFold`. None takes the
            `predict_at` of such a splitter.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the rows in degrees, if X does not hold them.
        groups : array-like of shape (n,), default=None
            Group of each row, if the splitter needs it.
        n_places : int, default=1000
            About how many places polygons, a region or a grid become.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : FoldDistancesDisplay
            Drawn.

        Raises
        ------
        ValueError
            If it is not known where the model will predict.
        """
        if predict_at is None:
            predict_at = getattr(splitter, "predict_at", None)
            n_places = getattr(splitter, "n_places", n_places)
        if predict_at is None:
            raise ValueError(f"pass predict_at; {type(splitter).__name__} does not have it.")
        lonlat = find_coordinates(X, coords)
        folds = list(splitter.split(X, y, groups, **taken_by(splitter.split, coords=coords)))
        distances = fold_distances(folds, lonlat, read_prediction_places(predict_at, n_places, 0))
        return cls(distances, name=type(splitter).__name__).plot(ax=ax)

    @classmethod
    def from_distances(
        cls,
        sample_to_sample: Any,
        prediction_to_sample: Any,
        cv: Any,
        *,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> FoldDistancesDisplay:
        """Draw distances, such as the `distances_` of a `NearestNeighborDistanceKFold`.

        Parameters
        ----------
        sample_to_sample, prediction_to_sample, cv : array-like of shape (n,)
            Distances in km: among rows, from places to predict at to rows, and from test to
            training rows.
        name : str, default=None
            Name of the folds.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : FoldDistancesDisplay
            Drawn.

        Raises
        ------
        ValueError
            If distances are missing or negative, or there are none.
        """
        given = {
            "sample_to_sample": sample_to_sample,
            "prediction_to_sample": prediction_to_sample,
            "cv": cv,
        }
        read = {key: np.asarray(values, dtype=np.float64) for key, values in given.items()}
        for key, values in read.items():
            if values.ndim != 1 or not len(values) or not (values >= 0).all():
                raise ValueError(f"{key} must be one or more distances in km, (n,), none below 0.")
        return cls(FoldDistances(**read), name=name).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> FoldDistancesDisplay:
        """Draw the share of rows or places by distance.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        self : FoldDistancesDisplay
            With `ax_` and `figure_`.
        """
        ax, self.figure_ = axes_or_new(ax, (6.4, 4.2))
        self.ax_ = ax
        curves = (
            (self.distances.sample_to_sample, "rows to other rows", GREEN, ":"),
            (self.distances.prediction_to_sample, "places to predict at to rows", ORANGE, "-"),
            (self.distances.cv, "test rows to training rows", BLUE, "--"),
        )
        positive = [values[values > 0] for values, *_ in curves]
        nearest = min((float(np.quantile(v, 0.01)) for v in positive if len(v)), default=1.0)
        for values, label, colour, style in curves:
            ax.ecdf(np.maximum(values, nearest), label=label, color=colour, linestyle=style)
        ax.set(xscale="log", xlabel="distance to the nearest, km", ylabel="share at most that far")
        ax.set_title(
            f"{self.name or 'Folds'}: {self.wasserstein_km_:.3g} km from the prediction", loc="left"
        )
        ax.legend(frameon=False, loc="upper left")
        return self
