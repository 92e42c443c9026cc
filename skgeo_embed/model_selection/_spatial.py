"""Cross-validation by blocks of the Earth's surface and by regions."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator
from sklearn.neighbors import BallTree
from sklearn.utils import check_random_state
from sklearn.utils.validation import _num_samples

from skgeo_embed._sphere import EARTH_RADIUS_KM, KM_PER_DEGREE
from skgeo_embed.places.numbers import plain_column
from skgeo_embed.places.reading import find_coordinates, read_places

Split = tuple[np.ndarray, np.ndarray]
SMALLEST = 1e-6  # side of a block, in degrees or km


class SpatialSplitter(BaseCrossValidator):
    """Base of the splitters: a buffer between test and training points."""

    buffer_km: float

    @property
    def needs_places(self) -> bool:
        """Whether folds depend on longitude and latitude."""
        return True

    def _without_buffer(self, train: np.ndarray, test: np.ndarray, lonlat: np.ndarray) -> Split:
        """Drop the training points that lie within `buffer_km` of a test point."""
        if self.buffer_km:
            radians = np.deg2rad(lonlat[:, ::-1])  # haversine takes (lat, lon)
            tree = BallTree(radians[test], metric="haversine")
            distance = tree.query(radians[train], k=1)[0][:, 0] * EARTH_RADIUS_KM
            train = train[distance > self.buffer_km]
            if not len(train):
                raise ValueError(
                    f"buffer_km={self.buffer_km} leaves no training point: all lie that close to a "
                    "test point; choose a smaller buffer."
                )
        return train, test

    def _check_buffer(self) -> None:
        if not isinstance(self.buffer_km, Real) or not self.buffer_km >= 0:
            raise ValueError(f"buffer_km must be a number of at least 0, got {self.buffer_km!r}.")


class SpatialBlockKFold(SpatialSplitter):
    """K folds of whole blocks of the Earth's surface.

    Points near each other are alike. So a test point among training points measures how well a
    model interpolates, and a block that is held out as a whole measures how well it predicts far
    from all training points (Roberts et al. 2017 [1]_). Blocks are dealt so that folds hold about
    equally many points.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds.
    block_size : float or "auto", default=10.0
        Side of a block, in `unit`. "auto" is a tenth of the extent of the places, or less if that
        makes fewer than three blocks for each fold, and blocks have nearly equal areas.
    unit : {"degrees", "km"}, default="degrees"
        Unit of `block_size`; 1° of latitude is 111.2 km.
    equal_area : bool, default=False
        False makes squares of degrees, which narrow towards the poles. True cuts longitude into
        fewer parts towards the poles, so that blocks have nearly equal areas. Blocks in km always
        have.
    buffer_km : float, default=0.0
        Training points within this great-circle distance of a test point are left out.
    shuffle : bool, default=False
        Deal the blocks in random order; otherwise the fullest first, which balances folds best.
    random_state : int, RandomState instance or None, default=None
        Seeds the order, if `shuffle`.

    Notes
    -----
    X holds the coordinates: as its two columns, or in columns that are named longitude and
    latitude. Otherwise pass `coords`; in cross-validation functions use scikit-learn's metadata
    routing and ``SpatialBlockKFold().set_split_request(coords=True)``.

    References
    ----------
    .. [1] D. R. Roberts et al. (2017). "Cross-validation strategies for data with temporal,
       spatial, hierarchical, or phylogenetic structure". Ecography 40:913-929.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from skgeo_embed import SatCLIPEncoder
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> from skgeo_embed.model_selection import SpatialBlockKFold
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> model = make_pipeline(SatCLIPEncoder(), Ridge())
    >>> scores = cross_val_score(model, X, y, cv=SpatialBlockKFold(5, block_size=10))
    >>> len(scores)
    5
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        block_size: float | Literal["auto"] = 10.0,
        unit: Literal["degrees", "km"] = "degrees",
        equal_area: bool = False,
        buffer_km: float = 0.0,
        shuffle: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_splits = n_splits
        self.block_size = block_size
        self.unit = unit
        self.equal_area = equal_area
        self.buffer_km = buffer_km
        self.shuffle = shuffle
        self.random_state = random_state

    def get_n_splits(
        self, X: Any = None, y: Any = None, groups: Any = None, coords: Any = None
    ) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups, coords : object
            Not used; searches hand on what they hand to `split`.

        Returns
        -------
        n_splits : int
            Number of folds.
        """
        return self.n_splits

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
            Row numbers; training rows within the buffer are in neither.

        Raises
        ------
        CoordinateError
            If there are no coordinates, or they cannot be read.
        ValueError
            If there are fewer blocks than folds, or a parameter is out of range.
        """
        self._check_parameters()
        lonlat = find_coordinates(X, coords)
        folds = self._deal(self.blocks(lonlat))
        rows = np.arange(len(lonlat))
        for fold in range(self.n_splits):
            test = folds == fold
            yield self._without_buffer(rows[~test], rows[test], lonlat)

    def blocks(self, coords: Any) -> np.ndarray:
        """Number the block of each place.

        Parameters
        ----------
        coords : array-like of shape (n, 2)
            Longitude and latitude in degrees.

        Returns
        -------
        block : ndarray of shape (n,), int
            Equal for places in one block. A pole lies in one block whatever its longitude, and both
            notations of the antimeridian lie in one block.
        """
        self._check_parameters()
        lonlat = read_places(coords, wide=True).lonlat
        if self.block_size != "auto":
            degrees = self.block_size / (KM_PER_DEGREE if self.unit == "km" else 1)
            return _number_blocks(lonlat, degrees, self.equal_area or self.unit == "km")
        degrees = _span(lonlat) / 10
        block = _number_blocks(lonlat, degrees, equal_area=True)
        wanted = min(3 * self.n_splits, len(np.unique(lonlat, axis=0)))
        while degrees > 2 * SMALLEST and len(np.unique(block)) < wanted:
            degrees /= 2
            block = _number_blocks(lonlat, degrees, equal_area=True)
        return block

    def _deal(self, block: np.ndarray) -> np.ndarray:
        """Return the fold of each row: each block goes to the fold with the fewest rows so far."""
        _, member, counts = np.unique(block, return_inverse=True, return_counts=True)
        if len(counts) < self.n_splits:
            if self.block_size == "auto":
                raise ValueError(
                    f"the rows lie at {len(counts)} place(s), too few for n_splits={self.n_splits}."
                )
            raise ValueError(
                f"the points lie in {len(counts)} block(s) of {self.block_size} {self.unit}, but "
                f'n_splits={self.n_splits}; choose a smaller block_size ("auto" fits it to the '
                "points), or a smaller n_splits."
            )
        order = np.argsort(-counts, kind="stable")
        if self.shuffle:
            order = check_random_state(self.random_state).permutation(len(counts))
        sizes, fold = np.zeros(self.n_splits, dtype=int), np.empty(len(counts), dtype=int)
        for index in order:
            fold[index] = sizes.argmin()
            sizes[fold[index]] += counts[index]
        return fold[member]

    def _check_parameters(self) -> None:
        self._check_buffer()
        if not isinstance(self.n_splits, Integral) or self.n_splits < 2:
            raise ValueError(f"n_splits must be an integer of at least 2, got {self.n_splits!r}.")
        if self.unit not in ("degrees", "km"):
            raise ValueError(f'unit must be "degrees" or "km", got {self.unit!r}.')
        largest = 180 * (KM_PER_DEGREE if self.unit == "km" else 1)
        size = self.block_size
        if size != "auto" and not (isinstance(size, Real) and SMALLEST <= size <= largest):
            raise ValueError(
                f'block_size must be "auto", or at least 1e-6 and at most {largest:.0f} '
                f"{self.unit}, got {size!r}."
            )


def _number_blocks(lonlat: np.ndarray, degrees: float, equal_area: bool) -> np.ndarray:
    lon, lat = lonlat.T
    n_bands = max(1, round(180 / degrees))
    band = np.minimum(((lat + 90) / 180 * n_bands).astype(np.int64), n_bands - 1)
    n_columns = np.full(len(lat), max(1, round(360 / degrees)))
    stride = int(360 / degrees) + 2
    if equal_area:
        width = np.pi / n_bands
        south = band * width - np.pi / 2
        area = (np.sin(south + width) - np.sin(south)) / width  # mean cosine of the latitude
        n_columns = np.maximum(1, np.round(360 / degrees * area)).astype(np.int64)
    at_pole = np.abs(lat) == 90
    share = np.where(at_pole, 0.0, (lon + 180) / 360) % 1
    return band * stride + (share * n_columns).astype(np.int64)


def _span(lonlat: np.ndarray) -> float:
    """Return the extent of the places in degrees of a great circle, east-west or north-south."""
    lon, lat = np.sort(lonlat[:, 0] % 360), lonlat[:, 1]
    gap = np.diff(np.append(lon, lon[0] + 360)).max()  # the rest of the circle holds all places
    width = (360 - gap) * np.cos(np.deg2rad((lat.min() + lat.max()) / 2))
    return float(max(width, np.ptp(lat), 10 * SMALLEST))


class LeaveOneRegionOut(SpatialSplitter):
    """One fold for each region, such as a country or a continent, as the test set.

    Parameters
    ----------
    buffer_km : float, default=0.0
        Training points within this great-circle distance of the region's points are left out.
        It needs coordinates, as in :class:`SpatialBlockKFold`.

    Examples
    --------
    >>> from skgeo_embed.model_selection import LeaveOneRegionOut
    >>> coords = [[7.4, 46.9], [8.5, 47.4], [2.3, 48.9], [13.4, 52.5]]
    >>> regions = ["CH", "CH", "FR", "DE"]
    >>> for train, test in LeaveOneRegionOut(buffer_km=500).split(coords, groups=regions):
    ...     print(train, test)
    [3] [0 1]
    [0 1 2] [3]
    [3] [2]
    """

    # as scikit-learn's own splitters by groups: they are routed without being asked for
    __metadata_request__split: ClassVar[dict[str, bool]] = {"groups": True}

    def __init__(self, *, buffer_km: float = 0.0) -> None:
        self.buffer_km = buffer_km

    @property
    def needs_places(self) -> bool:
        """Whether folds depend on longitude and latitude: only if there is a buffer."""
        return bool(self.buffer_km)

    def get_n_splits(
        self, X: Any = None, y: Any = None, groups: Any = None, coords: Any = None
    ) -> int:
        """Return the number of regions.

        Parameters
        ----------
        X, y, coords : object
            Not used; searches hand on what they hand to `split`.
        groups : array-like of shape (n,)
            The region of each row.

        Returns
        -------
        n_splits : int
            Number of regions.
        """
        return len(np.unique(_read_regions(groups)))

    def split(
        self, X: Any, y: Any = None, groups: Any = None, coords: Any = None
    ) -> Iterator[Split]:
        """Yield the training and test rows of each region, in the order of their names.

        Parameters
        ----------
        X : array-like
            The data.
        y : object
            Not used.
        groups : array-like of shape (n,)
            The region of each row.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the rows, if there is a buffer and X does not hold them.

        Yields
        ------
        train, test : ndarray of int
            Row numbers.

        Raises
        ------
        ValueError
            If `groups` is missing, or names one region only.
        """
        self._check_buffer()
        regions = _read_regions(groups)
        if X is not None and _num_samples(X) != len(regions):
            raise ValueError(f"groups has {len(regions)} rows, X has {_num_samples(X)}.")
        names = np.unique(regions)
        if len(names) < 2:
            raise ValueError(f"there is one region, {str(names[0])!r}; at least 2 are needed.")
        lonlat = find_coordinates(X, coords) if self.buffer_km else np.empty((len(regions), 2))
        rows = np.arange(len(regions))
        for name in names:
            test = regions == name
            yield self._without_buffer(rows[~test], rows[test], lonlat)


def _read_regions(groups: Any) -> np.ndarray:
    if groups is None:
        raise ValueError("groups is missing; pass the region of each row.")
    groups = plain_column(groups)
    values = np.ma.getdata(groups) if isinstance(groups, np.ma.MaskedArray) else np.asarray(groups)
    if values.ndim != 1:
        raise ValueError(f"groups must be one region for each row, (n,), got shape {values.shape}.")
    missing = pd.isna(values) | (values == "") if values.dtype.kind in "OU" else pd.isna(values)
    if isinstance(groups, np.ma.MaskedArray):
        missing = missing | np.ma.getmaskarray(groups)
    if np.any(missing):
        rows = np.flatnonzero(missing)
        raise ValueError(
            f"groups are missing (NaN, None or masked) in {len(rows)} row(s) (first: row {rows[0]})"
            "; name these regions, or drop the rows."
        )
    return values.astype(str) if values.dtype.kind == "O" else values


def taken_by(method: Any, **arguments: Any) -> dict[str, Any]:
    """Return those of the arguments that are given and that the method takes."""
    known = signature(method).parameters
    return {name: v for name, v in arguments.items() if v is not None and name in known}
