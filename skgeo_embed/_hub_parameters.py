"""The constructor arguments by which estimators fetch models, in the hub's own words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skgeo_embed.checkpoints.hub import HubOptions

HUB_CONSTRAINTS: dict[str, Any] = {
    "revision": [str, None],
    "cache_dir": [str, Path, None],
    "token": [str, "boolean", None],
    "local_files_only": ["boolean"],
    "allow_pickle": ["boolean"],
}


def hub_options(estimator: Any) -> HubOptions:
    """Collect an estimator's arguments for fetching."""
    from skgeo_embed.checkpoints.hub import HubOptions

    return HubOptions(
        estimator.revision, estimator.cache_dir, estimator.token, estimator.local_files_only
    )


def without_token(state: dict[str, Any]) -> dict[str, Any]:
    """Leave a secret out of what is pickled."""
    return {**state, "token": None} if isinstance(state.get("token"), str) else state
