"""Groups are permuted together, within folds, and the right ones matter."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor

from skgeo_embed import PositionalEncoder, spatial_pipeline
from skgeo_embed.inspection import GroupImportanceDisplay, group_importance
from skgeo_embed.inspection._group_importance import _default_groups
from skgeo_embed.model_selection import SpatialBlockKFold

mpl.use("Agg")
RNG = np.random.default_rng(0)
PLACES = RNG.uniform([5, 45], [15, 55], (200, 2))
FRAME = pd.DataFrame({"size": RNG.normal(size=200), "lon": PLACES[:, 0], "lat": PLACES[:, 1]})
FRAME["kind"] = RNG.choice(["a", "b"], 200)
ENCODER = PositionalEncoder(legendre_polys=4)


def test_the_place_matters_if_y_is_of_the_place_and_the_others_if_it_is_of_them():
    of_place = np.sin(PLACES[:, 0]) + np.cos(PLACES[:, 1])
    model = spatial_pipeline(KNeighborsRegressor(5, weights="distance"), encoder=ENCODER)
    table = group_importance(model, FRAME, of_place, cv=3, n_repeats=2)
    assert table.index[0] == "place"
    assert table.importance["other columns"] < 0.2 * table.importance["place"]
    assert table.importance["neighbours"] > 0.1  # the learner sees categories as near as places
    of_others = FRAME["size"] + 2 * (FRAME["kind"] == "a")
    table = group_importance(
        spatial_pipeline(LinearRegression(), encoder=ENCODER), FRAME, of_others, cv=3, n_repeats=2
    )
    assert table.index[0] == "other columns"
    assert table.importance["other columns"] > 1
    assert abs(table.importance["neighbours"]) < 0.05


def test_a_group_is_permuted_together():
    lon = PLACES[:, 0]
    frame = pd.DataFrame({"lon": lon, "lat": PLACES[:, 1], "a": lon, "b": -lon})

    class Sum(LinearRegression):
        def fit(self, X, y):
            self.coef_ = np.zeros(4)
            return self

        def predict(self, X):
            return X["a"] + X["b"] + np.arange(len(X)) / 1e9

    table = group_importance(
        Sum(), frame, lon, cv=3, groups={"both": ["a", "b"], "one": ["a"]},
        scoring="neg_mean_squared_error",
    )  # fmt: skip
    assert table.importance["both"] == pytest.approx(0, abs=1e-6)  # a + b stays 0
    assert table.importance["one"] > 1


def test_any_estimator_of_a_table_and_searches():
    y = FRAME["lon"] * 2 + FRAME["size"]
    numbers = FRAME.drop(columns="kind")
    search = GridSearchCV(LinearRegression(), {"fit_intercept": [True]}, cv=3)
    for model in (LinearRegression(), search):
        table = group_importance(
            model, numbers, y, cv=SpatialBlockKFold(3, block_size="auto"), n_repeats=2
        )
        assert set(table.index) == {"place", "other columns"}
        assert table.importance["place"] > table.importance["other columns"] > 0
    bare = group_importance(LinearRegression(), PLACES, y, cv=3, n_repeats=2)
    assert list(bare.index) == ["place"]


def test_classes_and_probabilities():
    y = np.where(PLACES[:, 0] > 10, "east", "west")
    model = spatial_pipeline(LogisticRegression(), encoder=ENCODER)
    for scoring in (None, "neg_log_loss"):
        table = group_importance(model, FRAME, y, cv=3, n_repeats=2, scoring=scoring)
        assert table.importance["place"] > 0.1
        assert "neighbours" in table.index


def test_layers_of_content_are_groups():
    names = ["place__lon", "place__lat", "content__lights_mean_5km", "content__lights_std_10km",
             "content__august_red_mean_40km", "content__august_greenness_mean_40km",
             "numbers__size"]  # fmt: skip
    last = spatial_pipeline(LinearRegression())[-1]
    groups = _default_groups(pd.DataFrame(np.zeros((2, 7)), columns=names), last)
    assert groups["content: lights"] == names[2:4]
    assert groups["content: august"] == names[4:6]
    assert groups["place"] == names[:6]
    assert groups["other columns"] == names[6:]


def test_the_display_and_wrong_groups():
    y = FRAME["lon"] * 2
    numbers = FRAME.drop(columns="kind")
    display = GroupImportanceDisplay.from_estimator(LinearRegression(), numbers, y, cv=3)
    widths = [bar.get_width() for bar in display.ax_.patches]
    np.testing.assert_allclose(widths, display.table.importance[::-1])
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["other columns", "place"]
    with pytest.raises(ValueError, match="group 'rooms' must be a list of columns"):
        group_importance(LinearRegression(), numbers, y, groups={"rooms": ["beds"]})
