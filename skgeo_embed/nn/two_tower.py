"""The two-tower model: images on one side, coordinates on the other."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skgeo_embed.nn.location import LocationEncoder


class SatCLIP(nn.Module):
    """An image tower and a location tower in one embedding space.

    Parameters
    ----------
    visual : torch.nn.Module
        Maps (n, bands, height, width) to (n, embed_dim).
    location : LocationEncoder
        Maps (n, 2) degrees to (n, embed_dim).
    temperature : float, default=0.07
        Initial divisor of similarities.
    """

    def __init__(
        self, visual: nn.Module, location: LocationEncoder, temperature: float = 0.07
    ) -> None:
        super().__init__()
        self.visual = visual
        self.location = location
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    @property
    def temperature(self) -> float:
        """The divisor of similarities, exp(-logit_scale)."""
        return float(torch.exp(-self.logit_scale.detach().double()))  # may be infinite

    def train(self, mode: bool = True) -> SatCLIP:
        """Switch to training, except for frozen batch norms: their statistics must not drift."""
        super().train(mode)
        for module in self.visual.modules():
            weights = list(module.parameters(recurse=False))
            frozen = bool(weights) and not any(p.requires_grad for p in weights)
            if frozen and isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, image: Tensor, lonlat: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit-length embeddings of images and places, each (n, embed_dim)."""
        return unit_rows(self.visual(image), self.location(lonlat))

    def with_hidden(self, image: Tensor, lonlat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embeddings, and the location tower's hidden layer (n, hidden_dim)."""
        hidden, places = self.location.both_layers(lonlat)
        return *unit_rows(self.visual(image), places), hidden


def unit_rows(images: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Scale the rows of both to unit length, in the images' precision."""
    normalize = nn.functional.normalize
    return normalize(images, dim=-1), normalize(places.to(images.dtype), dim=-1)
