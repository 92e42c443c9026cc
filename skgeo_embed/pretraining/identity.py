"""What a run is: what must match for it to be gone on with."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from sklearn.utils import check_random_state
from torch.utils.data import Dataset

from skgeo_embed.images.pixels import to_float_images
from skgeo_embed.models.lightning_file import read_checkpoint
from skgeo_embed.pretraining.features import read_rows

RUN_KEY = "skgeo_embed_run"  # of a checkpoint
MUST_MATCH = (
    "recipe",
    "vision_tower",
    "crop_size",
    "batch_size",
    "n_views",
    "val_fraction",
    "val_split",
    "precision",
    "data",
    "seed",
)
SAMPLES = 16  # pairs whose images are hashed
SEED_VARIABLE = "SKGEO_EMBED_RUN_SEED"  # how a script's first process tells the others


def plain_words(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts as they come back from a file: plain numbers, lists and text."""
    return json.loads(json.dumps(facts, default=lambda number: number.item()))


def fingerprint_of_pairs(pairs: Dataset[Any]) -> str:
    """Hash the number of pairs, a sample of the images and all coordinates that are at hand.

    It depends on contents alone: data that were moved or copied are the same data. The images of a
    user's own dataset are left out, since it may augment them.
    """
    n_pairs = len(pairs)  # type: ignore[arg-type]
    rows = np.unique(np.linspace(0, n_pairs - 1, SAMPLES).astype(int)).tolist()
    sample = read_rows(pairs, rows)
    digest = hashlib.blake2b(str(n_pairs).encode(), digest_size=16)
    lonlat = getattr(pairs, "lonlat", None)
    images = sample["image"]
    described = np.array(images.shape) if lonlat is None else to_float_images(images).numpy()
    points = sample["point"].numpy() if lonlat is None else lonlat
    for values in (described, points):
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def read_identity(checkpoint: Path) -> dict[str, Any]:
    """Return what a checkpoint says of its run; nothing where it is older than that.

    Raises
    ------
    ModelFormatError
        If the file is damaged, or no checkpoint.
    """
    found = read_checkpoint(checkpoint).get(RUN_KEY, {})
    return dict(found) if isinstance(found, dict) else {}


def compare_identities(before: dict[str, Any], now: dict[str, Any], where: Path) -> None:
    """Refuse to go on with a run that was another.

    Raises
    ------
    ValueError
        If something that must match does not; it names what, then and now.
    """
    changed = []
    for key in MUST_MATCH:
        if key not in before or before[key] == now[key]:
            continue
        then, new = before[key], now[key]
        if key == "data":
            changed.append("data: other images or coordinates than then")
        elif isinstance(then, dict) and isinstance(new, dict):
            inner = sorted(k for k in then.keys() | new.keys() if then.get(k) != new.get(k))
            changed += [f"{k}: {then.get(k)!r} then, {new.get(k)!r} now" for k in inner]
        else:
            changed.append(f"{key}: {then!r} then, {new!r} now")
    if changed:
        raise ValueError(
            f"{where} holds a run with other settings ({'; '.join(changed)}); use the same to "
            "continue it, or another checkpoint_dir."
        )


def drawn_seed(random_state: Any, before: dict[str, Any], num_nodes: int = 1) -> int:
    """Return the seed of a run: its own if it is gone on with, or a new one for all processes.

    Parameters
    ----------
    random_state : None, int or RandomState
        The user's. None takes the seed of the run that is gone on with.
    before : dict
        What a checkpoint says of that run; empty for a new one.
    num_nodes : int, default=1
        Machines that train together.

    Raises
    ------
    ValueError
        If several machines would each draw their own.
    """
    if "seed" in before and not isinstance(random_state, (int, np.integer)):
        return int(before["seed"])
    if isinstance(random_state, (int, np.integer)):
        return int(check_random_state(random_state).randint(2**31 - 1))
    if num_nodes > 1 and "TORCHELASTIC_RUN_ID" not in os.environ:
        raise ValueError(
            f"num_nodes={num_nodes}: every machine would draw a seed, and so a split, of its own; "
            "pass random_state, the same number on each, or start them with torchrun."
        )
    return _shared(int(check_random_state(random_state).randint(2**31 - 1)))


def _shared(seed: int) -> int:
    """Let processes that train together agree on the first one's seed."""
    if dist.is_available() and dist.is_initialized():
        held = [seed]
        dist.broadcast_object_list(held)
        return held[0]
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun: all start at once, and share these
        names = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")
        described = " ".join(os.environ.get(name, "") for name in names).encode()
        return int.from_bytes(hashlib.blake2b(described, digest_size=4).digest()) >> 1
    if os.environ.get("LOCAL_RANK", "0") != "0" and SEED_VARIABLE in os.environ:
        return int(os.environ[SEED_VARIABLE])
    os.environ[SEED_VARIABLE] = str(seed)  # which processes that Lightning starts inherit
    return seed


def forked_draws() -> Any:
    """Keep torch's random state as it was; CUDA is not touched, which would forbid a fork."""
    return torch.random.fork_rng(devices=[])
