"""Access tokens for the worker processes of this process only.

A pickle may be kept or sent away, so no token is ever in one. But workers of a search are given
pickles too, and may have to open a private model: a pickle holds the path of a file that only
this user reads and that goes when this process ends.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from skgeo_embed.nn.inference.locks import ForkSafeLock

_lock = ForkSafeLock()
_folders: dict[int, Path] = {}  # by process: a forked child has its own


@dataclass(frozen=True)
class LentToken:
    """Where a token can be had while the process that lent it lives."""

    path: str

    def redeem(self) -> str | None:
        """Return the token, or None if it is gone."""
        try:
            return Path(self.path).read_text(encoding="utf-8")
        except OSError:
            return None


def lend(token: str) -> LentToken:
    """Leave a token for this process's workers."""
    name = hashlib.sha256(token.encode()).hexdigest()[:32]
    with _lock:
        folder = _folders.get(os.getpid())
        if folder is None or not folder.is_dir():
            folder = Path(tempfile.mkdtemp(prefix="skgeo-embed-"))  # for this user alone
            _folders[os.getpid()] = folder
            atexit.register(_clean, folder, os.getpid())
        path = folder / name
        if not path.is_file():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(token)
    return LentToken(str(path))


def _clean(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
