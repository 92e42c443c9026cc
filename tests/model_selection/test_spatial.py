import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import FunctionTransformer

from skgeo_embed._errors import CoordinateError
from skgeo_embed._sphere import great_circle_km
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.model_selection import LeaveOneRegionOut, SpatialBlockKFold


@pytest.fixture(scope="module")
def stations():
    X, y = load_air_temperature(return_X_y=True)
    return X, y


def folds_of(splitter, X, **more):
    fold = np.full(len(X), -1)
    for number, (train, test) in enumerate(splitter.split(X, **more)):
        assert len(np.intersect1d(train, test)) == 0
        assert (fold[test] == -1).all()
        fold[test] = number
    assert (fold >= 0).all()
    return fold


@pytest.mark.parametrize("params", [{}, {"block_size": 40}, {"block_size": 500, "unit": "km"}])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_block_is_in_one_fold_and_folds_are_balanced(stations, params, shuffle):
    X, _ = stations
    splitter = SpatialBlockKFold(5, **params, shuffle=shuffle, random_state=0)
    fold = folds_of(splitter, X)
    blocks = splitter.blocks(X)
    assert (pd.Series(fold).groupby(blocks).nunique() == 1).all()
    sizes = np.bincount(fold)
    largest_block = np.bincount(np.unique(blocks, return_inverse=True)[1]).max()
    assert sizes.max() - sizes.min() <= largest_block


def test_ten_degree_blocks_are_the_plain_grid():
    rng = np.random.RandomState(0)
    coords = np.column_stack([rng.uniform(-180, 180, 500), rng.uniform(-89, 89, 500)])
    blocks = SpatialBlockKFold(block_size=10).blocks(coords)
    plain = np.floor((coords + np.array([180, 90])) / 10).astype(int)
    assert len(np.unique(blocks)) == len(np.unique(plain, axis=0))
    assert len(np.unique(np.column_stack([blocks, plain]), axis=0)) == len(np.unique(blocks))


@pytest.mark.parametrize("params", [{}, {"equal_area": True}, {"unit": "km", "block_size": 800}])
def test_one_place_one_block(params):
    splitter = SpatialBlockKFold(**params)
    for places in ([[-180, 5], [180, 5]], [[190, 5], [-170, 5]], [[0, 90], [77, 90], [-180, 90]]):
        assert len(np.unique(splitter.blocks(places))) == 1
    assert len(np.unique(splitter.blocks([[0, 90], [0, -90]]))) == 2


@pytest.mark.parametrize("params", [{"equal_area": True}, {"unit": "km", "block_size": 1111.95}])
def test_blocks_of_equal_area(params):
    rng = np.random.RandomState(0)
    lat = np.rad2deg(np.arcsin(rng.uniform(-1, 1, 1_000_000)))
    blocks = SpatialBlockKFold(**params).blocks(
        np.column_stack([rng.uniform(-180, 180, len(lat)), lat])
    )
    counts = np.bincount(np.unique(blocks, return_inverse=True)[1])
    assert counts.max() / counts.min() < 1.2
    assert len(counts) == pytest.approx(4 * np.pi * 6371**2 / 1112**2, rel=0.03)


def test_buffer_keeps_training_points_away(stations):
    X, _ = stations
    lonlat = X.to_numpy()
    for train, test in SpatialBlockKFold(5, buffer_km=100).split(X):
        for row in train[::200]:
            near = great_circle_km(np.tile(lonlat[row], (len(test), 1)), lonlat[test])
            assert near.min() > 100
        dropped = len(X) - len(train) - len(test)
        assert dropped > 0
    with pytest.raises(ValueError, match="leaves no training point"):
        next(SpatialBlockKFold(5, buffer_km=25_000).split(X))


def test_seeded_and_repeatable(stations):
    X, _ = stations
    first = folds_of(SpatialBlockKFold(shuffle=True, random_state=1), X)
    assert (first == folds_of(SpatialBlockKFold(shuffle=True, random_state=1), X)).all()
    assert (first != folds_of(SpatialBlockKFold(shuffle=True, random_state=2), X)).any()
    assert (folds_of(SpatialBlockKFold(), X) == folds_of(SpatialBlockKFold(), X)).all()


def test_coordinates_among_other_columns(stations):
    X, _ = stations
    expected = folds_of(SpatialBlockKFold(), X)
    wide = X.assign(height=1.0)[["height", "lat", "lon"]]
    assert (folds_of(SpatialBlockKFold(), wide) == expected).all()
    features = np.ones((len(X), 7))
    assert (folds_of(SpatialBlockKFold(), features, coords=X) == expected).all()
    with pytest.raises(
        CoordinateError, match=r"no column that is recognised.*\['height'\].*set_split_request"
    ):
        next(SpatialBlockKFold().split(wide[["height"]]))
    with pytest.raises(CoordinateError, match="coords has 3 rows, X has 3076"):
        next(SpatialBlockKFold().split(features, coords=X[:3]))


def test_in_scikit_learn(stations):
    X, y = stations
    scores = cross_val_score(Ridge(), X, y, cv=SpatialBlockKFold(4))
    assert len(scores) == 4
    search = GridSearchCV(Ridge(), {"alpha": [1, 10]}, cv=SpatialBlockKFold(3)).fit(X, y)
    assert search.n_splits_ == 3
    features = FunctionTransformer(lambda frame: frame.to_numpy()).fit_transform(X)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = SpatialBlockKFold(4).set_split_request(coords=True)
        again = cross_val_score(Ridge(), features, y, cv=routed, params={"coords": X})
    np.testing.assert_allclose(again, scores)
    assert "block_size=10.0" in repr(SpatialBlockKFold())


@given(st.lists(st.tuples(st.floats(-180, 360), st.floats(-90, 90)), min_size=1, max_size=30))
@settings(deadline=None)
def test_blocks_of_any_place(places):
    lon_lat = np.array(places)
    turned = lon_lat - [360, 0] * (lon_lat[:, :1] > 180)
    for params in ({}, {"equal_area": True}, {"block_size": 7.3}):
        splitter = SpatialBlockKFold(**params)
        blocks = splitter.blocks(lon_lat)
        assert (blocks >= 0).all()
        np.testing.assert_array_equal(blocks, splitter.blocks(turned))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"n_splits": 1}, "n_splits must be"),
        ({"block_size": 0}, 'block_size must be "auto", "autocorrelation", or at least 1e-6'),
        ({"block_size": 200}, "at most 180 degrees"),
        ({"unit": "miles"}, "unit must be"),
        ({"buffer_km": -1}, "buffer_km must be"),
        ({"block_size": 180}, r"lie in \d+ block\(s\) of 180 degrees, but n_splits=5"),
    ],
)
def test_bad_parameters(stations, params, expected):
    with pytest.raises(ValueError, match=expected):
        next(SpatialBlockKFold(**params).split(stations[0]))


def test_regions(stations):
    X, _ = stations
    regions = np.where(X["lon"] < -30, "Americas", np.where(X["lat"] < 0, "South", "North"))
    splitter = LeaveOneRegionOut()
    assert splitter.get_n_splits(groups=regions) == 3
    fold = folds_of(splitter, X, groups=regions)
    assert [regions[fold == k][0] for k in range(3)] == ["Americas", "North", "South"]
    assert (pd.Series(fold).groupby(regions).nunique() == 1).all()
    plain = [len(train) for train, _ in splitter.split(X, groups=regions)]
    buffered = LeaveOneRegionOut(buffer_km=1500).split(X, groups=regions)
    assert any(len(train) < n for (train, _), n in zip(buffered, plain, strict=True))
    with pytest.raises(ValueError, match="groups is missing"):
        next(splitter.split(X))
    with pytest.raises(ValueError, match="one region, 'here'"):
        next(splitter.split(X, groups=["here"] * len(X)))


def test_blocks_that_fit_the_places():
    rng = np.random.RandomState(0)
    for spread in (0.01, 1.0, 40.0):
        places = rng.uniform(-spread, spread, (500, 2)) + np.array([10, 20])
        blocks = SpatialBlockKFold(5, block_size="auto").blocks(places)
        assert 60 < len(np.unique(blocks)) < 150
    across = np.column_stack([rng.uniform(175, 185, 500), rng.uniform(-5, 5, 500)])
    assert 60 < len(np.unique(SpatialBlockKFold(5, block_size="auto").blocks(across))) < 150


def test_blocks_of_few_places_that_come_often():
    places = np.repeat([[7.0, 46.0], [7.1, 46.2], [8.0, 47.0], [8.3, 46.5]], 50, axis=0)
    folds = list(SpatialBlockKFold(4, block_size="auto").split(places))
    assert [len(test) for _, test in folds] == [50] * 4
    with pytest.raises(ValueError, match=r"the rows lie at 1 place\(s\), too few for n_splits=5"):
        list(SpatialBlockKFold(5, block_size="auto").split(places[:50]))


def test_regions_are_routed(stations):
    X, y = (part[::20] for part in stations)
    regions = np.where(X.iloc[:, 0] > 0, "east", "west")
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_val_score(Ridge(), X, y, cv=LeaveOneRegionOut(), params={"groups": regions})
    assert len(scores) == 2
