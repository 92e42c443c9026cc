"""Every splitter works wherever scikit-learn or this library splits rows."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from shapely import box
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
)

from skgeo_embed import (
    AreaOfApplicability,
    ResidualInterpolator,
    SpatialConformalRegressor,
    compare_encoders,
)
from skgeo_embed.encoders.positional import PositionalEncoder
from skgeo_embed.model_selection import (
    LeaveOneRegionOut,
    NearestNeighborDistanceKFold,
    SpatialBlockKFold,
    SpatioTemporalKFold,
)

N = 240
RNG = np.random.default_rng(0)
PLACES = RNG.uniform([5, 45], [15, 55], (N, 2))
FEATURES = np.column_stack([np.sin(PLACES), RNG.normal(size=(N, 2))])
Y = FEATURES[:, 0] + 0.1 * RNG.normal(size=N)
NAMES = np.where(PLACES[:, 0] < 8, "west", np.where(PLACES[:, 0] < 12, "middle", "east"))
DAYS = pd.date_range("2020-01-01", periods=N)[RNG.permutation(N)]
SPLITTERS = {
    "blocks": (SpatialBlockKFold(3, block_size=2), {}),
    "blocks by values": (SpatialBlockKFold(3, block_size="autocorrelation"), {}),
    "kNNDM": (NearestNeighborDistanceKFold(3, predict_at=(5, 45, 15, 55)), {}),
    "polygons": (
        LeaveOneRegionOut(regions=[box(5, 45, 8, 55), box(8, 45, 12, 55), box(12, 45, 15, 55)]),
        {},
    ),
    "names": (LeaveOneRegionOut(buffer_km=20), {"groups": NAMES}),
    "future": (SpatioTemporalKFold(3), {"times": DAYS}),
}
SEARCHES = {
    "grid": lambda cv: GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=cv),
    "random": lambda cv: RandomizedSearchCV(
        Ridge(), {"alpha": [0.1, 1.0]}, cv=cv, n_iter=2, random_state=0
    ),
    "halving": lambda cv: HalvingGridSearchCV(
        Ridge(), {"alpha": [0.1, 1.0]}, cv=cv, random_state=0
    ),
}


@pytest.fixture(params=SPLITTERS)
def splitter(request):
    found, given = SPLITTERS[request.param]
    given = {"coords": PLACES, **given}
    with sklearn.config_context(enable_metadata_routing=True):
        yield found.set_split_request(**dict.fromkeys(given, True)), given


@pytest.mark.parametrize("search", SEARCHES)
def test_places_beside_the_features_reach_the_splitter(splitter, search):
    cv, given = splitter
    found = SEARCHES[search](cv).fit(FEATURES, Y, **given)
    assert found.n_splits_ == 3
    expected = cross_val_score(found.best_estimator_, FEATURES, Y, cv=cv, params=given)
    if search == "grid":
        assert found.best_score_ == pytest.approx(expected.mean())


def test_scores_are_those_of_the_folds(splitter):
    cv, given = splitter
    scores = cross_validate(Ridge(), FEATURES, Y, cv=cv, params=given)["test_score"]
    for score, (train, test) in zip(scores, cv.split(FEATURES, Y, **given), strict=True):
        assert score == pytest.approx(
            Ridge().fit(FEATURES[train], Y[train]).score(FEATURES[test], Y[test])
        )


@pytest.mark.parametrize("name", SPLITTERS)
def test_inside_our_own_estimators(name):
    cv, given = SPLITTERS[name]
    folds = list(cv.split(PLACES, Y, **given))
    groups = given.get("groups")
    makers = {
        "residuals_": ResidualInterpolator(Ridge(), cv=folds),
        "half_widths_": SpatialConformalRegressor(Ridge(), cv=folds),
        "train_dissimilarity_": AreaOfApplicability(cv=folds),
    }
    if name == "future":  # these have no dates: test_untested_rows.py has a table with them
        for model in makers.values():
            assert model.fit(PLACES, Y, coords=PLACES).n_features_in_ == 2
            with pytest.raises(ValueError, match=r"X has no dates.*pass the folds"):
                model.set_params(cv=cv).fit(PLACES, Y, coords=PLACES)
        return
    for attribute, model in makers.items():
        given = {"groups": groups, "coords": PLACES}
        from_list = getattr(model.fit(PLACES, Y, **given), attribute)
        model.set_params(cv=cv).fit(PLACES, Y, **given)
        np.testing.assert_array_equal(getattr(model, attribute), from_list)


def test_in_a_comparison_of_encoders():
    table = compare_encoders(
        PLACES,
        Y,
        encoders={"harmonics": PositionalEncoder(legendre_polys=5), "spatial_pipeline()": None},
        cv=SPLITTERS["kNNDM"][0],
    )
    assert np.isfinite(table["score"]).all()


@pytest.mark.parametrize("name", SPLITTERS)
def test_the_repr_names_what_was_passed(name):
    assert type(SPLITTERS[name][0]).__name__ in repr(SPLITTERS[name][0])


def test_rare_classes_are_dealt_evenly():
    y = np.where((PLACES[:, 0] < 7.5) & (np.arange(N) % 3 == 0), "rare", "common")
    counts = {}
    for stratify in (False, True):
        splitter = SpatialBlockKFold(3, block_size=1.5, stratify=stratify)
        tests = [test for _, test in splitter.split(PLACES, y)]
        counts[stratify] = [int((y[test] == "rare").sum()) for test in tests]
        assert np.ptp([len(test) for test in tests]) < 0.25 * N
    assert np.ptp(counts[True]) <= 3 < np.ptp(counts[False])
    scores = cross_val_score(
        LogisticRegression(), PLACES, y, cv=SpatialBlockKFold(3, block_size=1.5, stratify=True)
    )
    assert np.isfinite(scores).all()
    with pytest.raises(ValueError, match="needs y"):
        next(SpatialBlockKFold(stratify=True).split(PLACES))
    with pytest.raises(ValueError, match="needs classes"):
        next(SpatialBlockKFold(stratify=True).split(PLACES, Y))
