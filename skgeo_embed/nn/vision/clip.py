"""CLIP's vision towers (Radford et al. 2021, arXiv 2103.00020) with CLIP's parameter names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skgeo_embed.nn.vision.initial import normal_parameter
from skgeo_embed.nn.vision.resnet import add_stages


class AntialiasedBottleneck(nn.Module):
    """A bottleneck that strides by average pooling instead of in a convolution."""

    expansion = 4

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        width_out = width * self.expansion
        self.conv1 = nn.Conv2d(width_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(width, width_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width_out)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or width_in != width_out:
            # pooling has no weights; CLIP names the other two "0" and "1"
            conv, norm = nn.Conv2d(width_in, width_out, 1, bias=False), nn.BatchNorm2d(width_out)
            self.downsample = nn.Sequential(conv, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width_in, h, w) to (n, 4 width, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(self.pool(x))
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.pool(torch.relu(self.bn2(self.conv2(x))))
        return torch.relu(self.bn3(self.conv3(x)) + shortcut)


class AttentionPool(nn.Module):
    """Attention of the mean token to all positions, instead of average pooling."""

    def __init__(self, side: int, width: int, n_heads: int, embed_dim: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.positional_embedding = normal_parameter(side**2 + 1, width, std=width**-0.5)
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to (n, embed_dim)."""
        tokens = x.flatten(2).transpose(1, 2)  # (n, h w, width)
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        tokens = tokens + self.positional_embedding
        query, key, value = (
            projection(part).unflatten(2, (self.n_heads, -1)).transpose(1, 2)
            for projection, part in (
                (self.q_proj, tokens[:, :1]),
                (self.k_proj, tokens),
                (self.v_proj, tokens),
            )
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.c_proj(mixed.transpose(1, 2).flatten(1))


class ModifiedResNet(nn.Module):
    """CLIP's ResNet: three-convolution stem, antialiased strides, attention pooling.

    Parameters
    ----------
    depths : sequence of int, default=(3, 4, 6, 3)
        Blocks in each of the four stages.
    in_channels, embed_dim : int, default=13, 256
        Number of bands, columns of the output.
    image_size : int, default=256
        Height and width of an image, pixels; a multiple of 32.
    width : int, default=64
        Width of the stem.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        depths: Sequence[int] = (3, 4, 6, 3),
        in_channels: int = 13,
        embed_dim: int = 256,
        image_size: int = 256,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        half = width // 2
        self.conv1 = nn.Conv2d(in_channels, half, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        width_in = add_stages(self, AntialiasedBottleneck, width, depths)
        self.attnpool = AttentionPool(image_size // 32, width_in, width_in // 64, embed_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Map (n, bands, image_size, image_size) to (n, embed_dim)."""
        x = image
        for conv, norm in (
            (self.conv1, self.bn1),
            (self.conv2, self.bn2),
            (self.conv3, self.bn3),
        ):
            x = torch.relu(norm(conv(x)))
        x = self.avgpool(x)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.attnpool(x)


class QuickGELU(nn.Module):
    """x σ(1.702 x), the approximation of GELU that CLIP was trained with."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it elementwise."""
        return x * torch.sigmoid(1.702 * x)


class ResidualAttentionBlock(nn.Module):
    """Attention and feed-forward, each behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, n_heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """A stack of :class:`ResidualAttentionBlock`."""

    def __init__(self, width: int, depth: int, n_heads: int) -> None:
        super().__init__()
        blocks = (ResidualAttentionBlock(width, n_heads) for _ in range(depth))
        self.resblocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        return self.resblocks(x)


class CLIPVisionTransformer(nn.Module):
    """CLIP's vision transformer; heads are 64 wide.

    Parameters
    ----------
    depth : int, default=12
        Number of blocks.
    in_channels, embed_dim : int, default=13, 256
        Number of bands, columns of the output.
    image_size, patch_size : int, default=256, 32
        Height and width of an image and of a patch, pixels.
    width : int, default=768
        Width of the transformer, a multiple of 64.
    """

    def __init__(
        self,
        depth: int = 12,
        in_channels: int = 13,
        embed_dim: int = 256,
        image_size: int = 256,
        patch_size: int = 32,
        width: int = 768,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        n_tokens = (image_size // patch_size) ** 2 + 1
        scale = width**-0.5
        self.conv1 = nn.Conv2d(in_channels, width, patch_size, stride=patch_size, bias=False)
        self.class_embedding = normal_parameter(width, std=scale)
        self.positional_embedding = normal_parameter(n_tokens, width, std=scale)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, depth, width // 64)
        self.ln_post = nn.LayerNorm(width)
        self.proj = normal_parameter(width, embed_dim, std=scale)

    def forward(self, image: Tensor) -> Tensor:
        """Map (n, bands, image_size, image_size) to (n, embed_dim)."""
        patches = self.conv1(image).flatten(2).transpose(1, 2)  # (n, patches, width)
        first = self.class_embedding.expand(len(image), 1, -1)
        tokens = torch.cat([first, patches], dim=1) + self.positional_embedding
        tokens = self.transformer(self.ln_pre(tokens))
        return self.ln_post(tokens[:, 0]) @ self.proj
