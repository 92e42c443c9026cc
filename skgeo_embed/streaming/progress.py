"""How far long work is: a bar on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType

SECONDS = 10.0  # between lines


class Progress:
    """Counts finished items of a total.

    Parameters
    ----------
    what : str
        What is being done, such as "encoding".
    unit : str
        Of what, such as "rows".
    total, done : int, default=0
        How much there is, as far as it is known, and how much of it was there before.
    shown : bool, default=True
        Whether to say anything.
    """

    def __init__(
        self, what: str, unit: str, total: int = 0, done: int = 0, *, shown: bool = True
    ) -> None:
        self._what, self._unit, self._shown = what, unit, shown
        self.total, self._before, self._done = total, done, done

    def __enter__(self) -> Progress:
        from tqdm import tqdm

        terminal = self._shown and sys.stderr.isatty()
        self._bar = tqdm(
            desc=self._what,
            unit=f" {self._unit}",
            unit_scale=True,
            total=self.total or None,
            initial=self._before,
            smoothing=0.05,
            disable=not terminal,
        )
        self._lines = self._shown and not terminal
        self._started = self._said = time.monotonic()
        return self

    def update(self, count: int, total: int | None = None) -> None:
        """Count what was done, and correct the total."""
        self._done += count
        self.total = max(self.total if total is None else total, self._done)
        self._bar.total = self.total
        self._bar.update(count)
        now = time.monotonic()
        if self._lines and now - self._said >= SECONDS:
            self._said = now
            rate = (self._done - self._before) / (now - self._started)
            share = f" of {self.total:,} ({100 * self._done // self.total} %)" if self.total else ""
            print(
                f"{self._what}: {self._done:,}{share} {self._unit}, {rate:,.0f} per second",
                file=sys.stderr,
                flush=True,
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
