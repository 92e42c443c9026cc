"""Errors of classifiers: where classes are confused, and which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import confusion_matrix
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from skgeo_embed.inspection._earth import draw_frame, draw_land, region_around, within
from skgeo_embed.inspection._several_plots import SeveralPlots, block_of_rows, draw_blocks
from skgeo_embed.model_selection._spatial import taken_by
from skgeo_embed.places.numbers import plain_column
from skgeo_embed.places.reading import find_coordinates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# colour-blind readers can tell them apart (Okabe and Ito, "Color Universal Design", 2008)
PAIR_COLOURS = ("#D55E00", "#0072B2", "#F0E442", "#CC79A7", "#56B4E9")
OTHER, RIGHT = "0.45", "white"


class SpatialConfusionDisplay(SeveralPlots):
    """Confusion of classes by block: how often, which classes, and in how many blocks.

    Errors that come together in a few blocks are a matter of these regions; errors of the same
    number all over the map are a matter of the classes. Use :meth:`from_estimator` or
    :meth:`from_predictions`.

    Parameters
    ----------
    confusion : ndarray of shape (n_blocks, n_classes, n_classes), int
        Rows of each block by true class and by predicted class.
    lonlat : ndarray of shape (n_blocks, 2)
        Mean longitude and latitude of the rows of each block, degrees.
    labels : ndarray of shape (n_classes,)
        The classes.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One axes for each kind.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skgeo_embed import SatCLIPEncoder
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> from skgeo_embed.inspection import SpatialConfusionDisplay
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> kinds = np.select([y < 5, y > 20], ["cold", "hot"], "mild")
    >>> model = make_pipeline(SatCLIPEncoder(n_components=32), LogisticRegression(max_iter=500))
    >>> model = model.fit(X[::4], kinds[::4])
    >>> display = SpatialConfusionDisplay.from_estimator(model, X[1::4], kinds[1::4])
    >>> int(display.confusion.sum()) == len(X[1::4])
    True
    """

    def __init__(self, confusion: np.ndarray, lonlat: np.ndarray, labels: np.ndarray) -> None:
        self.confusion = confusion
        self.lonlat = lonlat
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        coords: Any = None,
        labels: Any = None,
        block_size: float | str = "auto",
        kind: str | Sequence[str] | None = None,
        axes: Any = None,
    ) -> SpatialConfusionDisplay:
        """Predict rows that the classifier has not seen, and draw its confusion.

        Parameters
        ----------
        estimator : estimator object
            A fitted classifier.
        X : array-like or frame of shape (n, d)
            Features; longitude and latitude are among the columns, unless `coords` gives them.
        y : array-like of shape (n,)
            True classes.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the rows in degrees, if X does not hold them.
        labels, block_size, kind, axes
            As for `from_predictions`.

        Returns
        -------
        display : SpatialConfusionDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator is not a classifier.
        """
        check_is_fitted(estimator)
        if not is_classifier(estimator):
            raise TypeError(
                f"confusion needs a classifier; got a {type(estimator).__name__}. For a regressor "
                "use SpatialErrorDisplay."
            )
        lonlat = find_coordinates(X, coords)
        return cls.from_predictions(
            y,
            estimator.predict(X, **taken_by(estimator.predict, coords=coords)),
            coords=lonlat,
            labels=labels,
            block_size=block_size,
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
        labels: Any = None,
        block_size: float | str = "auto",
        kind: str | Sequence[str] | None = None,
        axes: Any = None,
    ) -> SpatialConfusionDisplay:
        """Draw the confusion of predictions, such as those of `cross_val_predict`.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n,)
            True and predicted classes.
        coords : array-like or frame of shape (n, 2)
            Longitude and latitude of the rows, degrees.
        labels : array-like of shape (n_classes,), default=None
            The classes in the order of the matrix; None takes all that occur, sorted.
        block_size : float or "auto", default="auto"
            Side of a block in degrees; "auto" is a tenth of the extent of the places.
        kind : {"accuracy", "confusions", "matrix"} or a list of them, default=None
            Plots to draw; None draws all. "accuracy" is the share of each block's rows that is
            right, "confusions" the most frequent confusion of each block, and "matrix" the
            confusion matrix, with the number of blocks that each confusion is in.
        axes : matplotlib Axes or sequence of them, default=None
            Where to draw, one axes for each kind; None makes a figure.

        Returns
        -------
        display : SpatialConfusionDisplay
            Drawn.

        Raises
        ------
        ValueError
            If lengths differ, a class is not among `labels`, or a kind is unknown.
        ImportError
            If matplotlib is missing.
        """
        truth, predicted = (column_or_1d(plain_column(values)) for values in (y_true, y_pred))
        lonlat = find_coordinates(coords, None)
        check_consistent_length(truth, predicted, lonlat)
        found = unique_labels(truth, predicted)
        names = found if labels is None else column_or_1d(labels)
        missing = sorted(set(found.tolist()) - set(names.tolist()))
        if missing:
            raise ValueError(f"labels lacks {missing}, which y_true or y_pred holds.")
        member = block_of_rows(lonlat, block_size)
        region = region_around(lonlat)
        places = np.column_stack([within(region, lonlat[:, 0]), lonlat[:, 1]])
        blocks = [np.flatnonzero(member == block) for block in range(member.max() + 1)]
        display = cls(
            np.array([confusion_matrix(truth[b], predicted[b], labels=names) for b in blocks]),
            np.array([places[rows].mean(axis=0) for rows in blocks]),
            names,
        )
        return display.plot(kind=kind, axes=axes)

    def _drawings(self) -> dict[str, Callable[[Axes], None]]:
        return {
            "accuracy": self._draw_accuracy,
            "confusions": self._draw_confusions,
            "matrix": self._draw_matrix,
        }

    def _draw_accuracy(self, ax: Axes) -> None:
        right = np.trace(self.confusion, axis1=1, axis2=2) / self.confusion.sum(axis=(1, 2))
        shown = self._draw_blocks(ax, c=right, cmap="cividis", vmin=0, vmax=1)
        draw_frame(ax, region_around(self.lonlat), f"Accuracy of {len(right)} blocks")
        self.figure_.colorbar(shown, ax=ax, shrink=0.8, label="share of rows that is right")

    def _draw_confusions(self, ax: Axes) -> None:
        wrong = self._wrong().reshape(len(self.confusion), -1)
        frequent = np.argsort(-wrong.sum(axis=0), kind="stable")[: len(PAIR_COLOURS)]
        frequent = frequent[wrong.sum(axis=0)[frequent] > 0]
        leading = np.where(wrong.any(axis=1), wrong.argmax(axis=1), -1)
        colours = np.full(len(leading), OTHER, dtype=object)
        colours[leading < 0] = RIGHT
        entries = [("no errors", RIGHT, leading < 0)]
        for pair, colour in zip(frequent, PAIR_COLOURS, strict=False):
            colours[leading == pair] = colour
            true, predicted = np.unravel_index(pair, self.confusion.shape[1:])
            name = f"{self.labels[true]} taken for {self.labels[predicted]}"
            entries.append((name, colour, leading == pair))
        others = (leading >= 0) & ~np.isin(leading, frequent)
        entries.append(("other confusions", OTHER, others))
        self._draw_blocks(ax, c=colours.tolist())
        for name, colour, blocks in entries:
            if blocks.any():
                label = f"{name} ({blocks.sum()})".replace("$", r"\$")
                ax.scatter([], [], c=colour, edgecolors="0.25", linewidths=0.5, label=label)
        ax.legend(
            fontsize="small", frameon=False, loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2
        )
        draw_frame(ax, region_around(self.lonlat), "Most frequent confusion of each block")

    def _draw_matrix(self, ax: Axes) -> None:
        total = self.confusion.sum(axis=0)
        share = total / np.maximum(total.sum(axis=1, keepdims=True), 1)
        ax.imshow(share, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        blocks = (self.confusion > 0).sum(axis=0)
        for (row, column), value in np.ndenumerate(share):
            if total[row, column]:
                text = f"{total[row, column]:,}"
                if row != column:
                    text += f"\nin {blocks[row, column]} of {len(self.confusion)} blocks"
                ax.text(
                    column,
                    row,
                    text,
                    ha="center",
                    va="center",
                    fontsize="small",
                    color="black" if value > 0.5 else "white",
                )
        names = [str(label).replace("$", r"\$") for label in self.labels]
        ax.set_xticks(range(len(names)), names, rotation=30 if len(names) > 4 else 0)
        ax.set_yticks(range(len(names)), names)
        ax.set(xlabel="predicted", ylabel="true")
        ax.set_title("Rows, coloured by the share of their true class", loc="left")

    def _draw_blocks(self, ax: Axes, **colours: Any) -> Any:
        region = region_around(self.lonlat)
        draw_land(ax, region)
        counts = self.confusion.sum(axis=(1, 2))
        return draw_blocks(ax, self.lonlat, region, counts, smallest=16, **colours)

    def _wrong(self) -> np.ndarray:
        """Return the confusion with its diagonal, the right predictions, set to 0."""
        return self.confusion * ~np.eye(len(self.labels), dtype=bool)
