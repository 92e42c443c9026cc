"""The Earth as a sphere."""

import numpy as np
import pytest

from skgeo_embed._sphere import golden_spiral, great_circle_km, lonlat_of, unit_vectors


def test_golden_spiral_is_equal_area():
    lattice = golden_spiral(20_000)
    assert lattice.shape == (20_000, 2)
    height = np.sin(np.deg2rad(lattice[:, 1]))
    counts, _, _ = np.histogram2d(height, lattice[:, 0], bins=(5, 8), range=((-1, 1), (-180, 180)))
    assert abs(counts / 500 - 1).max() < 0.03


def test_great_circle():
    paris, new_york = np.array([[2.3522, 48.8566]]), np.array([[-74.006, 40.7128]])
    assert great_circle_km(paris, new_york)[0] == pytest.approx(5837, abs=5)
    assert great_circle_km(np.array([[0, 90]]), np.array([[123, -90]]))[0] == pytest.approx(
        np.pi * 6371.0088
    )
    assert great_circle_km(np.array([[-179.9, 0]]), np.array([[179.9, 0]]))[0] < 23


def test_vectors_and_degrees_are_inverse():
    lonlat = golden_spiral(1000)
    np.testing.assert_allclose(lonlat_of(unit_vectors(lonlat)), lonlat, atol=1e-10)
    np.testing.assert_allclose(lonlat_of(np.array([[0, 0, 1 + 1e-16]])), [[0, 90]])
