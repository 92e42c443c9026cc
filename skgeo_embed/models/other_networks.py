"""The networks of other authors' files, of sizes that their tensors tell."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skgeo_embed._errors import ModelFormatError
from skgeo_embed.models.parsing import check_floating, fill_network
from skgeo_embed.nn.location import EncodedNetwork
from skgeo_embed.nn.location.climplicit import SEASONS, PlaceAndMonth, ResidualSiren
from skgeo_embed.nn.location.mind import ProjectedPlace, ResidualSines
from skgeo_embed.nn.location.sinr import PeriodicPosition, ResidualFeatures
from skgeo_embed.nn.location.tte import (
    LARGEST_TEMPERATURE,
    LEAST_TEMPERATURE,
    SitesAndRegisters,
    UnitVector,
)

Weights = dict[str, Tensor]
IMAGES_OF_TTE = tuple(  # what images are encoded with, in the file and not needed
    f"semantic_registers.{name}"
    for name in ("_img_temperature", "img_to_logits.weight", "img_to_logits.bias")
)


def build_climplicit(weights: Weights) -> EncodedNetwork:
    """Build Climplicit's network; what predicts CHELSA is left out."""
    n_layers = _count(weights, "layers.")
    dim_hidden, dim_out = len(weights["layers.0.weight"]), len(weights["last_layer.weight"])
    with torch.device("meta"):
        network = ResidualSiren(PlaceAndMonth.embedding_dim, dim_hidden, dim_out, n_layers)
    facts = {"embed_dim": len(SEASONS) * dim_out, "month_dim": dim_out, "hidden_dim": dim_hidden}
    fill_network(network, weights)
    return EncodedNetwork(PlaceAndMonth(), network, {**facts, "num_hidden_layers": n_layers})


def build_sinr(weights: Weights) -> EncodedNetwork:
    """Build SINR's network; the classes are left out."""
    n_layers = _count(weights, "") - 1
    dim_hidden = len(weights["0.weight"])
    with torch.device("meta"):
        network = ResidualFeatures(PeriodicPosition.embedding_dim, dim_hidden, n_layers)
    fill_network(network, {f"feats.{key}": value for key, value in weights.items()})
    facts = {"embed_dim": dim_hidden, "num_hidden_layers": n_layers}
    return EncodedNetwork(PeriodicPosition(), network, facts)


def build_tte(weights: Weights) -> EncodedNetwork:
    """Build TTE's network, with the sites' sharpness and the learned temperature folded in."""
    check_floating(weights)
    registers = "semantic_registers."
    left = {key: value.double() for key, value in weights.items() if key not in IMAGES_OF_TTE}
    logit = left.pop(f"{registers}log_temperature").exp()
    temperature = float(logit.clamp(LEAST_TEMPERATURE, LARGEST_TEMPERATURE))
    directions = nn.functional.normalize(left.pop("_directions"), eps=1e-12)
    state = {
        "directions": directions * left.pop("_log_tau").exp()[:, None],
        "embeddings": left.pop("_embeddings"),
        "registers": left.pop(f"{registers}registers"),
        "to_logits.weight": left.pop(f"{registers}loc_to_logits.weight") / temperature,
        "to_logits.bias": left.pop(f"{registers}loc_to_logits.bias") / temperature,
        "to_out.weight": left.pop(f"{registers}site_to_out.weight"),
        "to_out.bias": left.pop(f"{registers}site_to_out.bias"),
        "norm.weight": left.pop(f"{registers}norm.weight"),
        "norm.bias": left.pop(f"{registers}norm.bias"),
    }
    n_layers = _count(left, "mlp.") - 2
    n_sites, site_dim = state["embeddings"].shape
    n_registers, dim = state["registers"].shape
    hidden_dim, embed_dim = len(left["mlp.0.weight"]), len(left[f"mlp.{n_layers + 2}.weight"])
    with torch.device("meta"):
        network = SitesAndRegisters(
            n_sites, site_dim, n_registers, dim, hidden_dim, embed_dim, n_layers
        )
    facts = {"embed_dim": embed_dim, "n_sites": n_sites, "temperature": temperature}
    fill_network(network, {**state, **left})
    return EncodedNetwork(UnitVector(), network, facts)


def build_mind(weights: Weights) -> EncodedNetwork:
    """Build MIND's network in the precision of its file; a year if its first layer takes one."""
    state = {
        key.replace(".linear.", "."): value for key, value in weights.items() if key != "year_freqs"
    }
    dim_hidden, dim_in = state["first.weight"].shape
    waves = weights.get("year_freqs")
    takes_year = waves is not None and dim_in == 2 + 2 * len(waves)
    if dim_in != 2 and not takes_year:
        raise ModelFormatError(f"the first layer takes {dim_in} columns; 2, or 18 with a year, do.")
    n_blocks = _count(weights, "blocks.")
    dim_out = len(state["head.weight"]) if "head.weight" in state else 0
    with torch.device("meta"):
        network = ResidualSines(dim_in, dim_hidden, n_blocks, dim_out)
    facts = {
        "embed_dim": dim_out or dim_hidden,
        "hidden_dim": dim_hidden,
        "num_hidden_layers": 1 + n_blocks,
        "takes_year": takes_year,
    }
    fill_network(network, state)
    return EncodedNetwork(ProjectedPlace(waves if takes_year else None), network, facts)


def _count(weights: Weights, prefix: str) -> int:
    """How many numbered layers begin with a prefix."""
    rest = (key.removeprefix(prefix) for key in weights if key.startswith(prefix))
    return len({name.partition(".")[0] for name in rest})
