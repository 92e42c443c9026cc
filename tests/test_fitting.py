"""A fit that is under way disturbs nobody who uses the estimator; one that fails leaves nothing."""

from threading import Event, Thread

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

from skgeo_embed import (
    AreaOfApplicability,
    ImageGeolocator,
    PositionalEncoder,
    ResidualInterpolator,
    SatCLIPEncoder,
    SatCLIPImageEncoder,
)

PLACES = np.random.default_rng(0).uniform([-10, 40], [10, 50], (30, 2))
IMAGES = np.random.default_rng(1).random((2, 3, 16, 16), dtype=np.float32)


def during_a_fit(estimator, method, fit, use, monkeypatch):
    """Call `use` while `fit` is at a method in another thread."""
    reached, go_on = Event(), Event()
    inner = getattr(type(estimator), method)

    def waiting(self, *args, **keywords):
        reached.set()
        assert go_on.wait(60)
        return inner(self, *args, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(type(estimator), method, waiting)
        thread = Thread(target=fit)
        thread.start()
        try:
            assert reached.wait(60)
            return use()
        finally:
            go_on.set()
            thread.join()


def cases():
    encoder = PositionalEncoder(legendre_polys=4)
    yield encoder, "prepare", (PLACES,), lambda: encoder.transform(PLACES)
    trained = SatCLIPEncoder()
    yield trained, "prepare", (PLACES,), lambda: trained.transform_grid([1, 2], [3])
    area = AreaOfApplicability()
    yield area, "_scale", (PLACES,), lambda: area.threshold_
    model = ResidualInterpolator(LinearRegression())
    yield model, "_read_target", (PLACES, PLACES[:, 0]), lambda: model.predict(PLACES)
    tower = SatCLIPImageEncoder("bluemarble-l10")
    yield tower, "_keep", (), lambda: tower.transform(IMAGES)
    geolocator = ImageGeolocator(n_candidates=50)
    yield geolocator, "_open_towers", (), lambda: geolocator.candidates_


@pytest.mark.parametrize(("estimator", "method", "data", "use"), list(cases()))
def test_what_is_fitted_can_be_used_while_it_is_fitted_again(
    estimator, method, data, use, monkeypatch
):
    estimator.fit(*data)
    expected = use()
    found = during_a_fit(estimator, method, lambda: estimator.fit(*data), use, monkeypatch)
    np.testing.assert_allclose(found, expected)


def test_a_fit_that_fails_leaves_an_unfitted_estimator_and_its_settings():
    encoder = PositionalEncoder(legendre_polys=4).fit(PLACES).set_output(transform="pandas")
    with pytest.raises(ValueError, match="outside"):
        encoder.fit([[0, 91]])
    with pytest.raises(NotFittedError):
        encoder.transform(PLACES)
    assert hasattr(encoder.fit(PLACES).transform(PLACES), "columns")
