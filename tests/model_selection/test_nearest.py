"""Folds by nearest-neighbour distance matching resemble where one will predict."""

import geopandas
import numpy as np
import pytest
import xarray
from scipy.stats import wasserstein_distance
from shapely import box
from sklearn.model_selection import KFold

from skgeo_embed._errors import CoordinateError
from skgeo_embed._sphere import great_circle_km
from skgeo_embed.model_selection import NearestNeighborDistanceKFold, _nearest
from skgeo_embed.model_selection._nearest import (
    _LabelledPlaces,
    _merged_clusters,
    fold_distances,
)
from skgeo_embed.model_selection._prediction_places import read_prediction_places

REGION = (5.0, -4.5, 14.0, 4.5)


def clustered(n, n_parents=20, seed=0):
    rng = np.random.default_rng(seed)
    parents = rng.uniform([5, -4.5], [14, 4.5], (n_parents, 2))
    return parents[rng.integers(0, n_parents, n)] + rng.normal(0, 0.1, (n, 2))


def uniform(n, seed=0):
    return np.random.default_rng(seed).uniform([5, -4.5], [14, 4.5], (n, 2))


def distances_by_hand(folds, lonlat):
    found = []
    for train, test in folds:
        for row in test:
            others = lonlat[train]
            found.append(great_circle_km(np.tile(lonlat[row], (len(others), 1)), others).min())
    return np.array(found)


def test_clustered_labels_get_folds_as_far_as_the_map_is():
    lonlat = clustered(150)
    splitter = NearestNeighborDistanceKFold(predict_at=REGION)
    folds = list(splitter.split(lonlat))
    assert not splitter.random_suffices_
    assert splitter.n_clusters_ >= 5
    assert splitter.wasserstein_km_ < 0.3 * splitter.random_wasserstein_km_
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(150))
    assert max(len(test) for _, test in folds) <= 150
    places = read_prediction_places(REGION, 1000, 0)
    to_map = [great_circle_km(np.tile(p, (len(lonlat), 1)), lonlat).min() for p in places]
    by_hand = distances_by_hand(folds, lonlat)
    assert splitter.wasserstein_km_ == pytest.approx(wasserstein_distance(by_hand, to_map))
    np.testing.assert_allclose(np.sort(splitter.distances_.cv), np.sort(by_hand))
    np.testing.assert_allclose(np.sort(splitter.distances_.prediction_to_sample), np.sort(to_map))


@pytest.mark.parametrize("regular", [False, True])
def test_where_random_folds_do_they_are_taken(regular):
    lonlat = uniform(400)
    if regular:
        axis = np.arange(20) * 0.45
        lonlat = np.stack(np.meshgrid(5.2 + axis, axis - 4.3), axis=-1).reshape(-1, 2)
    near = lonlat + 0.001
    splitter = NearestNeighborDistanceKFold(predict_at=near, random_state=3)
    folds = list(splitter.split(lonlat))
    assert splitter.random_suffices_
    assert splitter.n_clusters_ is None
    assert splitter.wasserstein_km_ == splitter.random_wasserstein_km_
    assert [len(test) for _, test in folds] == [80] * 5
    again = list(splitter.split(lonlat))
    assert all((a[1] == b[1]).all() for a, b in zip(folds, again, strict=True))


def test_rows_of_one_place_stay_together():
    lonlat = np.repeat(clustered(60, 10), 4, axis=0)
    for predict_at in (REGION, lonlat):
        splitter = NearestNeighborDistanceKFold(predict_at=predict_at)
        for train, test in splitter.split(lonlat):
            assert not set(map(tuple, lonlat[train])) & set(map(tuple, lonlat[test]))


def test_a_cluster_with_most_of_the_rows_is_divided():
    dense = np.random.default_rng(0).normal([7, 0], 0.01, (140, 2))
    lonlat = np.vstack([dense, uniform(80)])
    candidates = dict(_merged_clusters(_LabelledPlaces(lonlat), 3))
    assert len(candidates) > 10
    assert max(np.bincount(fold).max() for fold in candidates.values()) <= 110
    assert min(np.bincount(fold, minlength=3).min() for fold in candidates.values()) > 0


def as_r_draws(n, largest):
    """Places in a square as sf's st_sample draws them after set.seed(1) of R."""
    state = [1]
    for _ in range(51 + 624):
        state.append((69069 * state[-1] + 1) % 2**32)
    twister = np.random.RandomState()
    twister.set_state(("MT19937", np.array(state[52:], dtype=np.uint32), 624))
    drawn = twister.randint(0, 2**32, 2 * n, dtype=np.uint64) / 2**32
    return largest * drawn.reshape(2, n).T / 111.195  # units as km at the equator


@pytest.mark.parametrize(("n_splits", "of_cast"), [(2, 2.184), (4, 2.468), (8, 2.678)])
def test_folds_are_at_least_as_near_the_map_as_those_of_cast(n_splits, of_cast):
    """The layout and W are those of CAST's test-knndm.R, "many points and different ...".

    CAST has clusters by k-means there, and distances in a plane.
    """
    labels, predict_at = as_r_draws(100, 4.0), as_r_draws(1000, 10.0)
    splitter = NearestNeighborDistanceKFold(n_splits, predict_at=predict_at)
    list(splitter.split(labels))
    assert splitter.distances_.prediction_to_sample[0] == pytest.approx(1.3886, abs=1e-3)
    assert splitter.wasserstein_km_ <= of_cast


def test_of_very_many_places_cells_are_clustered(monkeypatch):
    monkeypatch.setattr(_nearest, "MOST_UNITS", 400)
    lonlat = clustered(500, 60)
    assert len(np.unique(_nearest._units(lonlat))) < 400
    splitter = NearestNeighborDistanceKFold(predict_at=REGION, n_places=300)
    folds = list(splitter.split(lonlat))
    assert sum(len(test) for _, test in folds) == len(lonlat)
    assert splitter.wasserstein_km_ < 0.5 * splitter.random_wasserstein_km_


def test_distances_across_the_antimeridian_are_short():
    lonlat = clustered(60) + np.array([170, 0])
    lonlat[:, 0] = (lonlat[:, 0] + 180) % 360 - 180
    splitter = NearestNeighborDistanceKFold(predict_at=(175, -4.5, -176, 4.5))
    list(splitter.split(lonlat))
    moved = NearestNeighborDistanceKFold(predict_at=REGION)
    list(moved.split(clustered(60)))
    assert splitter.wasserstein_km_ == pytest.approx(moved.wasserstein_km_, rel=1e-6)


def test_places_to_predict_at_in_every_form():
    lon, lat = np.arange(0.5, 10), np.arange(60.5, 70)
    mask = np.zeros((10, 10), dtype=bool)
    mask[:, :4] = True
    inside = read_prediction_places((lon, lat, mask), 1000, 0)
    assert len(inside) == 40
    assert inside[:, 0].max() == 3.5
    array = xarray.DataArray(mask, dims=("lat", "lon"), coords={"lat": lat, "lon": lon})
    for grid in (array, array.T, array.where(array), array.T.where(array.T)):
        found = read_prediction_places(grid, 1000, 0)
        assert set(map(tuple, found)) == set(map(tuple, inside))
    assert len(read_prediction_places(array, 7, 0)) == 7
    polygons = [box(0, 60, 4, 70), box(8, 60, 9, 61)]
    spread = read_prediction_places(polygons, 400, 0)
    assert len(spread) == pytest.approx(400, rel=0.05)
    assert ((spread[:, 0] <= 4) | (spread[:, 0] >= 8)).all()
    frame = geopandas.GeoDataFrame(geometry=polygons, crs=4326).to_crs(3035)
    assert len(read_prediction_places(frame, 400, 0)) == pytest.approx(400, rel=0.05)
    region = read_prediction_places([0, -60, 40, 60], 500, 0)
    assert len(region) == pytest.approx(500, rel=0.1)
    assert np.mean(np.abs(region[:, 1]) < 30) == pytest.approx(0.577, abs=0.05)  # equal areas
    np.testing.assert_array_equal(read_prediction_places([[7, 46], [8, 47.0]], 5, 0)[1], [8, 47])


def test_cells_near_a_pole_are_drawn_as_often_as_their_area_says():
    lon, lat = np.arange(-180, 180, 2.0), np.arange(-89, 90, 2.0)
    drawn = read_prediction_places((lon, lat, np.ones((90, 180), bool)), 3000, 0)
    assert np.mean(np.abs(drawn[:, 1]) > 60) == pytest.approx(1 - np.sin(np.pi / 3), abs=0.03)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"n_splits": 1}, "n_splits must be"),
        ({"n_splits": 40}, r"the rows lie at 30 place\(s\), too few for n_splits=40"),
        ({"n_places": 0}, "n_places must be"),
        ({"predict_at": ([0, 1], [0, 1, 2], np.ones((2, 3), bool))}, "latitudes first"),
        ({"predict_at": ([0, 1], [0, 1], np.ones((2, 2)))}, "must be booleans, got float64"),
        ({"predict_at": ([0, 1], [0, 1], np.zeros((2, 2), bool))}, "without a cell"),
        ({"predict_at": (0, 80, 10, 70)}, "south below north"),
    ],
)
def test_what_cannot_be_meant(params, expected):
    splitter = NearestNeighborDistanceKFold(**{"predict_at": REGION, **params})
    with pytest.raises((ValueError, CoordinateError), match=expected):
        next(splitter.split(uniform(30)))


def test_distances_of_any_folds():
    lonlat = clustered(80)
    folds = list(KFold(4).split(lonlat))
    found = fold_distances(folds, lonlat, np.array([[9.0, 0.0]]))
    np.testing.assert_allclose(found.cv, distances_by_hand(folds, lonlat))
    with pytest.raises(ValueError, match="all rows lie at one place"):
        fold_distances(folds, np.full((80, 2), 7.0), lonlat)
