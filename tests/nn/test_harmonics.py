import functools

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from skgeo_embed.nn.harmonics import SphericalHarmonics


@pytest.fixture(scope="module")
def points(sphere_points):
    return sphere_points[-107:]  # a hundred anywhere, and the awkward ones


@pytest.fixture(scope="module")
def values_of_scipy(points):
    """Scipy's harmonics of order >= 0, by degree and order: both calculations scale the same."""
    theta, phi = np.deg2rad(points[:, 1] + 90), np.deg2rad(points[:, 0] + 180)
    return functools.cache(lambda degree, order: sph_harm_y(degree, order, theta, phi))


@pytest.mark.parametrize("calculation", ["analytic", "closed-form"])
@pytest.mark.parametrize("size", [1, 2, 10, 40, 100])
def test_against_scipy(points, values_of_scipy, size, calculation):
    expected = np.empty((len(points), size * size))
    for degree in range(size):
        for order in range(-degree, degree + 1):
            value = values_of_scipy(degree, abs(order))
            column = value.imag if order < 0 else value.real
            if calculation == "analytic":
                column = column * (np.sqrt(2) * (-1) ** order if order else np.pi)
            else:
                column = column * (np.sqrt(2) if order else 1)
            expected[:, degree * degree + degree + order] = column
    ours = SphericalHarmonics(size, calculation)(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "size", "calculation", "atol"),
    [
        ("sh_analytic_L10", 10, "analytic", 1e-7),
        ("sh_analytic_L20", 20, "analytic", 1e-7),
        ("sh_closedform_L10", 10, "closed-form", 1e-7),
        ("sh_closedform_L20", 20, "closed-form", 1e-7),
        ("sh_closedform_L40", 40, "closed-form", 1e-7),
        ("sh_exact_L40", 40, "analytic", 1e-12),
    ],
)
def test_against_the_original(positional_reference, name, size, calculation, atol):
    # 1e-7: within 0.01 degree of a pole the original's sin theta loses digits
    expected = positional_reference[name]
    points = positional_reference["points_lonlat"]
    if len(expected) != len(points):
        points = points[positional_reference["subset"]]
    ours = SphericalHarmonics(size, calculation)(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("calculation", ["analytic", "closed-form"])
@pytest.mark.parametrize("size", [1, 2, 10, 40, 100])
def test_few_points_give_what_many_give(points, monkeypatch, size, calculation):
    few = torch.from_numpy(points[-12:])  # the awkward ones are the last
    harmonics = SphericalHarmonics(size, calculation)
    at_once = harmonics(few)
    with monkeypatch.context() as patch:
        patch.setattr(SphericalHarmonics, "legendre_rows", None)  # not degree by degree
        assert torch.equal(harmonics(few), at_once)
    monkeypatch.setattr("skgeo_embed.nn.harmonics.FEW_POINTS", 0)
    torch.testing.assert_close(at_once, harmonics(few), rtol=0, atol=2e-12)


def test_stable_far_beyond_any_published_degree():
    degrees = torch.tensor([[10.0, 90.0], [10.0, 45.0], [10.0, -89.999]], dtype=torch.float64)
    out = SphericalHarmonics(400, "closed-form")(degrees)
    # addition theorem: the squares of one degree sum to (2l + 1) / 4π everywhere
    squares = torch.stack([(out[:, l * l : (l + 1) ** 2] ** 2).sum(1) for l in range(400)], dim=1)  # noqa: E741
    expected = (2 * torch.arange(400, dtype=torch.float64) + 1) / (4 * torch.pi)
    torch.testing.assert_close(squares / expected, torch.ones_like(squares), rtol=0, atol=1e-9)


def test_pole_does_not_depend_on_longitude():
    out = SphericalHarmonics(20)(torch.tensor([[0.0, 90.0], [123.4, 90.0]], dtype=torch.float64))
    assert torch.equal(out[0], out[1])


def test_gradients_reach_the_coordinates_poles_included():
    points = torch.tensor([[10.0, 20.0], [5.0, 90.0]], dtype=torch.float64, requires_grad=True)
    SphericalHarmonics(8)(points).sum().backward()
    assert torch.isfinite(points.grad).all()
    inner = torch.tensor([[10.0, 20.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(SphericalHarmonics(6), inner)


def test_written_into_given_memory():
    points = torch.tensor([[10.0, 20.0], [5.0, 9.0]], dtype=torch.float64)
    buffer = torch.empty((36, 2))
    out = SphericalHarmonics(6)(points, out=buffer)
    assert out.data_ptr() == buffer.data_ptr()
    torch.testing.assert_close(out, SphericalHarmonics(6)(points).float())


def test_repeated_use_after_inference_mode_can_train():
    encoder = SphericalHarmonics(7)
    with torch.inference_mode():
        encoder(torch.zeros(1, 2))
    points = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    encoder(points).sum().backward()
    assert torch.isfinite(points.grad).all()


@pytest.mark.parametrize("arguments", [(0,), (10, "other")])
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match="must be"):
        SphericalHarmonics(*arguments)
