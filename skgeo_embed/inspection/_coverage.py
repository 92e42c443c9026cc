"""How many true values lie in their intervals or sets: by group, block and distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skgeo_embed._sphere import nearest_km
from skgeo_embed.inspection._earth import BLUE, ORANGE, import_pyplot, root_figure
from skgeo_embed.inspection._several_plots import bands_of_distance, block_of_rows
from skgeo_embed.model_selection._spatial import taken_by
from skgeo_embed.places.numbers import plain_column
from skgeo_embed.places.reading import find_coordinates
from skgeo_embed.prediction.rows import read_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SHOWN = 40  # groups in a plot


def coverage_by(
    y_true: Any,
    predicted: Any,
    by: Any = "all",
    *,
    classes: Any = None,
    coords: Any = None,
    train_coords: Any = None,
    block_size: float | str = "auto",
) -> pd.DataFrame:
    """Compute the coverage of intervals or sets of classes by group, block or distance.

    Intervals that contain 90 % of all true values may contain only 70 % in one region. In a small
    group the share is uncertain, so each comes with its 95 % confidence interval (Clopper and
    Pearson).

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True values, or classes.
    predicted : array-like of shape (n, 2) of float, or (n, n_classes) of bool
        What `predict_interval` or `predict_set` returned for rows that the model has not seen.
    by : {"all", "block", "distance"} or array-like of shape (n,), default="all"
        "block" needs `coords`; "distance", to the nearest training place, needs `train_coords` too.
        An array gives the group of each row.
    classes : array-like of shape (n_classes,), default=None
        Classes in the order of the columns of sets: `classes_` of the model.
    coords : array-like or frame of shape (n, 2), default=None
        Longitude and latitude of the rows, degrees.
    train_coords : array-like or frame of shape (m, 2), default=None
        Places that the model was trained on.
    block_size : float or "auto", default="auto"
        Side of a block in degrees; "auto" is a tenth of the extent of the places.

    Returns
    -------
    table : DataFrame
        One row for each group, block or band of distance, with columns `rows`, `coverage`, `low`
        and `high` (its 95 % range) and `size` (mean width of the intervals, or mean number of
        classes in a set). Of blocks also `lon` and `lat`, the mean of their rows; of distances also
        `distance_km`, the median of the band.

    Raises
    ------
    ValueError
        If lengths differ, values are missing, or `by` lacks what it needs.

    Examples
    --------
    >>> from skgeo_embed.inspection import coverage_by
    >>> intervals = [[0.0, 1.0], [0.0, 1.0], [0.0, 3.0], [2.0, 3.0]]
    >>> table = coverage_by([0.5, 2.0, 2.0, 2.5], intervals, ["a", "a", "b", "b"])
    >>> table["coverage"].to_dict()
    {'a': 0.5, 'b': 1.0}
    """
    hit, size = _hits(y_true, predicted, classes)
    name, group, columns = _groups(by, len(hit), coords, train_coords, block_size)
    frame = pd.DataFrame({name: group, "hit": hit, "size": size, **columns})
    grouped = frame.groupby(name, sort=True)
    table = pd.DataFrame({"rows": grouped.size(), "coverage": grouped["hit"].mean()})
    ranges = [
        binomtest(round(share * rows), int(rows)).proportion_ci(0.95)
        for rows, share in zip(table.rows, table.coverage, strict=True)
    ]
    table["low"], table["high"] = np.array([(one.low, one.high) for one in ranges]).T
    table["size"] = grouped["size"].mean()
    for column in columns:
        table[column] = grouped[column].agg("median" if column == "distance_km" else "mean")
    return table


def _hits(y_true: Any, predicted: Any, classes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows hold their true value, and how large each interval or set is."""
    truth = read_labels(y_true, "y_true")
    predicted = np.asarray(predicted)
    check_consistent_length(truth, predicted)
    if predicted.ndim == 2 and predicted.dtype == bool:
        if classes is None or len(classes) != predicted.shape[1]:
            raise ValueError(
                f"sets of {predicted.shape[1]} classes need `classes`, the name of each column; "
                f"got {'none' if classes is None else len(classes)}."
            )
        known = np.asarray(classes)[None] == np.asarray(truth)[:, None]
        return (predicted & known).any(axis=1), predicted.sum(axis=1).astype(float)
    if predicted.ndim != 2 or predicted.shape[1] != 2 or predicted.dtype.kind not in "fiu":
        raise ValueError(
            "predicted must be intervals, (n, 2), or sets of classes, (n, n_classes) of bool; got "
            f"shape {predicted.shape} of {predicted.dtype}."
        )
    low, high = predicted.T
    if np.isnan(predicted).any():
        rows = np.flatnonzero(np.isnan(predicted).any(axis=1))
        raise ValueError(f"intervals are missing in {len(rows)} row(s) (first: row {rows[0]}).")
    return (low <= truth) & (truth <= high), high - low


def _groups(
    by: Any, n_rows: int, coords: Any, train_coords: Any, block_size: float | str
) -> tuple[str, Any, dict[str, np.ndarray]]:
    """Return the name of the groups, the group of each row, and columns to be summarised."""
    if not isinstance(by, str):
        group = plain_column(by)
        check_consistent_length(group, np.empty(n_rows))
        return "group", np.asarray(group), {}
    if by == "all":
        return "group", np.full(n_rows, "all"), {}
    if by not in ("block", "distance"):
        raise ValueError(f'by must be "all", "block", "distance" or an array, got {by!r}.')
    if coords is None or (by == "distance" and train_coords is None):
        needed = "coords" if by == "block" else "coords and train_coords"
        raise ValueError(f'by="{by}" needs {needed}.')
    lonlat = find_coordinates(coords, None)
    check_consistent_length(lonlat, np.empty(n_rows))
    if by == "block":
        block = block_of_rows(lonlat, block_size)
        return "block", block, {"lon": lonlat[:, 0], "lat": lonlat[:, 1]}
    distance = nearest_km(lonlat, find_coordinates(train_coords, None))
    band = np.empty(n_rows, dtype=int)
    for number, rows in enumerate(bands_of_distance(distance)):
        band[rows] = number
    return "band", band, {"distance_km": distance}


class CoverageDisplay:
    """Draw the coverage of intervals or sets, compared with their confidence level.

    Use :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    tables : dict of str to DataFrame
        What :func:`coverage_by` returns, by the kind of its groups.
    confidence_level : float
        The promised share.

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
    >>> from skgeo_embed import SatCLIPEncoder, SpatialConformalRegressor
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> from skgeo_embed.inspection import CoverageDisplay
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> model = SpatialConformalRegressor(make_pipeline(SatCLIPEncoder(n_components=64), Ridge()))
    >>> display = CoverageDisplay.from_estimator(
    ...     model.fit(X[::4], y[::4]), X[1::4], y[1::4], train_coords=X[::4]
    ... )
    >>> list(display.tables)
    ['block', 'distance']
    """

    axes_: np.ndarray
    figure_: Figure

    def __init__(self, tables: dict[str, pd.DataFrame], *, confidence_level: float) -> None:
        self.tables = tables
        self.confidence_level = confidence_level

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        coords: Any = None,
        train_coords: Any = None,
        groups: Any = None,
        block_size: float | str = "auto",
        axes: Any = None,
    ) -> CoverageDisplay:
        """Predict rows that the estimator has not seen, and draw how many it holds.

        Parameters
        ----------
        estimator : SpatialConformalRegressor or SpatialConformalClassifier
            Fitted; any estimator with `confidence_level`, and `predict_interval` or `predict_set`.
        X : array-like or frame of shape (n, d)
            Features; longitude and latitude are among the columns, unless `coords` gives them.
        y : array-like of shape (n,)
            True values, or classes.
        coords, train_coords, groups, block_size, axes
            As for `from_predictions`.

        Returns
        -------
        display : CoverageDisplay
            Drawn.
        """
        check_is_fitted(estimator)
        sets = hasattr(estimator, "predict_set")
        predict = estimator.predict_set if sets else estimator.predict_interval
        return cls.from_predictions(
            y,
            predict(X, **taken_by(predict, coords=coords)),
            classes=estimator.classes_ if sets else None,
            confidence_level=estimator.confidence_level,
            coords=find_coordinates(X, coords),
            train_coords=train_coords,
            groups=groups,
            block_size=block_size,
            axes=axes,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        predicted: Any,
        *,
        confidence_level: float,
        coords: Any,
        classes: Any = None,
        train_coords: Any = None,
        groups: Any = None,
        block_size: float | str = "auto",
        axes: Any = None,
    ) -> CoverageDisplay:
        """Draw how many true values intervals or sets hold.

        Parameters
        ----------
        y_true, predicted, classes
            As for :func:`coverage_by`.
        confidence_level : float
            The promised share.
        coords : array-like or frame of shape (n, 2)
            Longitude and latitude of the rows, degrees.
        train_coords : array-like or frame of shape (m, 2), default=None
            Places that the model was trained on; they add a plot by distance.
        groups : array-like of shape (n,), default=None
            Group of each row; they add a plot by group.
        block_size : float or "auto", default="auto"
            Side of a block in degrees; "auto" is a tenth of the extent of the places.
        axes : matplotlib Axes or sequence of them, default=None
            Where to draw, one axes for each plot; None makes a figure.

        Returns
        -------
        display : CoverageDisplay
            Drawn.

        Raises
        ------
        ValueError
            If lengths differ or values are missing.
        ImportError
            If matplotlib is missing.
        """
        wanted: dict[str, Any] = {"block": "block"}
        wanted |= {} if train_coords is None else {"distance": "distance"}
        wanted |= {} if groups is None else {"group": groups}
        tables = {
            kind: coverage_by(
                y_true,
                predicted,
                by,
                classes=classes,
                coords=coords,
                train_coords=train_coords,
                block_size=block_size,
            )
            for kind, by in wanted.items()
        }
        return cls(tables, confidence_level=confidence_level).plot(axes=axes)

    def plot(self, *, axes: Axes | Sequence[Axes] | None = None) -> CoverageDisplay:
        """Draw the shares with their 95 % ranges.

        Parameters
        ----------
        axes : matplotlib Axes or sequence of them, default=None
            Where to draw, one axes for each table; None makes a figure.

        Returns
        -------
        self : CoverageDisplay
            With `axes_` and `figure_`.
        """
        plt = import_pyplot()
        if axes is None:
            size = 5.5 * len(self.tables), 4.2
            _, axes = plt.subplots(
                1, len(self.tables), figsize=size, squeeze=False, layout="constrained"
            )
        self.axes_ = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
        if len(self.axes_) < len(self.tables):
            raise ValueError(f"{len(self.tables)} plots need as many axes, got {len(self.axes_)}.")
        self.figure_ = root_figure(self.axes_[0])
        for ax, (kind, table) in zip(self.axes_, self.tables.items(), strict=False):
            self._draw(ax, kind, table)
        return self

    def _draw(self, ax: Axes, kind: str, table: pd.DataFrame) -> None:
        if kind != "distance":  # the largest, if there are many
            table = table.nlargest(MOST_SHOWN, "rows").sort_values("coverage")
        share = 100 * table[["coverage", "low", "high"]].to_numpy().T
        where = table.distance_km if kind == "distance" else np.arange(len(table))
        ax.errorbar(
            where, share[0], np.abs(share[1:] - share[0]), fmt="o", color=BLUE, markersize=4, lw=1
        )
        promised = 100 * self.confidence_level
        ax.axhline(promised, color=ORANGE, linestyle="--", label=f"promised: {promised:g} %")
        ax.set_ylabel("true values inside, %")
        ax.set_title(f"Coverage by {kind}", loc="left")
        ax.legend(frameon=False, loc="lower right")
        if kind == "distance":
            ax.set_xlabel("distance to the nearest training place, km")
            if table.distance_km.min() > 0:
                ax.set_xscale("log")
        elif kind == "group":
            ax.set_xticks(where, list(table.index), rotation=45, ha="right")
        else:
            ax.set(xlabel="blocks with most rows, the worst first", xticks=[])
