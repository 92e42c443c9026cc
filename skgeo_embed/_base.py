"""What every transformer of coordinates has in common."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.preprocessing import normalize as unit_rows
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skgeo_embed._coordinates import Coordinates, is_geo, read_axis, read_coordinates
from skgeo_embed._errors import InvalidCoordinateWarning


class CoordinateTransformer(TransformerMixin, BaseEstimator, ABC):
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
            self._read(X, reset=True)
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
        coordinates = self._read(X, reset=False)
        if coordinates.valid.all():
            return self._encode(coordinates.lonlat)
        width = len(self._feature_names())
        features = np.full((len(coordinates.valid), width), np.nan, dtype=self._output_dtype())
        if coordinates.valid.any():
            features[coordinates.valid] = self._encode(coordinates.lonlat[coordinates.valid])
        return features

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
    def _encode(self, lonlat: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _feature_names(self) -> list[str]: ...

    def _output_dtype(self) -> Any:
        return np.float64

    def _read(self, X: Any, *, reset: bool) -> Coordinates:
        coordinates = read_coordinates(X, on_invalid=self.on_invalid)
        self._check_columns(X, reset=reset)
        if coordinates.out_of_range:
            warnings.warn(
                f"{coordinates.out_of_range} Their features are NaN.",
                InvalidCoordinateWarning,
                stacklevel=4,  # past scikit-learn's wrapper around fit and transform
            )
        return coordinates

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


NETWORK_CONSTRAINTS: dict[str, Any] = {
    "normalize": ["boolean"],
    "device": "no_validation",
    "dtype": [StrOptions({"float32", "float64"})],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
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
    batch_size: int

    def transform_grid(self, lon: Any, lat: Any) -> np.ndarray:
        """Encode every pair of two axes, far cheaper than point by point.

        Parameters
        ----------
        lon : array-like of shape (n_lon,)
            Longitudes in degrees.
        lat : array-like of shape (n_lat,)
            Latitudes in degrees.

        Returns
        -------
        features : ndarray of shape (n_lat, n_lon, d)
            ``features[i, j]`` is the encoding of ``(lon[j], lat[i])``.

        Raises
        ------
        CoordinateError
            If an axis is not one-dimensional, or has missing or out-of-range values.

        Examples
        --------
        >>> import numpy as np
        >>> from skgeo_embed import SatCLIPEncoder
        >>> encoder = SatCLIPEncoder(layer="embedding").fit()
        >>> encoder.transform_grid(np.arange(-180, 180, 10), np.arange(-80, 81, 10)).shape
        (17, 36, 256)
        """
        check_is_fitted(self)
        features = self._encoder.engine.encode_grid(
            read_axis(lon, "lon"), read_axis(lat, "lat"), **self._engine_options()
        )
        if self.normalize:
            unit_rows(features.reshape(-1, features.shape[-1]), copy=False)
        return features

    def _keep(self, encoder: Any, layer: str) -> None:
        encoder.engine.module.output_dim(layer)  # says whether there is such a layer
        self._encoder = encoder
        self.encoder_info_ = {**encoder.info, "layer": layer}

    def _encode(self, lonlat: np.ndarray) -> np.ndarray:
        features = self._encoder.engine.encode(lonlat, **self._engine_options())
        return unit_rows(features, copy=False) if self.normalize else features

    def _engine_options(self) -> dict[str, Any]:
        return {
            "layer": self.encoder_info_["layer"],
            "device": self.device,
            "dtype": self.dtype,
            "batch_size": self.batch_size,
        }

    def _feature_names(self) -> list[str]:
        width = self._encoder.engine.module.output_dim(self.encoder_info_["layer"])
        return numbered_names(self._feature_prefix, width)

    def _output_dtype(self) -> str:
        return self.dtype

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        return tags


def numbered_names(prefix: str, count: int) -> list[str]:
    """Names with a number each, the same for a column however many there are."""
    return [f"{prefix}{i:03d}" for i in range(count)]
