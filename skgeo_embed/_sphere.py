"""The Earth as a sphere: its radius, unit vectors, distances, and points spread evenly over it."""

from __future__ import annotations

from typing import Any

import numpy as np

EARTH_RADIUS_KM = 6371.0088  # mean radius of the WGS84 ellipsoid, IUGG
KM_PER_DEGREE = np.pi * EARTH_RADIUS_KM / 180
GOLDEN_TURN = (np.sqrt(5) - 1) / 2  # of a circle


def great_circle_km(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Measure the haversine distance between rows of two (n, 2) arrays of degrees."""
    lon1, lat1 = np.deg2rad(first).T
    lon2, lat2 = np.deg2rad(second).T
    chord = (
        np.sin((lat2 - lat1) / 2) ** 2
        + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))


def unit_vectors(lonlat: np.ndarray) -> np.ndarray:
    """Turn degrees, (n, 2), into points of the unit sphere, (n, 3)."""
    lon, lat = np.deg2rad(lonlat).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def lonlat_of(vectors: np.ndarray) -> np.ndarray:
    """Turn points of the unit sphere, (n, 3), back into degrees, (n, 2)."""
    x, y, z = vectors.T
    return np.rad2deg(np.column_stack([np.arctan2(y, x), np.arcsin(np.clip(z, -1, 1))]))


def golden_spiral(n_points: int, *, first: float = 0.0, turn: float = GOLDEN_TURN) -> np.ndarray:
    """Lay a Fibonacci lattice, (n, 2) degrees: every point stands for the same area.

    Longitude advances by `turn` from a point to the next, and `first` turns come before them.

    Á. González, "Measurement of areas on a sphere using Fibonacci and latitude-longitude
    lattices", Mathematical Geosciences 42, doi:10.1007/s11004-009-9257-x.
    """
    index = np.arange(n_points)
    lon = ((first + index) * turn % 1) * 360 - 180
    lat = np.rad2deg(np.arcsin(1 - (2 * index + 1) / n_points))
    return np.column_stack([lon, lat])


def nearest_km(places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Measure the great-circle distance from each place, (n, 2) degrees, to the nearest other."""
    from scipy.spatial import cKDTree

    # a tree that is not balanced is built several times as fast
    tree = cKDTree(unit_vectors(others), balanced_tree=False, compact_nodes=False)
    return arc_km(tree.query(unit_vectors(places))[0])


def arc_km(chord: np.ndarray) -> np.ndarray:
    """Turn straight distances between points of the unit sphere into great-circle distances."""
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.clip(chord / 2, 0, 1))


class SphereTree:
    """A k-d tree of places, (n, 2) degrees, which a saved model holds as its points alone."""

    def __init__(self, lonlat: np.ndarray) -> None:
        self.__setstate__({"points": unit_vectors(lonlat)})

    def __getstate__(self) -> dict[str, Any]:
        return {"points": self.points}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from scipy.spatial import KDTree

        self.points: np.ndarray = state["points"]  # of the unit sphere, (n, 3)
        self._tree = KDTree(self.points)

    def nearest(self, lonlat: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return chords to the nearest places of each of m others, and their numbers, (m, count).

        There are fewer columns if the tree has fewer places.
        """
        ranks = np.arange(1, min(count, len(self.points)) + 1)
        chord, neighbor = self._tree.query(unit_vectors(lonlat), k=ranks)
        return chord, neighbor
