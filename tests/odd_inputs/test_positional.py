"""Odd parameters of `PositionalEncoder`, and harmonics of odd sizes against scipy's."""

import numpy as np
import pytest

from skgeo_embed import PositionalEncoder
from skgeo_embed.nn.encodings import KINDS
from tests.odd_inputs.checking import check
from tests.odd_inputs.encoders import PLACES

pytestmark = pytest.mark.slow
EVERYWHERE = np.array([[2.5, 5.5], [-180, 0], [77, 90], [359, -90], [180, 89.999], [0, -45.5]])
BAD_PARAMETERS = [  # that make no encoding, or one of infinities; the last one is to blame
    {"kind": "x"}, {"kind": None}, {"legendre_polys": 0}, {"legendre_polys": 2.5},
    {"legendre_polys": "4"}, {"legendre_polys": 10**30},
    {"kind": "grid", "n_frequencies": 0}, {"harmonics_calculation": "x"},
    *({"kind": kind, key: value} for kind in ("grid", "spherem") for key, value in (
        ("min_radius", 0), ("min_radius", -1), ("min_radius", np.nan), ("min_radius", np.inf),
        ("min_radius", 1e-320), ("min_radius", "1"), ("max_radius", np.inf), ("max_radius", 0),
        ("max_radius", np.nan))),
]  # fmt: skip


@pytest.mark.parametrize("parameters", BAD_PARAMETERS, ids=str)
def test_parameters(parameters):
    check(
        lambda: PositionalEncoder(**parameters).fit_transform(PLACES), words=(list(parameters)[-1],)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_one_frequency(kind):
    check(
        lambda: bool(
            np.isfinite(PositionalEncoder(kind, n_frequencies=1).fit_transform(PLACES)).all()
        ),
        lambda: True,
    )


@pytest.mark.parametrize("size", [1, 2, 60, 200])
def test_harmonics_against_scipy(size):
    encoder = PositionalEncoder(legendre_polys=size, harmonics_calculation="closed-form")
    check(lambda: encoder.fit_transform(EVERYWHERE), lambda: scipy_harmonics(size), tolerance=1e-10)


def scipy_harmonics(size):
    """Real harmonics with the sign of Condon and Shortley; see PositionalEncoder for the angles."""
    from scipy.special import sph_harm_y

    lon, lat = EVERYWHERE.T
    lon = np.where(np.abs(lat) == 90, 0, lon)
    theta, phi = np.deg2rad(lat + 90), np.deg2rad(lon + 180)
    columns = []
    for degree in range(size):
        for order in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(order), theta, phi)
            part = value.imag if order < 0 else value.real
            columns.append(part * (np.sqrt(2) if order else 1))
    return np.column_stack(columns)
