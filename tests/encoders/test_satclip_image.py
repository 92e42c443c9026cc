"""scikit-learn's common checks of what takes images, on a subclass that folds tables into them."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from skgeo_embed import ImageError, ImageGeolocator, SatCLIPImageEncoder
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.two_tower import SatCLIP


def fold(X):
    """Images (n, 3, 2, 2) that depend on every column of a table."""
    waves = np.cos(np.arange(X.shape[1])[:, None] + np.arange(12))
    return np.tanh(X @ waves / 10).reshape(-1, 3, 2, 2)


def two_towers():
    torch.manual_seed(0)
    visual = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 8))
    return SatCLIP(visual, LocationEncoder(4, 8, 16))


class FoldingImageEncoder(SatCLIPImageEncoder):
    def _read(self, X):
        reset = not hasattr(self, "n_features_in_")
        return fold(validate_data(self, X, reset=reset, dtype=np.float64))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


class FoldingGeolocator(ImageGeolocator):
    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=np.float64)
        lonlat = np.column_stack([170 * np.sin(X.sum(axis=1)), 80 * np.cos(X[:, 0])])
        return super().fit(lonlat)

    def _embedded(self, X):
        return super()._embedded(fold(validate_data(self, X, reset=False, dtype=np.float64)))

    def score(self, X, y=None):
        return super().score(X, np.zeros((len(X), 2)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


@parametrize_with_checks(
    [
        FoldingImageEncoder("bluemarble-l10"),
        FoldingImageEncoder("bluemarble-l10", normalize=True, batch_size=3),
        FoldingGeolocator("bluemarble-l10"),
    ],
    expected_failed_checks=lambda estimator: (
        {
            "check_methods_sample_order_invariance": "some processors round products of single "
            "precision by the rows beside them, which probabilities show"
        }
        if isinstance(estimator, FoldingGeolocator)
        else {}
    ),
)
def test_common_checks(estimator, check):
    check(estimator)


def test_a_fit_that_fails_leaves_it_unfitted():
    encoder = SatCLIPImageEncoder(two_towers().visual).fit(np.zeros((2, 3, 2, 2)))
    with pytest.raises(ImageError, match="cannot take these images"):
        encoder.fit(np.zeros((2, 3, 5, 5)))
    with pytest.raises(NotFittedError):
        encoder.transform(np.zeros((2, 3, 2, 2)))
    geolocator = ImageGeolocator(two_towers()).fit([[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="row 0"):
        geolocator.fit([[1, 200]])
    with pytest.raises(NotFittedError):
        geolocator.predict(np.zeros((2, 3, 2, 2)))


def test_transform_changes_nothing():
    images = np.random.RandomState(0).rand(3, 3, 2, 2)
    encoder = SatCLIPImageEncoder(two_towers().visual).fit()
    before = dict(vars(encoder))
    encoder.transform(images)
    assert vars(encoder) == before
    encoder.set_params(normalize=True, batch_size=1, resize=True)
    np.testing.assert_array_equal(
        encoder.transform(images), SatCLIPImageEncoder(two_towers().visual).fit().transform(images)
    )


def test_towers_must_give_rows():
    encoder = SatCLIPImageEncoder(torch.nn.Identity()).fit()
    with pytest.raises(ValueError, match=r"Identity must map .* it returned \(2, 3, 4, 4\)"):
        encoder.transform(np.zeros((2, 3, 4, 4)))
