"""ResNets (He et al. 2015, arXiv 1512.03385) with the parameter names of torchvision and timm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def _conv(width_in: int, width: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width_in, width, size, stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(width_in, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = make_shortcut(width_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width_in, h, w) to (n, width, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3 (with the stride) and 1 × 1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(width_in, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, width * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = make_shortcut(width_in, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width_in, h, w) to (n, 4 width, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + shortcut)


def make_shortcut(width_in: int, width: int, stride: int) -> nn.Sequential | None:
    """Project the shortcut where the shape changes."""
    if stride == 1 and width_in == width:
        return None
    return nn.Sequential(_conv(width_in, width, 1, stride), nn.BatchNorm2d(width))


def add_stages(network: nn.Module, block: Any, width: int, depths: Sequence[int]) -> int:
    """Add `layer1`, `layer2`, ... of `depths` blocks to a network; return their output's width."""
    width_in = width
    for stage, depth in enumerate(depths):
        blocks = []
        for position in range(depth):
            stride = 2 if stage and not position else 1
            blocks.append(block(width_in, width * 2**stage, stride))
            width_in = width * 2**stage * block.expansion
        setattr(network, f"layer{stage + 1}", nn.Sequential(*blocks))
    return width_in


class ResNet(nn.Module):
    """A residual network with a linear head.

    Parameters
    ----------
    block : type
        :class:`BasicBlock` or :class:`Bottleneck`.
    depths : sequence of int
        Blocks in each of the four stages.
    in_channels : int, default=13
        Number of bands.
    embed_dim : int, default=256
        Columns of the output.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self, block: Any, depths: Sequence[int], in_channels: int = 13, embed_dim: int = 256
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.fc = nn.Linear(add_stages(self, block, 64, depths), embed_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Map (n, bands, height, width) to (n, embed_dim)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(image))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(x.mean(dim=(2, 3)))


def resnet18(in_channels: int = 13, embed_dim: int = 256) -> ResNet:
    """Build a ResNet18."""
    return ResNet(BasicBlock, (2, 2, 2, 2), in_channels, embed_dim)


def resnet50(in_channels: int = 13, embed_dim: int = 256) -> ResNet:
    """Build a ResNet50."""
    return ResNet(Bottleneck, (3, 4, 6, 3), in_channels, embed_dim)
