"""Training: from pairs and settings to trained towers, whatever ends the run."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import lightning.pytorch as lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import Dataset

from skgeo_embed._errors import TrainingDivergedError, TrainingWarning, warn_caller
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.pretraining.data.sampling import SharedRows, ShuffledBatches, make_loader
from skgeo_embed.pretraining.data.views import Views
from skgeo_embed.pretraining.recipe import Recipe
from skgeo_embed.pretraining.run.auxiliary import auxiliary_targets
from skgeo_embed.pretraining.run.checkpoints import (
    LAST,
    AtomicCheckpointIO,
    Checkpoints,
    PortableStates,
)
from skgeo_embed.pretraining.run.identity import read_run
from skgeo_embed.pretraining.run.interruption import Interruption
from skgeo_embed.pretraining.run.options import check_shares, device_for_features
from skgeo_embed.pretraining.run.source import Source, open_source
from skgeo_embed.pretraining.run.task import ContrastiveTask
from skgeo_embed.pretraining.run.towers import build_model


@dataclass(frozen=True)
class Outcome:
    """What a run reached.

    Attributes
    ----------
    model : SatCLIP
        Both towers, on the CPU.
    history : DataFrame
        One row per epoch.
    error : Exception or None
        The error that ended the run early.
    """

    model: SatCLIP
    history: pd.DataFrame
    error: BaseException | None = None


@dataclass(frozen=True)
class Schedule:
    """How long a run trains, in what batches, and what it keeps; see the pretrainer."""

    max_epochs: int
    batch_size: int
    num_workers: int
    keep: Literal["last", "best"]
    verbose: int


def train_towers(
    settings: dict[str, Any],
    recipe: Recipe,
    pairs: Dataset[Any],
    split: tuple[list[int], list[int]],
    facts: dict[str, Any],
    checkpoints: Checkpoints,
    options: dict[str, Any],
) -> Outcome:
    """Build both towers and train them; torch's random state stays as it was.

    `settings` are the pretrainer's parameters, `facts` the run's identity, and `options` those of
    Lightning's trainer.
    """
    epochs, batch_size, seed = (facts[name] for name in ("max_epochs", "batch_size", "seed"))
    verbose = settings["verbose"]
    with torch.random.fork_rng(devices=[]):  # touching CUDA here would forbid a fork
        model = build_model(recipe, settings["vision_tower"], pairs, facts["crop_size"], seed)
        trained, source = open_source(
            model,
            pairs,
            Views(model.visual, facts["crop_size"], augment=recipe.augment),
            feature_cache=settings["feature_cache"],
            n_views=facts["n_views"] if recipe.augment else 1,
            device=device_for_features(options),
            progress=verbose == 1,
        )
        targets = auxiliary_targets(source, split[0], seed) if recipe.auxiliary_weight else None
        task = ContrastiveTask(
            trained,
            recipe,
            source.views,
            targets,
            seed=seed,
            batch_size=batch_size,
            micro_batch_size=settings["micro_batch_size"],
            visual=None if trained is model else model.visual,
            identity=facts,
            print_epochs=verbose > 1,
            fused=not (options.get("gradient_clip_val") and "mixed" in options["precision"]),
        )
        schedule = Schedule(epochs, batch_size, settings["num_workers"], settings["keep"], verbose)
        return train(task, model, source, split, schedule, checkpoints, options)


def train(
    task: ContrastiveTask,
    model: SatCLIP,
    source: Source,
    split: tuple[list[int], list[int]],
    schedule: Schedule,
    checkpoints: Checkpoints,
    options: dict[str, Any],
) -> Outcome:
    """Train, and return what was reached, whatever ends the run.

    Parameters
    ----------
    task : ContrastiveTask
        What to train.
    model : SatCLIP
        Both whole towers; the task trains them, or only the head of the image tower.
    source : Source
        The pairs, as images or as cached features.
    split, schedule, checkpoints, options : object
        See :func:`train_towers` and :class:`Schedule`.
    """
    train_rows, val_rows = split
    _check_keep(schedule.keep, val_rows, checkpoints, options)
    order = ShuffledBatches(
        train_rows,
        schedule.batch_size,
        task.seed,
        task.position,
        source.n_views,
        same_batches=bool(options.get("overfit_batches")),
    )
    validation = SharedRows(val_rows, schedule.batch_size, source.n_views)
    pinned = options["accelerator"] != "cpu" and torch.cuda.is_available()
    loaders = [
        make_loader(source.pairs, rows, schedule.num_workers, pin_memory=pinned)
        for rows in ([order, validation] if val_rows else [order])
    ]
    error: BaseException | None = None
    try:
        _run_lightning(task, loaders, schedule, checkpoints, options)
        if schedule.keep == "best" and task.rows:
            _take_best(task, checkpoints)
    except BaseException as stop:
        if not task.good_weights:  # training had not begun
            raise
        if isinstance(stop, TrainingDivergedError):
            task.model.load_state_dict(task.good_weights, strict=False)
        error = stop
    return Outcome(model.cpu(), task.history(), error)


def _check_keep(
    keep: str, val_rows: list[int], checkpoints: Checkpoints, options: dict[str, Any]
) -> None:
    if keep == "last":
        return
    if not val_rows:
        raise ValueError('keep="best" needs a validation loss; pass val_fraction above 0.')
    if "spawn" in str(options.get("strategy")) and checkpoints.folder is None:
        raise ValueError(
            'keep="best" needs checkpoint_dir if processes are spawned: they leave the best '
            "weights there."
        )


def _take_best(task: ContrastiveTask, checkpoints: Checkpoints) -> None:
    """Replace the last weights by the weights with the lowest validation loss."""
    if task.best_weights:
        task.model.load_state_dict(task.best_weights, strict=False)
    elif not any("val_loss" in row for row in task.rows):
        warn_caller(
            'keep="best": no epoch ended with a validation, so the last weights are kept. Change '
            "check_val_every_n_epoch, val_check_interval or limit_val_batches in trainer_options.",
            TrainingWarning,
        )
    elif checkpoints.best is not None:  # the best epoch was before this run was resumed
        state = read_run(checkpoints.best)["state_dict"]
        weights = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
        task.model.load_state_dict(weights, strict=False)


def _run_lightning(
    task: ContrastiveTask,
    loaders: list[Any],
    schedule: Schedule,
    checkpoints: Checkpoints,
    options: dict[str, Any],
) -> None:
    folder = checkpoints.folder
    interruption = Interruption(None if folder is None else folder / f"{LAST}.ckpt")
    written = checkpoints.callbacks(len(loaders) > 1)
    callbacks = options["callbacks"]
    users = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    with quiet_lightning(), interruption.listening():
        trainer = lightning.Trainer(
            **{**options, "callbacks": [*callbacks, interruption, PortableStates(), *written]},
            max_epochs=schedule.max_epochs,
            min_epochs=0,  # or an interruption would wait for the first epoch to end
            plugins=[AtomicCheckpointIO()],
            enable_checkpointing=bool(written) or users,
            enable_progress_bar=schedule.verbose == 1,
            use_distributed_sampler=False,  # our samplers share batches among processes
        )
        check_shares(schedule.batch_size, trainer.world_size)
        try:
            trainer.fit(
                task,
                train_dataloaders=loaders[0],
                val_dataloaders=loaders[1] if len(loaders) > 1 else None,
                ckpt_path=checkpoints.resume_from,
            )
        except SystemExit as stop:
            # Lightning turns a KeyboardInterrupt, from a second Ctrl-C or a callback, into this
            if isinstance(stop, SIGTERMException) or not trainer.interrupted:
                raise
            interruption.asked = True
    within_epoch = trainer.should_stop and task.position()[1] > 0
    if interruption.asked or within_epoch:
        how = "interrupted" if interruption.asked else "stopped by a callback within an epoch,"
        resume = f', and resume="auto" continues from {folder}' if written else ""
        warn_caller(
            f"training was {how} at step {trainer.global_step} of "
            f"{trainer.estimated_stepping_batches:.0f}; the pretrainer is fitted with the weights "
            f"reached so far{resume}.",
            TrainingWarning,
        )


UNFITTING_HINTS = (
    # the data are in memory, or read by threads: worker processes would only copy them
    ".*does not have many workers.*",
    ".*smaller than the logging interval.*",
    ".*but have no `val_dataloader`.*",
    # a frozen tower is meant to stay as it is
    ".*module\\(s\\) in eval mode at the start.*",
    # our samplers resume in the middle of an epoch
    ".*resuming from a checkpoint that ended.*",
    ".*exists and is not empty.*",
    # a checkpoint may be continued without writing more of them
    ".*callbacks used to create the checkpoint.*",
    # users cannot change how Lightning uses torch
    ".*isinstance\\(treespec, LeafSpec\\).*",
)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's announcements, and its hints that do not apply to these runs."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    named = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in named]
    for logger in named:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in UNFITTING_HINTS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(named, levels, strict=True):
            logger.setLevel(level)
