"""Towers that are frozen except for their last layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def freeze_all_but_last(tower: nn.Module) -> nn.Module:
    """Freeze all but the linear head, which timm and torchvision call `head` or `fc`."""
    tower.requires_grad_(False)
    head: Any = getattr(tower, "head", None) or getattr(tower, "fc", None)
    head.requires_grad_(True)
    return tower


class FrozenBody(nn.Module):
    """All of a tower except its head.

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
        """Map (n, bands, height, width) to the (n, d) that the head reads."""
        read: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        try:
            self.tower(image)
        finally:
            hook.remove()
        return read[0]


def split_frozen(tower: nn.Module, images: Tensor) -> tuple[nn.Module, nn.Module] | None:
    """Split a tower into a frozen body and a head that trains, or return None.

    Parameters
    ----------
    tower : torch.nn.Module
        Any tower; its head is an attribute `head` or `fc` whose output is the tower's.
    images : Tensor of shape (n, bands, height, width)
        A few images, to check that body and head together are the tower.

    Returns
    -------
    body, head : tuple of torch.nn.Module, or None
        The head is the tower's own module, so training it trains the tower. None if other parts
        train too.
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
