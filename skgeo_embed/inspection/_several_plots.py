"""What displays of rows at places share: several plots, blocks of rows, bands of distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skgeo_embed.inspection._earth import in_degrees, map_panels, region_around, within
from skgeo_embed.model_selection._spatial import SpatialBlockKFold

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS_IN_A_BAND = 30  # at least, of distance
MOST_BANDS = 12


class SeveralPlots:
    """Base of displays that draw several kinds of plots, most of them maps."""

    axes_: np.ndarray
    figure_: Figure
    lonlat: np.ndarray

    def plot(self, *, kind: str | Sequence[str] | None = None, axes: Any = None) -> Self:
        """Draw the plots.

        Parameters
        ----------
        kind, axes
            As for `from_predictions`.

        Returns
        -------
        self : object
            The display, with `axes_` and `figure_`.
        """
        drawings = self._drawings()
        kinds = self._chosen(kind, list(drawings))
        self.axes_, self.figure_ = map_panels(axes, kinds, region_around(self.lonlat))
        for name, ax in zip(kinds, self.axes_, strict=True):
            drawings[name](ax)
        return self

    def _drawings(self) -> dict[str, Callable[[Axes], None]]:
        """Return the method that draws each kind of plot."""
        raise NotImplementedError

    def _what_is_missing(self, kind: str) -> str | None:
        """Say what a kind of plot needs and the display does not have."""
        return None

    def _chosen(self, kind: str | Sequence[str] | None, known: list[str]) -> list[str]:
        if kind is None:
            return [name for name in known if self._what_is_missing(name) is None]
        kinds = [kind] if isinstance(kind, str) else list(kind)
        if not kinds or not set(kinds) <= set(known):
            raise ValueError(f"kind must be among {', '.join(known)}, got {kind!r}.")
        for name in kinds:
            if missing := self._what_is_missing(name):
                raise ValueError(missing)
        return kinds


def block_of_rows(lonlat: np.ndarray, block_size: float | str) -> np.ndarray:
    """Number the block of each row, (n,), from 0 and without gaps."""
    splitter = SpatialBlockKFold(2, block_size=block_size)  # type: ignore[arg-type]
    return np.unique(splitter.blocks(lonlat), return_inverse=True)[1].ravel()


def bands_of_distance(distance: np.ndarray) -> list[np.ndarray]:
    """Split rows, sorted by distance, into bands of equal size."""
    n_bands = int(np.clip(len(distance) // ROWS_IN_A_BAND, 1, MOST_BANDS))
    return np.array_split(np.argsort(distance, kind="stable"), n_bands)


def draw_points(ax: Axes, lonlat: np.ndarray, region: Sequence[float], **style: Any) -> Any:
    """Draw places on a map, above its land."""
    lon, lat = within(region, lonlat[:, 0]), lonlat[:, 1]
    return ax.scatter(lon, lat, zorder=4, **style, **in_degrees(ax))


def draw_blocks(
    ax: Axes,
    lonlat: np.ndarray,
    region: Sequence[float],
    counts: np.ndarray,
    *,
    smallest: float,
    **colours: Any,
) -> Any:
    """Draw blocks of rows at their mean places, as large as they have rows."""
    size = np.clip(300 * counts / counts.max(), smallest, None)
    edges = {"linewidths": 0.5, "edgecolors": "0.25"}
    return draw_points(ax, lonlat, region, s=size, **edges, **colours)
