"""Distillation: a smaller network learns the components of a location tower's hidden layers.

A ridge on random features approaches the ridge on their kernel as their number grows. Fewer
principal components of the kernel do the same; they are smooth over land, so that a layer of sines
and a linear layer can learn them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

import torch
from sklearn.utils import check_scalar
from torch import Tensor, nn
from tqdm.auto import tqdm

from skgeo_embed.models.model_file import content_of
from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.location.networks import Siren
from skgeo_embed.nn.location.untrained import SPREAD, draw_anew
from skgeo_embed.pretraining.content.components import with_fine_content, without_fine_content

MOST_PLACES = 60_000
CHUNK = 4096
UNTRAINED_SINES = 6144  # close to the limit of infinitely many
TAIL = 0.75  # errors are weighted by this power of the components' variances
BATCH = 2048
LEARNING_RATE = 1e-3
WARMUP_STEPS = 20
PENALTY = 1e-5  # of the ridges that fill the linear layers, per place
VARIANCE = 0.5  # of a hidden column; a sine has the same


def distill(
    teacher: LocationEncoder,
    lonlat: Tensor,
    seed: int,
    *,
    hidden_dim: int,
    sine_dim: int,
    n_steps: int,
    fine_layers: Sequence[str] = (),
    progress: bool = False,
) -> LocationEncoder:
    """Train a smaller network to compute principal components of a tower's hidden layers.

    Half of what it learns are the tower's own hidden layers, half a wide untrained layer with units
    of many scales, which extrapolates better than a trained one. A linear map of the components
    gives the tower's embedding.

    Parameters
    ----------
    teacher : LocationEncoder
        A SIREN on harmonics and a feature grid or fine waves, which the student copies.
    lonlat : Tensor of shape (n, 2)
        Places in degrees.
    seed : int
        Seeds all draws.
    hidden_dim, sine_dim, n_steps, fine_layers : object
        As for :meth:`skgeo_embed.SatCLIPPretrainer.distill`.
    progress : bool, default=False
        Show a bar.

    Returns
    -------
    student : LocationEncoder
        In eval mode.

    Raises
    ------
    ValueError, TypeError
        If the tower is another kind of network, there are too few places, or a size is wrong.
    """
    _check(teacher, len(lonlat), hidden_dim=hidden_dim, sine_dim=sine_dim, n_steps=n_steps)
    content = content_of(teacher)
    teacher = without_fine_content(teacher)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        places = lonlat[torch.randperm(len(lonlat))[:MOST_PLACES]].double()
        wide = draw_anew(
            teacher, SPREAD, hidden_dim=UNTRAINED_SINES, num_hidden_layers=1, sine_dim=None
        )
        student = draw_anew(
            teacher, SPREAD, hidden_dim=hidden_dim, num_hidden_layers=2, sine_dim=sine_dim
        )
        with torch.no_grad():
            parts = places.split(CHUNK)
            encoded = torch.cat([teacher.posenc(part, dtype=torch.float32) for part in parts])
            components, variances = _components([teacher, wide], encoded, hidden_dim)
            embeddings = torch.cat(
                [teacher.nnet(part) for part in _without_waves(teacher, encoded)]
            )
        weights = (variances / variances[0]) ** ((TAIL - 1) / 2)
        net: Any = student.nnet
        sines, layer = net.layers
        targets = components * weights
        _train_sines(sines, encoded, targets, n_steps, student, progress)
        with torch.no_grad():
            hidden = torch.cat([sines(part) for part in encoded.split(CHUNK)])
            scale = (VARIANCE * hidden_dim / variances.sum()).sqrt()
            _regress(layer, hidden, components * scale)
            _regress(net.last_layer, layer(hidden), embeddings)
    if fine_layers:
        fine = _fine(content, fine_layers)
        with torch.no_grad():
            hidden = torch.cat([net.hidden(part) for part in encoded.split(CHUNK)])
        student = with_fine_content(student, fine, places, hidden)
    grid: Any = student.posenc.grid
    if grid is not None:
        grid.keep_content(content)
    return student.eval()


def _fine(content: ContentLayers | None, names: Sequence[str]) -> ContentLayers:
    if content is None:
        raise ValueError(
            f"fine_layers={list(names)} are layers of a feature grid's content, but this tower "
            "has no content; build the recipe's feature_grid with earth_grid or content_grid."
        )
    return content.only(names)


def _check(teacher: LocationEncoder, n_places: int, **sizes: int) -> None:
    for name, size in sizes.items():
        check_scalar(size, name, Integral, min_val=1)
    most = min(n_places - 1, UNTRAINED_SINES)
    if sizes["hidden_dim"] > most:
        raise ValueError(
            f"{n_places} places are too few for {sizes['hidden_dim']} components; give more, or "
            f"pass hidden_dim={most} or less (at most {UNTRAINED_SINES})."
        )
    if not teacher.mixes_position_and_content:
        raise ValueError(
            "only a SIREN on harmonics with a feature grid or fine waves can be distilled; train "
            "with Recipe(feature_grid=...), or keep the tower as it is."
        )


def _without_waves(teacher: LocationEncoder, encoded: Tensor) -> Iterator[Tensor]:
    """Yield encoded places with zeros for fine waves, on which no component shall be spent."""
    waves = getattr(teacher.posenc, "waves", None)
    for part in encoded.split(CHUNK):
        if waves is not None:
            part = part.clone()
            part[:, -waves.embedding_dim :] = 0
        yield part


def _components(
    networks: list[LocationEncoder], encoded: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Return principal components of the networks' hidden layers, (n, count), and variances."""
    features = (_hidden_layers(networks, part) for part in _without_waves(networks[0], encoded))
    first = next(features)
    total, products = first.sum(dim=0), first.T @ first
    for part in features:
        total += part.sum(dim=0)
        products.addmm_(part.T, part)
    mean = total / len(encoded)
    covariance = products.div_(len(encoded)).sub_(torch.outer(mean, mean))
    variances, axes = torch.linalg.eigh(covariance)
    axes = axes.flip(1)[:, :count]
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    axes = axes * largest.sign()
    parts = _without_waves(networks[0], encoded)
    components = [(_hidden_layers(networks, part) - mean) @ axes for part in parts]
    variances = variances.flip(0)[:count]
    return torch.cat(components), variances.clamp_min(1e-6 * float(variances[0]))


def _hidden_layers(networks: list[LocationEncoder], encoded: Tensor) -> Tensor:
    """Return all hidden layers side by side; all networks have the same total weight."""
    found = []
    for network in networks:
        layers, x = [], encoded
        for layer in network.nnet.layers:  # type: ignore[union-attr]
            x = layer(x)
            layers.append(x)
        columns = sum(layer.shape[1] for layer in layers)
        found += [layer / math.sqrt(columns) for layer in layers]
    return torch.cat(found, dim=1)


def _train_sines(
    sines: Siren,
    encoded: Tensor,
    targets: Tensor,
    n_steps: int,
    student: LocationEncoder,
    progress: bool,
) -> None:
    """Train the sines, with a linear map that is discarded afterwards, to give the targets."""
    linear = nn.Linear(len(sines.weight), targets.shape[1])
    with torch.no_grad():
        some = slice(0, min(len(encoded), 4 * CHUNK))
        _regress(linear, sines(encoded[some]), targets[some])
    parameters = [*sines.parameters(), *linear.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    for step in tqdm(range(n_steps), desc="distilling", unit="step", disable=not progress):
        rate = min(1.0, (step + 1) / WARMUP_STEPS) * (1 + math.cos(math.pi * step / n_steps)) / 2
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * rate
        rows = torch.randint(len(encoded), (BATCH,))
        loss = nn.functional.mse_loss(linear(sines(encoded[rows])), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        student.freeze_fine_waves()
        optimizer.step()


def _regress(layer: nn.Linear | Siren, features: Tensor, targets: Tensor) -> None:
    """Fill a linear layer with the ridge of the targets on the features."""
    mean, goal = features.mean(dim=0), targets.mean(dim=0)
    centred = (features - mean).double()
    gram = centred.T @ centred
    gram.diagonal().add_(PENALTY * len(features))
    weight = torch.linalg.solve(gram, centred.T @ (targets - goal).double()).T.float()
    layer.weight.copy_(weight)
    layer.bias.copy_(goal - weight @ mean)
