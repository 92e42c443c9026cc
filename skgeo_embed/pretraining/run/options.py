"""Options of Lightning's trainer: defaults, and which of them a run decides itself."""

from __future__ import annotations

import copy
import os
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch import loggers
from lightning.pytorch.callbacks import GradientAccumulationScheduler

LOGGERS = ("CSVLogger", "TensorBoardLogger", "WandbLogger")
DECIDED_BY = {  # options that the run sets itself: the pretrainer's argument for each
    "max_epochs": "max_epochs",
    "min_epochs": "max_epochs",
    "max_steps": "max_epochs",
    "min_steps": "max_epochs",
    "accumulate_grad_batches": "micro_batch_size",
    "enable_checkpointing": "checkpoint_dir",
    "default_root_dir": "checkpoint_dir",
    "plugins": "checkpoint_dir",
    "enable_progress_bar": "verbose",
    "use_distributed_sampler": "batch_size",
}
DEFAULTS = {"devices": 1, "enable_model_summary": False, "num_sanity_val_steps": 0}
LIMITS = ("limit_train_batches", "overfit_batches")  # of an epoch's batches
PRECISIONS = ("32-true", "32", "16-mixed", "bf16-mixed")


def checked_options(options: dict[str, Any] | None, folder: str | Path | None) -> dict[str, Any]:
    """Complete the options for Lightning's trainer, and refuse those that a run cannot use.

    Raises
    ------
    ValueError
        If there is no such option, another argument decides it, or a device or precision does not
        suit coordinates.
    """
    given = dict(options or {})
    _check_names(given)
    for name, argument in DECIDED_BY.items():
        if name in given:
            raise ValueError(
                f"trainer_options[{name!r}] is set by the run; use the argument {argument}."
            )
    if given.get("limit_train_batches") == 0:
        raise ValueError(
            "trainer_options['limit_train_batches']=0 leaves nothing to train on; pass a number of "
            "batches, or a fraction of them."
        )
    given["precision"] = precision = str(given.get("precision", "32-true"))
    if precision not in PRECISIONS:
        raise ValueError(
            f"trainer_options['precision']={precision!r} cannot be used: images have 32 bits, and "
            "half precision alone would round the coordinates; pass one of "
            f"{', '.join(map(repr, PRECISIONS))}."
        )
    given["accelerator"] = _accelerator(given.get("accelerator", "auto"))
    given["logger"] = _logger(given.get("logger"), folder)
    given["callbacks"] = _own_callbacks(given.get("callbacks") or [])
    return {**DEFAULTS, **given}


def _check_names(given: dict[str, Any]) -> None:
    known = set(signature(lightning.Trainer).parameters)
    for name in given.keys() - known:
        near = get_close_matches(str(name), known, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        what = f"trainer_options[{name!r}]"
        raise ValueError(f"{what} is not an option of Lightning's Trainer{meant}")


def _own_callbacks(given: Any) -> list[lightning.Callback]:
    """Return copies of a user's callbacks, because callbacks have a state."""
    if not isinstance(given, (lightning.Callback, list, tuple)):
        raise ValueError(
            f"trainer_options['callbacks'] must be callbacks in a list, got {given!r}."
        )
    callbacks = [given] if isinstance(given, lightning.Callback) else list(given)
    for callback in callbacks:
        if isinstance(callback, type):
            raise ValueError(
                f"trainer_options['callbacks'] holds the class {callback.__name__}; pass an "
                f"object, such as {callback.__name__}(...)."
            )
        if not isinstance(callback, lightning.Callback):
            raise ValueError(
                f"trainer_options['callbacks'] holds {callback!r}, which is not a callback of "
                "lightning.pytorch."
            )
    if any(isinstance(callback, GradientAccumulationScheduler) for callback in callbacks):
        raise ValueError(
            "trainer_options['callbacks'] holds a GradientAccumulationScheduler; a contrastive "
            "loss compares a batch as a whole. To save memory use the argument micro_batch_size."
        )
    try:
        return copy.deepcopy(callbacks)
    except Exception as error:
        name = next((name for name in callbacks if not _can_be_copied(name)), callbacks[0])
        raise ValueError(
            f"trainer_options['callbacks']: {type(name).__name__} cannot be copied ({error}), and "
            "each fit uses copies. Open files and the like in its method `setup`, or give it a "
            "method `__deepcopy__`."
        ) from error


def _can_be_copied(callback: lightning.Callback) -> bool:
    try:
        copy.deepcopy(callback)
    except Exception:
        return False
    return True


def _accelerator(accelerator: Any) -> Any:
    """Choose the CPU if the only accelerator lacks float64, which coordinates need."""
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
            f"trainer_options['logger'] must be one of {', '.join(map(repr, LOGGERS))} or a logger "
            f"object, got {logger!r}."
        )
    return getattr(loggers, logger)(save_dir=str(folder or "."))


def device_for_features(options: dict[str, Any]) -> torch.device:
    """Return the device for a frozen tower: this process's card, or the CPU."""
    if options["accelerator"] == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    devices = options["devices"]
    numbers = devices if isinstance(devices, list) else range(torch.cuda.device_count())
    local = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", numbers[local % len(numbers)])


def check_shares(batch_size: int, n_processes: int) -> None:
    """Check that processes share a batch evenly, at least two pairs each."""
    if batch_size % n_processes or batch_size < 2 * n_processes:
        fits = max(2, round(batch_size / n_processes)) * n_processes
        raise ValueError(
            f"batch_size={batch_size} cannot be shared evenly by {n_processes} processes, at least "
            f"2 pairs each; pass for instance batch_size={fits}."
        )
