"""Content columns among the components of a location network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.location.networks import cosine_transform

SCALE = 0.2  # of content columns in the output; the largest component has a deviation of 0.8


@torch.no_grad()
def with_fine_content(
    student: LocationEncoder, content: ContentLayers, places: Tensor, hidden: Tensor
) -> LocationEncoder:
    """Add principal components of content columns to those of a network.

    Content columns hold what a feature grid is too coarse for, such as the lights of one village.
    All components are ordered by their deviations. The network loses as many of its last
    components, and keeps its embedding.

    Parameters
    ----------
    student : LocationEncoder
        Its last hidden layer is one of mixed components.
    content : ContentLayers
        The columns.
    places : Tensor of shape (n, 2)
        Degrees.
    hidden : Tensor of shape (n, hidden_dim)
        The network's hidden layer at these places, before `hidden_scale`.

    Returns
    -------
    network : LocationEncoder
        In eval mode.
    """
    made = LocationEncoder(**{**student.config, "content": content.description()}, dropout=0.0)
    made.load_state_dict(student.state_dict(), strict=False)
    own: Any = made.posenc
    own.content.load_state_dict(content.state_dict())
    mean, axes, deviations = _components(content(places, torch.float64))
    net: Any = made.nnet
    mixed, last = net.layers[-1], net.last_layer
    size, count = len(mixed.weight), content.embedding_dim
    mix = cosine_transform(size)
    of_network = (hidden.double() @ mix).std(dim=0)[: size - count]
    scale = SCALE / student.hidden_scale
    order = torch.cat([scale * deviations, of_network]).argsort(descending=True, stable=True)
    network, rows = mixed.weight[: size - count], torch.zeros(count, mixed.weight.shape[1])
    mixed.weight.copy_(torch.cat([rows, network])[order])
    offsets = -scale * (mean @ axes)
    mixed.bias.copy_(torch.cat([offsets.float(), mixed.bias[: size - count]])[order])
    of_content = torch.cat([scale * axes.T, axes.new_zeros(size - count, count)])
    mixed.content_weight.copy_(of_content[order])
    of_components = (last.weight.double() @ mix)[:, : size - count]
    kept = torch.cat([axes.new_zeros(len(of_components), count), of_components], dim=1)[:, order]
    last.weight.copy_(kept @ mix.T)
    return made.eval()


def without_fine_content(location: LocationEncoder) -> LocationEncoder:
    """Return a network without its content columns; one that has none is returned itself."""
    if location.config.get("content") is None:
        return location
    made = LocationEncoder(**{**location.config, "content": None}, dropout=0.0)
    known = made.state_dict()
    made.load_state_dict({k: v for k, v in location.state_dict().items() if k in known})
    return made.eval()


def _components(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, principal axes and deviations of columns.

    Half of the weight is spread over all places, half is on places with large values.
    """
    n_places, amount = len(values), values.clamp_min(0).sum(dim=1) + 1e-9
    weights = 0.5 / n_places + 0.5 * amount / amount.sum()
    mean = weights @ values
    centred = values - mean
    variances, axes = torch.linalg.eigh((centred * weights[:, None]).T @ centred)
    axes = axes.flip(1)
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    return mean, axes * largest.sign(), variances.flip(0).clamp_min(0).sqrt()
