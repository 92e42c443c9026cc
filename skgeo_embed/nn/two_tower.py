"""The two-tower model: images on one side, coordinates on the other."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skgeo_embed.nn.location import LocationEncoder

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)


class SatCLIP(nn.Module):
    """An image tower and a location tower in one embedding space.

    Parameters
    ----------
    visual : torch.nn.Module
        Maps (n, bands, height, width) to (n, embed_dim).
    location : LocationEncoder
        Maps (n, 2) degrees to (n, embed_dim).
    """

    def __init__(self, visual: nn.Module, location: LocationEncoder) -> None:
        super().__init__()
        self.visual = visual
        self.location = location
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))

    @property
    def temperature(self) -> float:
        """What similarities are divided by, exp(-logit_scale)."""
        return math.exp(-self.logit_scale.item())

    def train(self, mode: bool = True) -> SatCLIP:
        """Switch to training, but for frozen batch norms, whose statistics must not drift."""
        super().train(mode)
        for module in self.visual.modules():
            weights = list(module.parameters(recurse=False))
            frozen = bool(weights) and not any(p.requires_grad for p in weights)
            if frozen and isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, image: Tensor, lonlat: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit-length embeddings of images and places, each (n, embed_dim)."""
        places = self.location(lonlat)
        images = self.visual(image)
        return (
            nn.functional.normalize(images, dim=-1),
            nn.functional.normalize(places.to(images.dtype), dim=-1),
        )
