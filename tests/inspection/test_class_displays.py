"""Probabilities are drawn where they are, and confusion by the block that it is in."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import SVC

from skgeo_embed import ResidualInterpolator
from skgeo_embed.datasets import land_mask
from skgeo_embed.inspection import ProbabilityMapDisplay, SpatialConfusionDisplay

mpl.use("Agg")
REGION = (-10, 35, 30, 60)


@pytest.fixture
def table():
    rng = np.random.RandomState(0)
    places = np.column_stack([rng.uniform(5, 15, 300), rng.uniform(45, 55, 300)])
    return places, np.where(places[:, 0] + rng.randn(300) > 10, "east", "west")


def _points(ax):
    return next(c for c in ax.collections if c.get_array() is not None)


def test_probabilities_of_a_region_are_the_models_at_the_cells_centres(table):
    X, y = table
    lon, lat = np.arange(-7.5, 30, 5), np.arange(57.5, 35, -5)
    swapped = pd.DataFrame(X[:, ::-1], columns=["lat", "lon"])
    for places, columns in ((X, None), (swapped, ["lat", "lon"])):
        model = LogisticRegression().fit(places, y)
        display = ProbabilityMapDisplay.from_estimator(model, region=REGION, resolution=5)
        on_land = land_mask(lon, lat)
        np.testing.assert_array_equal(np.isnan(display.probabilities[..., 0]), ~on_land)
        grid = np.stack(np.meshgrid(lon, lat), axis=-1)[on_land]
        if columns:
            grid = pd.DataFrame(grid[:, ::-1], columns=columns)
        np.testing.assert_allclose(display.probabilities[on_land], model.predict_proba(grid))
    assert [ax.get_title(loc="left") for ax in display.axes_] == ["east", "west"]
    image = display.axes_[1].images[0]
    np.testing.assert_allclose(image.get_array().filled(np.nan), display.probabilities[..., 1])
    assert image.get_extent() == [-10, 30, 35, 60]
    assert image.get_clim() == (0, 1)


def test_the_ocean_is_drawn_if_asked_for(table):
    X, y = table
    display = ProbabilityMapDisplay.from_estimator(
        LogisticRegression().fit(X, y), region=(-40, 30, -20, 40), resolution=5, land_only=False
    )
    assert not np.isnan(display.probabilities).any()
    with pytest.raises(ValueError, match="no land"):
        ProbabilityMapDisplay.from_estimator(
            LogisticRegression().fit(X, y), region=(-40, 30, -30, 36)
        )


def test_probabilities_at_places_have_the_edge_of_their_true_class(table):
    X, y = table
    model = LogisticRegression().fit(X, y)
    probabilities = model.predict_proba(X)
    display = ProbabilityMapDisplay.from_predictions(
        probabilities, coords=X, classes=model.classes_, y_true=y, shown=["west"]
    )
    (ax,) = display.axes_
    points = _points(ax)
    found = dict(zip(map(tuple, points.get_offsets().round(9)), points.get_array(), strict=True))
    for place, probability in zip(X.round(9), probabilities[:, 1], strict=True):
        assert found[tuple(place)] == pytest.approx(probability)
    edged = points.get_edgecolors()[:, 3] > 0
    west = {tuple(place) for place in X[y == "west"].round(9)}
    assert {tuple(p) for p in np.asarray(points.get_offsets())[edged].round(9)} == west


def test_models_that_have_no_map_of_probabilities(table):
    X, y = table
    with pytest.raises(NotFittedError):
        ProbabilityMapDisplay.from_estimator(LogisticRegression())
    for model in (LinearRegression().fit(X, X[:, 0]), SVC().fit(X, y)):
        with pytest.raises(TypeError, match="classifier with predict_proba"):
            ProbabilityMapDisplay.from_estimator(model)
    more = pd.DataFrame(X, columns=["lon", "lat"]).assign(height=1.0)
    with pytest.raises(ValueError, match="takes the columns lon, lat, height"):
        ProbabilityMapDisplay.from_estimator(LogisticRegression().fit(more, y), region=REGION)
    with pytest.raises(ValueError, match="takes the columns 0, 1, 2"):
        ProbabilityMapDisplay.from_estimator(
            LogisticRegression().fit(more.to_numpy(), y), region=REGION
        )


def test_bad_probabilities(table):
    X, _ = table
    half = np.full((len(X), 2), 0.5)
    with pytest.raises(ValueError, match=r"from 0 to 1; got values from -0.5 to -0.5"):
        ProbabilityMapDisplay.from_predictions(-half, coords=X, classes=["a", "b"])
    with pytest.raises(ValueError, match="2 columns, and there are 3 classes"):
        ProbabilityMapDisplay.from_predictions(half, coords=X, classes=["a", "b", "c"])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ProbabilityMapDisplay.from_predictions(half[:-1], coords=X, classes=["a", "b"])
    with pytest.raises(ValueError, match=r"shown must be among the classes \['a', 'b'\]"):
        ProbabilityMapDisplay.from_predictions(half, coords=X, classes=["a", "b"], shown=["c"])
    with pytest.raises(ValueError, match="y_proba contains NaN"):
        ProbabilityMapDisplay.from_predictions(half * np.nan, coords=X, classes=["a", "b"])


def test_confusion_is_counted_in_the_block_it_is_in(table):
    X, y = table
    # in the west everything is right, in the east everything is taken for "west"
    predicted = np.full(len(y), "west")
    truth = np.where(X[:, 0] > 10, "east", "west")
    display = SpatialConfusionDisplay.from_predictions(truth, predicted, coords=X, block_size=5)
    assert display.confusion.sum() == len(y)
    np.testing.assert_array_equal(display.labels, ["east", "west"])
    for counts, (lon, _) in zip(display.confusion, display.lonlat, strict=True):
        wrong, right = (counts[0, 1], 0) if lon > 10 else (0, counts[1, 1])
        assert (counts.sum(), counts[0, 1], counts[1, 1]) == (wrong + right, wrong, right)
    accuracy, confusions, matrix = display.axes_
    points = _points(accuracy)
    lon = np.asarray(points.get_offsets())[:, 0]
    np.testing.assert_array_equal(points.get_array(), np.where(lon > 10, 0.0, 1.0))
    blocks = next(c for c in confusions.collections if len(c.get_offsets()) == len(lon))
    orange = np.array(mpl.colors.to_rgba("#D55E00"))
    white = np.array(mpl.colors.to_rgba("white"))
    np.testing.assert_allclose(
        blocks.get_facecolors(), np.where((lon > 10)[:, None], orange, white)
    )
    entries = [text.get_text() for text in confusions.get_legend().get_texts()]
    assert entries == [
        f"no errors ({(lon < 10).sum()})",
        f"east taken for west ({(lon > 10).sum()})",
    ]
    texts = {text.get_position(): text.get_text() for text in matrix.texts}
    n_east = (truth == "east").sum()
    assert texts == {
        (1, 0): f"{n_east}\nin {(lon > 10).sum()} of {len(lon)} blocks",
        (1, 1): str(len(y) - n_east),
    }
    np.testing.assert_array_equal(matrix.images[0].get_array(), [[0, 1], [0, 1]])


def test_many_confusions_have_few_colours(table):
    X, _ = table
    rng = np.random.RandomState(0)
    truth, predicted = rng.randint(0, 8, (2, len(X)))
    display = SpatialConfusionDisplay.from_predictions(
        truth, predicted, coords=X, block_size=1, kind="confusions"
    )
    entries = [text.get_text() for text in display.axes_[0].get_legend().get_texts()]
    assert entries[-1].startswith("other confusions")
    assert len(entries) <= 7
    assert sum(int(entry.rpartition("(")[2][:-1]) for entry in entries) == len(display.confusion)


def test_confusion_from_an_estimator_that_takes_coordinates(table):
    X, y = table
    model = ResidualInterpolator(LogisticRegression()).fit(X**2, y, coords=X)
    display = SpatialConfusionDisplay.from_estimator(model, X**2, y, coords=X, kind="matrix")
    right = np.trace(display.confusion.sum(axis=0))
    assert right == (model.predict(X**2, X) == y).sum()
    with pytest.raises(NotFittedError):
        SpatialConfusionDisplay.from_estimator(LogisticRegression(), X, y)
    with pytest.raises(TypeError, match="For a regressor use SpatialErrorDisplay"):
        SpatialConfusionDisplay.from_estimator(LinearRegression().fit(X, X[:, 0]), X, X[:, 0])


def test_labels_order_the_matrix_and_may_be_rare(table):
    X, y = table
    display = SpatialConfusionDisplay.from_predictions(
        y, y, coords=X, labels=["west", "north", "east"], kind="matrix"
    )
    names = [text.get_text() for text in display.axes_[0].get_xticklabels()]
    assert names == ["west", "north", "east"]
    assert display.confusion.sum(axis=0)[1].sum() == 0
    with pytest.raises(ValueError, match=r"labels lacks \['east'\]"):
        SpatialConfusionDisplay.from_predictions(y, y, coords=X, labels=["west", "north"])


def test_bad_confusion(table):
    X, y = table
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        SpatialConfusionDisplay.from_predictions(y, y[:-1], coords=X)
    with pytest.raises(ValueError, match="kind must be among accuracy, confusions, matrix"):
        SpatialConfusionDisplay.from_predictions(y, y, coords=X, kind="map")
    with pytest.raises(ValueError, match="kind must be among"):
        SpatialConfusionDisplay.from_predictions(y, y, coords=X, kind=[])
    axis = mpl.pyplot.figure().subplots()
    with pytest.raises(ValueError, match="2 kinds need 2 axes"):
        SpatialConfusionDisplay.from_predictions(
            y, y, coords=X, kind=["accuracy", "matrix"], axes=axis
        )


def test_across_the_antimeridian_and_at_one_place():
    X = [[179.0, -17.0], [-179.0, -18.0], [178.0, -16.5]]
    display = SpatialConfusionDisplay.from_predictions(
        ["a", "b", "a"], ["a", "a", "a"], coords=X, kind="accuracy"
    )
    west, east = display.axes_[0].get_xlim()
    assert 170 < west < east < 190
    one = SpatialConfusionDisplay.from_predictions([1], [2], coords=[[7.0, 46.0]])
    assert len(one.axes_) == 3
    probabilities = ProbabilityMapDisplay.from_predictions(
        [[0.2, 0.8]] * 3, coords=X, classes=["a", "b"]
    )
    assert probabilities.axes_[0].get_xlim()[0] > 170
