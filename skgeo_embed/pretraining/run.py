"""One training run: checkpoints, resuming, interruption, and what Lightning is told."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch import loggers
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from skgeo_embed._errors import TrainingDivergedError, TrainingWarning
from skgeo_embed._files import write_atomically
from skgeo_embed.pretraining.module import ContrastiveTask

LAST, BEST, SETTINGS = "last", "best", "settings.json"
MAY_CHANGE = {"max_epochs"}
LOGGERS = ("CSVLogger", "TensorBoardLogger", "WandbLogger")


@dataclass
class CheckpointPlan:
    """Where and how often checkpoints are written, and whether to go on from one.

    Attributes
    ----------
    folder : Path or None
        None writes none.
    every_n_epochs, every_n_train_steps : int or None
        Lightning's names.
    resume : None, "auto" or path
        "auto" continues the folder's run where there is one.
    settings : dict
        What must be the same for a run to be continued, as JSON.
    resume_from : Path or None
        The checkpoint to go on from, once prepared.
    """

    folder: Path | None = None
    every_n_epochs: int = 1
    every_n_train_steps: int | None = None
    resume: str | Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    resume_from: Path | None = field(default=None, init=False)

    def prepare(self) -> None:
        """Make the folder, check that its run is this one, and find what to resume from."""
        self.resume_from = self._prepare()

    def _prepare(self) -> Path | None:
        if self.folder is None:
            return self._given()
        last, described = self.folder / f"{LAST}.ckpt", self.folder / SETTINGS
        if last.is_file() and self.resume is None:
            raise FileExistsError(
                f"{self.folder} already holds the checkpoints of a run, which would be "
                'overwritten; pass resume="auto" to continue it, or another checkpoint_dir.'
            )
        if last.is_file() and self.resume == "auto" and described.is_file():
            self._compare(json.loads(described.read_text()))
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(described, json.dumps(self.settings, indent=1).encode())
        if self.resume == "auto":
            return last if last.is_file() else None
        return self._given()

    def _given(self) -> Path | None:
        if self.resume is None:
            return None
        if self.resume == "auto":
            raise ValueError('resume="auto" needs checkpoint_dir, the folder to look in.')
        path = Path(self.resume).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f'there is no checkpoint {path} to resume from; resume="auto" looks in '
                "checkpoint_dir, and begins anew where there is none."
            )
        return path

    def _compare(self, before: dict[str, Any]) -> None:
        now = json.loads(json.dumps(self.settings))
        changed = [
            f"{key}: {before.get(key)!r} then, {now.get(key)!r} now"
            for key in sorted((before.keys() | now.keys()) - MAY_CHANGE)
            if before.get(key) != now.get(key)
        ]
        if changed:
            raise ValueError(
                f"{self.folder} holds a run with other settings ({'; '.join(changed)}); use the "
                "same to continue it, or another checkpoint_dir."
            )

    def callbacks(self, validates: bool) -> list[lightning.Callback]:
        """Return the callbacks that write the last checkpoint and the best one."""
        if self.folder is None:
            return []
        shared: dict[str, Any] = {
            "dirpath": self.folder,
            "enable_version_counter": False,
            "auto_insert_metric_name": False,
        }
        steps = self.every_n_train_steps
        often: dict[str, Any] = (
            {"every_n_train_steps": steps} if steps else {"every_n_epochs": self.every_n_epochs}
        )
        last = UninterruptedCheckpoint(
            **shared, filename=LAST, save_on_train_epoch_end=None if steps else True, **often
        )
        best = UninterruptedCheckpoint(
            **shared, filename=BEST, monitor="val_loss", save_on_train_epoch_end=True
        )
        return [last, best] if validates else [last]


class UninterruptedCheckpoint(ModelCheckpoint):
    """Lightning's checkpoints, but none for an epoch that an interruption cut short."""

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Save, unless the interruption has saved already."""
        if not any(isinstance(c, Interruption) and c.asked for c in trainer.callbacks):  # type: ignore[attr-defined]
            super().on_train_epoch_end(trainer, pl_module)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the name, then rename; a full disk is reported and training goes on."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write one checkpoint."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(Path(path), content.getbuffer())
        except OSError as error:
            before = "the one before is untouched" if Path(path).exists() else "there is none yet"
            warnings.warn(
                f"the checkpoint {path} ({content.getbuffer().nbytes / 2**20:.0f} MiB) could not "
                f"be written: {error}; {before}. Training goes on; make room on the disk.",
                TrainingWarning,
                stacklevel=2,
            )


class Interruption(lightning.Callback):
    """Stop after the step at the first Ctrl-C, with a checkpoint where they are asked for."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.asked = False

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop, if asked to."""
        if self.asked and not trainer.should_stop:
            if self.folder is not None:
                trainer.save_checkpoint(self.folder / f"{LAST}.ckpt")
            trainer.should_stop = True

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to Ctrl-C; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def ask(number: int, frame: FrameType | None) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def run_training(
    task: ContrastiveTask,
    train_loader: DataLoader[Any],
    val_loader: DataLoader[Any] | None,
    *,
    checkpoints: CheckpointPlan,
    callbacks: list[lightning.Callback],
    progress_bar: bool,
    **trainer_options: Any,
) -> None:
    """Train, and leave the task with the last good weights whatever ends the run.

    Parameters
    ----------
    task : ContrastiveTask
        What to train; its `model` and `rows` are the result.
    train_loader, val_loader : DataLoader
        The pairs; no validation where the second is None.
    checkpoints : CheckpointPlan
        What to write and where to go on.
    callbacks : list of lightning.pytorch.Callback
        More callbacks.
    progress_bar : bool
        Show Lightning's.
    **trainer_options
        For :class:`lightning.pytorch.Trainer`.

    Raises
    ------
    TrainingDivergedError
        If a loss or gradient became NaN or infinite.
    """
    interruption = Interruption(checkpoints.folder)
    written = checkpoints.callbacks(val_loader is not None)
    own = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    with quiet_lightning(), interruption.listening():
        trainer = lightning.Trainer(
            callbacks=[*callbacks, interruption, *written],
            plugins=[AtomicCheckpointIO()],
            enable_checkpointing=bool(written) or own,
            enable_model_summary=False,
            enable_progress_bar=progress_bar,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the samplers here know of processes
            min_epochs=0,  # or an interruption would wait for the first epoch to end
            **trainer_options,
        )
        try:
            trainer.fit(task, train_loader, val_loader, ckpt_path=checkpoints.resume_from)
        except TrainingDivergedError:
            task.model.load_state_dict(task.good_weights, strict=False)
            raise
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
            + (f', and resume="auto" continues from {checkpoints.folder}.' if written else "."),
            TrainingWarning,
            stacklevel=3,
        )


def make_logger(logger: Any, folder: str | Path | None) -> Any:
    """Return a logger, or build the one of Lightning's that is named."""
    if not isinstance(logger, str):
        return logger or False
    if logger not in LOGGERS:
        raise ValueError(
            f"logger={logger!r} is no logger of Lightning's; pass {', '.join(map(repr, LOGGERS))}, "
            "or a logger object."
        )
    return getattr(loggers, logger)(save_dir=str(folder or "."))


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's announcements and the hints that do not fit this use."""
    loggers = [
        logging.getLogger(name)
        for name in (
            "lightning.pytorch",
            "lightning.fabric",
            "lightning.pytorch.utilities.rank_zero",
        )
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
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
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
