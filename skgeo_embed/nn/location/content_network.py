"""Content columns as an encoder: no network, only what the layers show."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.location.encoder import EncodedNetwork, Layer


class ContentNetwork(EncodedNetwork):
    """Content columns of places, under the roof of a location encoder.

    Parameters
    ----------
    content : ContentLayers
        Maps (n, 2) degrees to (n, columns).
    """

    posenc: ContentLayers

    def __init__(self, content: ContentLayers) -> None:
        super().__init__(content, _Precision(), {"content": content.description()})

    def output_dim(self, layer: Layer) -> int:
        """Columns of the "content"; there are no others."""
        if layer != "content":
            raise ValueError(f'content columns are layer="content", not {layer!r}')
        return self.posenc.embedding_dim

    def run_network(self, features: Tensor, layer: Layer = "content") -> Tensor:
        """Return the columns as they are, (n, columns)."""
        self.output_dim(layer)
        return features


class _Precision(nn.Module):
    """Stands where a network would, and is moved and cast like one."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()), requires_grad=False)
