"""Names of the bands of a map."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from skgeo_embed import AreaOfApplicability, predict_grid
from tests.streaming.maps.lonlat_model import PLACE

SMALL = {"region": (0, 0, 2, 2), "resolution": 1, "verbose": False}


@pytest.mark.parametrize("suffix", ["tif", "zarr", "nc", None])
@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a", "a"], "'a' is there twice"),
        (["lat", "b"], "'lat' is the name of an axis"),
        (["kg/ha", "b"], "'kg/ha' cannot be written"),
        (["a", ""], "'' cannot be written"),
        (["a", "x" * 300], "cannot be written"),
    ],
)
def test_names_that_a_file_cannot_have_are_found_before_anything_is_computed(
    tmp_path, suffix, names, reason
):
    output = None if suffix is None else tmp_path / f"m.{suffix}"
    with pytest.raises(ValueError, match=f"{reason}.*; choose another with name="):
        predict_grid(PLACE, output, name=names, **SMALL)
    assert not list(tmp_path.iterdir())


def test_each_class_keeps_its_probability():
    """A slash cannot be in a name, so two classes may lead to one."""
    X = np.array([[0.5, 0.5], [1.5, 0.5], [0.5, 1.5]])
    model = KNeighborsClassifier(1).fit(X, ["a/b", "a_b", "c"])
    made = predict_grid(model, probabilities=True, **SMALL)
    assert list(made) == ["class", "probability_a_b", "probability_a_b_2", "probability_c"]
    assert made["probability_a_b"].attrs["long_name"] == "probability of a/b"
    np.testing.assert_array_equal(made["probability_a_b_2"].sel(lat=0.5), [0, 1])
    with pytest.raises(ValueError, match="'probability_c' is there twice"):
        predict_grid(model, name="probability_c", probabilities=True, **SMALL)


@pytest.mark.parametrize("around", [lambda area: area, make_pipeline])
def test_an_area_of_applicability_that_is_not_fitted(around):
    with pytest.raises(NotFittedError, match="AreaOfApplicability instance is not fitted yet"):
        predict_grid(PLACE, applicability=around(AreaOfApplicability()), **SMALL)
