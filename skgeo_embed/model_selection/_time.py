"""Cross-validation by places and times at once."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd

from skgeo_embed.model_selection._base import Split
from skgeo_embed.model_selection._spatial import SpatialBlockKFold
from skgeo_embed.places.reading import find_coordinates
from skgeo_embed.places.times import dates_of, find_times


class SpatioTemporalKFold(SpatialBlockKFold):
    """K folds that hold out the future of whole blocks of the Earth's surface.

    A row of another time at the same place, or of the same time at the next place, tells much
    about a row. So a fold's test rows are those of some blocks in the last part of the table, and
    its training rows are those of the other blocks before that: the test is a place without labels
    in a time without labels (Meyer et al. 2018 [1]_). For the future of places with labels use
    :class:`~sklearn.model_selection.TimeSeriesSplit` on rows sorted by time, and for places
    without labels at known times :class:`SpatialBlockKFold`.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, each with blocks of its own and all with the same future.
    future : float, or date as text, datetime or number, default=0.2
        The share of the distinct times that are the future, between 0 and 1; or the first time of
        the future, such as "2024-01-01", or 2024 where times are numbers.
    time : str, default=None
        Name of X's column of times; None is its only column of dates. Not used if `times` are
        passed to `split`.
    block_size : float, "auto" or "autocorrelation", default="auto"
        As for :class:`SpatialBlockKFold`, as are all further parameters.
    unit : {"degrees", "km"}, default="degrees"
        Unit of `block_size`.
    equal_area : bool, default=False
        Whether blocks in degrees have nearly equal areas.
    buffer_km : float, default=0.0
        Training rows within this great-circle distance of a test row are left out.
    shuffle : bool, default=False
        Deal the blocks in random order.
    random_state : int, RandomState instance or None, default=None
        Seeds the order, if `shuffle`.
    stratify : bool, default=False
        Deal the blocks so that folds' test rows have equally many of each class of y.

    Attributes
    ----------
    block_size_km_ : float
        Side of a block in the latest `split`, in km.
    future_from_ : Timestamp or float
        First time of the future in the latest `split`.

    Notes
    -----
    Rows that are neither in the test nor in the training rows of a fold are the past of its
    blocks and the future of the others. No row of the past is ever tested, so that these folds are
    for scores and searches, and not for `cross_val_predict`. As `cv` of a
    :class:`~skgeo_embed.ResidualInterpolator`, a :class:`~skgeo_embed.SpatialConformalRegressor` or
    their kin they find dates in the columns of X, and only rows of the future correct or calibrate.

    References
    ----------
    .. [1] H. Meyer, C. Reudenbach, T. Hengl, M. Katurji, T. Nauss (2018). "Improving performance of
       spatio-temporal machine learning models using forward feature selection and target-oriented
       validation". Environmental Modelling & Software 101:1-9. doi 10.1016/j.envsoft.2017.12.001.

    Examples
    --------
    >>> import pandas as pd
    >>> from skgeo_embed.model_selection import SpatioTemporalKFold
    >>> months = pd.date_range("2023-01-01", periods=24, freq="MS")
    >>> sites = pd.DataFrame({"lon": [7.4, 8.5, 2.3, 13.4], "lat": [46.9, 47.4, 48.9, 52.5]})
    >>> sales = sites.merge(pd.DataFrame({"month": months}), how="cross")
    >>> splitter = SpatioTemporalKFold(2, future="2024-07-01")
    >>> for train, test in splitter.split(sales):
    ...     print(len(train), len(test), sales["month"][test].min().date())
    36 12 2024-07-01
    36 12 2024-07-01
    """

    future_from_: Any

    def __init__(
        self,
        n_splits: int = 5,
        *,
        future: Any = 0.2,
        time: str | None = None,
        block_size: float | Literal["auto", "autocorrelation"] = "auto",
        unit: Literal["degrees", "km"] = "degrees",
        equal_area: bool = False,
        buffer_km: float = 0.0,
        shuffle: bool = False,
        random_state: int | np.random.RandomState | None = None,
        stratify: bool = False,
    ) -> None:
        super().__init__(
            n_splits,
            block_size=block_size,
            unit=unit,
            equal_area=equal_area,
            buffer_km=buffer_km,
            shuffle=shuffle,
            random_state=random_state,
            stratify=stratify,
        )
        self.future = future
        self.time = time

    def get_n_splits(
        self,
        X: Any = None,
        y: Any = None,
        groups: Any = None,
        coords: Any = None,
        times: Any = None,
    ) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups, coords, times : object
            Not used; searches hand on what they hand to `split`.

        Returns
        -------
        n_splits : int
            Number of folds.
        """
        return self.n_splits

    def split(
        self, X: Any, y: Any = None, groups: Any = None, coords: Any = None, times: Any = None
    ) -> Iterator[Split]:
        """Yield the training and test rows of each fold.

        Parameters
        ----------
        X : frame of shape (n, d), or array-like of shape (n, 2)
            The data, with columns of longitude and latitude in degrees, and of dates.
        y : array-like of shape (n,), default=None
            Values of the rows, for ``block_size="autocorrelation"``, or classes, for `stratify`.
        groups : object
            Not used.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the rows, if X does not hold them.
        times : array-like of shape (n,), default=None
            Dates, or numbers such as years, if X does not hold them.

        Yields
        ------
        train, test : ndarray of int
            Row numbers; not all rows are in one of the two.

        Raises
        ------
        CoordinateError
            If there are no coordinates, or they cannot be read.
        ValueError
            If there are no times, there is no past or no future among them, or there are fewer
            blocks with a future than folds.
        """
        self._check_parameters()
        lonlat = find_coordinates(X, coords)
        future = self._is_future(find_times(X, times, self.time, len(lonlat)))
        block = self.blocks(lonlat, y)
        fold = np.full(len(block), -1)
        names, first = np.unique(block[future], return_index=True)
        dealt = self._deal(block[future], self._classes(y, len(block))[future])[first]
        known = np.isin(block, names)
        fold[known] = dealt[np.searchsorted(names, block[known])]
        rows = np.arange(len(block))
        for number in range(self.n_splits):
            train, test = rows[~future & (fold != number)], rows[future & (fold == number)]
            if not len(train):
                raise ValueError("a fold has no training row: all of the past is in its blocks.")
            yield self._without_buffer(train, test, lonlat)

    def _is_future(self, times: pd.Series) -> np.ndarray:
        """Say which rows are in the future; it has a first time, and so has what comes before."""
        distinct = np.sort(times.unique())
        if len(distinct) < 2:
            raise ValueError(f"all rows have the time {times.iloc[0]}; at least 2 are needed.")
        first: Any
        if isinstance(self.future, float) and 0 < self.future < 1:
            n_past = round((1 - self.future) * len(distinct))
            first = distinct[min(max(n_past, 1), len(distinct) - 1)]
        else:
            first = self._first_of_future(times)
        future = (times >= first).to_numpy()
        self.future_from_ = first
        if future.all() or not future.any():
            raise ValueError(
                f"future={self.future!r} leaves no {'past' if future.all() else 'future'}: times "
                f"are from {distinct[0]} to {distinct[-1]}."
            )
        return future

    def _too_few_blocks(self, found: int) -> str:
        return (
            f"the rows of the future lie in {found} block(s) of {self.block_size_km_:.3g} km, but "
            f"n_splits={self.n_splits}; choose a smaller block_size, or a smaller n_splits."
        )

    def _first_of_future(self, times: pd.Series) -> Any:
        are_numbers = times.dtype.kind == "f"
        if isinstance(self.future, Real):
            if are_numbers:
                return float(self.future)
        elif not are_numbers:
            try:
                return dates_of(pd.Series([self.future])).iloc[0]
            except (TypeError, ValueError):
                pass
        raise ValueError(
            "future must be a share of the times between 0 and 1, or the first time of the future, "
            f"a {'number' if are_numbers else 'date'} as those of the rows; got {self.future!r}."
        )
