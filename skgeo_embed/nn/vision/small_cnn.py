"""Vision towers: networks that map an image to an embedding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SmallConvNet(nn.Module):
    """A small convolutional network that trains from scratch on a CPU.

    Bands are standardised by a batch norm without weights, so any scale of the data will do;
    then each block halves height and width, and the mean over what is left is projected.

    Parameters
    ----------
    in_channels : int
        Number of bands.
    embed_dim : int, default=256
        Columns of the embedding.
    widths : sequence of int, default=(32, 64, 128, 256)
        Channels of each block.
    """

    def __init__(
        self, in_channels: int, embed_dim: int = 256, widths: tuple[int, ...] = (32, 64, 128, 256)
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "architecture": "small_cnn",
            "in_channels": in_channels,
            "embed_dim": embed_dim,
            "widths": list(widths),
        }
        self.standardize = nn.BatchNorm2d(in_channels, affine=False)
        blocks = []
        for width_in, width in zip((in_channels, *widths[:-1]), widths, strict=True):
            blocks += [
                nn.Conv2d(width_in, width, kernel_size=3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(widths[-1], embed_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Map (n, bands, height, width) to (n, embed_dim)."""
        features = self.blocks(self.standardize(image))
        return self.head(features.mean(dim=(2, 3)))


class ProjectedTower(nn.Module):
    """A user's tower with a linear map to the embedding's width."""

    def __init__(self, tower: nn.Module, dim_in: int, embed_dim: int) -> None:
        super().__init__()
        self.tower = tower
        self.head = nn.Linear(dim_in, embed_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Map (n, bands, height, width) to (n, embed_dim)."""
        return self.head(self.tower(image))


def freeze_all_but_last(tower: nn.Module) -> nn.Module:
    """Leave only the linear head (timm and torchvision call it head or fc) to be trained."""
    tower.requires_grad_(False)
    head: Any = getattr(tower, "head", None) or getattr(tower, "fc", None)
    head.requires_grad_(True)
    return tower


class FrozenBody(nn.Module):
    """All of a tower but its head: what the head is given.

    Parameters
    ----------
    tower : torch.nn.Module
        A tower that ends in `head`.
    head : torch.nn.Module
        Its last module.
    """

    def __init__(self, tower: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.head = head

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Map (n, bands, height, width) to the (n, d) that the head is given."""
        given: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        try:
            self.tower(image)
        finally:
            hook.remove()
        return given[0]


def split_frozen(tower: nn.Module, images: Tensor) -> tuple[nn.Module, nn.Module] | None:
    """Split a tower into a frozen body and the head that trains; None where it is not so.

    Parameters
    ----------
    tower : torch.nn.Module
        Any tower; a head is an attribute `head` or `fc` whose output is the tower's.
    images : Tensor of shape (n, bands, height, width)
        A few images, to see that head after body is the tower.

    Returns
    -------
    body, head : tuple of torch.nn.Module, or None
        The head is the tower's own module, so training it trains the tower.
    """
    trainable = {id(p) for p in tower.parameters() if p.requires_grad}
    if not trainable:
        return tower, nn.Identity()
    head = getattr(tower, "head", None) or getattr(tower, "fc", None)
    if not isinstance(head, nn.Module) or trainable - {id(p) for p in head.parameters()}:
        return None
    body = FrozenBody(tower, head)
    was_training = tower.training
    tower.eval()
    with torch.no_grad():
        same = torch.allclose(head(body(images)), tower(images), atol=1e-5)
    tower.train(was_training)
    return (body, head) if same else None
