"""Sets of classes hold the true one, near labels and far from them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed import ResidualInterpolator, SpatialConformalClassifier
from skgeo_embed.model_selection import SpatialBlockKFold
from skgeo_embed.prediction.ensemble import SpatialEnsemble

NEAREST = KNeighborsClassifier(8)


@pytest.fixture(scope="module")
def table():
    rng = np.random.RandomState(0)
    places = rng.uniform([5, 45], [15, 55], (800, 2))
    value = np.sin(places[:, 0]) + np.cos(places[:, 1]) + 0.3 * rng.randn(800)
    return places, np.array(["low", "middle", "high"])[np.digitize(value, [-0.5, 0.5])]


def share_held(model, X, y):
    sets = model.predict_set(X)
    return sets[np.arange(len(y)), np.searchsorted(model.classes_, y)]


@pytest.mark.parametrize(("level", "method"), [(0.8, "auto"), (0.95, "remoteness")])
def test_the_promised_share_in_random_folds_and_in_blocks(table, level, method):
    X, y = table
    model = SpatialConformalClassifier(NEAREST, confidence_level=level, method=method)
    for cv, tolerance in (
        (KFold(3, shuffle=True, random_state=5), 0.04),
        (SpatialBlockKFold(3, block_size=1.2), 0.06),
    ):
        held = np.concatenate(
            [share_held(model.fit(X[train], y[train]), X[test], y[test])
             for train, test in cv.split(X)]
        )  # fmt: skip
        assert level - tolerance < held.mean()
        assert held.mean() < level + 0.1  # shares of eight neighbours are coarse


def test_sets_grow_with_the_distance_and_hold_the_prediction(table):
    X, y = table
    model = SpatialConformalClassifier(NEAREST, method="remoteness").fit(X[:400], y[:400])
    sets = model.predict_set(X[400:])
    assert sets.dtype == bool
    assert sets.shape == (400, 3)
    assert sets[np.arange(400), model.predict_proba(X[400:]).argmax(axis=1)].all()
    edge = np.column_stack([np.full(100, 15.8), np.linspace(45, 55, 100)])
    assert model.predict_set(edge).sum(axis=1).mean() > sets.sum(axis=1).mean() + 0.2
    assert (np.diff(model.thresholds_) <= 0).all()
    np.testing.assert_array_equal(model.predict(X), model.estimator_.predict(X))
    assert model.score(X, y) == model.estimator_.score(X, y)


def test_few_rows_hold_the_level(table):
    X, y = table
    held = []
    for start in range(0, 400, 20):
        some = slice(start, start + 20)
        model = SpatialConformalClassifier(KNeighborsClassifier(3)).fit(X[some], y[some])
        held.append(share_held(model, X[400:], y[400:]).mean())
    assert np.mean(held) > 0.88


def test_classes_that_a_fold_has_not_seen_and_folds_of_one_class(table):
    X, _ = table
    y = np.where(X[:, 0] < 6, "west", np.where(X[:, 0] > 14.9, "east", "middle"))
    model = SpatialConformalClassifier(KNeighborsClassifier(3)).fit(X[:300], y[:300])
    assert list(model.classes_) == ["east", "middle", "west"]
    order = np.argsort(X[:40, 0])
    alike = np.repeat(["a", "b"], 20)  # each training half holds one class
    model = SpatialConformalClassifier(LogisticRegression(), cv=KFold(2)).fit(X[order], alike)
    assert model.predict_set(X).all()  # held-out rows were never predicted


def test_coordinates_beside_the_features(table):
    X, y = (values[:60] for values in table)
    features = pd.DataFrame({"a": X[:, 0] / 10, "b": X[:, 1] / 50})
    inner = ResidualInterpolator(LogisticRegression())
    model = SpatialConformalClassifier(inner).fit(features, y, coords=X)
    assert model.predict_set(features, X).shape == (60, 3)
    expected = inner.fit(features, y, X).predict(features, X)
    np.testing.assert_array_equal(model.predict(features, X), expected)


def test_what_is_no_classifier_is_refused(table):
    X, y = table
    with pytest.raises(ValueError, match="'estimator' parameter"):
        SpatialConformalClassifier(Ridge()).fit(X, y)
    with pytest.raises(ValueError, match="'estimator' parameter"):
        SpatialConformalClassifier(LinearSVC()).fit(X, y)


class OnTheSphere(SpatialConformalClassifier):
    """Takes any columns for places, so that scikit-learn's own data can be used."""

    def _places(self, X, coords):
        values = np.asarray(X, dtype=float)
        values = np.column_stack([values, np.zeros(len(values))])[:, :2]
        with np.errstate(invalid="ignore"):
            return np.column_stack([values[:, 0] % 360 - 180, np.clip(values[:, 1], -90, 90)])


@parametrize_with_checks(
    [OnTheSphere(LogisticRegression(), confidence_level=0.6, cv=[KFold(3)])],
    expected_failed_checks=lambda estimator: {
        **dict.fromkeys(
            (
                "check_estimator_sparse_array",
                "check_estimator_sparse_matrix",
                "check_estimator_sparse_tag",
                "check_estimators_empty_data_messages",
            ),
            "places are read before the classifier checks its data, by what stands in for that",
        ),
        "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is in one fold, and "
        "two rows may be in two",
    },
)
@pytest.mark.filterwarnings("ignore:only . places were held out")
def test_common_checks(estimator, check):
    check(estimator)


def test_one_class_alone_around_an_ensemble(table):
    """Folds of an ensemble are shared from 500 rows on, but one class has none to share."""
    X, _ = table
    model = SpatialConformalClassifier(SpatialEnsemble([("nearest", NEAREST)]))
    assert model.fit(X, np.repeat("low", len(X))).predict_set(X[:3]).all()
