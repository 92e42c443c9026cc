"""A run's checkpoint as the pretrainer that it was."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError
from skgeo_embed.models.lightning_file import LightningModel, read_checkpoint
from skgeo_embed.models.model_file import Origin
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.pretraining.identity import read_identity
from skgeo_embed.pretraining.recipe import Recipe
from skgeo_embed.pretraining.run import Outcome

KEPT = ("crop_size", "max_epochs", "batch_size", "n_views", "val_fraction", "val_split")


def reopen(
    path: Path, vision_tower: nn.Module | None
) -> tuple[dict[str, Any], Outcome, dict[str, Any]]:
    """Read a pretrainer's parameters, what its run had reached, and what the run was.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If there is no such file, it is damaged, or no checkpoint of this library.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"there is no checkpoint {path}.")
    facts = read_identity(path)
    if not isinstance(facts.get("recipe"), dict):
        raise ModelFormatError(
            f"{path} does not say what its run was, so it is no checkpoint of this library's "
            "pretrainer; SatCLIPEncoder and SatCLIPImageEncoder may open its towers."
        )
    file = LightningModel(Origin("checkpoint", path.name, path, ""), None, allow_pickle=False)
    model = SatCLIP(file.image(vision_tower), file.location("exact"))
    model.logit_scale.data.fill_(file.logit_scale())
    rows = read_checkpoint(path)["state_dict"].get("_extra_state", {}).get("rows", [])
    described = facts["recipe"]
    known = inspect.signature(Recipe).parameters
    words = {name: value for name, value in described.items() if name in known}
    if words.get("feature_grid") is not None:
        words["feature_grid"] = model.location.posenc.grid
    tower = facts["vision_tower"] if vision_tower is None else vision_tower
    parameters = {name: facts[name] for name in KEPT if name in facts}
    parameters |= {"recipe": Recipe(**words), "vision_tower": tower, "random_state": None}
    return parameters, Outcome(model, pd.DataFrame(rows)), facts
