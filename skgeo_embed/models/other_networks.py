"""The networks of other authors' files, of sizes that their tensors tell."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from skgeo_embed._errors import ModelFormatError
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


def build_climplicit(weights: Weights) -> EncodedNetwork:
    """Build Climplicit's network; what predicts CHELSA is left out."""
    n_layers = _count(weights, "layers.")
    dim_hidden, dim_in = weights["layers.0.weight"].shape
    dim_out = len(weights["last_layer.weight"])
    with torch.device("meta"):
        network = ResidualSiren(dim_in, dim_hidden, dim_out, n_layers)
    facts = {"embed_dim": len(SEASONS) * dim_out, "month_dim": dim_out, "hidden_dim": dim_hidden}
    return _filled(PlaceAndMonth(), network, weights, {**facts, "num_hidden_layers": n_layers})


def build_sinr(weights: Weights) -> EncodedNetwork:
    """Build SINR's network; the classes are left out."""
    n_layers = _count(weights, "") - 1
    dim_hidden, dim_in = weights["0.weight"].shape
    with torch.device("meta"):
        network = ResidualFeatures(dim_in, dim_hidden, n_layers)
    state = {f"feats.{key}": value for key, value in weights.items()}
    facts = {"embed_dim": dim_hidden, "num_hidden_layers": n_layers}
    return _filled(PeriodicPosition(), network, state, facts)


def build_tte(weights: Weights) -> EncodedNetwork:
    """Build TTE's network, with the sites' sharpness and the learned temperature folded in."""
    registers = "semantic_registers."
    logit = weights[f"{registers}log_temperature"].double().exp()
    temperature = float(logit.clamp(LEAST_TEMPERATURE, LARGEST_TEMPERATURE))
    directions = nn.functional.normalize(weights["_directions"].double(), eps=1e-12)
    state = {
        "directions": directions * weights["_log_tau"].double().exp()[:, None],
        "embeddings": weights["_embeddings"],
        "registers": weights[f"{registers}registers"],
        "to_logits.weight": weights[f"{registers}loc_to_logits.weight"].double() / temperature,
        "to_logits.bias": weights[f"{registers}loc_to_logits.bias"].double() / temperature,
        "to_out.weight": weights[f"{registers}site_to_out.weight"],
        "to_out.bias": weights[f"{registers}site_to_out.bias"],
        "norm.weight": weights[f"{registers}norm.weight"],
        "norm.bias": weights[f"{registers}norm.bias"],
        **{key: value for key, value in weights.items() if key.startswith("mlp.")},
    }
    n_layers = _count(weights, "mlp.") - 2
    n_sites, site_dim = weights["_embeddings"].shape
    n_registers, dim = state["registers"].shape
    hidden_dim, embed_dim = len(weights["mlp.0.weight"]), len(weights[f"mlp.{n_layers + 2}.weight"])
    with torch.device("meta"):
        network = SitesAndRegisters(
            n_sites, site_dim, n_registers, dim, hidden_dim, embed_dim, n_layers
        )
    facts = {"embed_dim": embed_dim, "n_sites": n_sites, "temperature": temperature}
    doubled = {key: value.double() for key, value in state.items()}
    return _filled(UnitVector(), network, doubled, facts)


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
    return _filled(ProjectedPlace(waves if takes_year else None), network, state, facts)


def _count(weights: Weights, prefix: str) -> int:
    """How many numbered layers begin with a prefix."""
    rest = (key.removeprefix(prefix) for key in weights if key.startswith(prefix))
    return len({name.partition(".")[0] for name in rest})


def _filled(
    posenc: nn.Module, network: nn.Module, state: Weights, facts: Mapping[str, object]
) -> EncodedNetwork:
    own = set(network.state_dict())
    extra = sorted(set(state) - own)
    if extra:
        raise ModelFormatError(f"there are tensors that no such network has: {extra[:4]}.")
    network.load_state_dict(state, assign=True)
    return EncodedNetwork(posenc, network, dict(facts))
