"""Places that are areas: points spread evenly over polygons, along lines, or as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np

from skgeo_embed._sphere import EARTH_RADIUS_KM, KM_PER_DEGREE

POINTS_AT_A_TIME = 2**18
MOST_POINTS = 10_000_000  # in one area
TRIES = 1000  # of each point that is wanted, in what bounds a polygon
# the plastic number's powers: steps of the evenest two-dimensional Kronecker sequence (M. Roberts
# 2018, "The unreasonable effectiveness of quasirandom sequences")
PLASTIC = 1.32471795724474602596
STEPS = 1 / PLASTIC, 1 / PLASTIC**2
SPACING = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(km|m)\s*")
SQUARE_KM = EARTH_RADIUS_KM * KM_PER_DEGREE  # a degree of longitude by a unit of sin(latitude)


@dataclass(frozen=True)
class AreaSampling:
    """How many points represent an area, and which statistic of their features is kept.

    Attributes
    ----------
    count : int or None
        Points in each area.
    spacing_km : float or None
        Distance between points, if their number is not given.
    statistic : {"mean", "std"}
        Of the points' features.
    """

    count: int | None
    spacing_km: float | None
    statistic: Literal["mean", "std"]

    def counts(self, size: np.ndarray, dimensions: int) -> np.ndarray:
        """Points for lengths in km or surfaces in km², at least one each."""
        if self.spacing_km is None:
            return np.full(len(size), self.count, dtype=np.int64)
        wanted = np.maximum(1, np.round(size / self.spacing_km**dimensions))
        _check_number(wanted)
        return wanted.astype(np.int64)


def area_sampling(points: int | str, statistic: Literal["mean", "std"]) -> AreaSampling:
    """Read an estimator's parameters for areas.

    Raises
    ------
    ValueError
        If `points` is neither a count nor a distance such as "5km".
    """
    if isinstance(points, Integral) and not isinstance(points, bool) and points >= 1:
        _check_number(np.array([float(points)]))
        return AreaSampling(int(points), None, statistic)
    found = SPACING.fullmatch(points) if isinstance(points, str) else None
    if found is None or not float(found[1]):
        raise ValueError(
            "area_points must be a number of points of at least 1, or the distance between them "
            f'such as "5km" or "250m", got {points!r}.'
        )
    return AreaSampling(None, float(found[1]) / (1 if found[2] == "km" else 1000), statistic)


def _check_number(wanted: np.ndarray) -> None:
    if len(wanted) and not wanted.max() <= MOST_POINTS:
        raise ValueError(
            f"area_points asks for {wanted.max():.3g} points in one area, more than "
            f"{MOST_POINTS:,}; ask for fewer, or for a larger distance between them."
        )


def points_in_areas(
    areas: np.ndarray, sampling: AreaSampling
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield rows of areas, their points and the area of each point, a bounded number at a time.

    Parameters
    ----------
    areas : ndarray of shapely geometries
        In degrees; longitudes may go on beyond ±180.
    sampling : AreaSampling
        How many points.

    Yields
    ------
    rows : slice
        Of `areas`.
    lonlat : ndarray of shape (n_points, 2)
        Degrees, longitude in [-180, 180).
    area : ndarray of int of shape (n_points,)
        The area of each point, counted within `rows`.
    """
    counts = _counts(areas, sampling)
    start = 0
    while start < len(areas):
        held = np.cumsum(counts[start:])
        stop = start + max(1, int(np.searchsorted(held, POINTS_AT_A_TIME, side="right")))
        rows = slice(start, stop)
        lonlat, area = _points(areas[rows], counts[rows])
        lonlat[:, 0] = (lonlat[:, 0] + 180) % 360 - 180
        lonlat[:, 1] = np.clip(lonlat[:, 1], -90, 90)  # an edge may end at 90 + 3e-12
        lonlat[np.abs(lonlat[:, 1]) == 90, 0] = 0
        yield rows, lonlat, area
        start = stop


def _counts(areas: np.ndarray, sampling: AreaSampling) -> np.ndarray:
    import shapely

    dimension = shapely.get_dimensions(areas)
    counts = shapely.get_num_geometries(areas).astype(np.int64)  # of several points: all of them
    for surface, measure in ((2, square_km), (1, _length_km)):
        of_kind = dimension == surface
        if of_kind.any():
            counts[of_kind] = sampling.counts(measure(areas[of_kind]), surface)
    return counts


def _points(areas: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import shapely

    dimension = shapely.get_dimensions(areas)
    found, owners = [np.empty((0, 2))], [np.empty(0, dtype=np.int64)]
    for kind, spread in ((2, _in_polygons), (1, _along_lines), (0, _as_they_are)):
        rows = np.flatnonzero(dimension == kind)
        if len(rows):
            lonlat, owner = spread(areas[rows], counts[rows])
            found.append(lonlat)
            owners.append(rows[owner])
    return np.concatenate(found), np.concatenate(owners)


def square_km(polygons: np.ndarray) -> np.ndarray:
    """Surface of polygons of degrees on the sphere, edges straight in longitude and latitude."""
    import shapely

    return shapely.area(shapely.transform(polygons, _equal_area)) * SQUARE_KM


def _equal_area(lonlat: np.ndarray) -> np.ndarray:
    return np.column_stack([lonlat[:, 0], np.sin(np.deg2rad(lonlat[:, 1]))])


def _in_polygons(polygons: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take what of an even sequence over the bounds of parts lies inside, until it is enough."""
    import shapely

    parts, of = shapely.get_parts(polygons, return_index=True)
    shares = _shared_out(counts, square_km(parts), of)
    kept = np.flatnonzero(shares)
    lonlat, owner = _in_single_polygons(parts[kept], shares[kept])
    return lonlat, of[kept][owner]


def _shared_out(counts: np.ndarray, size: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Divide each area's number of points among its parts, in proportion to their size."""
    total = np.bincount(of, size, minlength=len(counts))
    n_parts = np.bincount(of, minlength=len(counts))
    flat = total[of] == 0  # of slivers each part counts alike
    share = np.where(flat, 1 / n_parts[of], size / np.where(flat, 1, total[of]))
    quota = np.cumsum(share * counts[of])
    quota -= np.concatenate([[0], np.cumsum(counts)])[of]  # from 0 in each area
    before = np.concatenate([[0], quota[:-1]])
    before[np.concatenate([[True], of[1:] != of[:-1]])[: len(of)]] = 0
    return (np.rint(quota + 1e-9) - np.rint(before + 1e-9)).astype(np.int64)


def _in_single_polygons(polygons: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import shapely

    shapely.prepare(polygons)
    west, south, east, north = shapely.bounds(polygons).T
    low, high = (np.sin(np.deg2rad(lat)) for lat in (south, north))
    bounds = (east - west) * (high - low) * SQUARE_KM
    share = np.clip(square_km(polygons) / np.maximum(bounds, 1e-12), 1 / TRIES, 1)
    tries = np.ceil(1.1 * counts / share).astype(np.int64) + 4
    missing, first = counts.copy(), np.zeros_like(counts)
    found, owners = [], []
    while True:
        open_ones = np.flatnonzero((missing > 0) & (first < TRIES * counts))
        if not len(open_ones):
            break
        owner, step = _numbered(open_ones, tries[open_ones])
        step = step + first[owner]
        u, v = ((0.5 + step * stride) % 1 for stride in STEPS)
        lon = west[owner] + u * (east - west)[owner]
        lat = np.rad2deg(np.arcsin(np.clip(low[owner] + v * (high - low)[owner], -1, 1)))
        inside = np.flatnonzero(shapely.contains_xy(polygons[owner], lon, lat))
        n_inside = np.bincount(owner[inside], minlength=len(polygons))
        rank = _numbered(np.arange(len(polygons)), n_inside)[1]
        inside = inside[rank < missing[owner[inside]]]
        found.append(np.column_stack([lon[inside], lat[inside]]))
        owners.append(owner[inside])
        missing -= np.bincount(owner[inside], minlength=len(polygons))
        first[open_ones] += tries[open_ones]
    empty = np.flatnonzero(missing == counts)  # slivers
    found.append(shapely.get_coordinates(shapely.point_on_surface(polygons[empty])))
    return np.concatenate(found), np.concatenate([*owners, empty])


def _numbered(owners: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each owner so many times, and numbers from 0 for each."""
    owner = np.repeat(owners, counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    return owner, np.arange(len(owner)) - first


def _along_lines(lines: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import shapely

    scaled, narrowing = _as_wide_as_high(lines)
    owner, step = _numbered(np.arange(len(lines)), counts)
    places = (step + 0.5) / counts[owner]
    points = shapely.line_interpolate_point(scaled[owner], places, normalized=True)
    return shapely.get_coordinates(points) / np.column_stack(
        [narrowing[owner], np.ones(len(owner))]
    ), owner


def _length_km(lines: np.ndarray) -> np.ndarray:
    import shapely

    return shapely.length(_as_wide_as_high(lines)[0]) * KM_PER_DEGREE


def _as_wide_as_high(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lines whose degrees of longitude are as long as those of latitude, where their middle is."""
    import shapely

    _, south, _, north = shapely.bounds(lines).T
    narrowing = np.maximum(np.cos(np.deg2rad((south + north) / 2)), 1e-6)
    coordinates, owner = shapely.get_coordinates(lines, return_index=True)
    coordinates[:, 0] *= narrowing[owner]
    return shapely.set_coordinates(lines.copy(), coordinates), narrowing


def _as_they_are(points: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import shapely

    return shapely.get_coordinates(points, return_index=True)
