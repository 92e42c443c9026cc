"""The scikit-learn face of pretraining."""

from __future__ import annotations

import copy
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._coordinates import read_coordinates
from skgeo_embed._errors import ImageError
from skgeo_embed._images import check_finite_images, check_image_array, prepare_batch
from skgeo_embed._satclip import SatCLIPEncoder
from skgeo_embed._satclip_image import SatCLIPImageEncoder
from skgeo_embed._sharing import PushMixin

if TYPE_CHECKING:
    import lightning.pytorch as lightning
    import torch
    from torch.utils.data import Dataset

    from skgeo_embed.nn.two_tower import SatCLIP


class SatCLIPPretrainer(PushMixin, BaseEstimator):
    """Pretrain a location encoder on images and the coordinates where they were taken.

    Two towers are trained so that an image and its coordinates get similar embeddings, and
    other pairs of the batch do not (SatCLIP [1]_). Afterwards `location_encoder_` encodes
    coordinates alone.

    Parameters
    ----------
    legendre_polys : int, default=10
        L, the number of Legendre polynomials of the spherical harmonics; the finest detail is
        about 180° / L.
    embed_dim : int, default=256
        Columns of the embedding.
    hidden_dim : int, default=512
        Width of the location network's hidden layers.
    num_hidden_layers : int, default=2
        Hidden layers of the location network.
    dropout : float, default=0.5
        Dropout before each sine of the location network while training. With a few hundred
        pairs use 0: the sine does not average over dropout, so the network that is trained
        and the one that is used differ.
    vision_tower : str or torch.nn.Module, default="small_cnn"
        The image tower: "small_cnn", "resnet18", "resnet50", "vit_small_patch16", "clip_resnet"
        or "clip_vit" from scratch; or the hub name of MoCo weights, from which the original
        starts: "torchgeo/resnet18_sentinel2_all_moco",
        "torchgeo/resnet50_sentinel2_all_moco" or
        "torchgeo/vit_small_patch16_224_sentinel2_all_moco", downloaded, frozen but for the
        last layer, and fed 13 bands (a zero B10 is inserted where 12 come). Towers of one size
        are fed a crop, random in training. A module must map (n, bands, height, width) to
        (n, d); where d is not `embed_dim`, a linear layer is added. It is copied, not changed.
    max_epochs : int, default=100
        Passes over the training pairs.
    batch_size : int, default=256
        Pairs in a batch; the others of a batch are the negatives.
    learning_rate : float, default=1e-4
        Step size of AdamW.
    weight_decay : float, default=0.01
        Decay of AdamW; none on one-dimensional parameters, biases, norms and the temperature.
    val_fraction : float, default=0.1
        Share of the pairs held out to report validation loss and retrieval; 0 for none.
    augment : bool, default=True
        Crop, flip and blur training images at random.
    coord_jitter : float, default=0.01
        Largest random shift of training coordinates in degrees (0.01° is about 1 km).
    accelerator : str, default="auto"
        Handed to :class:`lightning.pytorch.Trainer`, as are the next four.
    devices : int, str or list, default=1
        Number or names of devices.
    precision : str or int, default="32-true"
        Lightning's name of the arithmetic.
    callbacks : list of lightning.pytorch.Callback, default=None
        More callbacks.
    logger : lightning logger, bool or None, default=None
        None logs nothing and leaves no files.
    random_state : int, RandomState instance or None, default=None
        Seeds weights, split, order, augmentation and dropout. An int gives the same weights
        for the same data on the same machine.
    verbose : int, default=1
        0 is silent, 1 shows a progress bar, 2 prints a line an epoch.

    Attributes
    ----------
    location_encoder_ : SatCLIPEncoder
        The location tower, fitted.
    image_encoder_ : SatCLIPImageEncoder
        The image tower, fitted.
    model_ : skgeo_embed.nn.two_tower.SatCLIP
        Both towers and the temperature, on the CPU.
    history_ : DataFrame
        A row an epoch: epoch, train_loss, val_loss, val_top1 (top-1 retrieval of the place
        among all validation pairs), temperature. Losses are means over batches.

    References
    ----------
    .. [1] K. Klemmer, E. Rolf, C. Robinson, L. Mackey, M. Rußwurm (2025). "SatCLIP: Global,
       General-Purpose Location Embeddings with Satellite Imagery". AAAI. arXiv 2311.17179.

    Examples
    --------
    >>> from skgeo_embed import SatCLIPPretrainer
    >>> from skgeo_embed.datasets import load_blue_marble
    >>> tiles = load_blue_marble(n_tiles=64, tile_size=16, random_state=0)
    >>> pretrainer = SatCLIPPretrainer(
    ...     hidden_dim=64, max_epochs=1, batch_size=32, random_state=0, verbose=0
    ... )
    >>> pretrainer = pretrainer.fit(tiles.images, tiles.coords)
    >>> pretrainer.location_encoder_.transform([[-122.3, 38.5]]).shape
    (1, 256)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "legendre_polys": [Interval(Integral, 1, None, closed="left")],
        "embed_dim": [Interval(Integral, 1, None, closed="left")],
        "hidden_dim": [Interval(Integral, 1, None, closed="left")],
        "num_hidden_layers": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "vision_tower": "no_validation",  # a torch module: not imported for a check
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "val_fraction": [Interval(Real, 0, 1, closed="left")],
        "augment": ["boolean"],
        "coord_jitter": [Interval(Real, 0, None, closed="left")],
        "accelerator": [str],
        "devices": [Integral, str, list],
        "precision": [str, Integral],
        "callbacks": [list, None],
        "logger": "no_validation",
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        legendre_polys: int = 10,
        embed_dim: int = 256,
        hidden_dim: int = 512,
        num_hidden_layers: int = 2,
        dropout: float = 0.5,
        vision_tower: str | torch.nn.Module = "small_cnn",
        max_epochs: int = 100,
        batch_size: int = 256,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.01,
        val_fraction: float = 0.1,
        augment: bool = True,
        coord_jitter: float = 0.01,
        accelerator: str = "auto",
        devices: int | str | list[int] = 1,
        precision: str | int = "32-true",
        callbacks: list[lightning.Callback] | None = None,
        logger: Any = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 1,
    ) -> None:
        self.legendre_polys = legendre_polys
        self.embed_dim = embed_dim
        self.hidden_dim = hidden_dim
        self.num_hidden_layers = num_hidden_layers
        self.dropout = dropout
        self.vision_tower = vision_tower
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.val_fraction = val_fraction
        self.augment = augment
        self.coord_jitter = coord_jitter
        self.accelerator = accelerator
        self.devices = devices
        self.precision = precision
        self.callbacks = callbacks
        self.logger = logger
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, images: Any, coords: Any = None) -> SatCLIPPretrainer:
        """Train both towers.

        Parameters
        ----------
        images : array-like, tensor or memmap of shape (n, bands, height, width), or Dataset
            Images; uint8 is scaled by 1/255, other integers by 1/10000 (Sentinel-2 digital
            numbers), floats are taken as they are. A memory map is read batch by batch. A
            torch map-style Dataset gives ``{"image": (bands, height, width), "point": (lon,
            lat)}``.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the images in degrees; None with a Dataset.

        Returns
        -------
        self : object
            The fitted pretrainer.

        Raises
        ------
        ImageError, CoordinateError
            If the data cannot be used; both are ValueErrors.
        ValueError
            If there are too few pairs, or fewer than a batch.
        """
        import torch

        from skgeo_embed.training.data import split_pairs

        dataset = self._read_pairs(images, coords)
        n_pairs = len(dataset)  # type: ignore[arg-type]
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        generator = torch.Generator().manual_seed(seed)
        train_rows, val_rows = split_pairs(n_pairs, self.val_fraction, generator)
        self._check_sizes(n_pairs, len(train_rows), len(val_rows))
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            model = self._build_model(dataset[0]["image"])
            history = self._train(model, dataset, train_rows, val_rows, generator)
        self._keep(model, history)
        return self

    def score(self, images: Any, coords: Any) -> float:
        """Top-1 retrieval accuracy: how often an image finds its place among the given ones.

        Parameters
        ----------
        images : array-like of shape (n, bands, height, width)
            Images, as for `fit`.
        coords : array-like of shape (n, 2)
            Their longitude and latitude in degrees.

        Returns
        -------
        accuracy : float
            Between 0 and 1; chance is 1 / n.
        """
        import torch

        from skgeo_embed.nn.loss import retrieval_hits

        check_is_fitted(self)
        images, lonlat = read_pairs(images, coords)
        embedded = [
            self.image_encoder_.transform(images),
            self.location_encoder_.transform(lonlat),
        ]
        pictures, places = (
            torch.nn.functional.normalize(torch.from_numpy(rows), dim=1) for rows in embedded
        )
        return float(retrieval_hits(pictures, places).float().mean())

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        licence: str = "other",
        trained_on: str | None = None,
        default_layer: Literal["embedding", "hidden"] = "embedding",
        hub_id: str | None = None,
    ) -> Path:
        """Write both towers, their config and a model card to a folder.

        `SatCLIPEncoder(folder)` and `SatCLIPImageEncoder(folder)` open it.

        Parameters
        ----------
        save_directory : str or path-like
            The folder; made where it does not exist.
        licence : str, default="other"
            SPDX name of the weights' licence.
        trained_on : str, default=None
            What the images were, in a sentence, with the credit they ask for.
        default_layer : {"embedding", "hidden"}, default="embedding"
            What `SatCLIPEncoder(folder)` returns unless asked otherwise.
        hub_id : str, default=None
            The repository that the model card names, where it is going to the hub.

        Returns
        -------
        folder : Path
            Where the files are.
        """
        from skgeo_embed.checkpoints.card import model_card
        from skgeo_embed.checkpoints.folder import write_folder
        from skgeo_embed.checkpoints.towers import describe_tower

        check_is_fitted(self)
        path = Path(save_directory).expanduser()
        last = self.history_.drop(columns="epoch").iloc[-1]
        final = {str(name): float(value) for name, value in last.items()}
        config = {
            "name": path.name,
            "licence": licence,
            "trained_on": trained_on,
            "default_layer": default_layer,
            "location": dict(self.model_.location.config),
            "image": describe_tower(self.model_.visual),
            "training": {**self._plain_params(), "final": final},
        }
        weights = {
            **{f"location.{k}": v for k, v in self.model_.location.state_dict().items()},
            **{f"image.{k}": v for k, v in self.model_.visual.state_dict().items()},
            "logit_scale": self.model_.logit_scale,
        }
        scores = {"Epochs": len(self.history_), **{k: f"{v:.4f}" for k, v in final.items()}}
        card = model_card(
            title=path.name, name=hub_id or path.name, licence=licence, config=config, scores=scores
        )
        write_folder(path, config, weights, card)
        return path

    def _read_pairs(self, images: Any, coords: Any) -> Dataset[Any]:
        from torch.utils.data import Dataset, IterableDataset

        from skgeo_embed.training.data import ArrayPairs

        if isinstance(images, IterableDataset):
            raise TypeError(
                "images is an IterableDataset, which cannot be shuffled or split; pass a map-style "
                "torch Dataset with __len__ and __getitem__, or an array."
            )
        if isinstance(images, Dataset):
            if coords is not None:
                raise ValueError(
                    'images is a Dataset, whose items carry their own "point"; leave coords out.'
                )
            return images
        images, lonlat = read_pairs(images, coords)
        return ArrayPairs(images, lonlat)

    def _check_sizes(self, n_pairs: int, n_train: int, n_val: int) -> None:
        if n_train < 2:
            raise ValueError(
                f"{n_pairs} pair(s) leave {n_train} for training with val_fraction="
                f"{self.val_fraction}, but a contrastive loss needs at least 2; give more pairs."
            )
        if self.val_fraction and n_val < 2:
            raise ValueError(
                f"val_fraction={self.val_fraction} of {n_pairs} pairs leaves {n_val} for "
                "validation, at least 2 are needed; raise it, or pass val_fraction=0."
            )
        if self.batch_size > n_train:
            raise ValueError(
                f"batch_size={self.batch_size} is larger than the {n_train} training pairs "
                f"({n_pairs} less {n_val} for validation); pass batch_size={n_train} or less."
            )

    def _build_model(self, image: torch.Tensor) -> SatCLIP:
        from skgeo_embed.nn.location import LocationEncoder
        from skgeo_embed.nn.two_tower import SatCLIP

        location = LocationEncoder(
            legendre_polys=self.legendre_polys,
            embed_dim=self.embed_dim,
            hidden_dim=self.hidden_dim,
            num_hidden_layers=self.num_hidden_layers,
            dropout=self.dropout,
        )
        return SatCLIP(self._build_tower(image), location)

    def _build_tower(self, image: Any) -> torch.nn.Module:
        import torch

        from skgeo_embed.nn.towers import ProjectedTower
        from skgeo_embed.training.data import as_float_image

        sample = as_float_image(image)
        if not isinstance(self.vision_tower, torch.nn.Module):
            tower = self._named_tower(len(sample))
            config: Any = tower.config
            prepare_batch(
                [sample.numpy()],
                in_channels=config["in_channels"],
                image_size=config.get("image_size"),
            )
            return tower
        tower = copy.deepcopy(self.vision_tower)
        was_training = tower.training
        try:
            with torch.no_grad():
                shape = tuple(tower.eval()(torch.stack([sample, sample])).shape)
        except RuntimeError as error:
            raise ImageError(
                f"the vision tower {type(tower).__name__} cannot take images of shape "
                f"{tuple(sample.shape)} (bands, height, width): {error}"
            ) from error
        tower.train(was_training)
        if len(shape) != 2:
            raise ValueError(
                f"the vision tower {type(tower).__name__} must map (n, bands, height, width) to "
                f"(n, d); it returned shape {shape} for 2 images."
            )
        return (
            tower if shape[1] == self.embed_dim else ProjectedTower(tower, shape[1], self.embed_dim)
        )

    def _named_tower(self, bands: int) -> torch.nn.Module:
        from skgeo_embed.checkpoints.loading import open_backbone
        from skgeo_embed.checkpoints.registry import BACKBONES
        from skgeo_embed.checkpoints.towers import ARCHITECTURES, build_tower
        from skgeo_embed.nn.towers import freeze_all_but_last

        name = self.vision_tower
        if name in BACKBONES:
            return freeze_all_but_last(open_backbone(str(name), self.embed_dim))
        if name not in ARCHITECTURES:
            raise ValueError(
                f"vision_tower must be a torch.nn.Module or one of "
                f"{', '.join(map(repr, [*ARCHITECTURES, *BACKBONES]))}; got {name!r}."
            )
        return build_tower(
            {"architecture": name, "in_channels": bands, "embed_dim": self.embed_dim}
        )

    def _train(
        self,
        model: SatCLIP,
        dataset: Dataset[Any],
        train_rows: list[int],
        val_rows: list[int],
        generator: torch.Generator,
    ) -> pd.DataFrame:
        import lightning.pytorch as lightning

        from skgeo_embed.training.callbacks import EpochPrinter, History, quiet_lightning
        from skgeo_embed.training.data import make_loader
        from skgeo_embed.training.module import ContrastiveTask

        task = ContrastiveTask(
            model,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            augment=self.augment,
            coord_jitter=self.coord_jitter,
        )
        history = History()
        printer = [EpochPrinter()] if self.verbose > 1 else []
        with quiet_lightning():
            trainer = lightning.Trainer(
                max_epochs=self.max_epochs,
                accelerator=self.accelerator,
                devices=self.devices,
                precision=self.precision,  # type: ignore[arg-type]
                callbacks=[history, *printer, *(self.callbacks or [])],
                logger=self.logger or False,
                enable_checkpointing=any(
                    isinstance(callback, lightning.callbacks.ModelCheckpoint)
                    for callback in self.callbacks or []
                ),
                enable_model_summary=False,
                enable_progress_bar=self.verbose == 1,
                num_sanity_val_steps=0,
            )
            trainer.fit(
                task,
                make_loader(dataset, train_rows, self.batch_size, generator),
                make_loader(dataset, val_rows, self.batch_size) if val_rows else None,
            )
        return pd.DataFrame(history.rows)

    def _keep(self, model: SatCLIP, history: pd.DataFrame) -> None:
        self.model_ = model.cpu().eval().requires_grad_(False)
        self.history_ = history
        self.location_encoder_ = SatCLIPEncoder(self.model_.location).fit()
        self.image_encoder_ = SatCLIPImageEncoder(self.model_.visual).fit()

    def _plain_params(self) -> dict[str, Any]:
        plain = (bool, int, float, str)
        return {k: v for k, v in self.get_params(deep=False).items() if isinstance(v, plain)}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def read_pairs(images: Any, coords: Any) -> tuple[np.ndarray, np.ndarray]:
    """Check images and coordinates together."""
    images = check_image_array(images)
    if coords is None:
        raise ValueError(
            "coords are missing: pass the (n, 2) longitude and latitude of the images."
        )
    lonlat = read_coordinates(coords).lonlat
    if len(images) != len(lonlat):
        raise ValueError(
            f"images and coords differ in length: {len(images)} images, {len(lonlat)} coordinates; "
            "row i of both must be one pair."
        )
    check_finite_images(images)
    return images, lonlat
