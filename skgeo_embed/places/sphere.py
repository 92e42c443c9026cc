"""The Earth as a sphere."""

from __future__ import annotations

import numpy as np

EARTH_RADIUS_KM = 6371.0088  # mean radius of the WGS84 ellipsoid, IUGG
KM_PER_DEGREE = np.pi * EARTH_RADIUS_KM / 180


def great_circle_km(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Haversine distance between rows of two (n, 2) arrays of longitude and latitude."""
    lon1, lat1 = np.deg2rad(first).T
    lon2, lat2 = np.deg2rad(second).T
    chord = (
        np.sin((lat2 - lat1) / 2) ** 2
        + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))


def unit_vectors(lonlat: np.ndarray) -> np.ndarray:
    """Points on the unit sphere, (n, 3), of (n, 2) degrees."""
    lon, lat = np.deg2rad(lonlat).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
