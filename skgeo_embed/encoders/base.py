"""What every transformer of places has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skgeo_embed._errors import InvalidCoordinateWarning, warn_caller
from skgeo_embed._fitting import whole_fit
from skgeo_embed._html import NotebookMixin
from skgeo_embed.encoders.dask import check_dask, transform_dask
from skgeo_embed.encoders.filling import encode_areas, encode_points
from skgeo_embed.encoders.grid_output import check_out, fill_tiles, label_grid, xarray_maker
from skgeo_embed.encoders.shared_encodings import remember_encoding, remembered_encoding
from skgeo_embed.places.areas import area_sampling
from skgeo_embed.places.kinds import PlaceInput, Table, recognise
from skgeo_embed.places.reading import Coordinates, Reader, axis_in_degrees, read_axis
from skgeo_embed.places.swapped import warn_if_swapped

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

GRID_POINTS = 16_384  # at a time, where a grid is encoded point by point
READING_CONSTRAINTS: dict[str, Any] = {
    "on_invalid": [StrOptions({"raise", "nan"})],
    "lon": "no_validation",  # a column's name may be anything
    "lat": "no_validation",
    "area_points": [Interval(Integral, 1, None, closed="left"), str],
    "area_statistic": [StrOptions({"mean", "std"})],
}


class CoordinateTransformer(NotebookMixin, TransformerMixin, BaseEstimator, ABC):
    """Turn (n, 2) coordinates into (n, d) features: the base of all encoders of places.

    A subclass stores the reading parameters of its constructor (`on_invalid`, `lon`, `lat`,
    `area_points` and `area_statistic`) and provides three methods:

    - :meth:`prepare` loads what it needs and sets fitted attributes; `fit` calls it.
    - :meth:`encode` yields features of checked places, batch after batch.
    - :meth:`feature_names` lists the output columns.

    It may also override :meth:`encode_axes` (a grid that costs less than its points),
    :meth:`place_function` (for :func:`~skgeo_embed.to_onnx`), :meth:`usable` and :meth:`covers`
    (places that it knows nothing of), and the property `output_dtype`. In return it has frames,
    geometries, H3 cells, areas, dask, grids, missing values, feature names and scikit-learn's
    checks. Tables in files, dask and displays use nothing else of an encoder than `reader_`,
    :meth:`encode_places`, `n_features_out` and `output_dtype`.

    Attributes
    ----------
    reader_ : Reader
        How coordinates are read: `on_invalid`, and the names of columns.
    n_features_in_ : int
        Number of columns of the input of `fit`.

    Examples
    --------
    An encoder of the distances to two cities:

    >>> import numpy as np
    >>> import pandas as pd
    >>> from skgeo_embed.encoders.base import CoordinateTransformer
    >>> CITIES = {"paris": (2.35, 48.86), "tokyo": (139.69, 35.68)}
    >>> class CityDistances(CoordinateTransformer):
    ...     def __init__(self, unit_km=1.0, on_invalid="raise", lon=None, lat=None,
    ...                  area_points=64, area_statistic="mean"):
    ...         self.unit_km = unit_km
    ...         self.on_invalid = on_invalid
    ...         self.lon = lon
    ...         self.lat = lat
    ...         self.area_points = area_points
    ...         self.area_statistic = area_statistic
    ...
    ...     def prepare(self):
    ...         self.cities_ = np.deg2rad(list(CITIES.values()))
    ...         self.radius_ = 6371.0 / self.unit_km
    ...
    ...     def encode(self, lonlat):
    ...         for start in range(0, len(lonlat), 10_000):
    ...             rows = slice(start, start + 10_000)
    ...             lon, lat = np.deg2rad(lonlat[rows]).T[:, :, None]
    ...             city_lon, city_lat = self.cities_.T
    ...             cosine = np.sin(lat) * np.sin(city_lat)
    ...             cosine += np.cos(lat) * np.cos(city_lat) * np.cos(lon - city_lon)
    ...             yield rows, self.radius_ * np.arccos(np.clip(cosine, -1, 1))
    ...
    ...     def feature_names(self):
    ...         return [f"km_to_{city}" for city in CITIES]
    >>> frame = pd.DataFrame({"lat": [51.51, -33.87], "lon": [-0.13, 151.21]})
    >>> encoder = CityDistances().set_output(transform="pandas").fit(frame)
    >>> encoder.transform(frame).round().astype(int)
       km_to_paris  km_to_tokyo
    0          343         9559
    1        16961         7826
    >>> encoder.transform_grid(lon=[0, 10, 20], lat=[40, 50]).shape
    (2, 3, 2)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {}
    on_invalid: str
    lon: Any
    lat: Any
    area_points: int | str
    area_statistic: Literal["mean", "std"]
    reader_: Reader

    def fit(self, X: Any = None, y: Any = None) -> CoordinateTransformer:
        """Load what the transformer needs and check the coordinates.

        Parameters
        ----------
        X : array-like of shape (n, 2), default=None
            Longitude and latitude in degrees: array (masked values are missing), list, tensor,
            pandas, polars, pyarrow, xarray. Or geometries: shapely's, a GeoDataFrame or a
            GeoSeries of points, lines and polygons; boxes (a frame with the columns west, south,
            east and north); H3 cells (text or numbers). None skips the check.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        CoordinateError
            If the coordinates cannot be used; a ValueError.
        """
        self._fit(X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Encode coordinates.

        Parameters
        ----------
        X : array-like of shape (n, 2)
            Longitude and latitude in degrees, or areas, as for `fit`.

        Returns
        -------
        features : ndarray of shape (n, d), or the frame chosen with `set_output`
            One row of features per row of `X`: of an area the mean over points spread evenly
            inside it, or their deviation, see `area_points` and `area_statistic`.

        Raises
        ------
        CoordinateError
            If the coordinates cannot be used; a ValueError.
        """
        check_is_fitted(self)
        source = self._recognise(X)
        if source.is_lazy:
            return transform_dask(self, source)
        return self.encode_places(self._read(source, reset=False))

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Fit, and encode the same coordinates, which are read once.

        Parameters
        ----------
        X : array-like of shape (n, 2)
            Longitude and latitude in degrees, as for `fit`.
        y : None
            Ignored.

        Returns
        -------
        features : ndarray of shape (n, d), or the frame chosen with `set_output`
            One row of features per row of `X`.
        """
        places = self._fit(X)
        return self.transform(X) if places is None else self.encode_places(places)

    def transform_grid(
        self,
        lon: Any,
        lat: Any,
        *,
        out: np.ndarray | None = None,
        output: Literal["numpy", "xarray"] = "numpy",
    ) -> Any:
        """Encode every pair of two axes, for networks on harmonics far cheaper than the points.

        Parameters
        ----------
        lon : array-like of shape (n_lon,)
            Longitudes in degrees.
        lat : array-like of shape (n_lat,)
            Latitudes in degrees.
        out : ndarray of shape (n_lat, n_lon, d), default=None
            Where to write, of the encoder's `dtype`: an array or a `numpy.memmap`, which is
            filled a few rows at a time and may be larger than memory. None makes an array.
        output : {"numpy", "xarray"}, default="numpy"
            What is returned: the array itself, or an ``xarray.DataArray`` around it with
            dimensions "lat", "lon" and "feature".

        Returns
        -------
        features : ndarray or DataArray of shape (n_lat, n_lon, d)
            ``features[i, j]`` is the encoding of ``(lon[j], lat[i])``.

        Raises
        ------
        CoordinateError
            If an axis is not one-dimensional, or has missing or out-of-range values.
        ValueError
            If `out` has another shape or dtype, or cannot be written to; if `area_statistic` is
            "std".
        ImportError
            If `output` is "xarray" and xarray is missing.

        Examples
        --------
        >>> import numpy as np
        >>> from skgeo_embed import SatCLIPEncoder
        >>> encoder = SatCLIPEncoder(layer="embedding").fit()
        >>> encoder.transform_grid(np.arange(-180, 180, 10), np.arange(-80, 81, 10)).shape
        (17, 36, 256)
        """
        check_is_fitted(self)
        if self._sampling.statistic == "std":
            raise ValueError(
                f'transform_grid needs area_statistic="mean", got "{self._sampling.statistic}": a '
                "grid node is a point."
            )
        if output not in ("numpy", "xarray"):
            raise ValueError(f'output must be "numpy" or "xarray", got {output!r}')
        axes = read_axis(lon, "lon"), read_axis(lat, "lat")
        labels = axis_in_degrees(lon, "lon"), axis_in_degrees(lat, "lat")  # in their own notation
        shape = (len(axes[1]), len(axes[0]), self.n_features_out)
        dtype = self.output_dtype
        if out is not None:
            check_out(out, shape, dtype)
        make_array = xarray_maker() if output == "xarray" else None
        features = np.empty(shape, dtype=dtype) if out is None else out
        fill_tiles(features, self.encode_axes(*axes))
        if make_array is None:
            return features
        model = getattr(self, "encoder_info_", {}).get("name", type(self).__name__)
        return label_grid(make_array, features, labels, self.feature_names(), model)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the output columns.

        Parameters
        ----------
        input_features : None
            Ignored: the names do not depend on the input.

        Returns
        -------
        names : ndarray of str objects
            One name per output column.
        """
        check_is_fitted(self)
        return np.asarray(self.feature_names(), dtype=object)

    def encode_places(self, places: Coordinates) -> np.ndarray:
        """Encode places that `reader_` has read and checked.

        Parameters
        ----------
        places : Coordinates
            What ``self.reader_.read(X)`` returned.

        Returns
        -------
        features : ndarray of shape (n, d), dtype `output_dtype`
            NaN in rows without a valid place.
        """
        places = self.usable(places)
        if places.areas is not None:
            return encode_areas(self, places, self._sampling)
        features = remembered_encoding(self, places.lonlat)
        if features is None:
            features = encode_points(self, places)
            remember_encoding(self, places.lonlat, features)
        if self._sampling.statistic == "std":  # of a single point
            features[~np.isnan(features)] = 0
        return features

    @abstractmethod
    def prepare(self) -> None:
        """Load what the encoder needs and set fitted attributes; `fit` calls this."""

    @abstractmethod
    def encode(self, lonlat: np.ndarray) -> Iterator[tuple[Any, Any]]:
        """Encode checked places, batch after batch.

        Parameters
        ----------
        lonlat : ndarray of shape (n, 2), float64
            Longitude in [-180, 180) and latitude in degrees, none of them missing; of an encoder
            with a time the third column holds it.

        Yields
        ------
        rows : slice or Tensor of int
            Rows of `lonlat`.
        features : ndarray or Tensor of shape (n_rows, d)
            Their features.
        """

    @abstractmethod
    def feature_names(self) -> list[str]:
        """Name the output columns, in their order."""

    def encode_axes(self, lon: np.ndarray, lat: np.ndarray) -> Iterator[tuple[slice, slice, Any]]:
        """Encode every pair of two checked axes, block after block; here as points.

        Parameters
        ----------
        lon, lat : ndarray of shape (n_lon,) and (n_lat,)
            Degrees, as `encode` has them.

        Yields
        ------
        rows, columns : slice
            Where in the grid the block is.
        features : ndarray or Tensor of shape (n_rows * n_columns, d)
            Features of the block, row by row.
        """
        at_once = max(1, GRID_POINTS // len(lon))
        for row in range(0, len(lat), at_once):
            rows = slice(row, min(row + at_once, len(lat)))
            lonlat = np.column_stack([np.tile(lon, len(lat[rows])), np.repeat(lat[rows], len(lon))])
            lonlat[np.abs(lonlat[:, 1]) == 90, 0] = 0.0  # a pole is one place
            places = Coordinates(lonlat, np.ones(len(lonlat), dtype=bool), None)
            yield rows, slice(0, len(lon)), self.encode_places(places)

    def place_function(self) -> tuple[Callable[[Tensor], Tensor], Module]:
        """Return what `to_onnx` writes to a file: a function of tensors.

        Returns
        -------
        encode : callable
            Maps checked places, a tensor (n, 2) in float64, to their features (n, d), in
            operations of torch alone.
        parts : torch.nn.Module
            The modules that it runs.

        Raises
        ------
        TypeError
            If there is no such function, as here.
        """
        raise TypeError(
            f"{type(self).__name__} cannot be exported, because it is not a torch network. Export "
            "an encoder that is one, or write the features to a table with encode_table."
        )

    def usable(self, places: Coordinates) -> Coordinates:
        """Refuse or leave out valid places that the encoder knows nothing of; here none."""
        return places

    def covers(self, lonlat: np.ndarray) -> np.ndarray:
        """Say for which points inside areas the encoder has data, (n,) bool; by default for all."""
        return np.ones(len(lonlat), dtype=bool)

    @property
    def n_features_out(self) -> int:
        """Number of output columns."""
        return len(self.feature_names())

    @property
    def output_dtype(self) -> np.dtype:
        """Type of the output."""
        return np.dtype(np.float64)

    def _make_reader(self) -> Reader:
        return Reader(self.on_invalid, self.lon, self.lat)

    def _fit(self, X: Any) -> Coordinates | None:
        """Read the coordinates, if there are any that are not lazy, and prepare."""
        with whole_fit(self) as twin:
            twin.reader_ = twin._make_reader()
            twin._sampling = area_sampling(self.area_points, self.area_statistic)
            twin._saw_columns = X is not None
            places = None
            if X is None:
                twin.n_features_in_ = 2
            else:
                source = twin._recognise(X)
                if source.is_lazy:
                    check_dask(twin, source, reset=True)
                else:
                    places = twin._read(source, reset=True)
            twin.prepare()
        return places

    def _recognise(self, X: Any) -> PlaceInput:
        reader = self.reader_
        return recognise(X, columns_are_named=reader.lon is not None or reader.lat is not None)

    def _read(self, source: PlaceInput, *, reset: bool) -> Coordinates:
        places = self.reader_.read(source)
        self.check_columns(source, reset=reset)
        if reset or not self._saw_columns:  # not twice for one table
            warn_if_swapped(places.lonlat)
        if places.out_of_range:
            warn_caller(f"{places.out_of_range} Their features are NaN.", InvalidCoordinateWarning)
        return places

    def check_columns(self, source: PlaceInput, *, reset: bool) -> None:
        """Remember or compare the columns as scikit-learn does; their order is free."""
        if reset:  # scikit-learn keeps no names of xarray's variables and numpy's fields
            self._has_other_names = isinstance(source, Table) and not source.is_compared
        if not source.is_compared:
            self.n_features_in_ = source.n_columns
            return
        if source.names is None and getattr(self, "_has_other_names", False):
            warn_caller(
                f"X does not have valid feature names, but {type(self).__name__} was fitted with "
                "feature names: its columns are read as longitude and latitude, in this order.",
                UserWarning,
            )
        if not reset and not self._saw_columns:  # fit() without data compares with nothing
            return
        known = getattr(self, "feature_names_in_", None)
        if reset or known is None or set(source.names or ()) != set(known):
            validate_data(self, source.X, reset=reset, skip_check_array=True)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.on_invalid == "nan"
        tags.input_tags.sparse = False
        return tags
