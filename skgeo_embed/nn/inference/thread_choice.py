"""One thread or all: which is faster now, found by timing the batches that run anyway.

A thread that has finished its part of a product spins until the others have finished. On a quiet
machine that is the fastest way to wait. Beside other work the system suspends one of the threads,
the others wait for it thousands of times a second, and two threads take several times as long as
one.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

import torch
from threadpoolctl import ThreadpoolController

from skgeo_embed.nn.inference.locks import ForkSafeLock

ALL, ONE = False, True  # whether one thread alone computes a batch
WORTH_SWITCHING = 0.93  # switch if the other choice costs less than this share of the present one
NEW_SHARE = 0.3  # weight of the latest batch in the running mean
LARGEST_STEP = 2.0  # limit for a single batch that the system suspended
PATIENCE = 20, 160  # trying the other choice costs at most 1/20, later 1/160, of the time
BATCHES_BETWEEN_LOOKS = 16
LARGE_BATCHES = 3  # from 512 cells on, the cost per cell does not depend on the batch's size


class ThreadChoice:
    """Run batches with one thread or with all, whichever was faster for batches of that kind.

    The choice affects only how long a batch takes. It holds for the calling thread while a batch
    runs: no environment variable and no setting of the process changes.
    """

    def __init__(self) -> None:
        self._costs: dict[Hashable, BatchCosts] = {}
        self._lock = ForkSafeLock()

    @contextmanager
    def batch(self, kind: Hashable, n_cells: int) -> Iterator[None]:
        """Choose the threads of this block, and time it.

        Parameters
        ----------
        kind : hashable
            Batches of one kind have the same cost per cell.
        n_cells : int
            Size of the batch.
        """
        if torch.get_num_threads() == 1:
            yield
            return
        with self._lock:
            key = kind, min(n_cells.bit_length() // 3, LARGE_BATCHES)
            costs = self._costs.setdefault(key, BatchCosts())
            alone = costs.choose(time.perf_counter())
        with openmp_libraries().limit(limits=1) if alone else nullcontext():
            started = time.perf_counter()
            yield
            ended = time.perf_counter()
        with self._lock:
            costs.note(alone, (ended - started) / n_cells, ended - started, ended)


class BatchCosts:
    """Costs of batches of one kind with one thread and with all, and when to compare again."""

    _latest = ALL  # the latest choice for any kind, with which a new kind begins

    def __init__(self) -> None:
        self._cost: dict[bool, float] = {}
        self._current = BatchCosts._latest
        self._last: bool | None = None
        self._since_look = 0
        self._next_look = 0.0
        self._patience = PATIENCE[0]

    def choose(self, now: float) -> bool:
        """Return whether one thread alone computes the next batch."""
        other = not self._current
        if self._current not in self._cost:
            return self._current
        if other not in self._cost:
            # one thread costs at most twice as much, so try it at once; all may cost ten times
            return other if self._current == ALL or self._waited() else self._current
        if self._cost[other] < WORTH_SWITCHING * self._cost[self._current]:
            self._current = BatchCosts._latest = other
            self._patience = PATIENCE[0]
            return other
        return other if self._waited() and now >= self._next_look else self._current

    def _waited(self) -> bool:
        return self._since_look >= BATCHES_BETWEEN_LOOKS

    def note(self, alone: bool, cost: float, seconds: float, now: float) -> None:
        """Record the cost per cell of a batch."""
        if self._last is None:  # the first batch also loads and allocates
            self._last = alone
            return
        if alone == self._last and alone in self._cost:
            before = self._cost[alone]
            cost = before + NEW_SHARE * (min(cost, LARGEST_STEP * before) - before)
        self._cost[alone] = cost
        self._last = alone
        self._since_look += 1
        if alone != self._current:
            self._since_look = 0
            self._next_look = now + self._patience * seconds
            self._patience = min(2 * self._patience, PATIENCE[1])


@cache
def openmp_libraries() -> ThreadpoolController:
    """Return the OpenMP libraries of this process; limits hold for the calling thread alone."""
    return ThreadpoolController().select(user_api="openmp")


PROBED_CELLS = 2**16  # enough for torch to share an operation among threads
PROBED_SECONDS = 0.008, 0.02  # one thread; all, long enough for the system to switch tasks
PROBE_LASTS = 5.0  # seconds
_probed: list[tuple[float, bool]] = []


@contextmanager
def worthwhile_threads() -> Iterator[None]:
    """Use one thread in this block if several would wait for each other.

    This is for fits of many small steps, such as trees. The limit of OpenMP holds for the calling
    thread; that of numpy's BLAS holds for the process and is restored at the end.
    """
    if torch.get_num_threads() > 1 and not _threads_pay():
        with ThreadpoolController().limit(limits=1):
            yield
        return
    yield


def _threads_pay() -> bool:
    """Return whether small steps are faster with several threads, measured every few seconds."""
    now = time.perf_counter()
    if not _probed or now - _probed[-1][0] > PROBE_LASTS:
        values = torch.linspace(0, 1, PROBED_CELLS)
        with openmp_libraries().limit(limits=1):
            alone = _steps_a_second(values, PROBED_SECONDS[0])
        together = _steps_a_second(values, PROBED_SECONDS[1])
        _probed[:] = [(now, together > alone / WORTH_SWITCHING)]
    return _probed[-1][1]


def _steps_a_second(values: torch.Tensor, seconds: float) -> float:
    torch.sin(values)  # starts the threads
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        torch.sin(values)
        steps += 1
    return steps / (time.perf_counter() - started)
