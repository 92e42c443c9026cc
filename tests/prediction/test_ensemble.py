"""Shares of learners and the reach of neighbours, chosen on two kinds of held-out rows."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skgeo_embed._errors import CoordinateError
from skgeo_embed.prediction import ensemble, ridge_path
from skgeo_embed.prediction.ensemble import SpatialEnsemble
from skgeo_embed.prediction.ridge_path import RidgePath

ALPHAS = (0.1, 10.0, 1000.0)


@pytest.fixture(scope="module")
def places():
    rng = np.random.RandomState(0)
    return np.column_stack([rng.uniform(5, 15, 400), rng.uniform(45, 55, 400)])


@pytest.fixture(scope="module")
def trend(places):
    return 3 * places[:, 0] - places[:, 1]


@pytest.mark.parametrize("shape", [(50, 8), (20, 60)])
def test_a_path_is_a_ridge_for_each_strength(shape):
    rng = np.random.RandomState(0)
    X, y = rng.randn(*shape) * 5 + 100, rng.randn(shape[0])
    X[:, 3] = 7.0  # a constant column
    found = RidgePath(ALPHAS).fit(X, y).predict_path(X)
    for alpha, column in zip(ALPHAS, found.T, strict=True):
        expected = make_pipeline(StandardScaler(), Ridge(alpha)).fit(X, y).predict(X)
        np.testing.assert_allclose(column, expected, atol=1e-8)
    np.testing.assert_array_equal(RidgePath(ALPHAS).fit(X, y).predict(X), found[:, 1])


def test_a_path_of_many_rows_is_fitted_in_parts(monkeypatch):
    rng = np.random.RandomState(0)
    X, y, weights = rng.randn(50, 8) * 5 + 100, rng.randn(50), rng.uniform(0, 2, 50)
    expected = [RidgePath(ALPHAS).fit(X, y, some).coef_ for some in (None, weights)]
    monkeypatch.setattr(ridge_path, "ROWS_AT_ONCE", 7)
    found = [RidgePath(ALPHAS).fit(X, y, some).coef_ for some in (None, weights)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_learner_that_explains_nothing_has_no_share(places, trend):
    model = SpatialEnsemble([("mean", DummyRegressor()), ("linear", LinearRegression())])
    shares = model.fit(places, trend).shares_
    assert shares["mean"][0] < 0.01
    assert np.isclose(shares["mean"].sum() + shares["linear"].sum(), 1)
    np.testing.assert_allclose(model.predict(places), trend, atol=0.5)


def test_the_strength_of_a_ridge_is_chosen(places):
    rng = np.random.RandomState(0)
    noise = rng.randn(len(places), 240)
    y = places[:, 0] + rng.randn(len(places))
    path = make_pipeline(FunctionTransformer(), RidgePath((1e-3, 300.0)))
    model = SpatialEnsemble([("linear", path)]).fit(np.column_stack([places, noise]), y, places)
    assert model.shares_["linear"].shape == (2,)
    assert model.shares_["linear"][0] < 0.5  # the weak one learns the noise by heart


def test_blocks_speak_against_what_only_remembers(places, trend):
    """Chosen at random alone, the nearest label would have all; in blocks it fails."""
    waves = np.sin(places[:, 0] * 9) * np.cos(places[:, 1] * 9) * 0.2
    nearest = KNeighborsRegressor(1)
    learners = [("nearest", nearest), ("linear", LinearRegression())]
    shares = SpatialEnsemble(learners).fit(places, trend + waves).shares_
    assert shares["linear"][0] > 0.8


def test_neighbours_are_not_followed_far_where_blocks_deny_them():
    rng = np.random.RandomState(1)
    centres = np.column_stack([rng.uniform(0, 40, 40), rng.uniform(0, 40, 40)])
    places = np.repeat(centres, 12, axis=0) + 0.01 * rng.randn(480, 2)
    y = np.repeat(rng.randn(40), 12) + 0.1 * rng.randn(480)  # a level for each village alone
    model = SpatialEnsemble([("mean", DummyRegressor())]).fit(places, y)
    assert np.isfinite(model.reach_)
    near = model.predict(places) - y.mean()
    assert np.corrcoef(near, y)[0, 1] > 0.9
    far = model.predict(centres + 3.0) - y.mean()
    assert np.median(np.abs(far)) < 0.01 * np.abs(near).max()


def test_the_order_of_rows_changes_nothing(places, trend):
    rows = np.random.RandomState(3).permutation(len(places))
    y = trend + np.random.RandomState(0).randn(len(places))
    learners = [("linear", RidgePath(ALPHAS)), ("nearest", KNeighborsRegressor(3))]
    model = SpatialEnsemble(learners)
    expected = clone(model).fit(places, y).predict(places)
    np.testing.assert_array_equal(clone(model).fit(places[rows], y[rows]).predict(places), expected)
    again = pickle.loads(pickle.dumps(model.fit(places, y)))
    np.testing.assert_array_equal(again.predict(places), expected)


def test_a_long_table_is_predicted_in_parts_that_change_nothing(places, trend, monkeypatch):
    model = SpatialEnsemble([("linear", RidgePath(ALPHAS)), ("nearest", KNeighborsRegressor(3))])
    expected = model.fit(places, trend).predict(places)
    monkeypatch.setattr(ensemble, "ROWS_AT_ONCE", 150)  # the last part is shorter
    np.testing.assert_allclose(model.predict(places), expected, rtol=1e-12)


def test_learners_of_a_large_table_are_fitted_on_drawn_rows(places, trend, monkeypatch):
    """The rest has no residual of its own learners, and yet corrects its neighbours."""
    monkeypatch.setattr(ensemble, "ROWS_OF_LEARNERS", 100)
    y = trend + np.sin(places[:, 0] * 4) * np.cos(places[:, 1] * 4)
    model = SpatialEnsemble([("linear", LinearRegression())]).fit(places, y)
    drawn = model.held_out_["random"].fold >= 0
    assert drawn.sum() == 100
    assert (model.held_out_["blocks"].fold >= 0).sum() <= 100
    alone = LinearRegression().fit(places[drawn], y[drawn])
    np.testing.assert_allclose(model.learners_[0][1].coef_, alone.coef_, rtol=1e-9)
    assert np.abs(model.predict(places) - y)[~drawn].mean() < 0.2
    few = SpatialEnsemble([("linear", LinearRegression())]).fit(places[drawn], y[drawn])
    assert np.abs(few.predict(places) - y)[~drawn].mean() > 0.3
    rows = np.random.RandomState(3).permutation(len(places))
    again = clone(model).fit(places[rows], y[rows]).predict(places)
    np.testing.assert_allclose(again, model.predict(places), rtol=1e-12)


def test_rows_without_weight_are_drawn_last(places, trend, monkeypatch):
    monkeypatch.setattr(ensemble, "ROWS_OF_LEARNERS", 100)
    weights = np.zeros(len(places))
    weights[::4] = 1
    model = SpatialEnsemble([("linear", LinearRegression())])
    model.fit(places, trend, sample_weight=weights)
    assert (weights[model.held_out_["random"].fold >= 0] == 1).all()


def test_rows_of_a_rare_class_are_drawn_from_a_large_table(places, monkeypatch):
    monkeypatch.setattr(ensemble, "ROWS_OF_LEARNERS", 100)
    model = SpatialEnsemble([("linear", LogisticRegression())])
    order = np.lexsort(places.T)
    drawn = order[np.random.RandomState(0).permutation(400)[:100]]
    rare = np.setdiff1d(order, drawn)[[0, 100, 200]]
    kinds = np.where(np.isin(np.arange(400), rare), "b", "a")
    model.fit(places, kinds)
    assert model.learners_[0][1].classes_.tolist() == ["a", "b"]
    assert (model.held_out_["random"].fold >= 0).sum() == 100
    assert (model.held_out_["random"].fold[rare] >= 0).all()


@pytest.mark.parametrize(
    ("label", "message"), [(np.inf, "y contains infinity"), (np.nan, "y is missing")]
)
def test_labels_of_neighbours_are_checked(places, trend, label, message):
    further = trend[100:].copy()
    further[3] = label
    model = SpatialEnsemble([("linear", LinearRegression())])
    with pytest.raises(ValueError, match=message):
        model.fit_with_neighbors(places[:100], trend[:100], [(places[100:], further)])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit_with_neighbors(places[:100], trend[:100], [(places[100:], trend[:9])])


def test_parts_of_neighbours_without_rows(places, trend):
    model = SpatialEnsemble([("linear", LinearRegression())])
    parts = [(places[:0], trend[:0]), (places[100:], trend[100:])]
    found = clone(model).fit_with_neighbors(places[:100], trend[:100], parts)
    expected = clone(model).fit_with_neighbors(places[:100], trend[:100], parts[1:])
    np.testing.assert_allclose(found.predict(places), expected.predict(places), rtol=1e-9)


def test_held_out_predictions_know_nothing_of_their_labels(places):
    rng = np.random.RandomState(0)
    X, noise = np.repeat(places[:100], 4, axis=0), rng.randn(400)
    learners = [("linear", RidgePath(ALPHAS)), ("nearest", KNeighborsRegressor(1))]
    model = SpatialEnsemble(learners).fit(X, noise)
    for kind in ("random", "blocks"):
        fold, predicted = model.held_out_[kind]
        assert abs(np.corrcoef(predicted, noise)[0, 1]) < 0.2, kind
        for train, test in model.held_out_[kind].folds():
            assert sorted([*train, *test]) == list(range(400))
        assert set(fold) == {0, 1, 2}
    assert (np.ptp(model.held_out_["blocks"].fold.reshape(100, 4), axis=1) == 0).all()


def test_held_out_predictions_have_the_order_of_the_rows(places, trend):
    y = trend + np.sin(places[:, 0] * 3)
    model = SpatialEnsemble([("linear", RidgePath(ALPHAS)), ("nearest", KNeighborsRegressor(3))])
    held = model.fit(places, y).held_out_["random"]
    assert np.corrcoef(held.predicted, y)[0, 1] > 0.98
    rows = np.random.RandomState(3).permutation(len(places))
    again = clone(model).fit(places[rows], y[rows]).held_out_["random"]
    np.testing.assert_array_equal(again.fold, held.fold[rows])
    np.testing.assert_array_equal(again.predicted, held.predicted[rows])


def test_held_out_probabilities_and_rows_outside_all_folds(places, monkeypatch):
    monkeypatch.setattr(ensemble, "ROWS_IN_BLOCKS", 150)
    label = np.where(places[:, 0] > 10, "east", "west")
    model = SpatialEnsemble([("logistic", LogisticRegression())]).fit(places, label)
    fold, probability = model.held_out_["blocks"]
    assert (fold >= 0).sum() == 150
    np.testing.assert_array_equal(np.isnan(probability).all(axis=1), fold < 0)
    np.testing.assert_allclose(probability[fold >= 0].sum(axis=1), 1)
    found = model.classes_[model.held_out_["random"].predicted.argmax(axis=1)]
    assert (found == label).mean() > 0.95


def test_rows_that_share_place_and_label_have_an_order_too(places):
    rng = np.random.RandomState(0)
    X = np.column_stack([np.repeat(places[:60], 5, axis=0), rng.randn(300, 2)])
    y = np.repeat(np.round(places[:60, 0]), 5)
    rows = rng.permutation(300)
    model = SpatialEnsemble([("linear", RidgePath(ALPHAS)), ("nearest", KNeighborsRegressor(3))])
    expected = clone(model).fit(X, y, X[:, :2]).predict(X, X[:, :2])
    shuffled = clone(model).fit(X[rows], y[rows], X[rows, :2]).predict(X, X[:, :2])
    np.testing.assert_allclose(shuffled, expected, rtol=1e-9)


def test_learners_that_cannot_be_told_apart(places, trend):
    """The shares of one would be taken for those of the other."""
    for learners, found in (([], "got none"), ([("a", Ridge()), ("a", Ridge())], "'a' twice")):
        with pytest.raises(ValueError, match=found):
            SpatialEnsemble(learners).fit(places, trend)


def test_classes_some_of_which_are_rare(places):
    label = np.where(places[:, 0] > 10, "east", "west").astype(object)
    label[7] = "rare"
    learners = [
        ("logistic", LogisticRegression()),
        ("trees", ExtraTreesClassifier(20, random_state=0)),
    ]
    model = SpatialEnsemble(learners)
    assert is_classifier(model)
    assert not hasattr(SpatialEnsemble([("linear", Ridge())]), "predict_proba")
    probability = model.fit(places, label).predict_proba(places)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert list(model.classes_) == ["east", "rare", "west"]
    assert model.score(places, label) > 0.97


def test_tables_of_few_rows(places, trend):
    model = SpatialEnsemble([("linear", Ridge())])
    assert is_regressor(model)
    for n_rows in (2, 3, 5, 8):
        assert np.isfinite(model.fit(places[:n_rows], trend[:n_rows]).predict(places)).all()
    with pytest.raises(ValueError, match="at least 2 rows, got n_samples=1"):
        model.fit(places[:1], trend[:1])
    assert not hasattr(model, "learners_")
    with pytest.raises(CoordinateError):
        model.fit(np.full_like(places, 200.0), trend)


class OnTheSphere(SpatialEnsemble):
    """Takes any columns for places, so that scikit-learn's own data can be used."""

    def _places(self, X, coords):
        values = np.asarray(X, dtype=float)
        values = np.column_stack([values, np.zeros(len(values))])[:, :2]
        return np.column_stack([values[:, 0] % 360 - 180, np.clip(values[:, 1], -90, 90)])


@parametrize_with_checks(
    [
        OnTheSphere([("ridge", Ridge()), ("path", RidgePath())]),
        OnTheSphere([("logistic", LogisticRegression())]),
        RidgePath(),
    ],
    expected_failed_checks=lambda estimator: (
        dict.fromkeys(
            (
                "check_estimator_sparse_array",
                "check_estimator_sparse_matrix",
                "check_estimator_sparse_tag",
                "check_estimators_empty_data_messages",
            ),
            "places are read before the learners check their data, by what stands in for that here",
        )
        | {
            "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is in one fold, "
            "and two rows may be in two"
        }
        if isinstance(estimator, SpatialEnsemble)
        else {}
    ),
)
def test_common_checks(estimator, check):
    check(estimator)


def test_folds_have_lighter_trees_and_the_fit_whole_ones(monkeypatch):
    seen = []
    for forest in (ExtraTreesRegressor, HistGradientBoostingRegressor):
        fit = forest.fit

        def noted(self, X, y, fit=fit, **options):
            size = getattr(self, "n_estimators", None) or self.max_leaf_nodes
            seen.append((type(self).__name__[:5], size, len(X)))
            return fit(self, X, y, **options)

        monkeypatch.setattr(forest, "fit", noted)
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.uniform(0, 30, 90), rng.uniform(30, 60, 90)])
    learners = [
        ("trees", ExtraTreesRegressor(30, random_state=0)),
        ("boosting", make_pipeline(StandardScaler(), HistGradientBoostingRegressor())),
    ]
    SpatialEnsemble(learners).fit(X, X[:, 1])
    assert {size for name, size, n in seen if name == "Extra" and n < 90} == {20}
    assert {size for name, size, n in seen if name == "HistG" and n < 90} == {15}
    assert [size for _, size, n in seen if n == 90] == [30, 31]


def test_blocks_of_a_large_table_are_a_sample(monkeypatch):
    monkeypatch.setattr(ensemble, "ROWS_IN_BLOCKS", 60)
    sizes = []
    fit = Ridge.fit
    monkeypatch.setattr(
        Ridge, "fit", lambda self, X, y, **k: sizes.append(len(X)) or fit(self, X, y, **k)
    )
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.uniform(0, 30, 150), rng.uniform(30, 60, 150)])
    y = X[:, 1] + np.sin(X[:, 0])
    model = SpatialEnsemble([("linear", Ridge())]).fit(X, y)
    assert sizes[:3] == [100, 100, 100]  # random folds hold out every row
    assert sum(sizes[3:6]) == 120  # two thirds of 60, three times
    assert sizes[6:] == [150]
    again = SpatialEnsemble([("linear", Ridge())]).fit(X[::-1], y[::-1])
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
