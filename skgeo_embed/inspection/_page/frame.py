"""Where a page's map lies: its edges, in degrees or kilometres, coasts, and places on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed._sphere import great_circle_km
from skgeo_embed.datasets import load_coastlines
from skgeo_embed.inspection._earth import within
from skgeo_embed.rasters.crs import check_crs, transformer

METRES = 1000.0  # per kilometre, the unit in which pages of projected maps show distances
N_NODES = 40  # of a projected map's table of degrees, along each axis
FINEST = 4000  # details of a coast across the map


@dataclass(frozen=True)
class Frame:
    """The edges of a map on its page, and how degrees and the page's units belong together."""

    west: float
    south: float
    east: float
    north: float
    stretch: float  # how much longer a unit northward is drawn than one eastward
    crs: str | None = None  # None where the units are degrees

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Return west, south, east and north in the page's units."""
        return self.west, self.south, self.east, self.north

    def numbers(self) -> dict[str, float]:
        """Return the edges and the stretch by name, for the page's script."""
        names = ("west", "south", "east", "north", "stretch")
        return {name: float(getattr(self, name)) for name in names}

    def place(self, lonlat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where degrees, (n, 2), lie on the page; not finite where the CRS has no place."""
        if self.crs is None:
            middle = (self.west + self.east) / 2
            return within((middle - 180,), lonlat[:, 0]), lonlat[:, 1]
        x, y = transformer(self.crs, "forward").transform(lonlat[:, 0], lonlat[:, 1])
        return np.asarray(x) / METRES, np.asarray(y) / METRES

    def degrees_of_nodes(self) -> np.ndarray:
        """Return longitude and latitude, (N_NODES, N_NODES, 2), spread evenly from the north-west.

        Longitudes do not jump at the antimeridian.
        """
        x, y = np.meshgrid(
            np.linspace(self.west, self.east, N_NODES), np.linspace(self.north, self.south, N_NODES)
        )
        if self.crs is None:
            return np.dstack([x, y])
        lon, lat = transformer(self.crs, "inverse").transform(x * METRES, y * METRES)
        lon = np.unwrap(np.unwrap(lon, period=360, axis=1), period=360, axis=0)
        return np.dstack([lon, np.asarray(lat)])

    def coasts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the coasts in and around the map as one line, float32; NaN parts its pieces."""
        margin = 0.5 * np.subtract(self.edges[2:], self.edges[:2])
        finest = margin.max() / FINEST
        nodes = self.degrees_of_nodes().reshape(-1, 2)
        nodes = nodes[np.isfinite(nodes).all(axis=1)]
        middle = self._middle()
        reach = 1.6 * great_circle_km(np.broadcast_to(middle, nodes.shape), nodes).max()
        pieces = []
        for line in load_coastlines():
            if self.crs is not None:  # far away a projection may fold back onto the map
                far = great_circle_km(np.broadcast_to(middle, line.shape), line) > reach
                if far.all():
                    continue
                line = np.where(far[:, None], np.nan, line)
            x, y = self.place(line)
            apart = np.append(False, np.abs(np.diff(x)) > 180) & (self.crs is None)
            pieces.append(_clipped(x, y, apart, self.edges, margin, finest))
        x, y = np.concatenate([*pieces, np.empty((0, 2))]).T.astype(np.float32)
        return x, y

    def _middle(self) -> np.ndarray:
        x, y = (self.west + self.east) / 2, (self.south + self.north) / 2
        if self.crs is None:
            return np.array([x, y])
        return np.array(transformer(self.crs, "inverse").transform(x * METRES, y * METRES))


def degrees_frame(edges: tuple[float, float, float, float]) -> Frame:
    """Return the frame of a map in degrees, true to scale in its middle."""
    west, south, east, north = map(float, edges)
    middle = np.deg2rad((south + north) / 2) if north - south <= 90 else 0.0
    return Frame(west, south, east, north, stretch=float(1 / np.cos(middle)))


def projected_frame(edges: tuple[float, float, float, float], crs: str) -> Frame:
    """Return the frame of a map in a CRS of metres, or in degrees if the CRS is in degrees.

    Raises
    ------
    ValueError
        If the CRS cannot be read, or its unit is not the metre.
    """
    try:
        check_crs(crs, "the map")
    except ImageError as error:
        raise ValueError(str(error)) from error
    from pyproj import CRS

    known = CRS.from_user_input(crs)
    if known.is_geographic:
        return degrees_frame(edges)
    units = {axis.unit_name for axis in known.axis_info}
    if units != {"metre"}:
        raise ValueError(
            f"a page needs a map in degrees or metres; the unit of {known.name} is "
            f"{', '.join(sorted(units))}. Make the map in another CRS."
        )
    west, south, east, north = (float(edge) / METRES for edge in edges)
    return Frame(west, south, east, north, stretch=1.0, crs=crs)


def crs_name(crs: str | None) -> str:
    """Return the name of a CRS for people."""
    if crs is None:
        return "longitude and latitude"
    from pyproj import CRS

    return str(CRS.from_user_input(crs).name)


def _clipped(
    x: np.ndarray,
    y: np.ndarray,
    apart: np.ndarray,
    edges: Sequence[float],
    margin: np.ndarray,
    finest: float,
) -> np.ndarray:
    """Return the parts of a line on and around the map, each followed by NaN, (n, 2)."""
    west, south, east, north = edges
    inside = (x > west - margin[0]) & (x < east + margin[0])
    inside &= (y > south - margin[1]) & (y < north + margin[1])
    if not inside.any():
        return np.empty((0, 2))
    line = np.where(inside[:, None], np.column_stack([x, y]), np.nan)
    line = np.insert(line, np.flatnonzero(apart), np.nan, axis=0)
    line = np.append(line, [[np.nan, np.nan]], axis=0)
    cells = np.nan_to_num(np.round(line / finest), nan=np.inf)
    return line[np.append(True, (cells[1:] != cells[:-1]).any(axis=1))]
