"""Cross-validation by regions, such as countries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from sklearn.utils.validation import _num_samples

from skgeo_embed._sphere import unit_vectors
from skgeo_embed.model_selection._base import BufferedSplitter, Split
from skgeo_embed.places.kinds import recognise
from skgeo_embed.places.numbers import plain_column
from skgeo_embed.places.reading import find_coordinates, read_areas

EDGE_POINTS = 200  # on the longer side of a polygon


class LeaveOneRegionOut(BufferedSplitter):
    """One fold for each region, such as a country or a continent, as the test set.

    Parameters
    ----------
    buffer_km : float, default=0.0
        Training points within this great-circle distance of the region's points are left out.
        It needs coordinates, as in :class:`SpatialBlockKFold`.
    regions : polygons, default=None
        One for each region: a GeoDataFrame or GeoSeries, shapely geometries, boxes or H3 cells. A
        row is in the first that holds its place, or else in the nearest. None takes `groups`.

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

    Regions as polygons, here boxes:

    >>> from shapely import box
    >>> boxes = [box(5, 45, 11, 48), box(0, 45, 5, 50), box(11, 50, 15, 55)]
    >>> for train, test in LeaveOneRegionOut(regions=boxes).split(coords):
    ...     print(train, test)
    [2 3] [0 1]
    [0 1 3] [2]
    [0 1 2] [3]
    """

    # groups are routed without a request, as for scikit-learn's own splitters by groups
    __metadata_request__split: ClassVar[dict[str, bool]] = {"groups": True}

    def __init__(self, *, buffer_km: float = 0.0, regions: Any = None) -> None:
        self.buffer_km = buffer_km
        self.regions = regions

    @property
    def needs_places(self) -> bool:
        """Whether folds depend on longitude and latitude: if there are polygons or a buffer."""
        return self.regions is not None or bool(self.buffer_km)

    def get_n_splits(
        self, X: Any = None, y: Any = None, groups: Any = None, coords: Any = None
    ) -> int:
        """Return the number of regions.

        Parameters
        ----------
        X, groups, coords
            As for `split`.
        y : object
            Not used.

        Returns
        -------
        n_splits : int
            Number of regions that have rows.
        """
        if self.regions is None:
            return len(np.unique(_read_regions(groups)))
        return len(np.unique(_numbers_of_regions(self.regions, find_coordinates(X, coords))))

    def split(
        self, X: Any, y: Any = None, groups: Any = None, coords: Any = None
    ) -> Iterator[Split]:
        """Yield the training and test rows of each region, in the order of names or polygons.

        Parameters
        ----------
        X : array-like
            The data.
        y : object
            Not used.
        groups : array-like of shape (n,), default=None
            The region of each row, if there are no polygons.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the rows, if they are needed and X does not hold them.

        Yields
        ------
        train, test : ndarray of int
            Row numbers.

        Raises
        ------
        ValueError
            If `groups` is missing, or all rows are in one region.
        """
        self._check_buffer()
        if self.regions is None:
            regions = _read_regions(groups)
        else:
            regions = _numbers_of_regions(self.regions, find_coordinates(X, coords))
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


def _numbers_of_regions(regions: Any, lonlat: np.ndarray) -> np.ndarray:
    """Return the number of the first polygon that holds each place, or else of the nearest."""
    import shapely

    areas = recognise(regions).areas()
    if areas is None:
        raise ValueError(
            "regions must be polygons, boxes or H3 cells, got points; pass the name of each row's "
            "region as groups."
        )
    polygons = read_areas(areas).areas
    tree = shapely.STRtree(polygons)
    number = np.full(len(lonlat), len(areas))
    for turn in (0, 360):  # polygons may go on beyond the antimeridian
        row, polygon = tree.query(
            shapely.points(lonlat + np.array([turn, 0])), predicate="intersects"
        )
        np.minimum.at(number, row, polygon)
    outside = np.flatnonzero(number == len(areas))
    if len(outside):
        number[outside] = _nearest_polygons(np.asarray(polygons), lonlat[outside])
    return number


def _nearest_polygons(polygons: np.ndarray, lonlat: np.ndarray) -> np.ndarray:
    """Return the number of the polygon with the nearest outline to each place, by great circle."""
    import shapely

    west, south, east, north = shapely.bounds(polygons).T
    step = np.maximum(np.maximum(east - west, north - south) / EDGE_POINTS, 1e-9)
    outline, of = shapely.get_coordinates(shapely.segmentize(polygons, step), return_index=True)
    return of[cKDTree(unit_vectors(outline)).query(unit_vectors(lonlat))[1]]
