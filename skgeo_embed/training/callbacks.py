"""Callbacks of the pretrainer, and quiet around Lightning's announcements."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

import lightning.pytorch as lightning

METRICS = ("train_loss", "val_loss", "val_top1")


class History(lightning.Callback):
    """Collect the metrics of each epoch in `rows`."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Add a row for the epoch that ends."""
        row: dict[str, float] = {"epoch": trainer.current_epoch}
        row |= {
            name: float(trainer.callback_metrics[name])
            for name in METRICS
            if name in trainer.callback_metrics
        }
        row["temperature"] = pl_module.model.temperature  # type: ignore[union-attr,assignment]
        self.rows.append(row)


class EpochPrinter(lightning.Callback):
    """Print one line an epoch."""

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Print the epoch's metrics."""
        values = ", ".join(
            f"{name} {float(trainer.callback_metrics[name]):.4f}"
            for name in METRICS
            if name in trainer.callback_metrics
        )
        print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {values}")


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
            # the data are in memory: worker processes would only copy them
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
            warnings.filterwarnings("ignore", message=".*but have no `val_dataloader`.*")
            # Lightning's own use of torch's internals is not the user's to mend
            warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
