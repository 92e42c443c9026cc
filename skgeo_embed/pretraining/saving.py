"""Both towers of a run as a folder, which encoders open and the hub takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from skgeo_embed.models.card import model_card
from skgeo_embed.models.folder import write_folder
from skgeo_embed.models.model_file import content_of, location_tensors
from skgeo_embed.models.towers import describe_tower

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from skgeo_embed.nn.two_tower import SatCLIP


def save_towers(
    folder: Path,
    model: SatCLIP,
    run: dict[str, Any],
    history: pd.DataFrame,
    *,
    licence: str,
    trained_on: str | None,
    default_layer: str,
    dtype: str,
    hub_id: str | None,
) -> None:
    """Write weights, config and model card; `run` is what it was trained with."""
    content = content_of(model.location)
    last = history.drop(columns="epoch").tail(1).to_dict("records")
    final = {str(name): float(value) for name, value in (last[0] if last else {}).items()}
    config = {
        "name": folder.name,
        "licence": licence,
        "trained_on": trained_on,
        "default_layer": default_layer,
        "location": dict(model.location.config),
        "image": describe_tower(model.visual),
        "content": None if content is None else content.description(),
        "training": {**run, "final": final},
    }
    weights = {
        **location_tensors(model.location, content),
        **{f"image.{k}": v for k, v in model.visual.state_dict().items()},
        "logit_scale": model.logit_scale,
    }
    if dtype == "float16":
        weights = {k: v.half() if _may_be_half(k, v) else v for k, v in weights.items()}
    scores = {"Epochs": len(history), **{k: f"{v:.4f}" for k, v in final.items()}}
    name = folder.name
    card = model_card(
        title=name, name=hub_id or name, licence=licence, config=config, scores=scores
    )
    write_folder(folder, config, weights, card)


def _may_be_half(key: str, value: Tensor) -> bool:
    """Say whether half precision holds a tensor: running statistics may be beyond its range."""
    return value.is_floating_point() and not any(
        part in key for part in (".grid.", ".waves.", ".running_", "content.")
    )
