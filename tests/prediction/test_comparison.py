"""Scores are those that scikit-learn would give each row, in the folds that were asked for."""

import time
import weakref

import geopandas
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import (
    BaseCrossValidator,
    GridSearchCV,
    KFold,
    LeaveOneOut,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, SplineTransformer, StandardScaler

from skgeo_embed import PositionalEncoder, SatCLIPEncoder, compare_encoders, spatial_pipeline
from skgeo_embed._errors import CoordinateError
from skgeo_embed.model_selection import (
    LeaveOneRegionOut,
    SpatialBlockKFold,
    SpatioTemporalKFold,
)
from skgeo_embed.models.folder_model import FolderModel
from skgeo_embed.prediction import comparison

N = 90
ROWS = [
    "longitude, latitude",
    "5 nearest neighbours",
    "SatCLIPEncoder(untrained=True)",
    "SatCLIPEncoder()",
    'SatCLIPEncoder(layer="content")',
    "spatial_pipeline()",
]
SECONDS = ["fit_seconds"]
pytestmark = pytest.mark.usefixtures("held_default")


@pytest.fixture(scope="module")
def table():
    rng = np.random.RandomState(0)
    X = pd.DataFrame({"lat": rng.uniform(30, 60, N), "lon": rng.uniform(-10, 40, N)})
    y = 0.3 * X["lon"] + np.sin(X["lat"] / 5) + rng.normal(0, 0.1, N)
    return X, y.to_numpy()


@pytest.fixture
def light_pipeline(monkeypatch):
    """`spatial_pipeline` with a quick learner and encoder."""
    monkeypatch.setattr(
        comparison,
        "spatial_pipeline",
        lambda kind, **names: spatial_pipeline(Ridge(), encoder=PositionalEncoder("wrap"), **names),
    )


def compare(X, y, cv=3, *, only=(), **options):
    """Compare these of the usual rows, and the given ones."""
    left_out = dict.fromkeys(set(ROWS) - set(only))
    own = options.pop("encoders", {})
    return compare_encoders(X, y, cv, encoders={**left_out, **own}, verbose=False, **options)


@pytest.mark.slow
def test_the_usual_rows(table):
    """Without a baseline beside it a score of an encoder is taken for its merit."""
    found = compare_encoders(*table, cv=2, verbose=False)
    assert found.index.tolist() == ROWS
    assert found.columns.tolist() == ["score", "score_std", "fit_seconds"]
    assert np.isfinite(found.to_numpy()).all()
    assert (found["fit_seconds"] > 0).all()


def test_scores_are_those_of_scikit_learn(table):
    """Another learner, scorer or kind of fold than documented would make scores incomparable."""
    X, y = table
    found = compare(X, y, None, only=["SatCLIPEncoder()"], each_fold=True)
    model = make_pipeline(SatCLIPEncoder(), StandardScaler(), RidgeCV(np.logspace(-1, 5, 13)))
    kinds = {
        "random": KFold(5, shuffle=True, random_state=0),
        "blocks": SpatialBlockKFold(5, block_size="auto"),
    }
    each = [f"{kind}_{number}" for kind in kinds for number in range(1, 6)]
    assert set(found.columns) == {*each, *kinds, "random_std", "blocks_std", "fit_seconds"}
    row = found.loc["SatCLIPEncoder()"]
    by_place = np.argsort(X["lat"].to_numpy())  # rows are dealt in the order of their places
    for kind, splitter in kinds.items():
        rows = by_place if kind == "random" else np.arange(N)
        scores = cross_val_score(model, X[["lon", "lat"]].iloc[rows], y[rows], cv=splitter)
        np.testing.assert_allclose(row[[f"{kind}_{i}" for i in range(1, 6)]], scores, rtol=1e-4)
        np.testing.assert_allclose(row[kind], scores.mean(), rtol=1e-4)
        np.testing.assert_allclose(row[f"{kind}_std"], scores.std(), rtol=1e-3)


def test_classes_are_scored_by_accuracy(table):
    X, _ = table
    y = np.where(X["lon"] > 15, "east", "west")
    found = compare(X, y, only=ROWS[:2]).loc["longitude, latitude", "score"]
    strengths = {"C": [0.01, 0.1, 1.0, 10.0]}
    folds = KFold(3, shuffle=True, random_state=0)
    logistic = GridSearchCV(LogisticRegression(max_iter=1000, tol=1e-3), strengths, cv=folds)
    model = make_pipeline(StandardScaler(), logistic)
    places, by_place = X[["lon", "lat"]], np.argsort(X["lat"].to_numpy())
    scores = []
    for train, test in StratifiedKFold(3).split(places, y):
        rows = by_place[np.isin(by_place, train)]
        scores.append(model.fit(places.iloc[rows], y[rows]).score(places.iloc[test], y[test]))
    assert found == pytest.approx(np.mean(scores))


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (lambda i: i % 3, True),
        (lambda i: (i % 3).astype(float), True),
        (lambda i: i % 3 + 0.5, False),
        (lambda i: 1000 * i, False),  # prices in whole numbers are no 90 classes
        (lambda i: i % 2 == 0, True),
        (lambda i: pd.Categorical.from_codes(i % 3, ["a", "b", "c"]), True),
        (lambda i: pd.Series(i * 10, dtype="Int64"), False),
        (lambda i: (i * 10).astype(object), False),
        (lambda i: pl.Series((i % 3).astype(str)), True),
    ],
)
def test_what_is_numbers_and_what_is_classes(table, y, classes):
    """A classifier of prices takes hours, and a regressor of codes says nothing."""
    fitted = []

    class Seen(FunctionTransformer):
        def fit(self, X, y):
            fitted.append(y)
            return super().fit(X)

    y = y(np.arange(N))
    compare(table[0], y, KFold(2, shuffle=True, random_state=0), encoders={"seen": Seen()})
    nearest = compare(table[0], y, only=[ROWS[1]], estimator=None)
    assert (0 <= nearest["score"].iloc[0] <= 1) or not classes
    with pytest.raises(TypeError, match="leave it out"):
        compare(table[0], y, encoders={"own": Ridge() if classes else LogisticRegression()})
    assert len(fitted) == 2


def test_the_estimator_says_what_y_is(table):
    X, _ = table
    codes = np.arange(N) % 30
    as_classes = compare(X, codes, only=[ROWS[1]], estimator="classifier").iloc[0, 0]
    as_numbers = compare(X, codes, only=[ROWS[1]], estimator="regressor").iloc[0, 0]
    assert as_classes >= 0 > as_numbers  # accuracy of chance, and R² below that of the mean


def test_the_estimator_replaces_the_learner(table):
    X, y = table
    found = compare(X, y, only=ROWS[:1], estimator=Ridge(3.0)).iloc[0, 0]
    assert found == pytest.approx(cross_val_score(Ridge(3.0), X[["lon", "lat"]], y, cv=3).mean())


def test_other_columns_are_for_the_pipeline_alone(table, light_pipeline):
    """An encoder that was credited with the rooms of a house would be praised for nothing."""
    X, _ = table
    rooms = np.random.RandomState(1).randint(1, 6, N)
    X = X.assign(rooms=rooms, kind=np.where(rooms > 3, "house", "flat"))
    found = compare(X, rooms * 1.5, KFold(2), only=[ROWS[0], ROWS[5]])["score"]
    assert found["longitude, latitude"] < 0.2
    assert found["spatial_pipeline()"] > 0.7
    own = {"own": spatial_pipeline(Ridge(), encoder=PositionalEncoder("wrap"))}
    assert compare(X, rooms * 1.5, KFold(2), encoders=own).iloc[0, 0] > 0.7


def test_places_are_found_in_tables_of_every_kind(table):
    X, y = table
    lonlat = X[["lon", "lat"]].to_numpy()
    points = geopandas.points_from_xy(*lonlat.T)
    tables = {
        "array": lonlat,
        "list": lonlat.tolist(),
        "polars": pl.from_pandas(X.assign(price=1)),
        "arrow": pl.from_pandas(X).to_arrow(),
        "points": np.asarray(points),
        "geo": geopandas.GeoDataFrame({"a": np.arange(N)}, geometry=points, crs=4326).to_crs(3035),
        "index": X.set_index(np.arange(N) * 3 + 7),
    }
    blocks = SpatialBlockKFold(3, block_size="auto")
    only = [ROWS[0], ROWS[1]]
    wanted = compare(X, y, blocks, only=only)["score"]
    for name, other in tables.items():
        found = compare(other, y, blocks, only=only)["score"]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, err_msg=name)
    named = X.set_axis(["b", "a"], axis=1).assign(c=1)
    found = compare(named, y, blocks, only=only, lon="a", lat="b")["score"]
    np.testing.assert_allclose(found, wanted)
    with pytest.raises(CoordinateError, match="no column that is recognised as the longitude"):
        compare(named, y)


def test_the_pipeline_reads_tables_of_every_kind(table, light_pipeline):
    """It takes tables, so that points and lists must become one, and names must be handed on."""
    X, y = table
    points = geopandas.points_from_xy(X["lon"], X["lat"])
    named = X.set_axis(["b", "a"], axis=1).assign(c=1)
    for other, names in (
        (np.asarray(points), {}),
        (geopandas.GeoDataFrame(geometry=points, crs=4326), {}),
        (pl.from_pandas(X), {}),
        (X[["lon", "lat"]].to_numpy().tolist(), {}),
        (named, {"lon": "a", "lat": "b"}),
        (X.to_numpy(), {"lon": 1, "lat": 0}),
    ):
        assert compare(other, y, KFold(2), only=[ROWS[5]], **names).iloc[0, 0] > 0.5


def test_folds_of_every_kind(table):
    X, y = table
    regions = np.where(X["lon"] > 20, "east", np.where(X["lon"] > 5, "middle", "west"))
    pairs = list(LeaveOneRegionOut(buffer_km=50).split(X, groups=regions))
    wanted = compare(X, y, pairs, only=ROWS[:1])
    by_groups = compare(X, y, LeaveOneRegionOut(buffer_km=50), only=ROWS[:1], groups=regions)
    assert by_groups.iloc[0, 0] == wanted.iloc[0, 0]
    assert compare(X, y, iter(pairs), only=ROWS[:2]).iloc[0, 0] == wanted.iloc[0, 0]


class ByColumn(BaseCrossValidator):
    """A splitter of the user's own: one fold for each value of a column."""

    def get_n_splits(self, X=None, y=None, groups=None):
        return 3

    def _iter_test_masks(self, X=None, y=None, groups=None):
        return (X["shop"] == shop for shop in sorted(X["shop"].unique()))


def test_folds_read_other_columns_of_the_table(table):
    """Splitters got the places alone, without dates."""
    X, y = table
    dates = pd.date_range("2024-01-01", periods=30).repeat(3)
    X = X.rename(columns={"lon": "a", "lat": "b"}).assign(day=dates, shop=np.arange(N) % 3)
    names = {"lon": "a", "lat": "b"}
    splitter = SpatioTemporalKFold(2, block_size=20.0)
    pairs = list(splitter.split(X, y, coords=X[["a", "b"]].to_numpy()))
    found = compare(X, y, splitter, only=ROWS[:1], **names)
    assert found.equals(compare(X, y, pairs, only=ROWS[:1], **names).assign(**found[SECONDS]))
    shops = [(np.flatnonzero(X["shop"] != k), np.flatnonzero(X["shop"] == k)) for k in range(3)]
    found = compare(X, y, ByColumn(), only=ROWS[:1], **names)
    assert found.equals(compare(X, y, shops, only=ROWS[:1], **names).assign(**found[SECONDS]))


def test_folds_read_y(table):
    X, y = table
    y = np.where(np.arange(N) % 9 == 0, "rare", "common")
    splitter = SpatialBlockKFold(3, block_size=5.0, stratify=True)
    by_splitter = compare(X, y, splitter, only=ROWS[:1], each_fold=True)
    by_pairs = compare(X, y, list(splitter.split(X, y)), only=ROWS[:1], each_fold=True)
    assert by_splitter.equals(by_pairs.assign(**by_splitter[SECONDS]))


@pytest.mark.parametrize("classes", [False, True])
def test_the_order_of_the_rows_changes_no_score(table, classes):
    """Random folds went by row number, and those in which a classifier is tuned."""
    X, y = table
    y = np.where(y > np.median(y), "high", "low") if classes else y
    other = np.random.RandomState(1).permutation(N)
    scores = [
        compare(X.iloc[rows], y[rows], None, only=ROWS[:2], each_fold=True).drop(
            columns="fit_seconds"
        )
        for rows in (np.arange(N), other)
    ]
    pd.testing.assert_frame_equal(*scores, atol=1e-9)


def test_neighbours_are_near_on_the_sphere():
    """In degrees the other side of the antimeridian is the farthest place of all."""
    rng = np.random.RandomState(0)
    lon = np.repeat([-179.0, 179.5, 174.0, 173.0], 50)  # of which the last are another country
    X = np.column_stack([lon, rng.uniform(-10, 10, 200)])
    y = np.repeat([10.0, 10.0, 0.0, 0.0], 50) + rng.normal(0, 0.1, 200)
    test = np.isin(lon, [179.5, 173.0])
    pairs = [(np.flatnonzero(~test), np.flatnonzero(test))]
    assert compare(X, y, pairs, only=[ROWS[1]]).iloc[0, 0] > 0.9
    # near a pole 8° of longitude are shorter than 4° of latitude
    X = np.repeat([[28.0, 74.0], [20.0, 74.0], [20.0, 70.0], [20.0, 69.0]], 50, axis=0)
    X[:, 1] += rng.uniform(-0.2, 0.2, 200)
    test = np.repeat([False, True, False, True], 50)
    pairs = [(np.flatnonzero(~test), np.flatnonzero(test))]
    assert compare(X, y, pairs, only=[ROWS[1]]).iloc[0, 0] > 0.9


def test_own_rows(table):
    X, y = table
    own = {
        "splines": SplineTransformer(),  # a transformer that knows nothing of this library
        "harmonics": PositionalEncoder(legendre_polys=3),
        "SatCLIPEncoder()": SatCLIPEncoder(n_components=8),
        "no trees": spatial_pipeline(Ridge(), encoder=PositionalEncoder("wrap")),
    }
    found = compare(X, y, only=[ROWS[0]], encoders=own)["score"]
    assert found.index.tolist() == [ROWS[0], "SatCLIPEncoder()", "splines", "harmonics", "no trees"]
    model = make_pipeline(own["splines"], StandardScaler(), RidgeCV(np.logspace(-1, 5, 13)))
    scores = cross_val_score(model, X[["lon", "lat"]].to_numpy(), y, cv=3)
    assert found["splines"] == pytest.approx(scores.mean())
    assert found["no trees"] == pytest.approx(cross_val_score(own["no trees"], X, y, cv=3).mean())
    model = make_pipeline(
        own["SatCLIPEncoder()"], StandardScaler(), RidgeCV(np.logspace(-1, 5, 13))
    )
    scores = cross_val_score(model, X[["lon", "lat"]], y, cv=3)  # in place of the usual one
    assert found["SatCLIPEncoder()"] == pytest.approx(scores.mean(), rel=1e-4)
    assert not hasattr(own["harmonics"], "n_features_in_")  # a copy was fitted


def test_rows_that_cannot_be(table):
    X, y = table
    with pytest.raises(TypeError, match=r"encoders\['x'\] must be a transformer.*got 3"):
        compare(X, y, encoders={"x": 3})
    with pytest.raises(TypeError, match="must be a transformer"):
        compare(X, y, encoders={"x": SatCLIPEncoder})
    with pytest.raises(ValueError, match="no such row; there are 'longitude, latitude'"):
        compare_encoders(X, y, encoders={"GeoCLIP": None})
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(X, y)
    with pytest.raises(
        ValueError, match='"regressor", "classifier" or an estimator, got \'ridge\''
    ):
        compare(X, y, estimator="ridge")
    with pytest.raises(TypeError, match="must be a regressor or a classifier, got StandardScaler"):
        compare(X, y, estimator=StandardScaler())


def test_targets_that_cannot_be(table):
    X, y = table
    gaps = y.copy()
    gaps[[4, 9]] = np.nan, np.inf
    with pytest.raises(
        ValueError, match=r"missing or infinite in 2 row\(s\) \(first: row 4, row 9"
    ):
        compare(X, gaps)
    words = np.where(np.arange(N) % 2, "a", "b").astype(object)
    words[7] = None
    with pytest.raises(ValueError, match=r"in 1 row\(s\) \(first: row 7\)"):
        compare(X, words)
    with pytest.raises(ValueError, match="first: row 3"):
        compare(X, np.ma.masked_array(y, mask=np.arange(N) == 3))
    with pytest.raises(ValueError, match="y has 89 rows, X has 90"):
        compare(X, y[1:])
    with pytest.raises(ValueError, match=r"got shape \(90, 2\); compare on one target at a time"):
        compare(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match=r"y is 1.0 in every row"):
        compare(X, np.ones(N))
    with pytest.raises(ValueError, match="90 different values of the type str in 90 rows"):
        compare(X, y.astype(str))
    with pytest.raises(ValueError, match="of the type datetime64"):
        compare(X, np.arange(N).astype("datetime64[D]"))


def test_tables_and_folds_that_are_too_small(table):
    X, y = table
    with pytest.raises(ValueError, match=r"X has 19 row\(s\), too few to compare"):
        compare(X[:19], y[:19])
    with pytest.raises(ValueError, match=r"fold 1 of 'score' has 89 training and 1 test row"):
        compare(X, y, LeaveOneOut(), only=ROWS[:1])
    with pytest.raises(ValueError, match="has 4 training and 86 test"):
        compare(X, y, [(np.arange(4), np.arange(4, N))], only=ROWS[:1])
    with pytest.raises(ValueError, match="cv gives no folds"):
        compare(X, y, [], only=ROWS[:1])
    with pytest.raises(CoordinateError, match="row 2"):
        compare(X.assign(lat=np.where(np.arange(N) == 2, np.nan, X["lat"])), y)


class Slow(TransformerMixin, BaseEstimator):
    def __init__(self, fails=False):
        self.fails = fails

    def fit(self, X, y=None):
        if self.fails:
            raise OSError("the server is down")
        time.sleep(0.7)
        return self

    def transform(self, X):
        return np.asarray(X)


def test_a_failure_names_its_row(table):
    """After minutes of other rows a bare message would not say whose it is."""
    with pytest.raises(OSError, match="the server is down") as caught:
        compare(*table, encoders={"remote": Slow(fails=True)})
    assert "at its row 'remote'" in caught.value.__notes__[0]


def test_long_work_is_shown(table, capsys):
    left_out = dict.fromkeys(ROWS)
    compare_encoders(*table, 3, encoders={**left_out, "slow": Slow()})
    assert "slow" in capsys.readouterr().err
    compare_encoders(*table, 3, encoders={**left_out, "slow": Slow()}, verbose=False)
    assert capsys.readouterr().err == ""


def test_weights_are_opened_once(table, monkeypatch):
    """An encoder whose weights were opened anew for each fold would look slow to fit."""
    # another test may hold the same weights open
    monkeypatch.setattr("skgeo_embed.models.loaded._engines", weakref.WeakValueDictionary())
    opened = []
    location = FolderModel.location
    monkeypatch.setattr(
        FolderModel,
        "location",
        lambda self, harmonics: opened.append(1) or location(self, harmonics),
    )
    compare(*table, encoders={"old": SatCLIPEncoder("bluemarble-l10", untrained=True)})
    assert len(opened) == 1
