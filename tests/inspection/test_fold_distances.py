"""The three distributions of distances are drawn as they are."""

import matplotlib as mpl
import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from sklearn.model_selection import KFold

from skgeo_embed.inspection import FoldDistancesDisplay
from skgeo_embed.model_selection import NearestNeighborDistanceKFold, SpatialBlockKFold

mpl.use("Agg")
REGION = (5, 45, 15, 55)


@pytest.fixture
def places():
    rng = np.random.default_rng(0)
    return rng.uniform([5, 45], [15, 55], (10, 2))[rng.integers(0, 10, 100)] + rng.normal(
        0, 0.1, (100, 2)
    )


def test_a_curve_for_each_distribution(places):
    splitter = NearestNeighborDistanceKFold(predict_at=REGION)
    display = FoldDistancesDisplay.from_splitter(splitter, places)
    assert display.wasserstein_km_ == pytest.approx(splitter.wasserstein_km_)
    found = [np.sort(line.get_xdata())[1:] for line in display.ax_.lines]
    for drawn, known in zip(found, splitter.distances_, strict=True):
        assert drawn[-1] == pytest.approx(known.max())
        assert np.median(drawn) == pytest.approx(np.median(known), rel=0.05)
    assert "NearestNeighborDistanceKFold" in display.ax_.get_title(loc="left")
    given = FoldDistancesDisplay.from_distances(*splitter.distances_, name="mine")
    assert given.wasserstein_km_ == display.wasserstein_km_
    assert given.ax_.get_title(loc="left").startswith("mine")


def test_any_splitter_and_given_axes(places):
    ax = mpl.pyplot.figure().add_subplot()
    features = np.ones((100, 1))
    blocks = FoldDistancesDisplay.from_splitter(
        SpatialBlockKFold(4, block_size=2), features, coords=places, predict_at=REGION, ax=ax
    )
    assert blocks.ax_ is ax
    random = FoldDistancesDisplay.from_splitter(
        KFold(4, shuffle=True, random_state=0), features, coords=places, predict_at=REGION
    )
    assert random.wasserstein_km_ == pytest.approx(
        wasserstein_distance(random.distances.cv, blocks.distances.prediction_to_sample)
    )
    assert np.median(random.distances.cv) < np.median(blocks.distances.cv)


def test_what_cannot_be_drawn(places):
    with pytest.raises(ValueError, match="pass predict_at; KFold does not have it"):
        FoldDistancesDisplay.from_splitter(KFold(3), places)
    with pytest.raises(ValueError, match="cv must be one or more distances"):
        FoldDistancesDisplay.from_distances([1.0], [1.0], [-1.0])
