"""Estimators of other packages: kriging of residuals, and foundation models of tables."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.utils.validation import check_is_fitted, validate_data

from skgeo_embed import (
    PositionalEncoder,
    ResidualInterpolator,
    SpatialConformalClassifier,
    SpatialConformalRegressor,
    spatial_pipeline,
)

RNG = np.random.default_rng(0)
PLACES = RNG.uniform([5, 45], [15, 55], (160, 2))
Y = np.sin(PLACES[:, 0]) + np.cos(PLACES[:, 1]) + 0.05 * RNG.normal(size=160)
KNOWN, NEW = slice(0, 120), slice(120, 160)


class FitsInPlace(RegressorMixin, BaseEstimator):
    """Returns nothing from fit, as PyKrige's Krige does."""

    def fit(self, X, y):
        self.nearest_ = KNeighborsRegressor(3, weights="distance").fit(X, y)

    def predict(self, X):
        return self.nearest_.predict(X)


class KrigingOfGSTools(RegressorMixin, BaseEstimator):
    """The ten lines that make a scikit-learn regressor of gstools' ordinary kriging."""

    def fit(self, X, y):
        import gstools

        bins, gamma = gstools.vario_estimate(X.T, y)
        model = gstools.Exponential(dim=3)
        model.fit_variogram(bins, gamma, nugget=True)
        self.krige_ = gstools.krige.Ordinary(model, X.T, y)
        return self

    def predict(self, X):
        return self.krige_(X.T, return_var=False)


def check_interpolator(interpolator):
    plain = Ridge().fit(PLACES[KNOWN], Y[KNOWN]).score(PLACES[NEW], Y[NEW])
    model = ResidualInterpolator(Ridge(), interpolator=interpolator).fit(PLACES[KNOWN], Y[KNOWN])
    assert isinstance(model.interpolator_, type(interpolator))
    assert model.score(PLACES[NEW], Y[NEW]) > plain + 0.5


def test_a_regressor_whose_fit_returns_nothing_interpolates():
    check_interpolator(FitsInPlace())


def test_kriging_of_pykrige():
    kriging = pytest.importorskip("pykrige.rk")
    check_interpolator(kriging.Krige(method="ordinary3d"))


def test_kriging_of_gstools():
    pytest.importorskip("gstools")
    check_interpolator(KrigingOfGSTools())


class InContext(BaseEstimator):
    """The interface of TabICL and TabPFN: fit keeps the table, predict looks at it.

    As theirs it validates a frame's names, takes no weights, and has parameters alone in __init__.
    """

    def __init__(self, n_estimators=8, device=None, random_state=42):
        self.n_estimators = n_estimators
        self.device = device
        self.random_state = random_state

    def fit(self, X, y):
        X, y = validate_data(self, X, y, dtype=None)
        if isinstance(self, ClassifierMixin):
            self.classes_ = np.unique(y)
        self.context_ = self._nearest(5).fit(X.astype(float), y)
        return self

    def predict(self, X):
        check_is_fitted(self)
        return self.context_.predict(validate_data(self, X, reset=False, dtype=None).astype(float))


class InContextRegressor(RegressorMixin, InContext):
    _nearest = KNeighborsRegressor

    def predict(self, X, output_type="mean"):
        assert output_type == "mean"
        return super().predict(X)


class InContextClassifier(ClassifierMixin, InContext):
    _nearest = KNeighborsClassifier

    def predict_proba(self, X):
        X = validate_data(self, X, reset=False, dtype=None)
        return self.context_.predict_proba(X.astype(float))


def test_a_foundation_model_of_tables_in_a_spatial_pipeline():
    frame = pd.DataFrame(PLACES, columns=["lon", "lat"]).assign(kind=RNG.choice(["a", "b"], 160))
    encoder = PositionalEncoder(legendre_polys=4)
    model = spatial_pipeline(InContextRegressor(n_estimators=2), encoder=encoder)
    assert model.fit(frame[KNOWN], Y[KNOWN]).score(frame[NEW], Y[NEW]) > 0.5
    around = SpatialConformalRegressor(model, method="remoteness").fit(frame[KNOWN], Y[KNOWN])
    low, high = around.predict_interval(frame[NEW]).T
    assert ((low <= Y[NEW]) & (Y[NEW] <= high)).mean() > 0.8
    classes = np.where(Y > 0, "warm", "cold")
    sets = SpatialConformalClassifier(spatial_pipeline(InContextClassifier(), encoder=encoder))
    assert sets.fit(frame[KNOWN], classes[KNOWN]).predict_set(frame[NEW]).shape == (40, 2)
