"""Operations that are replaced in graphs for ONNX give what torch gives."""

import pytest
import torch

from skgeo_embed.nn.harmonics import SphericalHarmonics
from skgeo_embed.nn.inference.graph import DECOMPOSITIONS

BETWEEN = torch.cat(
    [torch.linspace(-1, 1, 2001, dtype=torch.float64), torch.tensor([1e-9, 1 - 1e-9, 0.7])]
)
ARGUMENTS = {
    "asin": (BETWEEN,),
    "cos": (BETWEEN * 3,),
    "deg2rad": (BETWEEN * 180,),
    "log1p": ((BETWEEN + 1.1) * 100,),
    "lerp": (BETWEEN, BETWEEN.flip(0), BETWEEN.abs()),
}


@pytest.mark.parametrize("operation", DECOMPOSITIONS, ids=str)
def test_decompositions(operation):
    arguments = ARGUMENTS[str(operation).split(".")[1]]
    expected = operation(*arguments)
    torch.testing.assert_close(
        DECOMPOSITIONS[operation](*arguments), expected, rtol=2e-14, atol=1e-15
    )


@pytest.mark.parametrize("form", ["exact", "published"])
def test_one_product_gives_the_harmonics_of_the_recurrence(form):
    """A graph has no branches: it takes the product for any number of places, in both forms."""
    lat = torch.tensor([-90.0, -89.99, -70.0, 0.0, 1e-7, 66.6, 89.9, 90.0], dtype=torch.float64)
    lonlat = torch.cartesian_prod(torch.arange(-180.0, 180.0, 5.0).double(), lat)
    harmonics = SphericalHarmonics(40, harmonics=form)
    recurrence = harmonics(lonlat)
    torch.testing.assert_close(
        harmonics.at_once(lonlat, torch.float64), recurrence, rtol=0, atol=1e-11
    )
    assert len(harmonics.at_once(lonlat, torch.float64)[:, 0].unique()) == 1
    poles = harmonics.at_once(lonlat, torch.float64).view(-1, 8, 1600)[:, [0, -1]]
    assert (poles == poles[:1]).all()
