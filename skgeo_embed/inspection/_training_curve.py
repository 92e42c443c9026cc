"""Curves of a pretraining run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from skgeo_embed.inspection._earth import BLUE, GREEN, ORANGE, import_pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class TrainingCurveDisplay:
    """Loss, retrieval and geolocation error over the epochs of a pretraining run.

    Use :meth:`from_estimator`.

    Parameters
    ----------
    history : DataFrame
        A pretrainer's `history_`.
    title : str, default=None
        Title, such as the name of the model.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        Panels of loss, retrieval and error; of the loss alone without validation.
    figure_ : matplotlib Figure
        The figure that holds them.

    Examples
    --------
    >>> from skgeo_embed import SatCLIPPretrainer
    >>> from skgeo_embed.datasets import load_blue_marble
    >>> from skgeo_embed.inspection import TrainingCurveDisplay
    >>> tiles = load_blue_marble(n_tiles=64, tile_size=16, random_state=0)
    >>> pretrainer = SatCLIPPretrainer(
    ...     "satclip", max_epochs=2, batch_size=16, random_state=0, verbose=0
    ... ).fit(tiles.images, tiles.coords)
    >>> display = TrainingCurveDisplay.from_estimator(pretrainer)
    >>> len(display.axes_)
    3
    """

    axes_: np.ndarray
    figure_: Figure

    def __init__(self, history: pd.DataFrame, *, title: str | None = None) -> None:
        self.history = history
        self.title = title

    @classmethod
    def from_estimator(
        cls, pretrainer: Any, *, axes: np.ndarray | list[Axes] | None = None
    ) -> TrainingCurveDisplay:
        """Draw the run of a fitted pretrainer.

        Parameters
        ----------
        pretrainer : SatCLIPPretrainer
            Fitted.
        axes : sequence of matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : TrainingCurveDisplay
            Drawn.

        Raises
        ------
        NotFittedError
            If the pretrainer is not fitted.
        ImportError
            If matplotlib is missing.
        """
        check_is_fitted(pretrainer, "history_")
        config = pretrainer.model_.location.config
        n_pairs = f"batches of {pretrainer.batch_size:,}"
        encoding = config["positional_encoding"]
        if encoding == "sphericalharmonics":
            encoding = f"L = {config['legendre_polys']}"
        title = f"Pretraining of a location encoder, {encoding}, {n_pairs}"
        return cls(pretrainer.history_, title=title).plot(axes=axes)

    def plot(self, *, axes: np.ndarray | list[Axes] | None = None) -> TrainingCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            Three axes, or one if the run had no validation; None makes a figure.

        Returns
        -------
        self : TrainingCurveDisplay
            With `axes_` and `figure_`.

        Raises
        ------
        ValueError
            If the number of axes is wrong.
        """
        plt = import_pyplot()
        panels = [self._draw_loss]
        if "val_loss" in self.history:
            panels += [self._draw_retrieval, self._draw_error]
        if axes is None:
            width = 4.2 * len(panels)
            _, axes = plt.subplots(
                1, len(panels), figsize=(width, 3.6), squeeze=False, layout="constrained"
            )
        self.axes_ = np.ravel(np.asarray(axes, dtype=object))
        if len(self.axes_) != len(panels):
            raise ValueError(f"this run needs {len(panels)} axes, got {len(self.axes_)}.")
        self.figure_ = self.axes_[0].figure
        for axis, draw in zip(self.axes_, panels, strict=True):
            draw(axis)
            axis.set_xlabel("epoch")
            axis.spines[["top", "right"]].set_visible(False)
            axis.xaxis.get_major_locator().set_params(integer=True)
        if self.title:
            self.figure_.suptitle(self.title)
        return self

    def _draw_loss(self, axis: Axes) -> None:
        self._line(axis, "train_loss", BLUE, "training")
        if "val_loss" in self.history:
            self._line(axis, "val_loss", ORANGE, "validation")
            axis.legend(frameon=False)
        axis.set_ylabel("contrastive loss")

    def _draw_retrieval(self, axis: Axes) -> None:
        for prefix, colour, what in (
            ("val_", ORANGE, "place of an image"),
            ("val_place_", GREEN, "image of a place"),
        ):
            self._line(axis, f"{prefix}top5", colour, f"{what}, among 5", linestyle="--")
            self._line(axis, f"{prefix}top1", colour, f"{what}, first")
        axis.set_ylabel("found among all validation pairs")
        columns = ["val_top5", "val_place_top5"]
        highest = np.nanmax(self.history[columns].to_numpy(), initial=0.01)
        axis.set_ylim(0, 1.6 * highest)  # room for names
        axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axis.legend(frameon=False, fontsize="small", loc="upper left")

    def _draw_error(self, axis: Axes) -> None:
        self._line(axis, "val_median_km", ORANGE, "validation")
        axis.set_ylabel("median geolocation error (km)")
        axis.set_ylim(bottom=0)

    def _line(self, axis: Axes, column: str, colour: str, label: str, **style: Any) -> None:
        marker = "o" if len(self.history) < 15 else None
        measured = self.history.dropna(subset=[column])  # not every epoch ends with a validation
        axis.plot(
            measured["epoch"] + 1,
            measured[column],
            color=colour,
            label=label,
            marker=marker,
            ms=4,
            **style,
        )
