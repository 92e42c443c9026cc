"""Folds by nearest-neighbour distance matching, kNNDM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial import cKDTree
from scipy.stats import ks_2samp, wasserstein_distance
from sklearn.utils import check_random_state

from skgeo_embed._sphere import arc_km, nearest_km, unit_vectors
from skgeo_embed.model_selection._base import KFoldSplitter, Split
from skgeo_embed.model_selection._prediction_places import read_prediction_places
from skgeo_embed.model_selection._spatial import number_blocks, span
from skgeo_embed.places.reading import find_coordinates

N_CANDIDATES = 100  # numbers of clusters that are tried
N_NEIGHBORS = 50  # looked at first for one in another fold
MOST_UNITS = 5_000  # places that are clustered; beyond, cells of a fine grid
LARGEST_FOLD = 0.5  # share of the rows
LINKAGES = ("ward", "average")  # the folds of each are tried; the second often match better
LEVEL = 0.05  # of the test whether random folds do


class FoldDistances(NamedTuple):
    """Great-circle distances in km to the nearest labelled place.

    Attributes
    ----------
    sample_to_sample : ndarray of shape (n,)
        From each row to the nearest row at another place.
    prediction_to_sample : ndarray of shape (m,)
        From each place to predict at to the nearest row.
    cv : ndarray
        From each test row to the nearest training row of its fold.
    """

    sample_to_sample: np.ndarray
    prediction_to_sample: np.ndarray
    cv: np.ndarray


class NearestNeighborDistanceKFold(KFoldSplitter):
    """K folds by nearest-neighbour distance matching (kNNDM), for the places to predict at.

    Cross-validation estimates the error of a map well if test rows are as far from training rows
    as the map's places are from the labels. With clustered labels, test rows of random folds have
    training rows close by, and test rows of large blocks may be further from training rows than
    any place on the map is. kNNDM tries many ways to make folds of clusters, and chooses the one
    whose distances are distributed like those of the map (Linnenbrink et al. 2024 [1]_).

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds.
    predict_at : object
        Where the model will predict: places of any kind that encoders read; polygons (geopandas,
        shapely, boxes, H3 cells); a region (west, south, east, north) in degrees; or cells of
        a grid, as a tuple (lon, lat, mask) with a boolean mask of shape (n_lat, n_lon), or as a
        DataArray of booleans, or of numbers that are missing in the other cells.
    n_places : int, default=1000
        Approximate number of places to draw from polygons, a region or a grid.
    random_state : int, RandomState instance or None, default=0
        Seeds the choice of cells of a grid, and random folds.

    Attributes
    ----------
    wasserstein_km_ : float
        How far the folds' distances are from those of the prediction places: the Wasserstein
        distance of the two distributions, in km; 0 is best. This and the other attributes are
        those of the latest `split`.
    random_wasserstein_km_ : float
        The same for random folds.
    random_suffices_ : bool
        Whether labels are not closer to each other than prediction places are to them, by a
        one-sided Kolmogorov-Smirnov test at 5 %. Then the folds are random ones.
    n_clusters_ : int or None
        Number of clusters that the folds are made of; None of random folds.
    distances_ : FoldDistances
        The three distributions, in km, that
        :class:`~skgeo_embed.inspection.FoldDistancesDisplay` draws.

    See Also
    --------
    SpatialBlockKFold : Folds of whole blocks, which do not ask where the model will predict.

    Notes
    -----
    Distances are great circles. Places are clustered on points of the sphere, by Ward's method and
    by average linkage, each in up to 100 numbers of clusters between `n_splits` and the number of
    places. Clusters with more
    rows than a fold should have become folds of their own; the others are dealt to the remaining
    folds in turn, in the order of their first principal component. Folds with more than half of
    the rows (of two folds: three quarters) are not considered. Rows at one place stay in one fold.
    Of more than 5,000 places cells of a fine grid are clustered.

    X holds the coordinates: as its two columns, or in columns that are named longitude and
    latitude. Otherwise pass `coords`; in cross-validation functions use scikit-learn's metadata
    routing and ``set_split_request(coords=True)``.

    References
    ----------
    .. [1] J. Linnenbrink, C. Milà, M. Ludwig, H. Meyer (2024). "kNNDM CV: k-fold nearest-neighbour
       distance matching cross-validation for map accuracy estimation". Geoscientific Model
       Development 17:5897-5912. doi 10.5194/gmd-17-5897-2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skgeo_embed.datasets import land_mask, load_air_temperature
    >>> from skgeo_embed.model_selection import NearestNeighborDistanceKFold
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> lon, lat = np.arange(-180, 180), np.arange(-60, 80)
    >>> splitter = NearestNeighborDistanceKFold(predict_at=(lon, lat, land_mask(lon, lat)))
    >>> len(list(splitter.split(X)))
    5
    >>> splitter.wasserstein_km_ < splitter.random_wasserstein_km_
    True
    """

    wasserstein_km_: float
    random_wasserstein_km_: float
    random_suffices_: bool
    n_clusters_: int | None
    distances_: FoldDistances

    def __init__(
        self,
        n_splits: int = 5,
        *,
        predict_at: Any,
        n_places: int = 1000,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_splits = n_splits
        self.predict_at = predict_at
        self.n_places = n_places
        self.random_state = random_state

    def split(
        self, X: Any, y: Any = None, groups: Any = None, coords: Any = None
    ) -> Iterator[Split]:
        """Yield the training and test rows of each fold.

        Parameters
        ----------
        X : array-like of shape (n, 2), or a frame with columns of longitude and latitude
            The data; degrees.
        y, groups : object
            Not used.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the rows, if X does not hold them.

        Yields
        ------
        train, test : ndarray of int
            Row numbers.

        Raises
        ------
        CoordinateError
            If there are no coordinates, or they cannot be read.
        ValueError
            If there are fewer places than folds, or a parameter is out of range.
        """
        self._check_n_splits()
        if not isinstance(self.n_places, Integral) or self.n_places < 1:
            raise ValueError(f"n_places must be an integer of at least 1, got {self.n_places!r}.")
        fold = self._choose_folds(find_coordinates(X, coords))
        rows = np.arange(len(fold))
        for number in range(self.n_splits):
            yield rows[fold != number], rows[fold == number]

    def _choose_folds(self, lonlat: np.ndarray) -> np.ndarray:
        """Return the fold of each row, and keep what is known about the choice."""
        rng = check_random_state(self.random_state)
        labels = _LabelledPlaces(lonlat)
        if len(labels.places) < self.n_splits:
            raise ValueError(
                f"the rows lie at {len(labels.places)} place(s), too few for "
                f"n_splits={self.n_splits}."
            )
        predicted = nearest_km(
            read_prediction_places(self.predict_at, self.n_places, rng), labels.places
        )
        spacing = labels.to_other_places()
        by_chance = rng.permutation(np.arange(len(labels.places)) % self.n_splits)
        self.random_wasserstein_km_ = labels.mismatch(by_chance, predicted)
        self.random_suffices_ = _is_not_smaller(spacing, predicted)
        self.wasserstein_km_, self.n_clusters_ = self.random_wasserstein_km_, None
        fold = by_chance
        if not self.random_suffices_:
            scored = [
                (labels.mismatch(fold, predicted), n_clusters, fold)
                for n_clusters, fold in _merged_clusters(labels, self.n_splits)
            ]
            self.wasserstein_km_, self.n_clusters_, fold = min(scored, key=lambda found: found[0])
        found = labels.to_other_folds(fold, np.arange(len(fold)))
        self.distances_ = FoldDistances(spacing[labels.place], predicted, found[labels.place])
        return fold[labels.place]


class _LabelledPlaces:
    """The distinct places of rows, and how far each is from places in other folds."""

    def __init__(self, lonlat: np.ndarray) -> None:
        self.places, place, self.counts = np.unique(
            lonlat, axis=0, return_inverse=True, return_counts=True
        )
        if len(self.places) < 2:
            raise ValueError("all rows lie at one place; at least 2 places are needed.")
        self.place = place.ravel()
        self.points = unit_vectors(self.places)
        count = min(N_NEIGHBORS + 1, len(self.places))
        chord, self._neighbor = cKDTree(self.points).query(self.points, k=count)
        self._km = arc_km(chord)
        some = np.random.RandomState(0).permutation(len(self.places))[:MOST_UNITS]
        self._some = np.sort(some)

    def to_other_places(self) -> np.ndarray:
        """Return the distance of each place to the nearest other one."""
        return self._km[:, 1]

    def to_other_folds(self, fold: np.ndarray, some: np.ndarray) -> np.ndarray:
        """Return the distance of some places to the nearest one in another fold."""
        own = fold[some]
        other = fold[self._neighbor[some]] != own[:, None]
        first = other.argmax(axis=1)
        distance = self._km[some, first]
        deep = ~other[np.arange(len(some)), first]  # all neighbours are in its own fold
        for number in np.unique(own[deep]):
            inside = deep & (own == number)
            distance[inside] = nearest_km(self.places[some[inside]], self.places[fold != number])
        return distance

    def mismatch(self, fold: np.ndarray, predicted: np.ndarray) -> float:
        """Return the Wasserstein distance of rows' distances from those of the prediction.

        Of very many places some are compared, the same ones each time.
        """
        found = self.to_other_folds(fold, self._some)
        return float(wasserstein_distance(found, predicted, self.counts[self._some]))


def _is_not_smaller(spacing: np.ndarray, predicted: np.ndarray) -> bool:
    """Say whether distances among labels are not smaller than those from prediction places."""
    method = "exact" if len(spacing) * len(predicted) < 10_000 else "asymp"
    return bool(ks_2samp(spacing, predicted, alternative="greater", method=method).pvalue >= LEVEL)


def _merged_clusters(labels: _LabelledPlaces, n_splits: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield numbers of clusters, and the fold of each place when these are merged into folds."""
    unit = _units(labels.places)
    n_units = unit.max() + 1
    rows = np.bincount(unit, labels.counts)
    points = np.column_stack([np.bincount(unit, axis) for axis in labels.points.T])
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    centred = points - np.average(points, axis=0, weights=rows)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]  # first component
    trees = [linkage(points, method=method) for method in LINKAGES]
    largest = max(LARGEST_FOLD, 1.5 / n_splits) * rows.sum()
    tried = np.unique(np.geomspace(n_splits, n_units, N_CANDIDATES).round().astype(int))
    for tree, n_clusters in product(trees, tried[tried <= n_units]):
        cluster = fcluster(tree, n_clusters, criterion="maxclust") - 1
        if cluster.max() + 1 < n_splits:  # of places as far from each other
            continue
        fold = _deal_clusters(cluster, rows, along, n_splits)[unit]
        if np.bincount(fold, labels.counts).max() <= largest:
            yield int(n_clusters), fold


def _units(places: np.ndarray) -> np.ndarray:
    """Number the places to be clustered; if there are many, number the cells of a fine grid."""
    if len(places) <= MOST_UNITS:
        return np.arange(len(places))
    degrees = span(places)
    while True:
        cells = np.unique(number_blocks(places, degrees, equal_area=True), return_inverse=True)[1]
        if cells.max() + 1 > MOST_UNITS / 4:
            return cells
        degrees /= 1.5


def _deal_clusters(
    cluster: np.ndarray, rows: np.ndarray, along: np.ndarray, n_splits: int
) -> np.ndarray:
    """Return the fold of each unit: large clusters alone, the others in turn along an axis."""
    size = np.bincount(cluster, rows)
    order = np.argsort(np.bincount(cluster, along * rows) / size, kind="stable")
    large = size[order] >= rows.sum() / n_splits
    n_large = int(large.sum())
    fold = np.empty(len(size), dtype=int)
    fold[order[large]] = np.arange(n_large)
    others = order[~large]
    if len(others):
        fold[others] = n_large + np.arange(len(others)) % (n_splits - n_large)
    return fold[cluster]


def fold_distances(
    folds: Sequence[Split], lonlat: np.ndarray, prediction_places: np.ndarray
) -> FoldDistances:
    """Measure the three distributions of any folds.

    Parameters
    ----------
    folds : sequence of (train, test)
        Row numbers.
    lonlat : ndarray of shape (n, 2)
        Places of the rows, degrees.
    prediction_places : ndarray of shape (m, 2)
        Places to predict at, degrees.
    """
    labels = _LabelledPlaces(lonlat)
    return FoldDistances(
        labels.to_other_places()[labels.place],
        nearest_km(prediction_places, labels.places),
        np.concatenate([nearest_km(lonlat[test], lonlat[train]) for train, test in folds]),
    )
