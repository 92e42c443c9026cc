"""Write both towers to a folder that encoders open and the hub takes."""

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
    described: dict[str, Any],
    dtype: str,
    hub_id: str | None,
) -> None:
    """Write weights, config and model card.

    `run` holds the facts of the run, `described` the licence, what the model was trained on and
    its default layer.
    """
    content = content_of(model.location)
    last = history.drop(columns="epoch").tail(1).dropna(axis=1).to_dict("records")
    final = {str(name): float(value) for name, value in (last[0] if last else {}).items()}
    config = {
        "name": folder.name,
        **described,
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
    card = model_card(
        title=folder.name,
        name=hub_id or folder.name,
        licence=described["licence"],
        config=config,
        scores=scores,
    )
    write_folder(folder, config, weights, card)


def _may_be_half(key: str, value: Tensor) -> bool:
    """Say whether half precision holds a tensor; running statistics may exceed its range."""
    return value.is_floating_point() and not any(
        part in key for part in (".grid.", ".waves.", ".running_", "content.")
    )
