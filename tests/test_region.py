"""Rectangles of degrees."""

import numpy as np
import pytest

from skgeo_embed._region import WORLD, read_region


@pytest.mark.parametrize("region", [(170, -20, 190, -10), (170, -20, -170, -10)])
def test_both_notations_across_the_antimeridian(region):
    assert read_region(region) == (170.0, -20.0, 190.0, -10.0)


def test_the_world_is_a_region_in_either_notation():
    assert read_region(list(WORLD)) == WORLD
    assert read_region(np.array([0, -90, 360, 90])) == (0.0, -90.0, 360.0, 90.0)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ((0, 0, 5), "four numbers"),
        (("a", 0, 5, 10), "four numbers"),
        (None, "four numbers"),
        ((10, 0, 10, 5), "east different from west"),
        ((-180, 0, 360, 5), "at most 360"),
        ((-190, 0, 10, 5), "from -180 to 360"),
        ((0, 10, 10, 5), "south below north"),
        ((0, 0, 10, 91), "from -90 to 90"),
        ((0, float("nan"), 10, 80), "south below north"),
        ((float("nan"), 0, 10, 80), "longitudes"),
    ],
)
def test_impossible_regions(region, message):
    with pytest.raises(ValueError, match=message):
        read_region(region)
