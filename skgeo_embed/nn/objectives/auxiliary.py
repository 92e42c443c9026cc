"""A second task for the location tower: to be a good basis for small regressions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skgeo_embed.nn.sphere import unit_vectors

LATITUDE_TERMS = 4
# how much each kind of target counts: image summaries, kinds of image, latitude, cells
KIND_WEIGHTS = (0.4, 0.3, 0.1, 0.2)
SUPPORT = (50, 250, 1000)  # labels that a regression is given
CAP_DEGREES = 6.0
N_CAPS = 40
POOLED = 3


def summarize_images(images: Tensor) -> Tensor:
    """Describe images by each band's mean, deviation and 3 × 3 means; features stay as they are.

    Parameters
    ----------
    images : Tensor of shape (n, bands, height, width) or (n, d)
        Images, or features of them.

    Returns
    -------
    summary : Tensor of shape (n, 11 * bands) or (n, d)
        Not standardised.
    """
    if images.ndim == 2:
        return images
    pooled = nn.functional.adaptive_avg_pool2d(images, POOLED).flatten(1)
    return torch.cat([images.mean(dim=(2, 3)), images.std(dim=(2, 3)), pooled], dim=1)


class AuxiliaryTargets(nn.Module):
    """What the location tower's hidden layer should let a small regression predict.

    Standardised image summaries; which kind of image it is (clusters of the summaries); terms of
    latitude; and which cell of the sphere, of coarse and fine random partitions. Labels that
    people have are functions of such things.

    Parameters
    ----------
    mean, scale : Tensor of shape (d,)
        Of the summaries.
    axes : Tensor of shape (d, k)
        What clusters are told apart by, of standardised summaries.
    clusters : sequence of Tensor of shape (c, k)
        Centres of each clustering.
    cells : sequence of Tensor of shape (c, 3)
        Centres of each partition of the sphere, unit vectors.
    """

    mean: Tensor
    scale: Tensor
    axes: Tensor
    weights: Tensor

    def __init__(
        self,
        mean: Tensor,
        scale: Tensor,
        axes: Tensor,
        clusters: list[Tensor],
        cells: list[Tensor],
    ) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("scale", scale), ("axes", axes)):
            self.register_buffer(name, value)
        self.clusters = nn.ParameterList([nn.Parameter(c, requires_grad=False) for c in clusters])
        self.cells = nn.ParameterList([nn.Parameter(c, requires_grad=False) for c in cells])
        sizes = (
            len(mean),
            sum(len(c) for c in clusters),
            LATITUDE_TERMS,
            sum(len(c) for c in cells),
        )
        weights = [
            torch.full((size,), weight / size)
            for size, weight in zip(sizes, KIND_WEIGHTS, strict=True)
        ]
        self.register_buffer("weights", torch.cat(weights))

    def summary(self, images: Tensor) -> Tensor:
        """Return standardised summaries, cut at 4 deviations, (n, d)."""
        return ((summarize_images(images) - self.mean) / self.scale).clamp(-4, 4)

    def forward(self, images: Tensor, lonlat: Tensor) -> Tensor:
        """Return the targets of each pair, each kind standardised over the batch, (n, t)."""
        summary = self.summary(images)
        position = unit_vectors(lonlat).to(summary.dtype)
        reduced = summary @ self.axes
        lat = torch.deg2rad(lonlat[:, 1:]).to(summary.dtype)
        parts = [
            summary,
            *(_one_hot(-torch.cdist(reduced, centres)) for centres in self.clusters),
            torch.cat([lat.abs(), lat, torch.cos(2 * lat), torch.cos(4 * lat)], dim=1),
            *(_one_hot(position @ centres.T) for centres in self.cells),
        ]
        targets = torch.cat(parts, dim=1)
        targets = targets - targets.mean(dim=0)
        return (targets / (targets.std(dim=0) + 0.05)).clamp(-5, 5)


def _one_hot(closeness: Tensor) -> Tensor:
    n = closeness.shape[1]
    return nn.functional.one_hot(closeness.argmax(dim=1), n).to(closeness.dtype)


class RidgeEpisodes(nn.Module):
    """The error of ridge regressions on the hidden layer, fitted to some rows, seen on others.

    Every step draws a few regressions as a user would make them (Bertinetto et al. 2019, arXiv
    1805.08136): the features are standardised, a ridge is fitted in closed form to few or many
    labels, and judged on points it was not given, half of the time on whole caps of the sphere
    that were held out. The gradient flows through the fit, so the layer becomes one that few
    labels suffice for. The ridges' strengths are learned, on random splits alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_ridge = nn.Parameter(torch.full((len(SUPPORT),), -2.0))

    def forward(self, hidden: Tensor, targets: Tensor, weights: Tensor, lonlat: Tensor) -> Tensor:
        """Return the mean error of the regressions.

        Parameters
        ----------
        hidden : Tensor of shape (n, d)
            The layer.
        targets : Tensor of shape (n, t)
            Standardised targets.
        weights : Tensor of shape (t,)
            How much each target counts; they sum to 1.
        lonlat : Tensor of shape (n, 2)
            Degrees.
        """
        with torch.autocast(hidden.device.type, enabled=False):  # a solve in half precision is none
            return self._error(hidden.float(), targets.float(), weights.float(), lonlat)

    def _error(self, hidden: Tensor, targets: Tensor, weights: Tensor, lonlat: Tensor) -> Tensor:
        features = (hidden - hidden.mean(dim=0)) / (hidden.std(dim=0) + 1e-3)
        position = unit_vectors(lonlat)
        errors = []
        for log_ridge, size in zip(self.log_ridge, SUPPORT, strict=True):
            held_out = bool(torch.rand(()) < 0.5)
            support, query = (split_by_caps if held_out else split_at_random)(position, size)
            strength = (log_ridge.detach() if held_out else log_ridge).exp()
            predicted = fit_ridge(features[support], targets[support], features[query], strength)
            errors.append(((predicted - targets[query]) ** 2).mean(dim=0) @ weights)
        # every process must have a gradient of the strengths, whatever it drew
        return torch.stack(errors).mean() + 0 * self.log_ridge.sum()


def split_at_random(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Rows to fit and rows to judge; at most two thirds are fitted."""
    order = torch.randperm(len(position), device=position.device)
    size = min(size, 2 * len(order) // 3)
    return order[:size], order[size:]


def split_by_caps(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Rows to fit outside of random caps of the sphere, and those inside to judge."""
    centres = position[torch.randperm(len(position), device=position.device)[:N_CAPS]]
    closest = (position @ centres.T).amax(dim=1)
    inside = closest > math.cos(math.radians(CAP_DEGREES))
    outside = (~inside).nonzero()[:, 0]
    if len(outside) < 2:
        return split_at_random(position, size)
    chosen = torch.randperm(len(outside), device=position.device)[:size]
    return outside[chosen], inside.nonzero()[:, 0]


def fit_ridge(features: Tensor, targets: Tensor, queries: Tensor, strength: Tensor) -> Tensor:
    """Predict `queries` (q, d) by a ridge with intercept, fitted to (n, d) and (n, t)."""
    mean = targets.mean(dim=0)
    gram = features @ features.T / features.shape[1]  # (n, n)
    gram = gram + strength * torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
    dual = torch.linalg.solve(gram, targets - mean)
    return queries @ (features.T @ dual) / features.shape[1] + mean
