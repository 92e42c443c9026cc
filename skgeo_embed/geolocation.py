"""Geolocation of images, by matching them with candidate places."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._fitting import whole_fit
from skgeo_embed._html import NotebookMixin
from skgeo_embed._sphere import golden_spiral, great_circle_km
from skgeo_embed.encoders.model_mixin import HUB_CONSTRAINTS, ModelMixin
from skgeo_embed.encoders.satclip import SatCLIPEncoder
from skgeo_embed.encoders.satclip_image import SatCLIPImageEncoder
from skgeo_embed.models.registry import DEFAULT_IMAGE_MODEL
from skgeo_embed.places.reading import read_coordinates

if TYPE_CHECKING:
    import torch

CHUNK = 8_192  # candidates compared at a time
IMAGES = 512  # compared at a time
ENCODED_CHUNK = 8 * CHUNK  # candidates embedded at a time where embeddings are not kept
KEPT_BYTES = 256 * 2**20  # embeddings of candidates are kept up to this size


class ImageGeolocator(ModelMixin, NotebookMixin, BaseEstimator):
    """Guess where images were taken, by matching them with candidate places.

    The image tower embeds the image, the location tower embeds the candidates, and the
    candidates are ranked by cosine similarity over the model's temperature.

    Parameters
    ----------
    model : str, path-like, SatCLIP module or fitted SatCLIPPretrainer, \
default="bluemarble-l10"
        A model with both towers: a name, a hub repository, a folder, a SatCLIP checkpoint, or a
        fitted pretrainer. Where estimators are cloned, as in searches, pass the pretrainer's
        `model_`, which keeps its weights.
    n_candidates : int, default=100_000
        Number of places that `fit` spreads evenly over the Earth if it is given no candidates;
        neighbours are about ``22_600 / sqrt(n_candidates)`` km apart.
    radius_km : float, default=None
        `score` returns the share of images within this distance; with None it returns the negated
        median great-circle error.
    vision_tower : torch.nn.Module, default=None
        As for :class:`SatCLIPImageEncoder`.
    resize : bool, default=False
        As for :class:`SatCLIPImageEncoder`.
    device : str or torch.device, default=None
        Where to compute; None takes the first available of cuda, mps and cpu.
    batch_size : int, default=64
        Images encoded at a time.
    revision, cache_dir, token, local_files_only, allow_pickle
        As for :class:`SatCLIPEncoder`.

    Attributes
    ----------
    candidates_ : ndarray of shape (n_candidates, 2)
        Longitude and latitude of the candidates, degrees.
    location_encoder_, image_encoder_ : SatCLIPEncoder, SatCLIPImageEncoder
        Encoders of places and of images.
    temperature_ : float
        Divisor of the similarities.

    Examples
    --------
    >>> from skgeo_embed import ImageGeolocator
    >>> from skgeo_embed.datasets import load_blue_marble
    >>> tiles = load_blue_marble(20, tile_size=16, km_per_pixel=20, random_state=3)
    >>> geolocator = ImageGeolocator(n_candidates=2000).fit()
    >>> geolocator.predict(tiles.images).shape
    (20, 2)
    >>> places, probability = geolocator.predict_top_k(tiles.images, k=3)
    >>> places.shape, probability.shape
    ((20, 3, 2), (20, 3))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": "no_validation",
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "radius_km": [Interval(Real, 0, None, closed="neither"), None],
        "vision_tower": "no_validation",
        "resize": ["boolean"],
        "device": "no_validation",
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        **HUB_CONSTRAINTS,
        "allow_pickle": ["boolean"],
    }

    def __init__(
        self,
        model: Any = DEFAULT_IMAGE_MODEL,
        *,
        n_candidates: int = 100_000,
        radius_km: float | None = None,
        vision_tower: torch.nn.Module | None = None,
        resize: bool = False,
        device: str | torch.device | None = None,
        batch_size: int = 64,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        allow_pickle: bool = False,
    ) -> None:
        self.model = model
        self.n_candidates = n_candidates
        self.radius_km = radius_km
        self.vision_tower = vision_tower
        self.resize = resize
        self.device = device
        self.batch_size = batch_size
        self.revision = revision
        self.cache_dir = cache_dir
        self.token = token
        self.local_files_only = local_files_only
        self.allow_pickle = allow_pickle

    def fit(self, candidates: Any = None, y: Any = None) -> ImageGeolocator:
        """Load both towers and embed the candidates.

        Parameters
        ----------
        candidates : array-like of shape (n_candidates, 2), default=None
            Longitude and latitude in degrees; None spreads `n_candidates` evenly over the Earth.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted geolocator.
        """
        with whole_fit(self) as twin:
            if candidates is None:
                twin.candidates_ = golden_spiral(self.n_candidates)
            else:
                twin.candidates_ = read_coordinates(candidates).lonlat
            twin._open_towers()
            twin._radius_km = self.radius_km
            twin._kept = twin._embeddings_to_keep()
        return self

    def predict(self, images: Any) -> np.ndarray:
        """Return the most probable place of each image.

        Parameters
        ----------
        images : array-like of shape (n, bands, height, width) or list of paths
            Images, as for :class:`SatCLIPImageEncoder`.

        Returns
        -------
        places : ndarray of shape (n, 2)
            Longitude and latitude in degrees.
        """
        return self.predict_top_k(images, k=1)[0][:, 0]

    def predict_top_k(self, images: Any, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """Return the most probable places of each image and their probabilities.

        Parameters
        ----------
        images : array-like of shape (n, bands, height, width) or list of paths
            Images, as for :class:`SatCLIPImageEncoder`.
        k : int, default=5
            Number of places.

        Returns
        -------
        places : ndarray of shape (n, k, 2)
            Longitude and latitude in degrees, most probable first.
        probability : ndarray of shape (n, k)
            Share of the softmax over all candidates.
        """
        check_is_fitted(self)
        if not isinstance(k, Integral) or not 1 <= k <= len(self.candidates_):
            raise ValueError(
                f"k must be an integer between 1 and {len(self.candidates_)} candidates, got {k!r}"
            )
        places, probabilities = [], []
        for embedded in self._embedded(images):
            index, probability = self._best(embedded, int(k))
            places.append(self.candidates_[index])
            probabilities.append(probability)
        return np.concatenate(places), np.concatenate(probabilities)

    def predict_proba(self, images: Any) -> np.ndarray:
        """Return the probability of every candidate for each image.

        Parameters
        ----------
        images : array-like of shape (n, bands, height, width) or list of paths
            Images, as for :class:`SatCLIPImageEncoder`.

        Returns
        -------
        probability : ndarray of shape (n, n_candidates), float32
            Rows sum to one; columns are `candidates_`. It takes 4 · n · n_candidates bytes.
        """
        check_is_fitted(self)
        parts = []
        for embedded in self._embedded(images):
            probability = np.empty((len(embedded), len(self.candidates_)), dtype=np.float32)
            for start, logits in self._logit_chunks(embedded):
                probability[:, start : start + logits.shape[1]] = logits
            probability -= probability.max(axis=1, keepdims=True)
            np.exp(probability, out=probability)
            probability /= probability.sum(axis=1, keepdims=True)
            parts.append(probability)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def score(self, images: Any, coords: Any) -> float:
        """Compare predictions with the true places.

        Parameters
        ----------
        images : array-like of shape (n, bands, height, width) or list of paths
            Images, as for :class:`SatCLIPImageEncoder`.
        coords : array-like of shape (n, 2)
            Their true longitude and latitude in degrees.

        Returns
        -------
        score : float
            The negated median great-circle error in km, or the share of images within
            `radius_km`; more is better.
        """
        check_is_fitted(self)
        truth = read_coordinates(coords).lonlat
        predicted = self.predict(images)
        if len(truth) != len(predicted):
            raise ValueError(f"there are {len(predicted)} images and {len(truth)} coordinates")
        error = great_circle_km(predicted, truth)
        if self._radius_km is None:
            return -float(np.median(error))
        return float(np.mean(error <= self._radius_km))

    def _open_towers(self) -> None:
        from skgeo_embed.models.opening import find_model

        model = self.model
        if isinstance(model, BaseEstimator):
            if not hasattr(type(model), "save_pretrained") or not hasattr(type(model), "score"):
                raise TypeError(
                    f"a {type(model).__name__} does not have two towers; pass a fitted "
                    "SatCLIPPretrainer or its model_, or the name, folder or file of a model."
                )
            check_is_fitted(
                model,
                msg="this %(name)s is not fitted; fit it first. Where estimators are cloned, as in "
                "searches, pass its model_ instead, which keeps its weights.",
            )
            model = model.model_
        found: Any = find_model(model, self._hub_options(), allow_pickle=self.allow_pickle)
        options = {
            name: getattr(self, name)
            for name in ("device", "revision", "cache_dir", "token", "local_files_only")
        }
        options["allow_pickle"] = self.allow_pickle
        self.temperature_ = float(np.exp(-found.logit_scale()))
        self.location_encoder_ = SatCLIPEncoder(
            found, layer="embedding", normalize=True, **options
        ).fit()
        self.image_encoder_ = SatCLIPImageEncoder(
            found,
            vision_tower=self.vision_tower,
            resize=self.resize,
            normalize=True,
            batch_size=self.batch_size,
            **options,
        ).fit()
        for tower in (self.location_encoder_, self.image_encoder_):
            tower.model = self.model  # can be cloned and pickled

    def _embeddings_to_keep(self) -> np.ndarray | None:
        width = len(self.location_encoder_.get_feature_names_out())
        if len(self.candidates_) * width * 4 > KEPT_BYTES:
            return None
        return self.location_encoder_.transform(self.candidates_)

    def _embedded(self, images: Any) -> Iterator[np.ndarray]:
        """Yield the embeddings of some hundred images at a time."""
        held: list[np.ndarray] = []
        for part in self.image_encoder_._iterate(images):
            held.append(part)
            if sum(map(len, held)) >= IMAGES:
                yield np.concatenate(held)
                held = []
        if held:
            yield np.concatenate(held)

    def _best(self, embedded: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the candidates and probabilities of the k best places, each (n, k)."""
        best = np.full((len(embedded), k), -np.inf, dtype=np.float32)
        index = np.zeros((len(embedded), k), dtype=np.int64)
        total = np.full(len(embedded), -np.inf)
        for start, logits in self._logit_chunks(embedded):
            largest = logits.max(axis=1)
            chunk_total = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
            total = np.logaddexp(total, chunk_total)
            kept = min(k, logits.shape[1])
            rows = np.argpartition(-logits, kept - 1, axis=1)[:, :kept]
            best = np.concatenate([best, np.take_along_axis(logits, rows, axis=1)], axis=1)
            index = np.concatenate([index, rows + start], axis=1)
            order = np.argsort(-best, axis=1, kind="stable")[:, :k]
            best = np.take_along_axis(best, order, axis=1)
            index = np.take_along_axis(index, order, axis=1)
        return index, np.exp(best - total[:, None])

    def _logit_chunks(self, embedded: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield similarities over temperature, (n, chunk), chunk by chunk of the candidates.

        Candidates are embedded again if there are too many to keep their embeddings.
        """
        scaled = embedded / np.float32(self.temperature_)
        for start in range(0, len(self.candidates_), ENCODED_CHUNK):
            part = slice(start, start + ENCODED_CHUNK)
            if self._kept is not None:
                places = self._kept[part]
            else:
                places = self.location_encoder_.transform(self.candidates_[part])
            for offset in range(0, len(places), CHUNK):
                yield start + offset, scaled @ places[offset : offset + CHUNK].T

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_kept"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "candidates_"):
            self._kept = self._embeddings_to_keep()  # made again: faster than reading 100 MB

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags
