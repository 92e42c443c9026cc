"""Cross-validation by blocks of the Earth's surface."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from numbers import Real
from typing import Any, Literal

import numpy as np
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import type_of_target

from skgeo_embed._errors import warn_caller
from skgeo_embed._sphere import KM_PER_DEGREE
from skgeo_embed.model_selection._base import BufferedSplitter, KFoldSplitter, Split
from skgeo_embed.model_selection._variogram import fit_variogram
from skgeo_embed.places.numbers import plain_column
from skgeo_embed.places.reading import find_coordinates, read_places

SMALLEST = 1e-6  # side of a block, in degrees or km
BLOCKS_A_FOLD = 3  # wanted where the size is chosen here


class SpatialBlockKFold(BufferedSplitter, KFoldSplitter):
    """K folds of whole blocks of the Earth's surface.

    Nearby points are similar. A test point between training points therefore measures how well a
    model interpolates, while a whole held-out block measures how well it predicts far from all
    training points (Roberts et al. 2017 [1]_). Blocks are distributed so that folds have about
    the same number of points.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds.
    block_size : float, "auto" or "autocorrelation", default=10.0
        Side of a block, in `unit`. "auto" is a tenth of the extent of the places.
        "autocorrelation" is the distance beyond which values of y are no longer similar, by
        :func:`autocorrelation_range`. Both are reduced if there would be fewer than three blocks
        for each fold, and make blocks of nearly equal areas. For the range of a model's residuals
        pass ``block_size=autocorrelation_range(coords, residuals), unit="km"``.
    unit : {"degrees", "km"}, default="degrees"
        Unit of `block_size`; 1° of latitude is 111.2 km.
    equal_area : bool, default=False
        False makes squares of degrees, which narrow towards the poles. True divides longitude into
        fewer parts towards the poles, so that blocks have nearly equal areas. Blocks in km always
        do.
    buffer_km : float, default=0.0
        Training points within this great-circle distance of a test point are left out.
    shuffle : bool, default=False
        Distribute the blocks in random order; otherwise the largest first, which balances folds
        best.
    random_state : int, RandomState instance or None, default=None
        Seeds the order, if `shuffle`.
    stratify : bool, default=False
        Distribute the blocks so that folds have about equally many rows of each class of y.

    Attributes
    ----------
    block_size_km_ : float
        Side of a block in the latest `split`, in km.

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
        block_size: float | Literal["auto", "autocorrelation"] = 10.0,
        unit: Literal["degrees", "km"] = "degrees",
        equal_area: bool = False,
        buffer_km: float = 0.0,
        shuffle: bool = False,
        random_state: int | np.random.RandomState | None = None,
        stratify: bool = False,
    ) -> None:
        self.n_splits = n_splits
        self.block_size = block_size
        self.unit = unit
        self.equal_area = equal_area
        self.buffer_km = buffer_km
        self.shuffle = shuffle
        self.random_state = random_state
        self.stratify = stratify

    def split(
        self, X: Any, y: Any = None, groups: Any = None, coords: Any = None
    ) -> Iterator[Split]:
        """Yield the training and test rows of each fold.

        Parameters
        ----------
        X : array-like of shape (n, 2), or a frame with columns of longitude and latitude
            The data; degrees.
        y : array-like of shape (n,), default=None
            Values of the rows, for ``block_size="autocorrelation"``, or classes, for `stratify`.
        groups : object
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
            If there are fewer blocks than folds, y is needed and not given, or a parameter is out
            of range.
        """
        self._check_parameters()
        lonlat = find_coordinates(X, coords)
        folds = self._deal(self.blocks(lonlat, y), self._classes(y, len(lonlat)))
        rows = np.arange(len(lonlat))
        for fold in range(self.n_splits):
            test = folds == fold
            yield self._without_buffer(rows[~test], rows[test], lonlat)

    def blocks(self, coords: Any, y: Any = None) -> np.ndarray:
        """Number the block of each place.

        Parameters
        ----------
        coords : array-like of shape (n, 2)
            Longitude and latitude in degrees.
        y : array-like of shape (n,), default=None
            Values or classes of the rows, for ``block_size="autocorrelation"``.

        Returns
        -------
        block : ndarray of shape (n,), int
            Equal for places in one block. A pole lies in one block whatever its longitude, and both
            notations of the antimeridian lie in one block.

        Raises
        ------
        ValueError
            If y is needed and not given.
        """
        self._check_parameters()
        lonlat = read_places(coords, wide=True).lonlat
        if isinstance(self.block_size, str):
            degrees, block = self._fitted_blocks(lonlat, y)
        else:
            degrees = self.block_size / (KM_PER_DEGREE if self.unit == "km" else 1)
            block = number_blocks(lonlat, degrees, self.equal_area or self.unit == "km")
        self.block_size_km_ = degrees * KM_PER_DEGREE
        return block

    def _fitted_blocks(self, lonlat: np.ndarray, y: Any) -> tuple[float, np.ndarray]:
        """Return the size in degrees that fits the places or values, and the block of each row."""
        by_range = self.block_size == "autocorrelation"
        if by_range and y is None:
            raise ValueError('block_size="autocorrelation" needs y, the values of the rows.')
        km = fit_variogram(lonlat, y).range_km if by_range else span(lonlat) / 10 * KM_PER_DEGREE
        degrees = wanted = float(np.clip(km / KM_PER_DEGREE, SMALLEST, 180))
        block = number_blocks(lonlat, degrees, equal_area=True)
        enough = min(BLOCKS_A_FOLD * self.n_splits, len(np.unique(lonlat, axis=0)))
        while degrees > 2 * SMALLEST and len(np.unique(block)) < enough:
            degrees /= 1.2 if by_range else 2
            block = number_blocks(lonlat, degrees, equal_area=True)
        if by_range and degrees < wanted:
            warn_caller(
                f"the range of autocorrelation is {km:.0f} km, which gives fewer than {enough} "
                f"blocks; blocks of {degrees * KM_PER_DEGREE:.0f} km are used instead. Use fewer "
                "folds, or the range of a model's residuals.",
                UserWarning,
            )
        return degrees, block

    def _classes(self, y: Any, n_rows: int) -> np.ndarray:
        """Return the number of each row's class; 0 for all rows if classes do not matter."""
        if not self.stratify:
            return np.zeros(n_rows, dtype=int)
        if y is None:
            raise ValueError("stratify=True needs y, the classes of the rows.")
        values = column_or_1d(plain_column(y))
        if type_of_target(values) not in ("binary", "multiclass"):
            raise ValueError("stratify=True needs classes, but y holds continuous numbers.")
        if len(values) != n_rows:
            raise ValueError(f"y has {len(values)} rows, X has {n_rows}.")
        return np.unique(values, return_inverse=True)[1]

    def _deal(self, block: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return the fold of each row: each block goes where it keeps folds most similar."""
        names, member = np.unique(block, return_inverse=True)
        if len(names) < self.n_splits:
            raise ValueError(self._too_few_blocks(len(names)))
        rows = np.zeros((len(names), classes.max() + 1))  # of each block and class
        np.add.at(rows, (member, classes), 1)
        order = np.argsort(-rows.sum(axis=1), kind="stable")
        if self.shuffle:
            order = check_random_state(self.random_state).permutation(len(names))
        held, fold = np.zeros((self.n_splits, rows.shape[1])), np.empty(len(names), dtype=int)
        share = rows / rows.sum(axis=0)  # so that rare classes count as much as others
        for index in order:
            fold[index] = (held * share[index]).sum(axis=1).argmin()
            held[fold[index]] += share[index]
        return fold[member]

    def _too_few_blocks(self, found: int) -> str:
        if isinstance(self.block_size, str):
            return f"the rows lie at {found} place(s), too few for n_splits={self.n_splits}."
        return (
            f"the points lie in {found} block(s) of {self.block_size} {self.unit}, but "
            f'n_splits={self.n_splits}; choose a smaller block_size ("auto" fits it to the '
            "points), or a smaller n_splits."
        )

    def _check_parameters(self) -> None:
        self._check_buffer()
        self._check_n_splits()
        if self.unit not in ("degrees", "km"):
            raise ValueError(f'unit must be "degrees" or "km", got {self.unit!r}.')
        largest = 180 * (KM_PER_DEGREE if self.unit == "km" else 1)
        size = self.block_size
        chosen_here = isinstance(size, str) and size in ("auto", "autocorrelation")
        if not chosen_here and not (isinstance(size, Real) and SMALLEST <= size <= largest):
            raise ValueError(
                'block_size must be "auto", "autocorrelation", or at least 1e-6 and at most '
                f"{largest:.0f} "
                f"{self.unit}, got {size!r}."
            )


def number_blocks(lonlat: np.ndarray, degrees: float, equal_area: bool) -> np.ndarray:
    """Number the blocks of about `degrees` in which places lie, (n,) int."""
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


def span(lonlat: np.ndarray) -> float:
    """Return the extent of the places in degrees of a great circle, east-west or north-south."""
    lon, lat = np.sort(lonlat[:, 0] % 360), lonlat[:, 1]
    gap = np.diff(np.append(lon, lon[0] + 360)).max()  # the rest of the circle holds all places
    width = (360 - gap) * np.cos(np.deg2rad((lat.min() + lat.max()) / 2))
    return float(max(width, np.ptp(lat), 10 * SMALLEST))


def taken_by(method: Any, **arguments: Any) -> dict[str, Any]:
    """Return the arguments that are not None and that the method accepts."""
    known = signature(method).parameters
    return {name: v for name, v in arguments.items() if v is not None and name in known}
