"""Content columns as an encoder without a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.location.encoder import EncodedNetwork, Layer


class ContentNetwork(EncodedNetwork):
    """Content columns of places, with the interface of a location encoder.

    Parameters
    ----------
    content : ContentLayers
        Maps (n, 2) degrees to (n, columns).
    """

    posenc: ContentLayers

    def __init__(self, content: ContentLayers) -> None:
        super().__init__(content, _Precision(), {"content": content.description()})

    def output_dim(self, layer: Layer) -> int:
        """Return the number of columns of "content", the only layer."""
        if layer != "content":
            raise ValueError(f'the only layer is "content", got {layer!r}')
        return self.posenc.embedding_dim

    def run_network(self, features: Tensor, layer: Layer = "content") -> Tensor:
        """Return the columns as they are, (n, columns)."""
        self.output_dim(layer)
        return features


class _Precision(nn.Module):
    """Hold the data type and the device, as the weights of a network would."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()), requires_grad=False)
