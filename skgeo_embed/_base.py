"""What every transformer of coordinates has in common."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import chain
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skgeo_embed._coordinates import Coordinates, is_geo, plain, read_axis, read_coordinates
from skgeo_embed._dask import is_dask, sample_of, transform_dask
from skgeo_embed._errors import CoordinateError, InvalidCoordinateWarning
from skgeo_embed._html import NotebookMixin
from skgeo_embed._repeats import Repeats

ROWS_AT_A_TIME = 500_000  # of a long table; bounds the memory needed beside the output


class CoordinateTransformer(NotebookMixin, TransformerMixin, BaseEstimator, ABC):
    """Base of transformers that turn (n, 2) coordinates into (n, d) features.

    Subclasses set `on_invalid` in their constructor and provide `_prepare` (called by `fit`),
    `_encode` for canonical coordinates, `_feature_names` and `_output_dtype`.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {}
    on_invalid: str

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any = None, y: Any = None) -> CoordinateTransformer:
        """Load what the transformer needs and check the coordinates.

        Parameters
        ----------
        X : array-like of shape (n, 2), default=None
            Longitude and latitude in degrees: array, list, tensor, pandas, polars,
            GeoDataFrame or GeoSeries. None skips the check.
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
        if X is None:
            self.n_features_in_ = 2
        else:
            deque(self._read_parts(sample_of(X) if is_dask(X) else X, reset=True), maxlen=0)
        self._prepare()
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Encode coordinates.

        Parameters
        ----------
        X : array-like of shape (n, 2)
            Longitude and latitude in degrees, as for `fit`.

        Returns
        -------
        features : ndarray of shape (n, d), or the frame chosen with `set_output`
            One row of features per row of `X`.

        Raises
        ------
        CoordinateError
            If the coordinates cannot be used; a ValueError.
        """
        check_is_fitted(self)
        if is_dask(X):
            return transform_dask(self, X)
        if self.on_invalid == "raise" and _is_long(X):
            # before hours are spent on the rows above a bad one
            deque(self._read_parts(X, reset=False), maxlen=0)
        parts = self._read_parts(X, reset=False)
        first = next(parts)
        n_rows = len(X) if _is_long(X) else len(first.valid)
        out = np.empty((n_rows, self._width()), dtype=self._output_dtype())
        repeats = Repeats(out, partial(self._encode, out=out))
        end = 0
        for part in chain([first], parts):
            rows = np.arange(end, end + len(part.valid))
            end += len(rows)
            if part.valid.all():
                repeats.encode(part.lonlat, rows)
            else:
                out[rows[~part.valid]] = np.nan
                if part.valid.any():
                    repeats.encode(part.lonlat[part.valid], rows[part.valid])
        return out

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
    def _encode(self, lonlat: np.ndarray, rows: np.ndarray, *, out: np.ndarray) -> None:
        """Write the features of canonical coordinates to rows of `out`."""

    @abstractmethod
    def _feature_names(self) -> list[str]: ...

    def _width(self) -> int:
        return len(self._feature_names())

    def _output_dtype(self) -> Any:
        return np.float64

    def _read_parts(self, X: Any, *, reset: bool) -> Iterator[Coordinates]:
        """Read and check `X`, a part of a long table at a time; at least one part comes."""
        long = _is_long(X)
        if long:
            self._check_columns(X, reset=reset)
        problems = []
        for start in range(0, len(X), ROWS_AT_A_TIME) if long else [0]:
            part = (
                self._read_rows(X, start)
                if long
                else read_coordinates(X, on_invalid=self.on_invalid)
            )
            if part.out_of_range:
                problems.append(part.out_of_range)
            yield part
        if not long:
            self._check_columns(X, reset=reset)
        if problems:
            later = f" {len(problems) - 1} later part(s) of the table have such rows too."
            warnings.warn(
                f"{problems[0]} Their features are NaN.{later * (len(problems) > 1)}",
                InvalidCoordinateWarning,
                stacklevel=4,  # past scikit-learn's wrapper around fit and transform
            )

    def _read_rows(self, X: Any, start: int) -> Coordinates:
        stop = start + ROWS_AT_A_TIME
        rows = X.iloc[start:stop] if hasattr(X, "iloc") else X[start:stop]
        try:
            return read_coordinates(rows, on_invalid=self.on_invalid, first_row=start)
        except CoordinateError:
            read_coordinates(X, on_invalid=self.on_invalid)  # say it about the whole table
            raise

    def _check_columns(self, X: Any, *, reset: bool) -> None:
        """Remember or compare the columns as scikit-learn does; their order is free."""
        known = getattr(self, "feature_names_in_", None)
        if is_geo(X):
            self.n_features_in_ = 2
        elif reset or known is None or set(getattr(X, "columns", ())) != set(known):
            validate_data(self, X, reset=reset, skip_check_array=True)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.on_invalid == "nan"
        tags.input_tags.sparse = False
        return tags


def _is_long(X: Any) -> bool:
    """Say whether `X` is read in parts; what has no length is left to the reader's errors."""
    try:
        return len(X) > ROWS_AT_A_TIME
    except TypeError:
        return False


NETWORK_CONSTRAINTS: dict[str, Any] = {
    "normalize": ["boolean"],
    "device": "no_validation",
    "dtype": [StrOptions({"float32", "float64"})],
    "batch_size": [Interval(Integral, 1, None, closed="left"), None],
    "on_invalid": [StrOptions({"raise", "nan"})],
}


class NetworkTransformer(CoordinateTransformer):
    """Base of transformers that run a loaded network over coordinates.

    Subclasses set `normalize`, `device`, `dtype` and `batch_size` in their constructor, name
    their columns with `_feature_prefix`, and call `_keep` when they prepare.
    """

    _feature_prefix: str
    normalize: bool
    device: Any
    dtype: str
    batch_size: int | None

    def transform_grid(
        self,
        lon: Any,
        lat: Any,
        *,
        out: np.ndarray | None = None,
        output: Literal["numpy", "xarray"] = "numpy",
    ) -> Any:
        """Encode every pair of two axes, far cheaper than point by point.

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
            If `out` has another shape or dtype, or cannot be written to.
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
        if output not in ("numpy", "xarray"):
            raise ValueError(f'output must be "numpy" or "xarray", got {output!r}')
        axes = read_axis(lon, "lon"), read_axis(lat, "lat")
        labels = [np.asarray(plain(axis), dtype=float) for axis in (lon, lat)]  # as they were given
        shape = (len(axes[1]), len(axes[0]), self._width())
        if out is not None:
            _check_out(out, shape, self.dtype)
        make_array = _xarray_maker() if output == "xarray" else None
        features = self._encoder.engine.encode_grid(*axes, out=out, **self._engine_options())
        if out is not None:
            features = out  # a memmap comes back as the memmap that it was
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
            attrs={"model": self.encoder_info_["name"]},
        )

    def _keep(self, encoder: Any, layer: str) -> None:
        encoder.engine.module.output_dim(layer)  # says whether there is such a layer
        self._encoder = encoder
        self.encoder_info_ = {**encoder.info, "layer": layer}

    def _encode(self, lonlat: np.ndarray, rows: np.ndarray, *, out: np.ndarray) -> None:
        self._encoder.engine.encode(lonlat, rows=rows, out=out, **self._engine_options())

    def _engine_options(self) -> dict[str, Any]:
        return {
            "layer": self.encoder_info_["layer"],
            "device": self.device,
            "dtype": self.dtype,
            "batch_size": self.batch_size,
            "unit_length": self.normalize,
        }

    def _width(self) -> int:
        return self._encoder.engine.module.output_dim(self.encoder_info_["layer"])

    def _feature_names(self) -> list[str]:
        return numbered_names(self._feature_prefix, self._width())

    def _output_dtype(self) -> str:
        return self.dtype

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        return tags


def _check_out(out: Any, shape: tuple[int, ...], dtype: str) -> None:
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
        raise ImportError('output="xarray" needs xarray: pip install xarray') from error
    return DataArray


def numbered_names(prefix: str, count: int) -> list[str]:
    """Names with a number each, the same for a column however many there are."""
    return [f"{prefix}{i:03d}" for i in range(count)]
