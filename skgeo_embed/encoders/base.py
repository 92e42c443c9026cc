"""What every transformer of places has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
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
from skgeo_embed.encoders.group_statistics import GroupStatistics
from skgeo_embed.places.areas import area_sampling, points_in_areas
from skgeo_embed.places.columns import column_names
from skgeo_embed.places.dask import check_dask, transform_dask
from skgeo_embed.places.distinct import distinct_places, spread_rows
from skgeo_embed.places.geometries import are_shapely, is_geo
from skgeo_embed.places.numbers import is_dask, is_from, plain
from skgeo_embed.places.outlines import are_cells
from skgeo_embed.places.reading import Coordinates, Reader, read_axis

if TYPE_CHECKING:
    from torch import Tensor

GRID_POINTS = 16_384  # at a time, where a grid is encoded point by point
READING_CONSTRAINTS: dict[str, Any] = {
    "on_invalid": [StrOptions({"raise", "nan"})],
    "lon": "no_validation",  # a column's name may be anything
    "lat": "no_validation",
    "area_points": [Interval(Integral, 1, None, closed="left"), str],
    "area_statistic": [StrOptions({"mean", "std"})],
}


class CoordinateTransformer(NotebookMixin, TransformerMixin, BaseEstimator, ABC):
    """Base of transformers that turn (n, 2) coordinates into (n, d) features.

    Subclasses set `on_invalid`, `lon` and `lat` in their constructor and provide `_prepare`
    (called by `fit`), `_encode` for canonical coordinates, `_feature_names` and `_output_dtype`.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {}
    on_invalid: str
    lon: Any
    lat: Any
    area_points: int | str
    area_statistic: Literal["mean", "std"]

    def fit(self, X: Any = None, y: Any = None) -> CoordinateTransformer:
        """Load what the transformer needs and check the coordinates.

        Parameters
        ----------
        X : array-like of shape (n, 2), default=None
            Longitude and latitude in degrees: array (what is masked is missing), list, tensor,
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
        if is_dask(X):
            return transform_dask(self, X)
        return self._encode_rows(self._usable(self._read(X, reset=False)))

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
        if places is None or is_dask(X):
            return self.transform(X)
        return self._encode_rows(self._usable(places))

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
            raise ValueError("area_statistic='std', but a grid is of points, which have none.")
        if output not in ("numpy", "xarray"):
            raise ValueError(f'output must be "numpy" or "xarray", got {output!r}')
        axes = read_axis(lon, "lon"), read_axis(lat, "lat")
        labels = [np.asarray(plain(axis), dtype=float) for axis in (lon, lat)]  # as they were given
        shape = (len(axes[1]), len(axes[0]), self._width())
        dtype = np.dtype(self._output_dtype())
        if out is not None:
            _check_out(out, shape, dtype)
        make_array = _xarray_maker() if output == "xarray" else None
        features = np.empty(shape, dtype=dtype) if out is None else out
        _fill_tiles(features, self._encode_grid(*axes))
        if make_array is None:
            return features
        return make_array(
            features,
            dims=("lat", "lon", "feature"),
            coords={
                "lat": ("lat", labels[1], {"units": "degrees_north"}),
                "lon": ("lon", labels[0], {"units": "degrees_east"}),
                "feature": self._feature_names(),
            },
            attrs={"model": getattr(self, "encoder_info_", {}).get("name", type(self).__name__)},
        )

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
        return np.asarray(self._feature_names(), dtype=object)

    @abstractmethod
    def _prepare(self) -> None:
        """Load weights, set fitted attributes."""

    @abstractmethod
    def _encode(self, lonlat: np.ndarray) -> Iterator[tuple[slice | Tensor, Tensor]]:
        """Yield rows of canonical coordinates and their features, batch after batch."""

    @abstractmethod
    def _feature_names(self) -> list[str]: ...

    def _encode_grid(
        self, lon: np.ndarray, lat: np.ndarray
    ) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield rows, columns and features of a grid; here a few rows at a time, as points."""
        import torch

        at_once = max(1, GRID_POINTS // len(lon))
        for row in range(0, len(lat), at_once):
            rows = slice(row, min(row + at_once, len(lat)))
            lonlat = np.column_stack([np.tile(lon, len(lat[rows])), np.repeat(lat[rows], len(lon))])
            lonlat[np.abs(lonlat[:, 1]) == 90, 0] = 0.0  # a pole is one place
            places = Coordinates(lonlat, np.ones(len(lonlat), dtype=bool), None)
            values = self._encode_places(self._usable(places))
            yield rows, slice(0, len(lon)), torch.from_numpy(values)

    def _make_reader(self) -> Reader:
        return Reader(self.on_invalid, self.lon, self.lat)

    def _usable(self, places: Coordinates) -> Coordinates:
        """Refuse, or leave out, valid places that this transformer knows nothing of."""
        return places

    def _width(self) -> int:
        return len(self._feature_names())

    def _output_dtype(self) -> Any:
        return np.float64

    def _fit(self, X: Any) -> Coordinates | None:
        with whole_fit(self):
            self._reader = self._make_reader()
            self._sampling = area_sampling(self.area_points, self.area_statistic)
            self._saw_columns = X is not None
            places = None
            if X is None:
                self.n_features_in_ = 2
            elif is_dask(X):
                check_dask(self, X, reset=True)
            else:
                places = self._read(X, reset=True)
            self._prepare()
        return places

    def _read(self, X: Any, *, reset: bool) -> Coordinates:
        places = self._reader.read(X)
        self._check_columns(X, reset=reset)
        if places.out_of_range:
            warn_caller(f"{places.out_of_range} Their features are NaN.", InvalidCoordinateWarning)
        return places

    def _check_columns(self, X: Any, *, reset: bool) -> None:
        """Remember or compare the columns as scikit-learn does; their order is free."""
        dataset = is_from(X, "xarray") and not hasattr(X, "dtype")
        geometries = is_geo(X) or are_shapely(X) or are_cells(X)
        if geometries or dataset or not hasattr(X, "__len__"):
            self.n_features_in_ = 2
            return
        names = column_names(X) or ()
        if len(set(map(str, names))) < len(names) or len(getattr(X, "shape", (0, 0))) == 1:
            self.n_features_in_ = len(names) or 2  # names twice, or rows that are pairs
            return
        if not reset and not self._saw_columns:  # fit() without data compares with nothing
            return
        known = getattr(self, "feature_names_in_", None)
        if getattr(getattr(X, "dtype", None), "names", None):  # structured arrays: one dimension
            self.n_features_in_ = len(X.dtype.names)
        elif reset or known is None or set(names) != set(known):
            validate_data(self, X, reset=reset, skip_check_array=True)

    def _encode_rows(self, places: Coordinates) -> np.ndarray:
        if places.areas is not None:
            return self._encode_areas(places)
        if self._sampling.statistic == "std":
            return np.abs(0 * self._encode_places(places))  # NaN where there is nothing
        return self._encode_places(places)

    def _encode_areas(self, places: Coordinates) -> np.ndarray:
        """Average over points inside, which are encoded batch after batch and not kept."""
        out = np.full((len(places.valid), self._width()), np.nan, dtype=self._output_dtype())
        rows = np.flatnonzero(places.valid)
        areas, times = places.areas[rows], places.lonlat[rows, 2:]  # type: ignore[index]
        for part, lonlat, area in points_in_areas(areas, self._sampling):
            here = self._covers(lonlat)
            points, area = np.column_stack([lonlat, times[part][area]])[here], area[here]
            n_areas, largest = part.stop - part.start, int(np.bincount(area).max(initial=0))
            summary = GroupStatistics(
                n_areas, out.shape[1], self._sampling.statistic, out.dtype.name, largest
            )
            if len(points):
                summary.add(self._encode(points), area)
            out[rows[part]] = summary.result()
        return out

    def _covers(self, lonlat: np.ndarray) -> np.ndarray:
        """Say of which places this transformer knows something."""
        return np.ones(len(lonlat), dtype=bool)

    def _encode_places(self, places: Coordinates) -> np.ndarray:
        """Fill one array: distinct places are encoded, and their rows spread over the others."""
        out = np.empty((len(places.valid), self._width()), dtype=self._output_dtype())
        out[~places.valid] = np.nan
        rows = np.flatnonzero(places.valid)
        lonlat = places.lonlat if len(rows) == len(out) else places.lonlat[rows]
        repeated = distinct_places(lonlat)
        if repeated is not None:
            first, inverse = repeated
            _fill_rows(out, self._encode(lonlat[first]), rows[first])
            spread_rows(out, rows, rows[first][inverse])
        elif len(rows):
            _fill_rows(out, self._encode(lonlat), rows if len(rows) < len(out) else None)
        return out

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.on_invalid == "nan"
        tags.input_tags.sparse = False
        return tags


def _fill_rows(
    out: np.ndarray,
    pieces: Iterable[tuple[slice | Tensor, Tensor]],
    rows: np.ndarray | None,
) -> None:
    """Write the pieces to some rows, or to all in their order."""
    import torch

    target = torch.from_numpy(out)
    places = None if rows is None else torch.from_numpy(rows)
    for part, values in pieces:
        where = part if places is None else places[part]
        if isinstance(where, slice):
            target[where].copy_(values)
        else:
            target.index_copy_(0, where, values)
        del values  # its memory is the next batch's


def _fill_tiles(out: np.ndarray, pieces: Iterable[tuple[slice, slice, Tensor]]) -> None:
    import torch

    target = torch.from_numpy(out)
    for rows, columns, values in pieces:
        tile = target[rows, columns]
        tile.copy_(values.view(tile.shape))
        del values


NETWORK_CONSTRAINTS: dict[str, Any] = {
    "normalize": ["boolean"],
    "device": "no_validation",
    "dtype": [StrOptions({"float32", "float64"})],
    "batch_size": [Interval(Integral, 1, None, closed="left"), None],
    **READING_CONSTRAINTS,
}


class NetworkTransformer(CoordinateTransformer):
    """Base of transformers that run a loaded network over coordinates.

    Subclasses set `normalize`, `device`, `dtype` and `batch_size` in their constructor, name
    their columns with `_feature_prefix`, and call `_keep` when they prepare.
    """

    _feature_prefix: str
    normalize: bool
    device: Any
    dtype: Literal["float32", "float64"]
    batch_size: int | None

    def _keep(self, encoder: Any, layer: Any, columns: int | None = None) -> None:
        from skgeo_embed.nn.inference.options import EncodingOptions, chosen_device

        width = encoder.engine.module.output_dim(layer)  # says whether there is such a layer
        if columns is not None and columns > width:
            raise ValueError(
                f"n_components={columns}, but the {layer} layer of {encoder.info['name']!r} has "
                f"{width} columns; ask for at most as many."
            )
        self._encoder = encoder
        self._options = EncodingOptions(
            layer, chosen_device(self.device), self.dtype, self.batch_size, self.normalize, columns
        )
        self.encoder_info_ = {**encoder.info, "layer": layer}

    def _encode(self, lonlat: np.ndarray) -> Iterator[tuple[slice | Tensor, Tensor]]:
        return self._encoder.engine.encode(lonlat, self._options)

    def _encode_grid(
        self, lon: np.ndarray, lat: np.ndarray
    ) -> Iterator[tuple[slice, slice, Tensor]]:
        return self._encoder.engine.encode_grid(lon, lat, self._options)

    def _width(self) -> int:
        return self._encoder.engine.width(self._options)

    def _feature_names(self) -> list[str]:
        return numbered_names(self._feature_prefix, self._width())

    def _output_dtype(self) -> str:
        return self._options.dtype

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        return tags


def _check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if not isinstance(out, np.ndarray):
        raise ValueError(f"out must be a numpy array or memmap, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(
            f"out must have shape {shape} and dtype {dtype}, got {out.shape} and {out.dtype}"
        )
    if any(step < 0 or step % out.itemsize for step in out.strides):
        raise ValueError(
            "out must have positive strides of whole numbers; pass an array that is not reversed "
            "and no field of a structured one"
        )
    if not out.flags.writeable:
        raise ValueError("out is read-only; open a memmap with mode='w+' or 'r+'")


def _xarray_maker() -> Any:
    try:
        from xarray import DataArray
    except ImportError as error:
        raise ImportError(
            'output="xarray" needs xarray: pip install "skgeo-embed[grids]"'
        ) from error
    return DataArray


def numbered_names(prefix: str, count: int) -> list[str]:
    """Names with a number each, the same for a column however many there are."""
    return [f"{prefix}{i:03d}" for i in range(count)]
