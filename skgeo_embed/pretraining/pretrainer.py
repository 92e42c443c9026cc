"""The scikit-learn face of pretraining."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skgeo_embed._fitting import whole_fit
from skgeo_embed._html import NotebookMixin
from skgeo_embed.encoders.model_mixin import PushMixin
from skgeo_embed.encoders.satclip import SatCLIPEncoder
from skgeo_embed.encoders.satclip_image import SatCLIPImageEncoder
from skgeo_embed.places.reading import read_coordinates
from skgeo_embed.pretraining.recipe import Recipe, named_recipe

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset

    from skgeo_embed.nn.two_tower import SatCLIP
    from skgeo_embed.pretraining.checkpoints import Checkpoints
    from skgeo_embed.pretraining.run import Outcome

_NATURAL = Interval(Integral, 1, None, closed="left")


class SatCLIPPretrainer(PushMixin, NotebookMixin, BaseEstimator):
    """Pretrain a location encoder on images and the coordinates where they were taken.

    Two towers are trained so that an image and its coordinates get similar embeddings, and
    other pairs of the batch do not (SatCLIP [1]_). Afterwards `location_encoder_` encodes
    coordinates alone.

    Parameters
    ----------
    recipe : {"episodes", "satclip"} or Recipe, default="episodes"
        What is optimised: the location network, the losses, the optimiser. "satclip" is the
        published recipe [1]_; "episodes", which measures best, adds regressions on the hidden
        layer to it. A :class:`Recipe` says every part itself; ``recipe__temperature`` and the
        like are names for `GridSearchCV`.
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
    val_fraction : float, default=0.1
        Share of the pairs held out to report validation loss and retrieval; 0 for none.
    val_split : {"random", "blocks"}, default="random"
        Hold out single pairs, or whole blocks of the Earth: of 10°, or a tenth of a region's
        extent. "blocks" tells how well places are known where no image was seen.
    feature_cache : "auto", path-like or None, default="auto"
        Where the features of a frozen vision tower are kept, so that each image goes through
        it `n_views` times instead of every epoch, and not again in the next run. "auto" uses
        the user's cache folder (environment variable SKGEO_EMBED_CACHE), if the tower is
        frozen but for a last layer `head` or `fc`; None does without.
    n_views : int, default=4
        Views of an image in the feature cache: the image itself and ``n_views - 1``
        augmented ones. Every epoch shows the next. Just one if the recipe does not augment.
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
        run on the CPU ends with the weights that it would have had. A path is the checkpoint to
        go on from. Recipe, towers, data, batches and split must be those of the run; how long it
        goes on and where is free.
    keep : {"last", "best"}, default="last"
        Which weights the pretrainer is fitted with: of the last epoch, or of the one with the
        lowest validation loss.
    trainer_options : dict, default=None
        Handed to :class:`lightning.pytorch.Trainer`: `accelerator`, `devices` (default 1),
        `num_nodes`, `strategy` (such as "ddp": each process computes its share of a batch and
        tells its pairs from those of all), `sync_batchnorm`, `precision` ("32-true"; half only
        as "16-mixed" or "bf16-mixed", since coordinates need more), `callbacks` (such as
        ``EarlyStopping("val_loss", patience=10)``; each fit uses copies), `logger` (an object, or
        "CSVLogger", "TensorBoardLogger" or "WandbLogger", which write to `checkpoint_dir`).
    random_state : int, RandomState instance or None, default=None
        Seeds weights, split, order, augmentation and dropout. An int gives the same weights
        for the same data on the same machine. With None a seed is drawn, which is the run's: it
        is in the checkpoints, and resuming goes on with it.
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
    run_ : dict
        What the run was: recipe, tower, batch, split, seed and a fingerprint of the data. It is in
        checkpoints and saved folders.
    bad_images_ : DataFrame
        Image files left out: `file` and `reason`.

    References
    ----------
    .. [1] K. Klemmer, E. Rolf, C. Robinson, L. Mackey, M. Rußwurm (2025). "SatCLIP: Global,
       General-Purpose Location Embeddings with Satellite Imagery". AAAI. arXiv 2311.17179.

    Examples
    --------
    >>> from skgeo_embed import Recipe, SatCLIPPretrainer
    >>> from skgeo_embed.datasets import load_blue_marble
    >>> tiles = load_blue_marble(n_tiles=64, tile_size=16, random_state=0)
    >>> pretrainer = SatCLIPPretrainer(
    ...     Recipe(hidden_dim=64), max_epochs=1, batch_size=32, random_state=0, verbose=0
    ... )
    >>> pretrainer = pretrainer.fit(tiles.images, tiles.coords)
    >>> pretrainer.location_encoder_.transform([[-122.3, 38.5]]).shape
    (1, 256)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "recipe": [str, Recipe],
        "vision_tower": "no_validation",  # a torch module: not imported for a check
        "crop_size": [_NATURAL, None],
        "max_epochs": [_NATURAL],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "micro_batch_size": [_NATURAL, None],
        "val_fraction": [Interval(Real, 0, 1, closed="left")],
        "val_split": [StrOptions({"random", "blocks"})],
        "feature_cache": [str, Path, None],
        "n_views": [_NATURAL],
        "on_bad_image": [StrOptions({"raise", "skip"})],
        "num_workers": [Interval(Integral, 0, None, closed="left")],
        "checkpoint_dir": [str, Path, None],
        "checkpoint_every_n_epochs": [_NATURAL],
        "checkpoint_every_n_steps": [_NATURAL, None],
        "resume": [str, Path, None],
        "keep": [StrOptions({"last", "best"})],
        "trainer_options": [dict, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        recipe: Literal["episodes", "satclip"] | Recipe = "episodes",
        *,
        vision_tower: str | dict[str, Any] | torch.nn.Module = "small_cnn",
        crop_size: int | None = None,
        max_epochs: int = 100,
        batch_size: int = 256,
        micro_batch_size: int | None = None,
        val_fraction: float = 0.1,
        val_split: Literal["random", "blocks"] = "random",
        feature_cache: str | Path | None = "auto",
        n_views: int = 4,
        on_bad_image: Literal["raise", "skip"] = "raise",
        num_workers: int = 0,
        checkpoint_dir: str | Path | None = None,
        checkpoint_every_n_epochs: int = 1,
        checkpoint_every_n_steps: int | None = None,
        resume: str | Path | None = None,
        keep: Literal["last", "best"] = "last",
        trainer_options: dict[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 1,
    ) -> None:
        self.recipe = recipe
        self.vision_tower = vision_tower
        self.crop_size = crop_size
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.val_fraction = val_fraction
        self.val_split = val_split
        self.feature_cache = feature_cache
        self.n_views = n_views
        self.on_bad_image = on_bad_image
        self.num_workers = num_workers
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_every_n_epochs = checkpoint_every_n_epochs
        self.checkpoint_every_n_steps = checkpoint_every_n_steps
        self.resume = resume
        self.keep = keep
        self.trainer_options = trainer_options
        self.random_state = random_state
        self.verbose = verbose

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
        outcome = self._run(images, coords)
        if outcome.error is not None:  # what was reached is kept, whatever ended the run
            raise outcome.error
        return self

    def _run(self, images: Any, coords: Any) -> Outcome:
        from skgeo_embed.pretraining import run
        from skgeo_embed.pretraining.build import build_model
        from skgeo_embed.pretraining.checkpoints import find_checkpoints
        from skgeo_embed.pretraining.identity import (
            compare_identities,
            drawn_seed,
            forked_draws,
            read_identity,
        )
        from skgeo_embed.pretraining.pairs import open_pairs
        from skgeo_embed.pretraining.sampling import split_pairs

        with whole_fit(self):
            recipe = named_recipe(self.recipe)
            options = run.checked_options(self.trainer_options, self.checkpoint_dir)
            pairs, self.bad_images_ = open_pairs(
                images,
                coords,
                side=self.crop_size,
                on_bad_image=self.on_bad_image,
                progress=self.verbose == 1,
            )
            checkpoints = find_checkpoints(
                self.checkpoint_dir,
                self.resume,
                self.checkpoint_every_n_epochs,
                self.checkpoint_every_n_steps,
            )
            source = checkpoints.resume_from
            before = {} if source is None else read_identity(source)
            seed = drawn_seed(self.random_state, before, options.get("num_nodes", 1))
            facts = self._facts(recipe, pairs, seed, str(options["precision"]))
            if source is not None:
                compare_identities(before, facts, source.parent)
            split = split_pairs(pairs, self.val_fraction, self.val_split, seed)
            self._check_sizes(len(pairs), *map(len, split))  # type: ignore[arg-type]
            with forked_draws():
                model = build_model(recipe, self.vision_tower, pairs, self.crop_size, seed)
                outcome = self._train(model, recipe, pairs, split, facts, checkpoints, options)
            self._keep(outcome, facts)
        return outcome

    def score(self, images: Any, coords: Any = None) -> float:
        """Top-1 retrieval accuracy: how often an image finds its place among the given ones.

        Parameters
        ----------
        images, coords
            As for `fit`.

        Returns
        -------
        accuracy : float
            Between 0 and 1; chance is 1 / n.
        """
        from skgeo_embed.pretraining.augmentation import Views
        from skgeo_embed.pretraining.module import retrieval_accuracy
        from skgeo_embed.pretraining.pairs import open_pairs

        check_is_fitted(self)
        pairs, _ = open_pairs(
            images, coords, side=self.crop_size, on_bad_image=self.on_bad_image, progress=False
        )
        views = Views(self.model_.visual, self.crop_size)
        return retrieval_accuracy(self.model_, pairs, views, self.batch_size)

    def distill(
        self,
        coords: Any,
        *,
        hidden_dim: int = 768,
        sine_dim: int = 1280,
        n_steps: int = 3000,
        fine_layers: Sequence[str] = (),
    ) -> SatCLIPPretrainer:
        """Replace the fitted location tower by a smaller one whose hidden layer is worth more.

        Its hidden layer has the principal components, over the given places, of the tower's own
        hidden layers and of a wide untrained one: of the default encoder 768 columns are worth
        what 2,048 units were, and 256 nearly as much. Its embedding is the tower's, and matches
        images as that did.

        Parameters
        ----------
        coords : array-like of shape (n, 2)
            Longitude and latitude in degrees of places such as it will be used for, those of the
            training images or others; 60,000 of them are used.
        hidden_dim : int, default=768
            Columns of the new hidden layer; fewer than there are places.
        sine_dim : int, default=1280
            Sines that they are made of: what encoding costs.
        n_steps : int, default=3000
            Steps of 2,048 places, about 0.1 s each on two cores.
        fine_layers : sequence of str, default=()
            Layers of the feature grid's content, such as ("lights",), whose columns take the
            place of the last components: the grid is too coarse for them.

        Returns
        -------
        self : object
            With the new tower in `model_` and `location_encoder_`.

        Raises
        ------
        CoordinateError
            If the places cannot be used.
        ValueError
            If there are no more of them than `hidden_dim`, a size is not positive, or the tower
            is no SIREN on harmonics and a feature grid or fine waves.
        TypeError
            If a size is no integer.

        Examples
        --------
        >>> from skgeo_embed import Recipe, SatCLIPPretrainer
        >>> from skgeo_embed.datasets import load_earth_tiles
        >>> from skgeo_embed.pretraining.content import earth_grid
        >>> tiles = load_earth_tiles(64, tile_size=8)
        >>> recipe = Recipe(hidden_dim=16, feature_grid=earth_grid(["august"], step=5.0))
        >>> pretrainer = SatCLIPPretrainer(recipe, max_epochs=1, batch_size=32, verbose=0)
        >>> _ = pretrainer.fit(tiles.images, tiles.coords)
        >>> _ = pretrainer.distill(tiles.coords, hidden_dim=8, sine_dim=16, n_steps=10)
        >>> encoder = pretrainer.location_encoder_.set_params(layer="hidden")
        >>> encoder.fit_transform([[7.8, 36.8]]).shape
        (1, 8)
        """
        import torch

        from skgeo_embed.nn.two_tower import SatCLIP
        from skgeo_embed.pretraining.distillation import distill
        from skgeo_embed.pretraining.run import Outcome

        check_is_fitted(self)
        sizes = {"hidden_dim": hidden_dim, "sine_dim": sine_dim, "n_steps": n_steps}
        lonlat = read_coordinates(coords).lonlat
        location = distill(
            self.model_.location,
            torch.from_numpy(lonlat),
            **sizes,
            seed=self.run_["seed"],
            fine_layers=fine_layers,
            progress=self.verbose == 1,
        )
        model = SatCLIP(self.model_.visual, location, self.model_.temperature)
        distilled = {"places": len(lonlat), **sizes, "fine_layers": list(fine_layers)}
        facts = {**self.run_, "distilled": distilled}
        self._keep(Outcome(model, self.history_), facts)
        return self

    @classmethod
    def from_checkpoint(
        cls, checkpoint: str | Path, *, vision_tower: torch.nn.Module | None = None
    ) -> SatCLIPPretrainer:
        """Open a checkpoint of a run as the pretrainer that it was, fitted.

        Parameters
        ----------
        checkpoint : str or path-like
            ``last.ckpt`` or ``best.ckpt``.
        vision_tower : torch.nn.Module, default=None
            The image tower, where it is a module of your own; its weights are loaded into a copy.

        Returns
        -------
        pretrainer : SatCLIPPretrainer
            With the recipe, batch and split of the run, and `model_`, `history_` and both encoders
            as the checkpoint holds them. To train on, `fit` with ``resume=checkpoint``.

        Raises
        ------
        ModelFormatError
            If the file is damaged, or no checkpoint of this library.
        """
        from skgeo_embed.pretraining.reopening import reopen

        path = Path(checkpoint).expanduser()
        parameters, outcome, facts = reopen(path, vision_tower)
        pretrainer = cls(**parameters)
        with whole_fit(pretrainer):
            pretrainer.bad_images_ = pd.DataFrame(columns=["file", "reason"])
            pretrainer._keep(outcome, facts)
        return pretrainer

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
        from skgeo_embed.pretraining.saving import save_towers

        check_is_fitted(self)
        path = Path(save_directory).expanduser()
        save_towers(
            path,
            self.model_,
            self.run_,
            self.history_,
            licence=licence,
            trained_on=trained_on,
            default_layer=default_layer,
            dtype=dtype,
            hub_id=hub_id,
        )
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

    def _facts(
        self, recipe: Recipe, pairs: Dataset[Any], seed: int, precision: str
    ) -> dict[str, Any]:
        from skgeo_embed.pretraining.identity import fingerprint_of_pairs, plain_words

        tower = self.vision_tower
        facts = {
            "recipe": recipe.describe(),
            "vision_tower": tower if isinstance(tower, (str, dict)) else type(tower).__name__,
            "crop_size": self.crop_size,
            "max_epochs": self.max_epochs,
            "batch_size": self.batch_size,
            "n_views": self.n_views,
            "val_fraction": self.val_fraction,
            "val_split": self.val_split,
            "precision": precision,
            "data": fingerprint_of_pairs(pairs),
            "seed": seed,
        }
        return plain_words(facts)

    def _train(
        self,
        model: SatCLIP,
        recipe: Recipe,
        pairs: Dataset[Any],
        split: tuple[list[int], list[int]],
        facts: dict[str, Any],
        checkpoints: Checkpoints,
        options: dict[str, Any],
    ) -> Outcome:
        from skgeo_embed.pretraining import run
        from skgeo_embed.pretraining.augmentation import Views
        from skgeo_embed.pretraining.auxiliary import auxiliary_targets
        from skgeo_embed.pretraining.module import ContrastiveTask
        from skgeo_embed.pretraining.source import open_source

        trained, source = open_source(
            model,
            pairs,
            Views(model.visual, self.crop_size, augment=recipe.augment),
            feature_cache=self.feature_cache,
            n_views=self.n_views if recipe.augment else 1,
            device=run.device_for_features(options),
            progress=self.verbose == 1,
        )
        targets = None
        if recipe.auxiliary_weight:
            targets = auxiliary_targets(source, split[0], facts["seed"])
        task = ContrastiveTask(
            trained,
            recipe,
            source.views,
            targets,
            seed=facts["seed"],
            batch_size=facts["batch_size"],
            micro_batch_size=self.micro_batch_size,
            visual=None if trained is model else model.visual,
            identity=facts,
            print_epochs=self.verbose > 1,
        )
        schedule = run.Schedule(
            facts["max_epochs"],
            facts["batch_size"],
            self.micro_batch_size,
            self.num_workers,
            self.keep,
            self.verbose,
        )
        return run.train(task, model, source, split, schedule, checkpoints, options)

    def _keep(self, outcome: Outcome, facts: dict[str, Any]) -> None:
        self.run_ = facts
        self.model_ = outcome.model.eval().requires_grad_(False)
        self.history_ = outcome.history
        self.location_encoder_ = SatCLIPEncoder(self.model_.location).fit()
        self.image_encoder_ = SatCLIPImageEncoder(self.model_.visual).fit()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags
