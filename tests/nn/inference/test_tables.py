import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skgeo_embed.nn.harmonics import SphericalHarmonics
from skgeo_embed.nn.inference.tables import LatitudeTables, SphereTable

CPU = torch.device("cpu")


def _layer(size, hidden=6, **options):
    torch.manual_seed(size)
    posenc = SphericalHarmonics(size, **options)
    weight = torch.randn(hidden, size**2, dtype=torch.float64)
    bias = torch.randn(hidden, dtype=torch.float64) * 10
    return posenc, weight, bias


def _read(sphere, points):
    """Every point on its own, whatever its band."""
    bands = sphere.band_of(sphere.cells(points))
    return torch.cat([sphere.read(p[None], b) for p, b in zip(points, bands.tolist(), strict=True)])


@settings(deadline=None, max_examples=30)
@given(
    lonlat=st.lists(
        st.tuples(st.floats(-180, 179.999), st.floats(-90, 90)), min_size=1, max_size=20
    ),
    size=st.integers(4, 40),
    options=st.sampled_from(
        [{}, {"calculation": "closed-form"}, {"harmonics": "published"}],
    ),
)
def test_reading_is_computing(lonlat, size, options):
    posenc, weight, bias = _layer(size, **options)
    points = torch.tensor(
        [*lonlat, (0, 90), (0, -90), (-180, 5), (179.9999999, 5)], dtype=torch.float64
    )
    sphere = SphereTable(LatitudeTables(posenc, weight, bias), CPU)
    expected = posenc(points) @ weight.T + bias
    scale = (torch.linalg.vector_norm(weight) / len(weight) ** 0.5).item()  # of one unit's output
    np.testing.assert_allclose(_read(sphere, points), expected, rtol=0, atol=2e-5 * scale)
    axes = sphere.axes(points[:, 0], points[:, 1])
    part = sphere.read_grid(axes, slice(1, 3), slice(2, 5)).view(2, 3, -1)
    grid = sphere.read_grid(axes, slice(None), slice(None)).view(len(points), len(points), -1)
    torch.testing.assert_close(part, grid[1:3, 2:5])
    diagonal = torch.arange(len(points))
    np.testing.assert_allclose(grid[diagonal, diagonal], expected, rtol=0, atol=2e-5 * scale)


@pytest.mark.parametrize("size", [10, 40])
def test_error_is_that_of_single_precision(sphere_points, size):
    posenc, weight, bias = _layer(size, hidden=64)
    points = torch.from_numpy(sphere_points)
    sphere = SphereTable(LatitudeTables(posenc, weight, bias * 0), CPU)
    expected = posenc(points) @ weight.T
    rms = expected.square().mean().sqrt()
    assert (_read(sphere, points) - expected).square().mean().sqrt() < 1e-6 * rms


def test_latitude_tables_are_exact(sphere_points):
    posenc, weight, bias = _layer(20)
    lon, lat = torch.from_numpy(sphere_points[:7]).unbind(1)
    layer = LatitudeTables(posenc, weight, bias)
    rows = torch.einsum("nk,nkh->nh", layer.waves(lon), layer.at(lat))
    expected = posenc(torch.stack([lon, lat], dim=1)) @ weight.T + bias
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-11)


def test_bands_beyond_the_cache_are_built_again(sphere_points):
    posenc, weight, bias = _layer(30)
    points = torch.from_numpy(sphere_points)
    whole = SphereTable(LatitudeTables(posenc, weight, bias), CPU)
    expected = _read(whole, points)
    assert len(whole.bands) == 3
    size = whole.bands[0].nbytes
    small = SphereTable(LatitudeTables(posenc, weight, bias), CPU, cache_bytes=size + 1)
    for _ in range(2):
        np.testing.assert_array_equal(_read(small, points), expected)
        assert len(small.bands) == 1


def test_a_band_is_built_once(monkeypatch, sphere_points):
    posenc, weight, bias = _layer(20)
    sphere = SphereTable(LatitudeTables(posenc, weight, bias), CPU)
    north = torch.tensor([[10.0, 89.0], [20.0, 88.0]], dtype=torch.float64)
    band = int(sphere.band_of(sphere.cells(north))[0])
    first = sphere.read(north, band)
    monkeypatch.setattr(LatitudeTables, "combine", None)
    np.testing.assert_array_equal(sphere.read(north, band), first)
    assert list(sphere.bands) == [band]
