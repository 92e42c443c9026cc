"""What files of features say about the model that made them, by the ``geoemb:`` convention."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from skgeo_embed.models.hub import is_hub_id
from skgeo_embed.models.registry import find_satclip, find_third_party
from skgeo_embed.rasters.conventions import CONVENTION, PREFIX
from skgeo_embed.rasters.patches import OWN

HUB = "https://huggingface.co/"
KEPT = ("name", "sha256", "revision", "licence", "trained_on", "layer")


def embedding_attributes(encoder: Any) -> dict[str, Any]:
    """Describe the features of a fitted encoder.

    The convention wants addresses of the model and of its data. A model of the hub has one; any
    other is named by the hash of its weights, and data by what the model says about them.
    """
    from skgeo_embed import __version__

    info = getattr(encoder, "encoder_info_", {})
    kept = {f"{OWN}{key}": str(info[key]) for key in KEPT if info.get(key) is not None}
    return {
        "zarr_conventions": [CONVENTION],
        f"{PREFIX}type": "pixel",
        f"{PREFIX}dimensions": int(encoder.n_features_out),
        f"{PREFIX}model": _model_address(encoder, info),
        f"{PREFIX}source_data": [f"urn:skgeo-embed:data:{quote(str(info.get('trained_on')))}"],
        f"{PREFIX}data_type": str(encoder.output_dtype),
        f"{PREFIX}build_version": f"skgeo-embed {__version__}",
        f"{OWN}encoder": type(encoder).__name__,
        **kept,
    }


def _model_address(encoder: Any, info: dict[str, Any]) -> str:
    name = str(info.get("name"))
    if info.get("source") == "hub":
        known = find_satclip(name) or find_third_party(name)
        repository = known.repository if known is not None else name
        if repository and is_hub_id(repository):
            return f"{HUB}{repository}"
    if info.get("sha256"):
        return f"urn:sha256:{info['sha256']}"
    return f"urn:skgeo-embed:{type(encoder).__name__}"
