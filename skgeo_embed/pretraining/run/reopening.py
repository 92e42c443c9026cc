"""Open a run's checkpoint as a fitted pretrainer."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError
from skgeo_embed._files import file_state
from skgeo_embed.models.lightning_file import LightningModel
from skgeo_embed.models.model_file import Origin
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.pretraining.recipe import Recipe
from skgeo_embed.pretraining.run.identity import PARAMETERS, read_identity, read_run


def reopen(
    path: Path, vision_tower: nn.Module | None
) -> tuple[dict[str, Any], SatCLIP, pd.DataFrame, dict[str, Any]]:
    """Read a pretrainer's parameters, its towers, their history, and the facts of the run.

    Raises
    ------
    ModelNotFoundError, ModelFormatError
        If there is no such file, it is damaged, or not a checkpoint of this library.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"there is no checkpoint {path}.")
    facts = read_identity(path)
    if not isinstance(facts.get("recipe"), dict):
        raise ModelFormatError(
            f"{path} does not describe its run, so SatCLIPPretrainer did not write it; "
            "SatCLIPEncoder and SatCLIPImageEncoder may open its towers."
        )
    origin = Origin("checkpoint", path.name, path, "", state=file_state(path))
    file = LightningModel(origin, None, allow_pickle=False)
    model = SatCLIP(file.image(vision_tower), file.location("exact"))
    model.logit_scale.data.fill_(file.logit_scale())
    rows = read_run(path)["state_dict"].get("_extra_state", {}).get("rows", [])
    known = inspect.signature(Recipe).parameters
    recipe = {name: value for name, value in facts["recipe"].items() if name in known}
    if recipe.get("feature_grid") is not None:
        recipe["feature_grid"] = model.location.posenc.grid
    tower = facts["vision_tower"] if vision_tower is None else vision_tower
    parameters = {name: facts[name] for name in PARAMETERS if name in facts}
    parameters |= {"recipe": Recipe(**recipe), "vision_tower": tower, "random_state": None}
    return parameters, model, pd.DataFrame(rows), facts
