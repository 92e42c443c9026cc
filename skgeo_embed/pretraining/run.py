"""The run behind a fit: from towers and pairs to what was reached."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as lightning
import pandas as pd
import torch
from lightning.pytorch import loggers
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from skgeo_embed._errors import TrainingDivergedError, TrainingWarning
from skgeo_embed.models.lightning_file import read_checkpoint
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.pretraining.checkpoints import (
    LAST,
    AtomicCheckpointIO,
    Checkpoints,
    PathsWithin,
)
from skgeo_embed.pretraining.interruption import Interruption
from skgeo_embed.pretraining.module import HISTORY, ContrastiveTask
from skgeo_embed.pretraining.sampling import SharedRows, ShuffledBatches, make_loader
from skgeo_embed.pretraining.source import Source

LOGGERS = ("CSVLogger", "TensorBoardLogger", "WandbLogger")
OURS = (  # of Lightning's options, what a run decides itself, and by which argument
    ("max_epochs", "max_epochs"),
    ("min_epochs", "max_epochs"),
    ("max_steps", "max_epochs"),
    ("accumulate_grad_batches", "micro_batch_size"),
    ("enable_checkpointing", "checkpoint_dir"),
    ("default_root_dir", "checkpoint_dir"),
    ("plugins", "checkpoint_dir"),
    ("enable_progress_bar", "verbose"),
    ("use_distributed_sampler", "batch_size"),
)
PRECISIONS = ("32-true", "32", "64-true", "64", "16-mixed", "bf16-mixed")


@dataclass(frozen=True)
class Outcome:
    """What a run reached.

    Attributes
    ----------
    model : SatCLIP
        Both towers, on the CPU.
    history : DataFrame
        A row an epoch.
    error : Exception or None
        What ended it before its time.
    """

    model: SatCLIP
    history: pd.DataFrame
    error: BaseException | None = None


@dataclass(frozen=True)
class Schedule:
    """How long and in what portions a run goes through its pairs; see the pretrainer."""

    max_epochs: int
    batch_size: int
    micro_batch_size: int | None
    num_workers: int
    keep: Literal["last", "best"]
    verbose: int


def checked_options(options: dict[str, Any] | None, folder: str | Path | None) -> dict[str, Any]:
    """Complete Lightning's options, and refuse those that are the run's own or cannot be.

    Raises
    ------
    ValueError
        If an option is decided by another argument, or no device or precision fits.
    """
    given = dict(options or {})
    for name, argument in OURS:
        if name in given:
            raise ValueError(
                f"trainer_options[{name!r}] is decided by the run; use the argument {argument}."
            )
    precision = str(given.setdefault("precision", "32-true"))
    if precision not in PRECISIONS:
        raise ValueError(
            f"trainer_options['precision']={precision!r} would round the coordinates; pass one of "
            f"{', '.join(map(repr, PRECISIONS))}."
        )
    given["accelerator"] = _accelerator(given.get("accelerator", "auto"))
    given["logger"] = _logger(given.get("logger"), folder)
    given.setdefault("devices", 1)
    # callbacks have a state: each run has its own copies
    callbacks = given.get("callbacks") or []
    alone = isinstance(callbacks, lightning.Callback)
    given["callbacks"] = copy.deepcopy([callbacks] if alone else list(callbacks))
    return given


def _accelerator(accelerator: Any) -> Any:
    """Choose the CPU where the only accelerator has no float64, which coordinates need."""
    apple = torch.backends.mps.is_available() and not torch.cuda.is_available()
    if accelerator == "mps" or (accelerator == "gpu" and apple):
        raise ValueError(
            f"trainer_options['accelerator']={accelerator!r}: coordinates are float64, which MPS "
            'does not have; pass "cpu", or leave it out.'
        )
    return "cpu" if accelerator == "auto" and apple else accelerator


def _logger(logger: Any, folder: str | Path | None) -> Any:
    if not isinstance(logger, str):
        return logger or False
    if logger not in LOGGERS:
        raise ValueError(
            f"trainer_options['logger']={logger!r} is no logger of Lightning's; pass "
            f"{', '.join(map(repr, LOGGERS))}, or a logger object."
        )
    return getattr(loggers, logger)(save_dir=str(folder or "."))


def device_for_features(options: dict[str, Any]) -> torch.device:
    """Where a frozen tower runs: this process's card, or the CPU."""
    if options["accelerator"] == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    devices = options["devices"]
    numbers = devices if isinstance(devices, list) else range(torch.cuda.device_count())
    local = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", numbers[local % len(numbers)])


def train(
    task: ContrastiveTask,
    model: SatCLIP,
    source: Source,
    split: tuple[list[int], list[int]],
    schedule: Schedule,
    checkpoints: Checkpoints,
    options: dict[str, Any],
) -> Outcome:
    """Train, and return what was reached whatever ends the run.

    Parameters
    ----------
    task : ContrastiveTask
        What to train.
    model : SatCLIP
        Both towers whole; the task trains them, or the head of one.
    source : Source
        The pairs.
    split : tuple of list of int
        Rows to train on, and rows to validate on.
    schedule, checkpoints : Schedule, Checkpoints
        How long, and what is written.
    options : dict
        Of :func:`checked_options`.
    """
    train_rows, val_rows = split
    _check_keep(schedule.keep, val_rows, checkpoints, options)
    order = ShuffledBatches(
        train_rows, schedule.batch_size, task.seed, task.steps_done, source.n_views
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
        if not task.good_weights:  # it had not begun
            raise
        if isinstance(stop, TrainingDivergedError):
            task.model.load_state_dict(task.good_weights, strict=False)
        error = stop
    return Outcome(model.cpu(), pd.DataFrame(task.rows, columns=task.columns(HISTORY)), error)


def _check_keep(
    keep: str, val_rows: list[int], checkpoints: Checkpoints, options: dict[str, Any]
) -> None:
    if keep == "last":
        return
    if not val_rows:
        raise ValueError('keep="best" goes by the validation loss; pass val_fraction above 0.')
    if "spawn" in str(options.get("strategy")) and checkpoints.folder is None:
        raise ValueError(
            'keep="best" with processes that are spawned needs checkpoint_dir, where they leave '
            "the best weights."
        )


def _take_best(task: ContrastiveTask, checkpoints: Checkpoints) -> None:
    """Put the weights of the lowest validation loss in the place of the last."""
    if task.best_weights:
        task.model.load_state_dict(task.best_weights, strict=False)
    elif checkpoints.best is not None:  # it was before this run was gone on with
        state = read_checkpoint(checkpoints.best)["state_dict"]
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
    own = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    with quiet_lightning(), interruption.listening():
        trainer = lightning.Trainer(
            **{**options, "callbacks": [*callbacks, interruption, PathsWithin(), *written]},
            max_epochs=schedule.max_epochs,
            min_epochs=0,  # or an interruption would wait for the first epoch to end
            plugins=[AtomicCheckpointIO()],
            enable_checkpointing=bool(written) or own,
            enable_model_summary=False,
            enable_progress_bar=schedule.verbose == 1,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the samplers here know of processes
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
    if interruption.asked:
        warnings.warn(
            f"training was interrupted at step {trainer.global_step} of "
            f"{trainer.estimated_stepping_batches:.0f}; the pretrainer is fitted with the weights "
            "reached so far"
            + (f', and resume="auto" continues from {folder}.' if written else "."),
            TrainingWarning,
            stacklevel=4,
        )


def check_shares(batch_size: int, n_processes: int) -> None:
    """Refuse batches that processes cannot share evenly, whose pairs would go unused."""
    if batch_size % n_processes or batch_size < 2 * n_processes:
        fits = max(2, round(batch_size / n_processes)) * n_processes
        raise ValueError(
            f"batch_size={batch_size} cannot be shared evenly by {n_processes} processes, at least "
            f"2 pairs each; pass for instance batch_size={fits}."
        )


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's announcements and the hints that do not fit this use."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    talkers = [logging.getLogger(name) for name in names]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # the data are in memory, or read by threads: worker processes would only copy them
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
            warnings.filterwarnings("ignore", message=".*but have no `val_dataloader`.*")
            # a frozen tower is meant to stay as it is
            warnings.filterwarnings("ignore", message=".*module\\(s\\) in eval mode at the start.*")
            # resuming in the middle of an epoch is what the samplers here are made for
            warnings.filterwarnings("ignore", message=".*resuming from a checkpoint that ended.*")
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            # a checkpoint may be continued without writing more of them
            warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
            # Lightning's own use of torch's internals is not the user's to mend
            warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
            yield
    finally:
        for talker, level in zip(talkers, levels, strict=True):
            talker.setLevel(level)
