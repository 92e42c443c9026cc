"""Outlines in degrees that cross the antimeridian or lie around a pole."""

from __future__ import annotations

from typing import Any

import numpy as np

POLAR = 90 - 1e-9
AROUND = (-360.0, 0.0, 360.0)


def unwrapped(geometries: np.ndarray, on_map: np.ndarray | None = None) -> np.ndarray:
    """Let rings and lines go on beyond ±180° where an edge would otherwise run round the Earth.

    Of an edge the shorter way is meant. A ring around a pole, which does not close, is led over it.

    Parameters
    ----------
    geometries : ndarray of shapely geometries
        In degrees.
    on_map : ndarray of shapely geometries, default=None
        The same in their own projection, which says on which side of a ring its inside is. None
        means that rings run anticlockwise, as those of H3 cells do.
    """
    import shapely

    west, south, east, north = shapely.bounds(geometries).T
    at_pole = (north > POLAR) | (south < -POLAR)
    doubtful = ((east - west > 180) | at_pole) & (shapely.get_dimensions(geometries) > 0)
    result = geometries.copy()
    for row in np.flatnonzero(doubtful):
        result[row] = _unwrapped(geometries[row], None if on_map is None else on_map[row])
    return result


def _unwrapped(geometry: Any, on_map: Any) -> Any:
    import shapely

    if geometry.geom_type == "GeometryCollection":  # refused later
        return geometry
    if not geometry.geom_type.startswith("Multi"):
        polygon = geometry.geom_type == "Polygon"
        return _unwrapped_polygon(geometry, on_map) if polygon else type(geometry)(_line(geometry))
    maps = [None] * len(geometry.geoms) if on_map is None else list(on_map.geoms)
    pairs = zip(geometry.geoms, maps, strict=True)
    parts = [_unwrapped(part, drawn) for part, drawn in pairs if not part.is_empty]
    if geometry.geom_type != "MultiPolygon":
        return type(geometry)(parts)
    return _within_one_turn(shapely.MultiPolygon(list(shapely.get_parts(parts))))


def _unwrapped_polygon(polygon: Any, on_map: Any) -> Any:
    """Unwrap the shell, and take the holes from it, wherever round the Earth they were begun."""
    import shapely

    drawn = on_map or polygon
    shell = _ring(polygon.exterior, on_map is None or drawn.exterior.is_ccw)
    if not len(polygon.interiors):
        return shapely.Polygon(shell)
    holes = [
        shapely.make_valid(shapely.Polygon(_ring(ring, on_map is None or side.is_ccw)))
        for ring, side in zip(polygon.interiors, drawn.interiors, strict=True)
    ]
    everywhere = shapely.union_all([_moved(hole, turn) for hole in holes for turn in AROUND])
    return _surfaces(shapely.difference(shapely.make_valid(shapely.Polygon(shell)), everywhere))


def _within_one_turn(polygons: Any) -> Any:
    """Bring parts together that were begun at different meridians."""
    import shapely

    west, _, east, _ = polygons.bounds
    if east - west <= 360 + 1e-9:
        return polygons
    whole, once = shapely.make_valid(polygons), shapely.box(-180, -90, 180, 90)
    return _surfaces(
        shapely.union_all([shapely.intersection(_moved(whole, turn), once) for turn in AROUND])
    )


def _surfaces(geometry: Any) -> Any:
    """Leave out the points and lines in which cut polygons may touch."""
    import shapely

    parts = shapely.get_parts(shapely.get_parts([geometry]))
    parts = parts[shapely.get_dimensions(parts) == 2]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(list(parts))


def _moved(geometry: Any, degrees: float) -> Any:
    import shapely

    return shapely.transform(geometry, lambda lonlat: np.add(lonlat, [degrees, 0.0]))


def _line(line: Any) -> np.ndarray:
    """Continue a line beyond ±180°."""
    lonlat = np.array(line.coords)[:, :2]
    lonlat[:, 0] = np.unwrap(lonlat[:, 0], period=360)
    lonlat[:, 0] += 360 * (lonlat[:, 0].min() < -180)
    return lonlat


def _ring(ring: Any, anticlockwise: bool) -> np.ndarray:
    """Continue a ring beyond ±180°, and lead it over the pole if it does not close."""
    lonlat = _with_meridians_to_poles(np.array(ring.coords)[:, :2])
    lonlat[:, 0] = np.unwrap(lonlat[:, 0], period=360)
    lonlat[:, 0] += 360 * (lonlat[:, 0].min() < -180)
    eastwards = lonlat[-1, 0] - lonlat[0, 0]
    if abs(eastwards) > 180:
        pole = 90.0 if (eastwards > 0) == anticlockwise else -90.0  # the inside is to the left
        back = np.linspace(lonlat[-1, 0], lonlat[0, 0], 9)  # no edge longer than 180°
        over = np.column_stack([back, np.full(len(back), pole)])
        lonlat = np.vstack([lonlat, over, lonlat[:1]])
    return lonlat


def _with_meridians_to_poles(lonlat: np.ndarray) -> np.ndarray:
    """Reach a corner at a pole along the meridians of its neighbours: it has no longitude."""
    corners = lonlat[:-1]
    polar = np.abs(corners[:, 1]) > POLAR
    alone = polar & ~np.roll(polar, 1) & ~np.roll(polar, -1)
    if not alone.any():
        return lonlat
    before, after = np.roll(corners[:, 0], 1), np.roll(corners[:, 0], -1)
    found = np.repeat(corners, 1 + alone, axis=0)
    first = (np.arange(len(corners)) + np.cumsum(alone) - alone)[alone]
    found[first, 0], found[first + 1, 0] = before[alone], after[alone]
    return np.vstack([found, found[:1]])
