import numpy as np
import pytest
import torch

from skgeo_embed.nn.encodings import KINDS
from skgeo_embed.nn.encodings.building import make_encoding
from skgeo_embed.nn.harmonics import SphericalHarmonics

SETS = {
    "A": {"n_frequencies": 16, "max_radius": 360, "min_radius": 1},
    "B": {"n_frequencies": 8, "max_radius": 0.01, "min_radius": 0.00001},
    "F5": {"n_frequencies": 5, "max_radius": 360, "min_radius": 1},
}
CASES = [("direct", None), ("cartesian3d", None), ("wrap", None), ("theory", "F5")] + [
    (kind, name)
    for kind in ("theory", "grid", "spherec", "spherecplus", "spherem", "spheremplus")
    for name in "AB"
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_against_the_original(positional_reference, kind, name):
    points = torch.from_numpy(positional_reference["points_lonlat"])
    encoding = make_encoding(kind, **SETS.get(name, {}))
    expected = positional_reference[f"{kind}_{name}" if name else kind]
    # set B takes sines of angles up to 1.8e7 rad
    atol = 1e-8 if name == "B" else 1e-12
    np.testing.assert_allclose(encoding(points).numpy(), expected, rtol=0, atol=atol)
    assert len(encoding.column_names()) == encoding.embedding_dim == expected.shape[1]
    assert len(set(encoding.column_names())) == expected.shape[1]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ("points_lonlat", "sh_discretized_L10"),
        ("discretized_extra_points", "discretized_extra_L10"),
    ],
)
def test_discretized_against_the_original(positional_reference, points, expected):
    encoding = make_encoding("sphericalharmonics", harmonics_calculation="discretized")
    ours = encoding(torch.from_numpy(positional_reference[points])).numpy()
    np.testing.assert_allclose(ours, positional_reference[expected], rtol=0, atol=2e-4)
    assert encoding.column_names()[:4] == ["sh_l0_m0", "sh_l1_m-1", "sh_l1_m0", "sh_l1_m1"]


def test_published_rounding_against_the_original(positional_reference):
    points = positional_reference["points_lonlat"][positional_reference["subset"]]
    latitude = np.abs(points[:, 1])
    published = SphericalHarmonics(40, harmonics="published")(torch.from_numpy(points)).numpy()
    exact = SphericalHarmonics(40)(torch.from_numpy(points)).numpy()
    original = positional_reference["sh_analytic_L40"]
    error, before = abs(published - original).max(axis=1), abs(exact - original).max(axis=1)
    assert error[latitude < 70].max() < 3e-3
    assert error.max() < 2e-2
    assert before.max() > 0.5  # what the mode is for
    without_noise = positional_reference["sh_analytic_L40_printed_coefs_exact_arithmetic"]
    assert abs(published - without_noise).max() < 2e-4


@pytest.mark.parametrize("size", [10, 20])
def test_published_rounding_is_nothing_at_low_degrees(positional_reference, size):
    points = torch.from_numpy(positional_reference["points_lonlat"])
    difference = SphericalHarmonics(size, harmonics="published")(points) - SphericalHarmonics(size)(
        points
    )
    assert difference.abs().max() < {10: 1e-11, 20: 1e-7}[size]


@pytest.mark.parametrize("kind", KINDS)
def test_empty_and_single_precision(kind):
    encoding = make_encoding(kind)
    assert encoding(torch.empty((0, 2))).shape == (0, encoding.embedding_dim)
    assert encoding(torch.ones((1, 2))).dtype == torch.float32


def test_bad_arguments():
    with pytest.raises(ValueError, match="unknown positional encoding 'sphere'"):
        make_encoding("sphere")
    with pytest.raises(ValueError, match="max_radius positive"):
        make_encoding("grid", min_radius=0)
    with pytest.raises(ValueError, match="harmonics must be one of"):
        SphericalHarmonics(10, harmonics="other")
    with pytest.raises(ValueError, match="needs calculation='analytic'"):
        SphericalHarmonics(10, "closed-form", "published")
