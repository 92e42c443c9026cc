"""Locks that a forked child can acquire even if its parent held them."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType


class ForkSafeLock:
    """A lock that is new in every forked child.

    Another thread may hold a lock when the process forks. The child has no such thread, so the
    lock would never be released there.
    """

    _all: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    @classmethod
    def renew_all(cls) -> None:
        """Replace the locks of this process."""
        for lock in list(cls._all):
            lock._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ForkSafeLock.renew_all)
