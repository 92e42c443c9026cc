"""Outlines that cannot be areas."""

from __future__ import annotations

import numpy as np

KINDS = frozenset(
    {
        "Point",
        "MultiPoint",
        "LineString",
        "LinearRing",
        "MultiLineString",
        "Polygon",
        "MultiPolygon",
    }
)


def mixed_kinds(areas: np.ndarray) -> tuple[np.ndarray, str]:
    """Find geometries that are neither points, lines nor polygons; return rows and a message."""
    kinds = np.array([getattr(area, "geom_type", "Point") for area in areas])
    wrong = np.flatnonzero(~np.isin(kinds, list(KINDS)))
    first = f"(first: row {wrong[0]}, a {kinds[wrong[0]]})" if len(wrong) else ""
    return wrong, (
        f"{len(wrong)} of {len(kinds)} geometries are neither polygons, lines nor points {first}; "
        "use X.explode(), or keep one kind of its parts."
    )


def doubtful_edges(areas: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, str]:
    """Find edges of more than 180° of longitude, which may be meant the other way round."""
    import shapely

    rows, message = [], ""

    west, _, east, _ = shapely.bounds(areas).T
    wide = np.flatnonzero(valid & (east - west > 180) & (shapely.get_dimensions(areas) > 0))
    for row in wide:
        width = east[row] - west[row]
        lines = shapely.get_parts(shapely.boundary(areas[row]))
        if shapely.get_dimensions(areas[row]) == 1:
            lines = shapely.get_parts(areas[row])
        edges = np.concatenate([np.diff(shapely.get_coordinates(line), axis=0) for line in lines])
        longest = np.abs(edges[:, 0]).max()
        # an edge once round the Earth along a parallel is meant as drawn
        round_once = (np.abs(np.abs(edges[:, 0]) - 360) < 1e-9) & (edges[:, 1] == 0)
        is_line = shapely.get_dimensions(areas[row]) == 1
        doubtful = (np.abs(edges[:, 0]) > 180) & (is_line | ~round_once)
        if width > 360 + 1e-9 or doubtful.any():
            rows.append(row)
            message = message or (
                f"the geometry in row {row} has an edge of {longest:g}° of longitude (it spans "
                f"{width:g}°). If it crosses the antimeridian, cut it there or let its longitudes "
                "continue beyond 180, as in 179 to 181; if you mean the long way, add points in "
                "between (X.segmentize(90))."
            )
    return np.array(rows, dtype=int), message
