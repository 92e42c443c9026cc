"""A small vision tower, and a user's tower with a projection."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class SmallConvNet(nn.Module):
    """A small convolutional network that trains from scratch on a CPU.

    A batch norm without weights standardises the bands, so images may have any scale. Each block
    halves height and width; the mean over the remaining pixels is projected.

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
