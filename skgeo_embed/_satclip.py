"""SatCLIP encoders as scikit-learn transformers."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.preprocessing import normalize as unit_rows
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._base import CoordinateTransformer
from skgeo_embed._coordinates import read_axis
from skgeo_embed._images import check_image_array, to_float_images
from skgeo_embed.checkpoints.registry import DEFAULT_MODEL

if TYPE_CHECKING:
    import torch

    from skgeo_embed.nn.location import Layer, LocationEncoder


class SatCLIPEncoder(CoordinateTransformer):
    """Encode longitude and latitude with a SatCLIP location encoder.

    The encoder was pretrained by matching satellite images with the coordinates where they
    were taken [1]_; afterwards a coordinate alone gives a description of the place. The
    default ships inside the package and needs no network.

    Parameters
    ----------
    model : str, path-like or LocationEncoder, default="bluemarble-l10"
        Which encoder: the name of a bundled one, a folder written by
        `SatCLIPPretrainer.save_pretrained`, or a
        :class:`~skgeo_embed.nn.location.LocationEncoder` module.
    layer : {"auto", "embedding", "hidden"}, default="auto"
        The output: "embedding" is the contrastive space, needed to compare with images;
        "hidden" is the representation before it, usually the better feature for a downstream
        model; "auto" takes what the encoder declares as its own default.
    normalize : bool, default=False
        Scale every row to unit length.
    device : str or torch.device, default=None
        Where to compute; None takes cuda, mps or cpu, the first that is there.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the network and of the output. Harmonics are always float64.
    batch_size : int, default=4096
        Points encoded at a time; bounds the memory needed beside the output.
    on_invalid : {"raise", "nan"}, default="raise"
        What to do with NaN, infinite or out-of-range coordinates: raise an error that names
        the rows, or give NaN features for them.

    Attributes
    ----------
    encoder_info_ : dict
        What was loaded: name, source, path, revision, sha256 of the weights, licence,
        training data, sizes, and the layer that is returned.
    n_features_in_ : int
        2.
    feature_names_in_ : ndarray of shape (2,)
        Column names seen in `fit`, where the input had string names.

    See Also
    --------
    SatCLIPImageEncoder : The other tower, for images.
    SatCLIPPretrainer : Train both on your own imagery.

    References
    ----------
    .. [1] K. Klemmer, E. Rolf, C. Robinson, L. Mackey, M. Rußwurm (2025). "SatCLIP: Global,
       General-Purpose Location Embeddings with Satellite Imagery". AAAI. arXiv 2311.17179.

    Examples
    --------
    >>> from skgeo_embed import SatCLIPEncoder
    >>> encoder = SatCLIPEncoder(layer="embedding").fit()
    >>> encoder.transform([[7.83, 36.83], [-122.3, 38.5]]).shape
    (2, 256)

    In a pipeline:

    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import Pipeline
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> model = Pipeline([("emb", SatCLIPEncoder()), ("reg", Ridge())]).fit(X, y)
    >>> bool(model.score(X, y) > 0.8)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": "no_validation",  # everything about it is said while opening it
        "layer": [StrOptions({"auto", "embedding", "hidden"})],
        "normalize": ["boolean"],
        "device": "no_validation",
        "dtype": [StrOptions({"float32", "float64"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "on_invalid": [StrOptions({"raise", "nan"})],
    }

    def __init__(
        self,
        model: str | Path | LocationEncoder = DEFAULT_MODEL,
        *,
        layer: Literal["auto", "embedding", "hidden"] = "auto",
        normalize: bool = False,
        device: str | torch.device | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        batch_size: int = 4096,
        on_invalid: Literal["raise", "nan"] = "raise",
    ) -> None:
        self.model = model
        self.layer = layer
        self.normalize = normalize
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.on_invalid = on_invalid

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

    def _prepare(self) -> None:
        from skgeo_embed.checkpoints.loading import open_location_encoder

        self._encoder = open_location_encoder(self.model)
        layer = self._encoder.default_layer if self.layer == "auto" else self.layer
        self.encoder_info_ = {**self._encoder.info, "layer": layer}

    def _encode(self, lonlat: np.ndarray) -> np.ndarray:
        features = self._encoder.engine.encode(lonlat, **self._engine_options())
        return unit_rows(features, copy=False) if self.normalize else features

    def _engine_options(self) -> dict[str, Any]:
        layer: Layer = self.encoder_info_["layer"]
        return {
            "layer": layer,
            "device": self.device,
            "dtype": self.dtype,
            "batch_size": self.batch_size,
        }

    def _feature_names(self) -> list[str]:
        width = self._encoder.engine.module.output_dim(self.encoder_info_["layer"])
        return numbered_names("satclip", width)

    def _output_dtype(self) -> str:
        return self.dtype

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        return tags


class SatCLIPImageEncoder(TransformerMixin, BaseEstimator):
    """Encode satellite images into the embedding space of a location encoder.

    Parameters
    ----------
    model : str, path-like or torch.nn.Module
        A folder written by `SatCLIPPretrainer.save_pretrained`, or a vision tower that maps
        (n, bands, height, width) to (n, d).
    vision_tower : torch.nn.Module, default=None
        The tower that the weights of `model` are loaded into, where it was a module of your
        own when it was saved.
    normalize : bool, default=False
        Scale every row to unit length.
    device : str or torch.device, default=None
        Where to compute; None takes cuda, mps or cpu, the first that is there.
    batch_size : int, default=64
        Images encoded at a time.

    Attributes
    ----------
    encoder_info_ : dict
        What was loaded: name, source and path.

    See Also
    --------
    SatCLIPEncoder : The other tower, for coordinates.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skgeo_embed import SatCLIPImageEncoder
    >>> tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 8))
    >>> SatCLIPImageEncoder(tower).fit().transform(np.zeros((5, 3, 4, 4))).shape
    (5, 8)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": "no_validation",
        "vision_tower": "no_validation",
        "normalize": ["boolean"],
        "device": "no_validation",
        "batch_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        model: str | Path | torch.nn.Module,
        *,
        vision_tower: torch.nn.Module | None = None,
        normalize: bool = False,
        device: str | torch.device | None = None,
        batch_size: int = 64,
    ) -> None:
        self.model = model
        self.vision_tower = vision_tower
        self.normalize = normalize
        self.device = device
        self.batch_size = batch_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any = None, y: Any = None) -> SatCLIPImageEncoder:
        """Load the tower and check the images.

        Parameters
        ----------
        X : array-like of shape (n, bands, height, width), default=None
            Images; None skips the check.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        from skgeo_embed.checkpoints.loading import open_vision_tower

        if X is not None:
            check_image_array(X)
        self._tower, self.encoder_info_ = open_vision_tower(self.model, self.vision_tower)
        probe = check_image_array(X)[:1] if X is not None else None
        self._n_features_out = None if probe is None else self._run(probe).shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Encode images.

        Parameters
        ----------
        X : array-like of shape (n, bands, height, width)
            Images; uint8 is scaled by 1/255, other integers by 1/10000 (Sentinel-2 digital
            numbers), floats are taken as they are.

        Returns
        -------
        embeddings : ndarray of shape (n, d), float32
            One row per image.

        Raises
        ------
        ImageError
            If the images have the wrong rank, type or number of bands; a ValueError.
        """
        check_is_fitted(self)
        embeddings = self._run(check_image_array(X))
        self._n_features_out = embeddings.shape[1]
        return unit_rows(embeddings, copy=False) if self.normalize else embeddings

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the output columns, known once images have been seen.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str objects
            One name per output column.
        """
        check_is_fitted(self)
        if self._n_features_out is None:
            raise ValueError(
                "the number of columns is not known yet; call fit(images) or transform first."
            )
        return np.asarray(numbered_names("satclip_image", self._n_features_out), dtype=object)

    def _run(self, images: np.ndarray) -> np.ndarray:
        from skgeo_embed.nn.inference import encode_images

        return encode_images(self._tower, self._batches(images), self.device)

    def _batches(self, images: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(images), self.batch_size):
            yield to_float_images(np.asarray(images[start : start + self.batch_size]))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def numbered_names(prefix: str, count: int) -> list[str]:
    digits = max(3, len(str(count - 1)))
    return [f"{prefix}{i:0{digits}d}" for i in range(count)]
