"""The auxiliary task: the location tower's hidden layer shall suit small regressions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skgeo_embed.nn.sphere import unit_vectors

LATITUDE_TERMS = 4
# weights of the kinds of targets: image summaries, kinds of image, latitude, cells
KIND_WEIGHTS = (0.4, 0.3, 0.1, 0.2)
SUPPORT = (50, 250, 1000)  # labels of a regression
CAP_DEGREES = 6.0
N_CAPS = 40
POOLED = 3


def summarize_images(images: Tensor) -> Tensor:
    """Describe images by each band's mean, deviation and 3 × 3 means.

    Parameters
    ----------
    images : Tensor of shape (n, bands, height, width) or (n, d)
        Images, or features of them, which are returned unchanged.

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
    """Targets that a small regression on the location tower's hidden layer should predict.

    They are standardised image summaries; the kind of image (clusters of the summaries); terms of
    latitude; and the cell of the sphere in coarse and fine random partitions. Labels in practice
    are functions of such targets.

    Parameters
    ----------
    mean, scale : Tensor of shape (d,)
        Mean and deviation of the summaries.
    axes : Tensor of shape (d, k)
        Axes of standardised summaries in which clusters are formed.
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
        """Return standardised summaries, clipped at 4 deviations, (n, d)."""
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
    """Error of ridge regressions on the hidden layer, fitted to some rows and tested on others.

    Every step draws a few regressions like those of a user (Bertinetto et al. 2019, arXiv
    1805.08136): the features are standardised, a ridge is fitted in closed form to few or many
    labels, and tested on other points, half of the time in whole caps of the sphere that were held
    out. The gradient flows through the fit, so the layer learns to suit few labels. The strengths
    of the ridges are learned on random splits only.
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
            Weights of the targets, which sum to 1.
        lonlat : Tensor of shape (n, 2)
            Degrees.
        """
        with torch.autocast(hidden.device.type, enabled=False):  # half precision cannot solve
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
        # every process must have a gradient of the strengths, whatever splits it drew
        return torch.stack(errors).mean() + 0 * self.log_ridge.sum()


def split_at_random(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return rows to fit, at most two thirds, and rows to test."""
    order = torch.randperm(len(position), device=position.device)
    size = min(size, 2 * len(order) // 3)
    return order[:size], order[size:]


def split_by_caps(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return rows to fit outside of random caps of the sphere, and rows to test inside."""
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
