"""TTE's location encoder: sites on the sphere, semantic registers, a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skgeo_embed.models.checks import check_floating, fill_network
from skgeo_embed.models.third_party.model import Layout, count_layers
from skgeo_embed.nn.location import EncodedNetwork
from skgeo_embed.nn.location.networks import ResidualLayer
from skgeo_embed.nn.sphere import unit_vectors

REGISTER_SHARE = 0.5
NEGLIGIBLE = 60.0  # weights below exp(-60) of the largest; denormal ones would be slow
LEAST_TEMPERATURE, LARGEST_TEMPERATURE = 0.01, 10.0
IMAGE_TENSORS = tuple(  # in the file, for images only
    f"semantic_registers.{name}"
    for name in ("_img_temperature", "img_to_logits.weight", "img_to_logits.bias")
)


class UnitVector(nn.Module):
    """Points on the unit sphere."""

    takes_dtype = True
    embedding_dim = 3

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Encode (n, 2) to (n, 3)."""
        return unit_vectors(lonlat.double()).to(dtype or lonlat.dtype)


class SitesAndRegisters(nn.Module):
    """Embeddings of sites, weighted by how near they are, and registers, by how similar.

    Parameters
    ----------
    n_sites, site_dim, n_registers, dim, hidden_dim, embed_dim, n_layers : int
        Sites and columns of their embeddings, registers and columns of theirs, columns of the
        network's hidden layers and output, and how many residual layers it has.
    """

    def __init__(
        self,
        n_sites: int,
        site_dim: int,
        n_registers: int,
        dim: int,
        hidden_dim: int,
        embed_dim: int,
        n_layers: int,
    ) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.empty(n_sites, 3))  # times the sites' sharpness
        self.embeddings = nn.Parameter(torch.empty(n_sites, site_dim))
        self.registers = nn.Parameter(torch.empty(n_registers, dim))
        self.to_logits = nn.Linear(site_dim, n_registers)  # over the temperature
        self.to_out = nn.Linear(site_dim, dim)
        self.norm = nn.LayerNorm(dim)
        residuals = [ResidualLayer(hidden_dim) for _ in range(n_layers)]
        last = nn.Linear(hidden_dim, embed_dim, bias=False)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden_dim), nn.ReLU(), *residuals, last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 3) to (n, embed_dim); the authors' output is this at unit length."""
        nearness = x @ self.directions.T
        least = nearness.amax(dim=1, keepdim=True) - NEGLIGIBLE
        torch.maximum(nearness, least, out=nearness)
        site = torch.softmax(nearness, dim=1) @ self.embeddings
        registers = torch.softmax(self.to_logits(site), dim=1) @ self.registers
        mixed = torch.lerp(self.to_out(site), registers, REGISTER_SHARE)
        return self.mlp(self.norm(mixed))


def build_tte(weights: dict[str, Tensor]) -> EncodedNetwork:
    """Build TTE's network, with the sites' sharpness and the learned temperature folded in."""
    check_floating(weights)
    registers = "semantic_registers."
    left = {key: value.double() for key, value in weights.items() if key not in IMAGE_TENSORS}
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
    n_layers = count_layers(left, "mlp.") - 2
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


TTE = Layout("TTEEncoder", build_tte, ("location.", "model.location."))
