"""A vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929) with timm's parameter names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skgeo_embed.nn.vision.initial import normal_parameter


class PatchEmbedding(nn.Module):
    """Cut an image into patches and project each."""

    def __init__(self, in_channels: int, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, patch_size, stride=patch_size)

    def forward(self, image: Tensor) -> Tensor:
        """Map (n, bands, height, width) to (n, patches, width)."""
        return self.proj(image).flatten(2).transpose(1, 2)


class SelfAttention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        n, tokens, width = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.n_heads, width // self.n_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (n, heads, tokens, width / heads)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))


class FeedForward(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and feed-forward, each behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = SelfAttention(width, n_heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """A vision transformer whose class token goes through a linear head; ViT-S/16 by default.

    Parameters
    ----------
    in_channels, embed_dim : int, default=13, 256
        Number of bands, columns of the output.
    image_size, patch_size : int, default=224, 16
        Height and width of an image and of a patch, pixels.
    width, depth, n_heads : int, default=384, 12, 6
        Size of the transformer.
    """

    def __init__(
        self,
        in_channels: int = 13,
        embed_dim: int = 256,
        image_size: int = 224,
        patch_size: int = 16,
        width: int = 384,
        depth: int = 12,
        n_heads: int = 6,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        n_tokens = (image_size // patch_size) ** 2 + 1
        self.cls_token = normal_parameter(1, 1, width, std=0.02)
        self.pos_embed = normal_parameter(1, n_tokens, width, std=0.02)
        self.patch_embed = PatchEmbedding(in_channels, width, patch_size)
        self.blocks = nn.Sequential(*(Block(width, n_heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, embed_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Map (n, bands, image_size, image_size) to (n, embed_dim)."""
        patches = self.patch_embed(image)
        tokens = torch.cat([self.cls_token.expand(len(image), -1, -1), patches], dim=1)
        return self.head(self.norm(self.blocks(tokens + self.pos_embed))[:, 0])
