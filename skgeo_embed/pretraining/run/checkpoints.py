"""Checkpoints of a run: the last and the best, written atomically, and found again."""

from __future__ import annotations

import io
import os
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, Timer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from skgeo_embed._errors import TrainingWarning
from skgeo_embed._files import write_atomically
from skgeo_embed.models.lightning_file import read_tensors

LAST, BEST = "last", "best"
PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")  # of Lightning's states


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often checkpoints are written, and which one a run resumes from.

    Attributes
    ----------
    folder : Path or None
        None writes no checkpoints.
    every_n_epochs, every_n_train_steps : int or None
        How often the last checkpoint is written; the steps win.
    resume_from : Path or None
        The checkpoint to resume from.
    """

    folder: Path | None = None
    every_n_epochs: int = 1
    every_n_train_steps: int | None = None
    resume_from: Path | None = None

    @property
    def best(self) -> Path | None:
        """The checkpoint of the lowest validation loss, if there is one."""
        path = None if self.folder is None else self.folder / f"{BEST}.ckpt"
        return path if path is not None and path.is_file() else None

    def callbacks(self, validates: bool) -> list[lightning.Callback]:
        """Return the callbacks that write the best checkpoint and the last one."""
        if self.folder is None:
            return []
        steps = self.every_n_train_steps
        often: dict[str, Any] = (
            {"every_n_train_steps": steps} if steps else {"every_n_epochs": self.every_n_epochs}
        )
        last = LastCheckpoint(
            dirpath=self.folder,
            filename=LAST,
            enable_version_counter=False,
            auto_insert_metric_name=False,
            save_on_train_epoch_end=None if steps else True,
            **often,
        )
        return [BestCheckpoint(self.folder), last] if validates else [last]


def find_checkpoints(settings: dict[str, Any]) -> Checkpoints:
    """Find the checkpoint that the pretrainer's parameters resume from, and overwrite no other run.

    Raises
    ------
    FileExistsError
        If the folder holds a run that is not resumed.
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If resume is "auto" without a folder.
    """
    folder, resume = settings["checkpoint_dir"], settings["resume"]
    root = None if folder is None else Path(folder).expanduser()
    last = None if root is None else root / f"{LAST}.ckpt"
    exists = last is not None and last.is_file()
    if resume == "auto":
        if last is None:
            raise ValueError('resume="auto" needs checkpoint_dir, the folder to look in.')
        source = last if exists else None
    else:
        source = None if resume is None else Path(resume).expanduser()
        if source is not None and not source.is_file():
            raise FileNotFoundError(
                f'there is no checkpoint {source} to resume from; resume="auto" looks in '
                "checkpoint_dir, and starts a new run if there is none."
            )
        own = source is not None and root is not None and source.resolve().parent == root.resolve()
        if exists and not own:
            raise FileExistsError(
                f"{root} already holds the checkpoints of a run, which would be overwritten; pass "
                'resume="auto" to continue it, or another checkpoint_dir.'
            )
    if root is not None:
        root.mkdir(parents=True, exist_ok=True)
    every = settings["checkpoint_every_n_epochs"], settings["checkpoint_every_n_steps"]
    return Checkpoints(root, *every, source)


class LastCheckpoint(ModelCheckpoint):
    """Write the last checkpoint regularly, and where anything stops the run.

    Parameters
    ----------
    every_n_train_steps : int or None
        How often; None for epochs.
    **options
        Others of Lightning's ModelCheckpoint.
    """

    def __init__(self, *, every_n_train_steps: int | None = None, **options: Any) -> None:
        super().__init__(every_n_train_steps=every_n_train_steps, **options)
        self.every_n_steps = every_n_train_steps

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write after so many steps; but after an epoch's last step wait for its validation.

        Lightning resumes from a checkpoint in between as if the epoch had been validated.
        """
        if not trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Write after so many epochs, or what `on_train_batch_end` has left, or a stopped run."""
        steps = self.every_n_steps
        waited = steps is not None and trainer.global_step % steps == 0
        trial = trainer.fast_dev_run  # type: ignore[attr-defined]
        if (waited or trainer.should_stop) and not trial:
            trainer.save_checkpoint(Path(self.dirpath or "") / f"{LAST}.ckpt")
        else:
            super().on_train_epoch_end(trainer, pl_module)


class PortableStates(lightning.Callback):
    """Write callbacks' states so that another machine and another job can resume from them.

    Paths are relative to the checkpoint's folder: checkpoints reveal nothing about the machine,
    and their folder can be moved. The time that a timer has counted is of one job.
    """

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Make paths relative to the folder."""
        for callback, state in _states(trainer, checkpoint):
            checkpoint["callbacks"][callback.state_key] = _in_folder(state, "")

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Make paths absolute in this run's folder, drop files that are not there; reset timers."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            state = checkpoint.get("callbacks", {}).get(callback.state_key)
            if isinstance(callback, Timer) and state:
                checkpoint["callbacks"][callback.state_key] = {**state, "time_elapsed": {}}
        for callback, state in _states(trainer, checkpoint):
            moved = _in_folder(state, str(callback.dirpath))
            checkpoint["callbacks"][callback.state_key] = {
                **moved,
                **{key: "" for key in PATHS if not os.path.isfile(moved.get(key) or "")},
                "best_k_models": {
                    path: score
                    for path, score in moved["best_k_models"].items()
                    if os.path.isfile(path)
                },
            }


def _states(
    trainer: lightning.Trainer, checkpoint: dict[str, Any]
) -> list[tuple[ModelCheckpoint, dict[str, Any]]]:
    """Pair all callbacks that write checkpoints with their states in a checkpoint."""
    known = checkpoint.get("callbacks", {})
    return [
        (callback, known[callback.state_key])
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint) and callback.state_key in known
    ]


def _in_folder(state: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return a callback's state with its files in another folder."""
    before = state.get("dirpath") or ""
    paths = {key: _path_in_folder(state.get(key) or "", before, folder) for key in PATHS}
    best = state.get("best_k_models", {})
    scores = {_path_in_folder(path, before, folder): score for path, score in best.items()}
    return {**state, **paths, "best_k_models": scores, "dirpath": folder}


def _path_in_folder(path: str, before: str, folder: str) -> str:
    if not path:
        return path
    if os.path.isabs(path):
        inside = before and Path(path).is_relative_to(before)
        path = os.path.relpath(path, before) if inside else os.path.basename(path)
    return os.path.join(folder, path)


class BestCheckpoint(Checkpoint):
    """Save the epoch of the lowest validation loss, by the history that a run carries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.n_rows = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Count the epochs of a run that is resumed."""
        self.n_rows = len(pl_module.rows)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Save if this epoch was completed and validated, and is the best so far."""
        rows, before = pl_module.rows, self.n_rows
        self.n_rows = len(rows)
        losses = [row["val_loss"] for row in rows if "val_loss" in row]
        validated = len(rows) > before and "val_loss" in rows[-1]
        if validated and losses[-1] <= min(losses):
            trainer.save_checkpoint(self.folder / f"{BEST}.ckpt")


def packed_checkpoint(checkpoint: dict[str, Any], path: Path) -> io.BytesIO:
    """Return a checkpoint as the bytes of a file.

    Raises
    ------
    ValueError
        If reading it would need code from it, so that no run could be resumed; the message says
        where.
    """
    content = io.BytesIO()
    problem = _reading_problem(checkpoint, content)
    if problem is not None:
        where, value = _locate_problem(checkpoint)
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise ValueError(
            f"{path} was not written, because no run could be resumed from it: {where} is a "
            f"{kind}, which cannot be stored without code. Let the method `state_dict` of the "
            "callback, or whatever puts it there, return numbers, texts, lists, dictionaries and "
            "tensors only, such as float(value) or str(path)."
        ) from problem
    return content


def _reading_problem(value: Any, content: io.BytesIO) -> Exception | None:
    """Return what hinders a value from being stored and read back, if anything does."""
    try:
        torch.save(value, content)
        content.seek(0)
        torch.load(content, map_location="meta", weights_only=True)  # reads no weights
    except Exception as error:  # a value's own methods may raise anything
        return error
    return None


def _locate_problem(value: Any, where: str = "checkpoint") -> tuple[str, Any]:
    """Return where a value that cannot be stored is, and the value."""
    if type(value) in (dict, OrderedDict):
        parts = [(f"{where}[{key!r}]", part) for key, part in value.items()]
        parts += [(f"a key of {where}", key) for key in value]
    elif type(value) in (list, tuple, set):
        parts = [(f"{where}[{number}]", part) for number, part in enumerate(value)]
    else:
        parts = []
    for place, part in parts:
        if _reading_problem(part, io.BytesIO()) is not None:
            return _locate_problem(part, place)
    return where, value


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints atomically; if the disk is full, warn and continue to train."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write one checkpoint, after a check that it can be read."""
        content = packed_checkpoint(checkpoint, Path(path))
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(Path(path), content.getbuffer())
        except OSError as error:
            before = "the previous one is kept" if Path(path).exists() else "there is none yet"
            warnings.warn(
                f"the checkpoint {path} ({content.getbuffer().nbytes / 2**20:.0f} MiB) could not "
                f"be written: {error}; {before}. Training continues; free space on the disk.",
                TrainingWarning,
                stacklevel=2,
            )

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read one checkpoint without running code from it."""
        return read_tensors(Path(path))
