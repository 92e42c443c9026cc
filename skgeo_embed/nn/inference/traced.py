"""A SIREN as a graph holds it: components are mixed when the file is opened."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skgeo_embed.nn.inference.networks import SineNetwork
from skgeo_embed.nn.inference.options import EncodingOptions
from skgeo_embed.nn.location.networks import MixedComponents


class TracedSines(SineNetwork):
    """A SIREN whose weights enter a graph as they were saved.

    Weights of single components are often exact in half precision; those of mixed components, which
    :class:`SineNetwork` computes once, never are.
    """

    _terms: dict[int, tuple[Tensor, Tensor, Tensor]]

    def embed(self, lonlat: Tensor, options: EncodingOptions) -> Tensor:
        """Encode (n, 2) points at once, the first layer by one product."""
        features, content = self.posenc(lonlat, dtype=self.dtype), None
        if self.details is not None:
            details = self.details.details(lonlat, self.dtype)
            read = self.detail_weight.shape[1]
            features, content = torch.cat([features, details[:, :read]], dim=1), details[:, read:]
        first = torch.addmm(self.biases[0], features, self.weights[0].T)
        return self.finish(first, content, options)

    def _columns_of(self, number: int, columns: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
        layer = self._layers[number]
        weight, bias, of_content = super()._columns_of(number, columns)
        if isinstance(layer, MixedComponents):
            components = layer.weight[:columns]
            weight = self._mix(len(components)).to(self.dtype) @ components.to(self.dtype)
        return weight, bias, of_content

    def _mix(self, size: int) -> Tensor:
        """Compute `cosine_transform` of vectors, which are made before a trace begins."""
        terms = self.__dict__.setdefault("_terms", {})
        if size not in terms:
            steps = torch.arange(size, dtype=torch.float64)
            scale = torch.full((size,), math.sqrt(2 / size), dtype=torch.float64)
            scale[0] = math.sqrt(1 / size)
            terms[size] = (steps + 0.5) * (math.pi / size), steps, scale
        rows, columns, scale = terms[size]
        return torch.sin(rows[:, None] * columns + math.pi / 2) * scale
