"""Errors are drawn where they are, with their sign, and by the distance they have."""

import matplotlib as mpl
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

from skgeo_embed import ResidualInterpolator
from skgeo_embed.inspection import SpatialErrorDisplay

mpl.use("Agg")


@pytest.fixture
def table():
    rng = np.random.RandomState(0)
    places = np.column_stack([rng.uniform(5, 15, 400), rng.uniform(45, 55, 400)])
    return places, np.sin(places[:, 0]) + 0.05 * rng.randn(400)


def test_every_kind_from_an_estimator(table):
    X, y = (values[:200] for values in table)
    model = LinearRegression().fit(X, y)
    other, truth = (values[200:] for values in table)
    display = SpatialErrorDisplay.from_estimator(model, other, truth, train_coords=X, unit="°C")
    assert len(display.axes_) == 4
    np.testing.assert_allclose(display.errors, model.predict(other) - truth)
    assert display.axes_[1].get_title(loc="left").startswith("Mean error of")
    assert "°C²" in display.axes_[3].get_ylabel()
    with pytest.raises(NotFittedError):
        SpatialErrorDisplay.from_estimator(LinearRegression(), X, y)


def test_the_map_shows_each_error_at_its_place_about_zero(table):
    X, y = table
    predicted = y + np.where(X[:, 0] > 10, 2.0, -1.0)
    display = SpatialErrorDisplay.from_predictions(y, predicted, coords=X, kind="map")
    points = next(c for c in display.axes_[0].collections if c.get_array() is not None)
    found = dict(zip(map(tuple, points.get_offsets().round(9)), points.get_array(), strict=True))
    for place, error in zip(X.round(9), predicted - y, strict=True):
        assert found[tuple(place)] == pytest.approx(error)
    low, high = points.get_clim()
    assert low == -high == pytest.approx(-2.0)


def test_blocks_show_means_of_their_rows(table):
    X, y = table
    predicted = y + np.where(X[:, 0] > 10, 2.0, -1.0)
    display = SpatialErrorDisplay.from_predictions(
        y, predicted, coords=X, kind="blocks", block_size=5
    )
    points = next(c for c in display.axes_[0].collections if c.get_array() is not None)
    lon = np.asarray(points.get_offsets())[:, 0]
    np.testing.assert_allclose(points.get_array(), np.where(lon > 10, 2.0, -1.0))


def test_errors_by_distance_to_the_training_places(table):
    X, y = table
    distance = np.abs(X[:, 0] - 5)
    display = SpatialErrorDisplay.from_predictions(
        y,
        y + distance,
        coords=X,
        train_coords=[[5.0, lat] for lat in np.arange(44, 56, 0.05)],
        kind="distance",
    )
    line = display.axes_[0].lines[-1]
    km, error = line.get_data()
    assert np.corrcoef(km, error)[0, 1] > 0.99


def test_the_variogram_rises_to_the_variance_where_errors_hang_together(table):
    X, y = table
    smooth = SpatialErrorDisplay.from_predictions(
        y, y + np.sin(X[:, 0]), coords=X, kind="variogram"
    )
    noise = SpatialErrorDisplay.from_predictions(
        y, y + np.random.RandomState(1).randn(400), coords=X, kind="variogram"
    )
    for display, low, high in ((smooth, 0, 0.3), (noise, 0.8, 1.25)):
        gamma = display.axes_[0].lines[0].get_ydata()
        assert low < gamma[:2].mean() / display.errors.var() < high


def test_across_the_antimeridian_and_at_one_place():
    X = [[179.0, -17.0], [-179.0, -18.0], [178.0, -16.5]]
    display = SpatialErrorDisplay.from_predictions([1, 2, 3], [1, 1, 1], coords=X, kind="map")
    west, east = display.axes_[0].get_xlim()
    assert west > 170
    assert east < 190
    one = SpatialErrorDisplay.from_predictions([1.0], [1.0], coords=[[7.0, 46.0]], kind="map")
    assert len(one.axes_) == 1


def test_bad_arguments(table):
    X, y = table
    with pytest.raises(ValueError, match="missing or infinite in 1 row"):
        SpatialErrorDisplay.from_predictions(y, np.where(y == y[3], np.nan, y), coords=X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        SpatialErrorDisplay.from_predictions(y[:-1], y[:-1], coords=X)
    with pytest.raises(ValueError, match="kind must be among map"):
        SpatialErrorDisplay.from_predictions(y, y, coords=X, kind="maps")
    with pytest.raises(ValueError, match="needs train_coords"):
        SpatialErrorDisplay.from_predictions(y, y, coords=X, kind="distance")
    axis = mpl.pyplot.figure().subplots()
    with pytest.raises(ValueError, match="2 kinds need 2 axes"):
        SpatialErrorDisplay.from_predictions(y, y, coords=X, kind=["map", "blocks"], axes=axis)


def test_few_places_have_no_variogram_and_masks_are_missing(table):
    X, y = table
    for n in (1, 3):
        display = SpatialErrorDisplay.from_predictions(y[:n], y[:n] + 1e200, coords=X[:n])
        assert len(display.axes_) == 2
    with pytest.raises(ValueError, match="needs at least 10 places, got 2"):
        SpatialErrorDisplay.from_predictions(y[:2], y[:2], coords=X[:2], kind="variogram")
    masked = np.ma.masked_array(y, np.arange(len(y)) == 4)
    with pytest.raises(ValueError, match=r"missing or infinite in 1 row\(s\) \(first: row 4\)"):
        SpatialErrorDisplay.from_predictions(masked, y, coords=X)


def test_coordinates_reach_the_estimator_that_wants_them(table):
    X, y = table
    model = ResidualInterpolator(LinearRegression()).fit(X**2, y, coords=X)
    display = SpatialErrorDisplay.from_estimator(model, X**2, y, coords=X, kind="map")
    np.testing.assert_allclose(display.errors, model.predict(X**2, X) - y)
