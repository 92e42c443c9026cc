"""Image towers of SatCLIP models as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.preprocessing import normalize as unit_rows
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._base import numbered_names
from skgeo_embed._html import NotebookMixin
from skgeo_embed._hub_parameters import HUB_CONSTRAINTS, hub_options, without_token
from skgeo_embed._images import check_image_array, image_batches, is_path_list, prepare_batch
from skgeo_embed._sharing import OpenMixin

if TYPE_CHECKING:
    import torch


class SatCLIPImageEncoder(OpenMixin, NotebookMixin, TransformerMixin, BaseEstimator):
    """Encode satellite images into the embedding space of a location encoder.

    Parameters
    ----------
    model : str, path-like or torch.nn.Module
        Whatever :class:`SatCLIPEncoder` takes, if it holds an image tower: a bundled or
        published name, a hub repository, a folder, a checkpoint; or a vision tower that maps
        (n, bands, height, width) to (n, d).
    vision_tower : torch.nn.Module, default=None
        The tower that the weights of `model` are loaded into, where it was a module of your
        own when it was saved.
    resize : bool, default=False
        Resize images to the size that the tower insists on instead of cutting out their
        centre.
    normalize : bool, default=False
        Scale every row to unit length.
    device : str or torch.device, default=None
        Where to compute; None takes cuda, mps or cpu, the first that is there.
    batch_size : int, default=64
        Images encoded at a time.
    revision, cache_dir, token, local_files_only, allow_pickle
        As for :class:`SatCLIPEncoder`.

    Attributes
    ----------
    encoder_info_ : dict
        What was loaded: name, source, path and sha256.

    Notes
    -----
    Images are scaled by type: uint8 by 1/255, other integers by 1/10000 (Sentinel-2 digital
    numbers), floats are taken as they are. Where a tower takes the 13 bands of Sentinel-2 and
    12 come, a zero B10 is inserted at index 10, as SatCLIP was trained.

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
        "resize": ["boolean"],
        "normalize": ["boolean"],
        "device": "no_validation",
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        **HUB_CONSTRAINTS,
    }

    def __init__(
        self,
        model: str | Path | torch.nn.Module,
        *,
        vision_tower: torch.nn.Module | None = None,
        resize: bool = False,
        normalize: bool = False,
        device: str | torch.device | None = None,
        batch_size: int = 64,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        allow_pickle: bool = False,
    ) -> None:
        self.model = model
        self.vision_tower = vision_tower
        self.resize = resize
        self.normalize = normalize
        self.device = device
        self.batch_size = batch_size
        self.revision = revision
        self.cache_dir = cache_dir
        self.token = token
        self.local_files_only = local_files_only
        self.allow_pickle = allow_pickle

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any = None, y: Any = None) -> SatCLIPImageEncoder:
        """Load the tower and check the images.

        Parameters
        ----------
        X : array-like of shape (n, bands, height, width) or list of paths, default=None
            Images, as for `transform`; None skips the check.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        from skgeo_embed.checkpoints.loading import open_vision_tower

        images = None if X is None else self._read(X)
        self._tower, self.encoder_info_ = open_vision_tower(
            self.model, self.vision_tower, hub_options(self), self.allow_pickle
        )
        self._n_features_out = getattr(self._tower, "config", {}).get("embed_dim")
        if images is not None:
            self._n_features_out = self._run(images[:1]).shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Encode images.

        Parameters
        ----------
        X : array-like of shape (n, bands, height, width) or list of paths
            Images, or GeoTIFF files of them (read with rasterio).

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
        embeddings = self._run(self._read(X))
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

    def _read(self, X: Any) -> Any:
        if is_path_list(X):
            return [X] if isinstance(X, (str, PathLike)) else list(X)
        if isinstance(X, (list, tuple)) and X and all(np.ndim(image) == 3 for image in X):
            return [check_image_array(np.asarray(image)[None])[0] for image in X]
        return check_image_array(X)

    def _run(self, images: Any) -> np.ndarray:
        from skgeo_embed.nn.inference import encode_images

        return encode_images(self._tower, self._batches(images), self.device)

    def _batches(self, images: Any) -> Iterator[np.ndarray]:
        from tqdm.auto import tqdm

        config = getattr(self._tower, "config", {})
        with tqdm(total=len(images), unit="image", delay=5, disable=None, leave=False) as progress:
            for batch in image_batches(images, self.batch_size):
                yield prepare_batch(
                    batch,
                    in_channels=config.get("in_channels"),
                    image_size=config.get("image_size"),
                    resize=self.resize,
                )
                progress.update(len(batch))

    def __getstate__(self) -> dict[str, Any]:
        return without_token(super().__getstate__())

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags
