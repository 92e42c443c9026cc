"""A table of features over the sphere, interpolated between its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skgeo_embed._region import read_region
from skgeo_embed.nn.encodings.content_layers import ContentLayers

POLE = 90.0


class FeatureGrid(nn.Module):
    r"""Features on a grid of longitudes and latitudes, read by bilinear interpolation.

    Nodes lie at latitudes :math:`-90° + 180° i / (H - 1)`, the poles among them, and at longitudes
    :math:`-180° + 360° j / W`; the last column is followed by the first. At a pole the value is
    that of the row's first node, whatever the longitude. A grid of a region has its first and last
    nodes on its edges, and places outside read the nearest edge. Values are small integers times a
    scale per channel, or floats.

    Parameters
    ----------
    height, width : int
        Rows H (at least 2) and columns W.
    channels : int
        Features at each node.
    storage : {"int8", "float16", "float32"}, default="int8"
        How values are stored. "float32" is for a grid that is learned with the towers.
    bounds : (west, south, east, north), default=None
        Region in degrees; it crosses the antimeridian if east is less than west. None is the
        whole sphere.
    """

    values: Tensor
    scale: Tensor
    takes_dtype = True
    _content: _Beside | tuple[None] = (None,)  # of grids that an earlier version pickled

    def __init__(
        self,
        height: int,
        width: int,
        channels: int,
        storage: str = "int8",
        bounds: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if storage not in ("int8", "float16", "float32"):
            raise ValueError(f'storage must be "int8", "float16" or "float32", got {storage!r}')
        least_width = 1 if bounds is None else 2
        if height < 2 or width < least_width or channels < 1:
            raise ValueError(
                f"height must be at least 2, width at least {least_width} and channels at least 1; "
                f"got height={height}, width={width}, channels={channels}"
            )
        self.height, self.width, self.storage = height, width, storage
        self.bounds = None if bounds is None else read_region(bounds)
        self.embedding_dim = channels
        values = torch.zeros(height, width, channels, dtype=getattr(torch, storage))
        if storage == "float32":
            self.values = nn.Parameter(values)
        else:
            self.register_buffer("values", values)
        self.register_buffer("scale", torch.ones(channels))
        self._content = _Beside([None])

    @property
    def content(self) -> ContentLayers | None:
        """The layers that the grid was made of, as content columns, if they are known."""
        return self._content[0]

    def keep_content(self, content: ContentLayers | None) -> FeatureGrid:
        """Keep the layers that the grid was made of, without making them part of its weights."""
        self._content = _Beside([content])
        return self

    @torch.no_grad()
    def fill(self, values: Tensor) -> FeatureGrid:
        """Set the values of all nodes, (H, W, channels) from south to north.

        Values are rounded to the storage. A pole gets one value, the mean of its row.
        """
        values = values.detach().float().clone()
        for row in self._polar_rows():
            values[row] = values[row].mean(dim=0)
        if self.storage == "int8":
            self.scale.copy_(values.abs().amax(dim=(0, 1)).clamp_min(1e-12) / 127)
            values = (values / self.scale).round()
        self.values.copy_(values.to(self.values.dtype))
        return self

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Read (n, 2) degrees to (n, channels); positions are computed in float64."""
        corners, weights = self.corners(lonlat)
        return self.read(corners, weights.to(dtype or lonlat.dtype))

    def corners(self, lonlat: Tensor) -> tuple[Tensor, Tensor]:
        """Return the four nodes around each point, as rows of the flat table, and their weights."""
        rows, columns, weights = self.nodes(lonlat)
        return (rows * self.width + columns).flatten(1), weights

    def nodes(self, lonlat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows (n, 2, 1), columns (n, 1, 2) and weights (n, 4) of nodes around points."""
        row, column = self._position(*lonlat.double().unbind(-1))
        south = row.floor().clamp(0, self.height - 2)
        west = column.floor()
        up, right = row - south, column - west
        first, west = south.long(), west.long()
        rows = torch.stack([first, first + 1], dim=1)
        columns = torch.stack([west, west + 1], dim=1) % self.width
        above = torch.stack([1 - up, up], dim=1)
        beside = torch.stack([1 - right, right], dim=1)
        weights = (above[:, :, None] * beside[:, None]).flatten(1)
        return rows[:, :, None], columns[:, None], weights

    def _position(self, lon: Tensor, lat: Tensor) -> tuple[Tensor, Tensor]:
        """Return row and column of places, in fractions of nodes."""
        if self.bounds is None:
            row = (lat + POLE) * ((self.height - 1) / 180)
            return row, torch.where(lat.abs() == POLE, 0.0, (lon + 180) * (self.width / 360))
        west, south, east, north = self.bounds
        across, beyond = east - west, (360 - (east - west)) / 2
        row = (lat.clamp(south, north) - south) * ((self.height - 1) / (north - south))
        # places outside take the nearer edge: count degrees from the middle of the outside
        column = ((lon - west + beyond) % 360 - beyond).clamp(0, across)
        column = column * ((self.width - 1) / across)
        return row, torch.where(lat.abs() == POLE, 0.0, column)

    def _polar_rows(self) -> list[int]:
        if self.bounds is None:
            return [0, -1]
        return [row for row, lat in ((0, self.bounds[1]), (-1, self.bounds[3])) if abs(lat) == POLE]

    def read(self, corners: Tensor, weights: Tensor) -> Tensor:
        """Sum the values of nodes (n, 4) with their weights, (n, channels)."""
        table = self.values.flatten(0, 1)
        if table.is_floating_point() and table.requires_grad:
            around = nn.functional.embedding(corners, table)
        else:
            around = table.index_select(0, corners.flatten()).view(*corners.shape, -1)
        mixed = torch.bmm(weights[:, None], around.to(weights.dtype))[:, 0]
        return mixed * self.scale.to(weights.dtype)

    def description(self) -> dict[str, Any]:
        """Return the description for a configuration."""
        facts: dict[str, Any] = {
            "height": self.height,
            "width": self.width,
            "channels": self.embedding_dim,
        }
        if self.storage != "int8":
            facts["storage"] = self.storage
        if self.bounds is not None:
            west, south, east, north = self.bounds
            crosses = east > 180 and east - west < 360
            facts["bounds"] = [west, south, (east + 180) % 360 - 180 if crosses else east, north]
        return facts

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        return [f"grid{i:03d}" for i in range(self.embedding_dim)]

    def extra_repr(self) -> str:
        """Show the sizes."""
        facts = f"{self.height} × {self.width}, channels={self.embedding_dim}, {self.storage}"
        return facts if self.bounds is None else f"{facts}, bounds={self.bounds}"


class _Beside(list[ContentLayers | None]):
    """Holds a module that is not part of another module, and is not copied with it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Beside:
        return self
