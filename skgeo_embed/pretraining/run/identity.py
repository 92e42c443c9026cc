"""The identity of a run: settings that must match to resume it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from sklearn.utils import check_random_state
from torch.utils.data import Dataset

from skgeo_embed.images.pixels import to_float_images
from skgeo_embed.models.lightning_file import read_checkpoint
from skgeo_embed.pretraining.data.batches import read_rows
from skgeo_embed.pretraining.recipe import Recipe
from skgeo_embed.pretraining.run.options import LIMITS

RUN_KEY = "skgeo_embed_run"  # where a checkpoint holds the facts of its run
PARAMETERS = ("crop_size", "max_epochs", "batch_size", "n_views", "val_fraction", "val_split")
MAY_CHANGE = ("max_epochs",)  # all other facts must match to resume a run
UNSAFE = (  # what to do about a checkpoint that needs code from it
    "An earlier version wrote the state of a callback as it was. Start the run again; let the "
    "callback's method `state_dict` return numbers, texts, lists, dictionaries and tensors only."
)
SAMPLES = 16  # pairs with hashed images
SEED_VARIABLE = "SKGEO_EMBED_RUN_SEED"  # a script's first process passes the seed on in it


def identify_run(
    settings: dict[str, Any],
    recipe: Recipe,
    pairs: Dataset[Any],
    options: dict[str, Any],
    checkpoint: Path | None,
) -> dict[str, Any]:
    """Return the facts of a run as a file holds them: plain numbers, lists and text.

    `settings` are the pretrainer's parameters, and `options` those of Lightning's trainer.

    Raises
    ------
    ModelFormatError, ValueError
        If the checkpoint to resume from is damaged, or of a run with other settings.
    """
    before = {} if checkpoint is None else read_identity(checkpoint)
    seed = drawn_seed(settings["random_state"], before, options.get("num_nodes", 1))
    tower = settings["vision_tower"]
    facts = {
        "recipe": recipe.describe(),
        "vision_tower": tower if isinstance(tower, (str, dict)) else type(tower).__name__,
        **{name: settings[name] for name in PARAMETERS},
        "precision": str(options["precision"]),
        "limits": {name: options[name] for name in LIMITS if name in options},
        "data": fingerprint_of_pairs(pairs),
        "seed": seed,
    }
    facts = json.loads(json.dumps(facts, default=lambda number: number.item()))
    if checkpoint is not None:
        compare_identities(before, facts, checkpoint.parent)
    return facts


def fingerprint_of_pairs(pairs: Dataset[Any]) -> str:
    """Hash the number of pairs, a sample of the images, and the coordinates.

    The hash depends on contents alone: a moved or copied file gives the same one. Of a user's own
    dataset, which may augment its images, only their shape counts, and the coordinates of the
    sample.
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


def read_run(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint of a run.

    Raises
    ------
    ModelFormatError
        If the file is damaged, not a checkpoint, or holds objects that need code from it.
    """
    return read_checkpoint(checkpoint, advice=UNSAFE)


def read_identity(checkpoint: Path) -> dict[str, Any]:
    """Return the facts in a checkpoint; none if an earlier version wrote it.

    Raises
    ------
    ModelFormatError
        If the file is damaged, or not a checkpoint.
    """
    found = read_run(checkpoint).get(RUN_KEY, {})
    return dict(found) if isinstance(found, dict) else {}


def compare_identities(before: dict[str, Any], now: dict[str, Any], where: Path) -> None:
    """Check that a run resumes with the settings that it began with.

    Raises
    ------
    ValueError
        If a setting differs; the message names it, with both values.
    """
    changed = []
    for key, new in now.items():
        then = before.get(key, new)
        if then == new or key in MAY_CHANGE:
            continue
        if key == "data":
            changed.append("data: the images or coordinates have changed")
        elif isinstance(then, dict) and isinstance(new, dict):
            inner = sorted(k for k in then.keys() | new.keys() if then.get(k) != new.get(k))
            changed += [f"{k}: {then.get(k)!r} then, {new.get(k)!r} now" for k in inner]
        else:
            changed.append(f"{key}: {then!r} then, {new!r} now")
    if changed:
        raise ValueError(
            f"{where} holds a run with other settings ({'; '.join(changed)}); resume it with the "
            "same settings, or choose another checkpoint_dir."
        )


def drawn_seed(random_state: Any, before: dict[str, Any], num_nodes: int = 1) -> int:
    """Return the seed of a resumed run, or a new one that all processes share.

    Parameters
    ----------
    random_state : None, int or RandomState
        The pretrainer's parameter. Anything but an int takes the seed of a resumed run.
    before : dict
        Facts of the run to resume; empty for a new run.
    num_nodes : int, default=1
        Machines that train together.

    Raises
    ------
    ValueError
        If several machines would draw different seeds.
    """
    if "seed" in before and not isinstance(random_state, (int, np.integer)):
        return int(before["seed"])
    if isinstance(random_state, (int, np.integer)):
        return int(check_random_state(random_state).randint(2**31 - 1))
    if num_nodes > 1 and "TORCHELASTIC_RUN_ID" not in os.environ:
        raise ValueError(
            f"num_nodes={num_nodes}: each machine would draw its own seed, and so its own split; "
            "pass the same random_state on each, or start them with torchrun."
        )
    return _shared(int(check_random_state(random_state).randint(2**31 - 1)))


def _shared(seed: int) -> int:
    """Return the seed of the first of the processes that train together."""
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
