"""Image towers of SatCLIP models as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import normalize as unit_rows
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._errors import ImageError
from skgeo_embed._fitting import whole_fit
from skgeo_embed._html import NotebookMixin
from skgeo_embed.encoders.model_mixin import HUB_CONSTRAINTS, ModelMixin
from skgeo_embed.encoders.network import numbered_names
from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.images.files import image_batches, is_path_list
from skgeo_embed.images.pixels import (
    check_image_array,
    looks_like_digital_numbers,
    prepare_batch,
    warn_of_digital_numbers,
)

if TYPE_CHECKING:
    import torch

    from skgeo_embed.models.loaded import LoadedTower


@share_docs
class SatCLIPImageEncoder(ModelMixin, NotebookMixin, TransformerMixin, BaseEstimator):
    """Encode satellite images into the embedding space of a location encoder.

    Parameters
    ----------
    model : str, path-like or torch.nn.Module
        Whatever :class:`SatCLIPEncoder` takes, if it holds an image tower: a bundled name or a
        SatCLIP checkpoint's, a hub repository, a folder, a file; or a vision tower that maps
        (n, bands, height, width) to (n, d).
    vision_tower : torch.nn.Module, default=None
        The tower that the weights of `model` are loaded into, if it was a module of your own
        when it was saved.
    resize : bool, default=False
        Resize images to the size that the tower insists on instead of cutting out their
        centre.
    {normalize}
    {device}
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
    numbers), floats are not scaled. Where a tower takes the 13 bands of Sentinel-2 and
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
        "allow_pickle": ["boolean"],
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
        from skgeo_embed.models.opening import open_image_tower

        with whole_fit(self) as twin:
            images = None if X is None else twin._read(X)
            twin._keep(
                open_image_tower(
                    self.model,
                    self.vision_tower,
                    options=self._hub_options(),
                    allow_pickle=self.allow_pickle,
                )
            )
            config = getattr(twin._loaded.engine.tower, "config", {})
            twin._n_features_out = config.get("embed_dim")
            if images is not None:
                twin._n_features_out = next(twin._run(images[:1])).shape[1]
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
        return np.concatenate(list(self._iterate(X)))

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

    def _iterate(self, X: Any) -> Iterator[np.ndarray]:
        """Encode images batch after batch, for more of them than memory holds."""
        for embeddings in self._run(self._read(X)):
            yield unit_rows(embeddings, copy=False) if self._options.normalize else embeddings

    def _keep(self, tower: LoadedTower) -> None:
        from skgeo_embed.nn.inference.images import ImageOptions
        from skgeo_embed.nn.inference.options import chosen_device

        self._options = ImageOptions(
            chosen_device(self.device), self.batch_size, self.normalize, self.resize
        )
        self._loaded = tower
        self.encoder_info_ = tower.info

    def _read(self, X: Any) -> Any:
        if is_path_list(X):
            return [X] if isinstance(X, (str, PathLike)) else list(X)
        if isinstance(X, (list, tuple)) and X and all(np.ndim(image) == 3 for image in X):
            return [check_image_array(np.ma.asanyarray(image)[None])[0] for image in X]
        if isinstance(X, (list, tuple)) and any(isinstance(image, (str, PathLike)) for image in X):
            raise ImageError("paths and images are mixed in one list; pass either.")
        return check_image_array(X)

    def _run(self, images: Any) -> Iterator[np.ndarray]:
        try:
            yield from self._loaded.engine.encode(self._batches(images), self._options.device)
        except RuntimeError as error:
            if isinstance(error, ImageError):
                raise
            raise ImageError(
                f"the image tower {type(self._loaded.engine.tower).__name__} cannot take these "
                f"images: {error}"
            ) from error

    def _batches(self, images: Any) -> Iterator[np.ndarray]:
        from tqdm.auto import tqdm

        config = getattr(self._loaded.engine.tower, "config", {})
        bands, size = config.get("in_channels"), config.get("image_size")
        options = self._options
        side = None if options.resize else size
        warned, first = False, 0
        with tqdm(total=len(images), unit="image", delay=5, disable=None, leave=False) as progress:
            for batch in image_batches(images, options.batch_size, side):
                prepared = prepare_batch(
                    batch, in_channels=bands, image_size=size, resize=options.resize, first=first
                )
                if not warned:
                    for position, image in enumerate(batch, start=first):
                        if looks_like_digital_numbers(image, bands):
                            warn_of_digital_numbers(f"image {position}", float(image.max()))
                            warned = True
                            break
                yield prepared
                first += len(batch)
                progress.update(len(batch))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
