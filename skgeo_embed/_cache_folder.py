"""Where files that can be made again are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """Return the user's cache folder of skgeo_embed, or a folder in it, made where missing.

    It is the environment variable SKGEO_EMBED_CACHE, or else ``skgeo-embed`` in
    XDG_CACHE_HOME or ``~/.cache``.
    """
    base = os.environ.get("SKGEO_EMBED_CACHE")
    if not base:
        base = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "skgeo-embed")
    folder = Path(base).expanduser().joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
