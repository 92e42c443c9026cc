"""`SatCLIPPretrainer`: train an image tower and a location tower on pairs."""

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

    from skgeo_embed.nn.two_tower import SatCLIP

_NATURAL = Interval(Integral, 1, None, closed="left")


class SatCLIPPretrainer(PushMixin, NotebookMixin, BaseEstimator):
    """Pretrain a location encoder on images and the coordinates where they were taken.

    Two towers are trained so that an image and its own coordinates get similar embeddings, and an
    image and the coordinates of another image do not (SatCLIP [1]_).

    Parameters
    ----------
    recipe : {"episodes", "satclip"} or Recipe, default="episodes"
        What is optimised: the location network, the losses, the optimiser. "satclip" is the
        recipe of the SatCLIP paper [1]_; "episodes", which measures best, adds regressions on
        the hidden layer to it. Pass a :class:`Recipe` to choose every part yourself;
        ``recipe__temperature`` and the like are names for `GridSearchCV`.
    vision_tower : str, dict or torch.nn.Module, default="small_cnn"
        The image tower. "small_cnn", "clip_resnet" and "clip_vit" are trained from scratch, as is
        a dict of an ``"architecture"`` and its arguments, such as ``{"architecture": "clip_vit",
        "depth": 4, "width": 128}``. "resnet18", "resnet50" and "vit_small_patch16" have MoCo
        weights for Sentinel-2, downloaded from the hub, and are frozen but for the last layer;
        they take 13 bands (a zero B10 is inserted into 12). A module must map (n, bands, height,
        width) to (n, d); if d is not `embed_dim`, a linear layer is added. The module is copied,
        and its frozen parameters stay frozen.
    crop_size : int, default=None
        Side in pixels of the square that is cut out of each image, at a random position while
        training. None takes the size that the tower requires, or the whole image.
    max_epochs : int, default=100
        Passes over the training pairs.
    batch_size : int, default=256
        Pairs in a batch, over all processes; each is told apart from all others of its batch.
    micro_batch_size : int, default=None
        Pairs whose activations are in memory at a time, None for all. The gradient is that of
        the whole batch; a step takes a third longer. Trained batch norms see micro-batches.
    val_fraction : float, default=0.1
        Share of the pairs held out to report validation loss and retrieval; 0 for none.
    val_split : {"random", "blocks"}, default="random"
        Hold out single pairs, or whole blocks of the Earth: of 10°, or of a tenth of a region's
        extent. "blocks" measures how well the model knows places without any image nearby.
    feature_cache : "auto", path-like or None, default="auto"
        Folder for the features of a frozen vision tower: images pass through it `n_views` times,
        not once per epoch, and later runs reuse the features. "auto" uses the user's cache folder
        (environment variable SKGEO_EMBED_CACHE) if all of the tower but a last layer named `head`
        or `fc` is frozen, and warns if it cannot be written; None caches nothing.
    n_views : int, default=4
        Views of an image in the feature cache: the image itself and ``n_views - 1`` augmented
        ones, shown in turn, one per epoch. Only one if the recipe does not augment.
    on_bad_image : {"raise", "skip"}, default="raise"
        What to do about image files that cannot be read, hold no data or are too small: stop
        before training, or leave them out and list them in `bad_images_`.
    num_workers : int, default=0
        Processes that read batches. Files are read by several threads in any case.
    checkpoint_dir : path-like, default=None
        Folder for ``last.ckpt`` and ``best.ckpt`` (lowest validation loss). None writes none.
    checkpoint_every_n_epochs : int, default=1
        How often ``last.ckpt`` is written.
    checkpoint_every_n_steps : int, default=None
        Count steps instead of epochs.
    resume : "auto", path-like or None, default=None
        "auto" continues the run in `checkpoint_dir`, if there is one; on a CPU it ends with the
        same weights as an uninterrupted run. A path names the checkpoint to continue from. Recipe,
        towers, data, batch size and split must match; epochs and device may change.
    keep : {"last", "best"}, default="last"
        Keep the weights of the last epoch, or of the one with the lowest validation loss.
    trainer_options : dict, default=None
        Options of :class:`lightning.pytorch.Trainer`: `accelerator`, `devices` (default 1),
        `num_nodes`, `strategy` (such as "ddp": each process computes its share of a batch and
        compares it with the whole batch), `sync_batchnorm`, `precision` ("32-true"; half only
        as "16-mixed" or "bf16-mixed", since coordinates need more), `callbacks` (such as
        ``EarlyStopping("val_loss", patience=10)``; each fit uses copies), `max_time` (of one job),
        `logger` (an object, or "CSVLogger", "TensorBoardLogger" or "WandbLogger", which write to
        `checkpoint_dir`).
    random_state : int, RandomState instance or None, default=None
        Seeds weights, split, order, augmentation and dropout. An int gives the same weights for
        the same data and machine. None draws a seed, which a resumed run reads and continues.
    verbose : int, default=1
        0 is silent, 1 shows a progress bar, 2 prints a line per epoch.

    Attributes
    ----------
    location_encoder_ : SatCLIPEncoder
        The location tower, fitted.
    image_encoder_ : SatCLIPImageEncoder
        The image tower, fitted.
    model_ : skgeo_embed.nn.two_tower.SatCLIP
        Both towers and the temperature, on the CPU.
    history_ : DataFrame
        One row per epoch: `epoch`; `train_loss` and `train_auxiliary` (error of the auxiliary
        regressions), means over batches; of the validation pairs `val_loss`, `val_top1` and
        `val_top5` (how often an image finds its place first, or among the first five),
        `val_place_top1` and `val_place_top5` (how often a place finds its image), `val_median_km`
        (median distance to the place that an image matches best), NaN for epochs that did not end
        with a validation; `temperature`, `learning_rate`.
    run_ : dict
        Settings of the run and a fingerprint of its data, as in checkpoints and saved folders.
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
    >>> recipe = Recipe(hidden_dim=64)
    >>> pretrainer = SatCLIPPretrainer(recipe, max_epochs=1, batch_size=32, verbose=0)
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
            numbers), floats are not scaled. A memory map is read batch by batch. Or a
            list or Series of GeoTIFF paths; or a folder in the layout of S2-100K (``index.csv``
            with the columns fn, lon and lat, and ``images/*.tif`` or ``data/shard-*.tar``); or a
            torch map-style Dataset of ``{"image": (bands, height, width), "point": (lon, lat)}``.
        coords : array-like of shape (n, 2), default=None
            Longitude and latitude of the images in degrees; None with a folder or a Dataset.

        Returns
        -------
        self : object
            The fitted pretrainer. After Ctrl-C it has the weights reached so far, and warns.

        Raises
        ------
        ImageError, CoordinateError, ValueError
            If the data cannot be used, or there are fewer pairs than a batch.
        TrainingDivergedError
            If the loss or a gradient became NaN or infinite; an ArithmeticError. The
            pretrainer is fitted with the last good weights.
        """
        from skgeo_embed.pretraining.data.pairs import open_pairs
        from skgeo_embed.pretraining.data.sampling import split_pairs
        from skgeo_embed.pretraining.run.checkpoints import find_checkpoints
        from skgeo_embed.pretraining.run.identity import identify_run
        from skgeo_embed.pretraining.run.options import checked_options
        from skgeo_embed.pretraining.run.training import train_towers

        with whole_fit(self) as twin:
            settings = self.get_params(deep=False)
            recipe = named_recipe(self.recipe)
            options = checked_options(self.trainer_options, self.checkpoint_dir)
            pairs, twin.bad_images_ = open_pairs(
                images, coords, self.crop_size, self.on_bad_image, progress=self.verbose == 1
            )
            checkpoints = find_checkpoints(settings)
            facts = identify_run(settings, recipe, pairs, options, checkpoints.resume_from)
            split = split_pairs(
                pairs, self.val_fraction, self.val_split, self.batch_size, facts["seed"]
            )
            outcome = train_towers(settings, recipe, pairs, split, facts, checkpoints, options)
            twin._set_fitted(outcome.model, outcome.history, facts)
        if outcome.error is not None:  # the weights reached are kept, whatever ended the run
            raise outcome.error
        return self

    def _set_fitted(self, model: SatCLIP, history: pd.DataFrame, facts: dict[str, Any]) -> None:
        fitted = {
            "run_": facts,
            "model_": model.eval().requires_grad_(False),
            "history_": history,
            "location_encoder_": SatCLIPEncoder(model.location).fit(),
            "image_encoder_": SatCLIPImageEncoder(model.visual).fit(),
        }
        self.__dict__.update(fitted)  # in one step: another thread never finds some of both

    def score(self, images: Any, coords: Any = None) -> float:
        """Return how often an image finds its place first among all given places.

        Parameters
        ----------
        images, coords
            As for `fit`.

        Returns
        -------
        accuracy : float
            Between 0 and 1; chance is 1 / n, where n counts places, not images.
        """
        from skgeo_embed.pretraining.data.pairs import open_pairs
        from skgeo_embed.pretraining.run.metrics import retrieval_accuracy

        check_is_fitted(self)
        pairs, _ = open_pairs(images, coords, self.crop_size, self.on_bad_image)
        return retrieval_accuracy(self.model_, pairs, self.crop_size, self.batch_size)

    def distill(
        self,
        coords: Any,
        *,
        hidden_dim: int = 768,
        sine_dim: int = 1280,
        n_steps: int = 3000,
        fine_layers: Sequence[str] = (),
    ) -> SatCLIPPretrainer:
        """Replace the fitted location tower by a smaller one with a better hidden layer.

        The new hidden layer holds principal components, over the given places, of the tower's own
        hidden layers and of a wide untrained network. In the default encoder 768 of them replace
        2,048 units. The embedding stays that of the tower, and matches images as before.

        Parameters
        ----------
        coords : array-like of shape (n, 2)
            Longitude and latitude in degrees of places like those that you will encode, such as
            those of the training images; 60,000 of them are used.
        hidden_dim : int, default=768
            Columns of the new hidden layer; fewer than there are places.
        sine_dim : int, default=1280
            Sine units below that layer. They determine how long encoding takes.
        n_steps : int, default=3000
            Training steps of 2,048 places, about 0.1 s each on two cores.
        fine_layers : sequence of str, default=()
            Layers of the feature grid's content that the grid is too coarse for, such as
            ("lights",). Their columns replace the last components.

        Returns
        -------
        self : SatCLIPPretrainer
            With the new tower in `model_` and `location_encoder_`.

        Raises
        ------
        ValueError
            If places are invalid or not more than `hidden_dim`, a size is not positive, or the
            tower is not a SIREN on harmonics with a feature grid or fine waves.

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

        from skgeo_embed.pretraining.distillation import distill

        check_is_fitted(self)
        lonlat = read_coordinates(coords).lonlat
        sizes = {"hidden_dim": hidden_dim, "sine_dim": sine_dim, "n_steps": n_steps}
        before, run, history = self.model_, self.run_, self.history_
        location = distill(
            before.location,
            torch.from_numpy(lonlat),
            run["seed"],
            **sizes,
            fine_layers=fine_layers,
            progress=self.verbose == 1,
        )
        model = type(before)(before.visual, location, before.temperature)
        distilled = {"places": len(lonlat), **sizes, "fine_layers": list(fine_layers)}
        self._set_fitted(model, history, {**run, "distilled": distilled})
        return self

    @classmethod
    def from_checkpoint(
        cls, checkpoint: str | Path, *, vision_tower: torch.nn.Module | None = None
    ) -> SatCLIPPretrainer:
        """Open a checkpoint of a run as a fitted pretrainer.

        Parameters
        ----------
        checkpoint : str or path-like
            ``last.ckpt`` or ``best.ckpt``.
        vision_tower : torch.nn.Module, default=None
            The image tower, if it is a module of your own; its weights are loaded into a copy.

        Returns
        -------
        pretrainer : SatCLIPPretrainer
            With the parameters of the run, and the towers and history of the checkpoint. To train
            on, `fit` with ``resume=checkpoint``.

        Raises
        ------
        ModelFormatError
            If the file is damaged, or not a checkpoint of this library.
        """
        from skgeo_embed.pretraining.run.reopening import reopen

        parameters, model, history, facts = reopen(Path(checkpoint).expanduser(), vision_tower)
        pretrainer = cls(**parameters)
        with whole_fit(pretrainer) as twin:
            twin.bad_images_ = pd.DataFrame(columns=["file", "reason"])
            twin._set_fitted(model, history, facts)
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
        """Write a folder that `SatCLIPEncoder` and `SatCLIPImageEncoder` open.

        Parameters
        ----------
        save_directory : str or path-like
            The folder, which is created if it does not exist.
        licence : str, default="other"
            SPDX name of the weights' licence.
        trained_on : str, default=None
            One sentence that describes the images and gives the credit that they require.
        default_layer : {"embedding", "hidden"}, default="embedding"
            What `SatCLIPEncoder(folder)` returns unless asked otherwise.
        dtype : {"float32", "float16"}, default="float32"
            Precision of the weights in the file; float16 halves its size and changes embeddings
            by about a thousandth.
        hub_id : str, default=None
            Hub repository that the model card names.

        Returns
        -------
        folder : Path
            With both towers, their config and a model card.
        """
        from skgeo_embed.pretraining.run.saving import save_towers

        check_is_fitted(self)
        folder = Path(save_directory).expanduser()
        described = {"licence": licence, "trained_on": trained_on, "default_layer": default_layer}
        fitted = dict(vars(self))  # of one fit, if another thread fits
        towers = fitted["model_"], fitted["run_"], fitted["history_"]
        save_towers(folder, *towers, described, dtype, hub_id)
        return folder

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags
