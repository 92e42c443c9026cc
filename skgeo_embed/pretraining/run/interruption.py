"""Ctrl-C during a run."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as lightning


class Interruption(lightning.Callback):
    """Write a checkpoint and stop after the step at the first Ctrl-C.

    After the last step of an epoch the checkpoint waits for the end of the epoch, as those that are
    written regularly do.

    Parameters
    ----------
    checkpoint : Path or None
        The file to write; None writes none.
    """

    def __init__(self, checkpoint: Path | None) -> None:
        self.checkpoint = checkpoint
        self.asked = False

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop if this process or another one received a signal."""
        if trainer.world_size > 1:  # or the others would wait for the process that stopped
            self.asked = trainer.strategy.reduce_boolean_decision(self.asked, all=False)
        if self.asked and not trainer.should_stop:
            if self.checkpoint is not None and not trainer.is_last_batch:
                trainer.save_checkpoint(self.checkpoint)
            trainer.should_stop = True

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle Ctrl-C in this block; a second one stops at once."""
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
