"""The scikit-learn face of pretraining."""

from __future__ import annotations

import inspect
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._html import NotebookMixin
from skgeo_embed.encoders.model_mixin import PushMixin
from skgeo_embed.encoders.satclip import SatCLIPEncoder
from skgeo_embed.encoders.satclip_image import SatCLIPImageEncoder

if TYPE_CHECKING:
    import lightning.pytorch as lightning
    import torch
    from torch.utils.data import Dataset

    from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
    from skgeo_embed.nn.two_tower import SatCLIP
    from skgeo_embed.pretraining.run import CheckpointPlan

_NATURAL = Interval(Integral, 1, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")


class SatCLIPPretrainer(PushMixin, NotebookMixin, BaseEstimator):
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
    positional_encoding : str, default="sphericalharmonics"
        What the location network is given: "sphericalharmonics", or another kind of
        :class:`PositionalEncoder`, for which `legendre_polys` does not matter.
    harmonics_calculation : {"analytic", "closed-form", "discretized"}, default="analytic"
        Normalisation of the harmonics.
    n_frequencies, min_radius, max_radius : int, float, float, default=16, 1, 360
        Of the multi-scale encodings ("grid", "theory", "spherec", ...), degrees.
    network : {"siren", "mlp", "fcnet", "linear"}, default="siren"
        The location network.
    feature_grid : FeatureGrid, default=None
        A table of features over the sphere that the location network reads beside the harmonics:
        what a place looks like, where harmonics know only roughly where it is. For instance
        :func:`skgeo_embed.pretraining.content.earth_grid`; with ``storage="float32"`` it is
        learned. It is copied; the network's first layer then starts as
        :meth:`skgeo_embed.nn.location.LocationEncoder.mix_content` draws it.
    fine_waves : dict, default=None
        Waves beside the harmonics that tell places of one city apart, where imagery cannot:
        ``{"count": 128, "longest_km": 156, "shortest_km": 5}``. They count little, and are not
        trained: see :class:`~skgeo_embed.nn.encodings.fine_waves.FineWaves`.
    spectral_decay : float, default=0.0
        How the first layer's initial weights fall with the degree l of the harmonics:
        (1 + l / 2) to the power of minus this. A smooth start that fine detail can grow on.
    hidden_scale : float, default=1.0
        What the hidden layer is multiplied by when it is given out as features. It does not
        change the training, but what a penalty of fixed strength does: a thousand features of
        size 1 make ``Ridge()`` overfit a few thousand rows, of size 0.1 they do not.
    temperature : float, default=0.07
        What similarities are divided by in the loss, at first.
    learn_temperature : bool, default=True
        Whether it is learned, or stays.
    min_temperature : float, default=0.0
        Floor of a learned one. A low temperature drives an encoder into fine detail.
    soft_targets : float, default=0.0
        Temperature of targets that are softened by how alike the images look (band means,
        deviations and 3 × 3 means), so that look-alikes are not negatives; 0 for plain ones.
    auxiliary_weight : float, default=0.0
        Weight of the auxiliary regressions: ridges fitted in closed form on the hidden layer to
        few or many points of a batch, to predict image summaries, kinds of image, latitude and
        cells of the sphere at others, half of the time in caps that were held out
        (:class:`~skgeo_embed.nn.objectives.auxiliary.RidgeEpisodes`). The hidden layer becomes
        the better feature by it. Batches of 1,000 and more are worth it.
    vision_tower : str, dict or torch.nn.Module, default="small_cnn"
        The image tower: "small_cnn", "clip_resnet" or "clip_vit" from scratch; or "resnet18",
        "resnet50" or "vit_small_patch16" with MoCo weights for Sentinel-2, downloaded from
        the hub, frozen but for the last layer, and fed 13 bands (a zero B10 is inserted where
        12 come). A dict names an ``"architecture"`` to train from scratch and its arguments,
        such as ``{"architecture": "clip_vit", "depth": 4, "width": 128}``. A module must map
        (n, bands, height, width) to (n, d); where d is not `embed_dim`, a linear layer is
        added. It is copied, not changed; what is frozen in it stays so.
    crop_size : int, default=None
        Side in pixels of the square that is cut out of each image, at random in training.
        None takes the size that the tower insists on, or the whole image.
    max_epochs : int, default=100
        Passes over the training pairs.
    batch_size : int, default=256
        Pairs in a batch, over all processes together; the others of a batch are the negatives.
    micro_batch_size : int, default=None
        Pairs whose activations are in memory at a time; the gradient is still that of the
        whole batch, and the time about a third more. A batch norm that trains sees
        micro-batches. None for all at once.
    learning_rate : float, default=1e-4
        Step size of AdamW.
    weight_decay : float, default=0.01
        Decay of AdamW; none on one-dimensional parameters, biases, norms and the temperature.
    warmup_epochs : float, default=0
        Over which the learning rate rises from 0.
    lr_schedule : {"constant", "cosine"}, default="constant"
        The learning rate after the warm-up; "cosine" ends at 0.
    val_fraction : float, default=0.1
        Share of the pairs held out to report validation loss and retrieval; 0 for none.
    augment : bool, default=True
        Crop, flip and blur training images at random.
    coord_jitter : float, default=0.01
        Largest random shift of training coordinates in degrees (0.01° is about 1 km).
    feature_cache : "auto", path-like or None, default="auto"
        Where the features of a frozen vision tower are kept, so that each image goes through
        it `n_views` times instead of every epoch, and not again in the next run. "auto" uses
        the user's cache folder (environment variable SKGEO_EMBED_CACHE), if the tower is
        frozen but for a last layer `head` or `fc`; None does without.
    n_views : int, default=4
        Views of an image in the feature cache: the image itself and ``n_views - 1``
        augmented ones. Every epoch shows the next. Just one if `augment` is False.
    on_bad_image : {"raise", "skip"}, default="raise"
        What to do about image files that cannot be read, hold no data or are too small: stop
        before training, or leave them out and list them in `bad_images_`.
    num_workers : int, default=0
        Processes that read batches; files are read by several threads in any case.
    checkpoint_dir : path-like, default=None
        Folder for ``last.ckpt`` and ``best.ckpt`` (lowest validation loss). None writes none.
    checkpoint_every_n_epochs : int, default=1
        How often ``last.ckpt`` is written.
    checkpoint_every_n_steps : int, default=None
        Instead, count steps.
    resume : "auto", path-like or None, default=None
        "auto" continues the run in `checkpoint_dir` where there is one: killed at any time, a
        seeded run on the CPU ends with the weights that it would have had. A path is the
        checkpoint to go on from.
    accelerator : str, default="auto"
        Handed to :class:`lightning.pytorch.Trainer`, as are the next six.
    devices : int, str or list, default=1
        Number or names of devices, a process each.
    num_nodes : int, default=1
        Number of machines.
    strategy : str or lightning strategy, default="auto"
        How processes work together, such as "ddp". Each computes its share of a batch and
        tells its pairs from those of all.
    precision : str or int, default="32-true"
        Lightning's name of the arithmetic. Half precision only as "16-mixed" or "bf16-mixed":
        coordinates need more.
    callbacks : list of lightning.pytorch.Callback, default=None
        More callbacks, such as ``EarlyStopping("val_loss", patience=10)``.
    logger : lightning logger, list of them, str, bool or None, default=None
        A logger, or the name of Lightning's: "CSVLogger", "TensorBoardLogger" or
        "WandbLogger", which write to `checkpoint_dir` or the working directory. None logs
        nothing and leaves no files.
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
        A row an epoch: `epoch`; `train_loss`, the mean over batches, and `train_auxiliary`, the
        mean error of the auxiliary regressions; of the validation pairs `val_loss`, `val_top1`
        and `val_top5` (how often an image finds its place first, or among the first five,
        among all of them), `val_place_top1` and `val_place_top5` (how often a place finds its
        image), `val_median_km` (median distance between a place and the one that its image is
        closest to); `temperature` and `learning_rate`.
    bad_images_ : DataFrame
        Image files left out: `file` and `reason`.

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
        "legendre_polys": [_NATURAL],
        "embed_dim": [_NATURAL],
        "hidden_dim": [_NATURAL],
        "num_hidden_layers": [_NATURAL],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "positional_encoding": [str],
        "harmonics_calculation": [StrOptions({"analytic", "closed-form", "discretized"})],
        "n_frequencies": [_NATURAL],
        "min_radius": [_POSITIVE],
        "max_radius": [_POSITIVE],
        "network": [StrOptions({"siren", "mlp", "fcnet", "linear"})],
        "feature_grid": "no_validation",
        "fine_waves": [dict, None],
        "spectral_decay": [_NOT_NEGATIVE],
        "hidden_scale": [_POSITIVE],
        "temperature": [_POSITIVE],
        "learn_temperature": ["boolean"],
        "min_temperature": [_NOT_NEGATIVE],
        "soft_targets": [_NOT_NEGATIVE],
        "auxiliary_weight": [_NOT_NEGATIVE],
        "vision_tower": "no_validation",  # a torch module: not imported for a check
        "crop_size": [_NATURAL, None],
        "max_epochs": [_NATURAL],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "micro_batch_size": [_NATURAL, None],
        "learning_rate": [_POSITIVE],
        "weight_decay": [_NOT_NEGATIVE],
        "warmup_epochs": [_NOT_NEGATIVE],
        "lr_schedule": [StrOptions({"constant", "cosine"})],
        "val_fraction": [Interval(Real, 0, 1, closed="left")],
        "augment": ["boolean"],
        "coord_jitter": [_NOT_NEGATIVE],
        "feature_cache": [str, Path, None],
        "n_views": [_NATURAL],
        "on_bad_image": [StrOptions({"raise", "skip"})],
        "num_workers": [Interval(Integral, 0, None, closed="left")],
        "checkpoint_dir": [str, Path, None],
        "checkpoint_every_n_epochs": [_NATURAL],
        "checkpoint_every_n_steps": [_NATURAL, None],
        "resume": [str, Path, None],
        "accelerator": [str],
        "devices": [Integral, str, list],
        "num_nodes": [_NATURAL],
        "strategy": "no_validation",
        "precision": [
            StrOptions({"32-true", "32", "64-true", "64", "16-mixed", "bf16-mixed"}),
            Integral,
        ],
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
        positional_encoding: str = "sphericalharmonics",
        harmonics_calculation: Literal["analytic", "closed-form", "discretized"] = "analytic",
        n_frequencies: int = 16,
        min_radius: float = 1.0,
        max_radius: float = 360.0,
        network: Literal["siren", "mlp", "fcnet", "linear"] = "siren",
        feature_grid: FeatureGrid | None = None,
        fine_waves: dict[str, Any] | None = None,
        spectral_decay: float = 0.0,
        hidden_scale: float = 1.0,
        temperature: float = 0.07,
        learn_temperature: bool = True,
        min_temperature: float = 0.0,
        soft_targets: float = 0.0,
        auxiliary_weight: float = 0.0,
        vision_tower: str | dict[str, Any] | torch.nn.Module = "small_cnn",
        crop_size: int | None = None,
        max_epochs: int = 100,
        batch_size: int = 256,
        micro_batch_size: int | None = None,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.01,
        warmup_epochs: float = 0.0,
        lr_schedule: Literal["constant", "cosine"] = "constant",
        val_fraction: float = 0.1,
        augment: bool = True,
        coord_jitter: float = 0.01,
        feature_cache: str | Path | None = "auto",
        n_views: int = 4,
        on_bad_image: Literal["raise", "skip"] = "raise",
        num_workers: int = 0,
        checkpoint_dir: str | Path | None = None,
        checkpoint_every_n_epochs: int = 1,
        checkpoint_every_n_steps: int | None = None,
        resume: str | Path | None = None,
        accelerator: str = "auto",
        devices: int | str | list[int] = 1,
        num_nodes: int = 1,
        strategy: Any = "auto",
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
        self.positional_encoding = positional_encoding
        self.harmonics_calculation = harmonics_calculation
        self.n_frequencies = n_frequencies
        self.min_radius = min_radius
        self.max_radius = max_radius
        self.network = network
        self.feature_grid = feature_grid
        self.fine_waves = fine_waves
        self.spectral_decay = spectral_decay
        self.hidden_scale = hidden_scale
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        self.min_temperature = min_temperature
        self.soft_targets = soft_targets
        self.auxiliary_weight = auxiliary_weight
        self.vision_tower = vision_tower
        self.crop_size = crop_size
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.lr_schedule = lr_schedule
        self.val_fraction = val_fraction
        self.augment = augment
        self.coord_jitter = coord_jitter
        self.feature_cache = feature_cache
        self.n_views = n_views
        self.on_bad_image = on_bad_image
        self.num_workers = num_workers
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_every_n_epochs = checkpoint_every_n_epochs
        self.checkpoint_every_n_steps = checkpoint_every_n_steps
        self.resume = resume
        self.accelerator = accelerator
        self.devices = devices
        self.num_nodes = num_nodes
        self.strategy = strategy
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
        images : array, tensor or memmap of shape (n, bands, height, width), paths or Dataset
            Images; uint8 is scaled by 1/255, other integers by 1/10000 (Sentinel-2 digital
            numbers), floats are taken as they are. A memory map is read batch by batch. Or a
            list or Series of GeoTIFF paths; or a folder in the layout of S2-100K: ``index.csv``
            with the columns fn, lon and lat, and ``images/*.tif`` or ``data/shard-*.tar``,
            which are read without unpacking. Or a torch map-style Dataset of ``{"image":
            (bands, height, width), "point": (lon, lat)}``.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the images in degrees; None with a folder or a Dataset.

        Returns
        -------
        self : object
            The fitted pretrainer. After Ctrl-C it is fitted with the weights reached so far,
            and warns of it.

        Raises
        ------
        ImageError, CoordinateError
            If the data cannot be used; both are ValueErrors.
        ValueError
            If there are too few pairs, or fewer than a batch.
        TrainingDivergedError
            If the loss or a gradient became NaN or infinite; an ArithmeticError. The
            pretrainer is fitted with the last good weights.
        """
        import torch

        from skgeo_embed.pretraining.build import make_tower
        from skgeo_embed.pretraining.pairs import open_pairs
        from skgeo_embed.pretraining.sampling import split_pairs

        pairs, self.bad_images_ = open_pairs(
            images,
            coords,
            side=self.crop_size,
            on_bad_image=self.on_bad_image,
            progress=self.verbose == 1,
        )
        n_pairs = len(pairs)  # type: ignore[arg-type]
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        split = split_pairs(n_pairs, self.val_fraction, torch.Generator().manual_seed(seed))
        self._check_sizes(n_pairs, *map(len, split))
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            tower = make_tower(self.vision_tower, pairs[0]["image"], self.embed_dim, self.crop_size)
            self._train(self._build_model(tower), pairs, split, seed)
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

        from skgeo_embed.nn.objectives.loss import retrieval_ranks
        from skgeo_embed.pretraining.pairs import read_pairs

        check_is_fitted(self)
        images, lonlat = read_pairs(images, coords)
        embedded = [
            self.image_encoder_.transform(images),
            self.location_encoder_.transform(lonlat),
        ]
        pictures, places = (
            torch.nn.functional.normalize(torch.from_numpy(rows), dim=1) for rows in embedded
        )
        ranks, _ = retrieval_ranks(pictures, places)
        return float((ranks == 1).float().mean())

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        licence: str = "other",
        trained_on: str | None = None,
        default_layer: Literal["embedding", "hidden"] = "embedding",
        dtype: Literal["float32", "float16"] = "float32",
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
        dtype : {"float32", "float16"}, default="float32"
            Of the weights in the file; half precision takes half the space, and changes
            embeddings by about a thousandth.
        hub_id : str, default=None
            The repository that the model card names, where it is going to the hub.

        Returns
        -------
        folder : Path
            Where the files are.
        """
        from skgeo_embed.models.card import model_card
        from skgeo_embed.models.folder import write_folder
        from skgeo_embed.models.towers import describe_tower

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
        if dtype == "float16":
            weights = {k: v.half() if _may_be_half(k, v) else v for k, v in weights.items()}
        scores = {"Epochs": len(self.history_), **{k: f"{v:.4f}" for k, v in final.items()}}
        card = model_card(
            title=path.name, name=hub_id or path.name, licence=licence, config=config, scores=scores
        )
        write_folder(path, config, weights, card)
        return path

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

    def _build_model(self, tower: torch.nn.Module) -> SatCLIP:
        from skgeo_embed.nn.location import LocationEncoder
        from skgeo_embed.nn.two_tower import SatCLIP

        words = self._params_of(LocationEncoder)
        grid = words.pop("feature_grid")
        if grid is None and self.fine_waves is None:
            return SatCLIP(tower, LocationEncoder(**words), self.temperature)
        described = None if grid is None else grid.description()
        location = LocationEncoder(**words, feature_grid=described, w0=1.0)
        if grid is not None:
            location.posenc.grid.load_state_dict(grid.state_dict())  # type: ignore[union-attr]
        return SatCLIP(tower, location.mix_content(), self.temperature)

    def _train(
        self, model: SatCLIP, pairs: Dataset[Any], split: tuple[list[int], list[int]], seed: int
    ) -> None:
        from skgeo_embed.nn.inference.devices import resolve_device
        from skgeo_embed.pretraining.augmentation import Views
        from skgeo_embed.pretraining.auxiliary import auxiliary_targets
        from skgeo_embed.pretraining.features import train_on_features
        from skgeo_embed.pretraining.module import ContrastiveTask, Recipe
        from skgeo_embed.pretraining.run import make_logger, run_training
        from skgeo_embed.pretraining.sampling import SharedRows, ShuffledBatches, make_loader

        views = Views(model.visual, self.crop_size, augment=self.augment)
        plan = self._checkpoint_plan(pairs)
        plan.prepare()  # before hours are spent on features
        trained, cached = model, None
        if self.feature_cache is not None:
            trained, cached = train_on_features(
                model,
                pairs,
                views,
                n_views=self.n_views if self.augment else 1,
                folder=None if self.feature_cache == "auto" else Path(self.feature_cache),
                device=resolve_device("cpu" if self.accelerator == "cpu" else None),
                progress=self.verbose == 1,
            )
        if cached is not None:
            pairs = cached
        n_views = cached.n_views if cached is not None else 1
        recipe = Recipe(seed=seed, **self._params_of(Recipe))
        train_rows, val_rows = split
        shown = views if cached is None else None
        targets = None
        if self.auxiliary_weight or self.soft_targets:
            targets = auxiliary_targets(pairs, train_rows, shown, n_views, seed)
        task = ContrastiveTask(trained, recipe, shown, targets, print_epochs=self.verbose > 1)
        order = ShuffledBatches(
            train_rows, self.batch_size, seed, partial(getattr, task, "global_step"), n_views
        )
        validation = SharedRows(val_rows, self.batch_size, n_views)
        try:
            run_training(
                task,
                make_loader(pairs, order, self.num_workers),
                make_loader(pairs, validation, self.num_workers) if val_rows else None,
                checkpoints=plan,
                callbacks=list(self.callbacks or []),
                progress_bar=self.verbose == 1,
                max_epochs=self.max_epochs,
                accelerator=self.accelerator,
                devices=self.devices,
                num_nodes=self.num_nodes,
                strategy=self.strategy,
                precision=self.precision,
                logger=make_logger(self.logger, self.checkpoint_dir),
            )
        except BaseException:
            if task.good_weights:  # what was reached is kept, whatever ended the run
                self._keep(model, pd.DataFrame(task.rows))
            raise
        self._keep(model, pd.DataFrame(task.rows))

    def _checkpoint_plan(self, pairs: Dataset[Any]) -> CheckpointPlan:
        from skgeo_embed.pretraining.run import CheckpointPlan

        folder = None if self.checkpoint_dir is None else Path(self.checkpoint_dir).expanduser()
        running = {"verbose", "checkpoint_dir", "resume", "accelerator", "num_workers"}
        settings = {k: v for k, v in self._plain_params().items() if k not in running}
        tower = self.vision_tower
        return CheckpointPlan(
            folder,
            every_n_epochs=self.checkpoint_every_n_epochs,
            every_n_train_steps=self.checkpoint_every_n_steps,
            resume=self.resume,
            settings={
                **settings,
                "vision_tower": tower if isinstance(tower, (str, dict)) else type(tower).__name__,
                "n_pairs": len(pairs),  # type: ignore[arg-type]
                "feature_grid": None if self.feature_grid is None else repr(self.feature_grid),
                "fine_waves": self.fine_waves,
            },
        )

    def _keep(self, model: SatCLIP, history: pd.DataFrame) -> None:
        self.model_ = model.cpu().eval().requires_grad_(False)
        self.history_ = history
        self.location_encoder_ = SatCLIPEncoder(self.model_.location).fit()
        self.image_encoder_ = SatCLIPImageEncoder(self.model_.visual).fit()

    def _params_of(self, made: type) -> dict[str, Any]:
        """The parameters that a class of the same words takes."""
        words = inspect.signature(made).parameters
        return {k: v for k, v in self.get_params(deep=False).items() if k in words}

    def _plain_params(self) -> dict[str, Any]:
        plain = (bool, int, float, str)
        return {k: v for k, v in self.get_params(deep=False).items() if isinstance(v, plain)}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def _may_be_half(key: str, value: torch.Tensor) -> bool:
    """Say whether half precision holds a tensor: running statistics may be beyond its range."""
    return value.is_floating_point() and not any(
        part in key for part in (".grid.", ".waves.", ".running_")
    )
