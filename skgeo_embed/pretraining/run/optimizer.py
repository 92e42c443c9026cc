"""The optimiser of a run and its learning rate."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import nn

from skgeo_embed.pretraining.recipe import Recipe

RIDGE_LEARNING_RATE = 1e-2


def make_optimizer(
    model: nn.Module, episodes: nn.Module | None, recipe: Recipe, *, fused: bool = True
) -> torch.optim.AdamW:
    """Return AdamW; one-dimensional parameters, norms, biases and the temperature do not decay.

    The ridges' strengths in `episodes` have a learning rate of their own. A fused step undoes the
    scale of gradients in half precision itself, so they cannot be clipped before it.
    """
    decayed, undecayed = split_decay(model)
    groups: list[dict[str, Any]] = [
        {"params": undecayed, "weight_decay": 0.0},
        {"params": decayed, "weight_decay": recipe.weight_decay},
    ]
    if episodes is not None:
        strengths = list(episodes.parameters())
        groups.append({"params": strengths, "weight_decay": 0.0, "lr": RIDGE_LEARNING_RATE})
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=fused)


def split_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split trainable parameters into decayed and undecayed (fewer than two dimensions)."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [p for p in trainable if p.ndim >= 2], [p for p in trainable if p.ndim < 2]


def make_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, n_steps: int, max_epochs: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Return the recipe's schedule of the learning rate over so many steps."""
    warmup = round(recipe.warmup_epochs * n_steps / max(max_epochs, 1))
    factor = partial(
        learning_rate_factor, warmup=warmup, total=n_steps, schedule=recipe.lr_schedule
    )
    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def learning_rate_factor(step: int, warmup: int, total: int, schedule: str) -> float:
    """Return a factor that rises over `warmup` steps, then stays 1 or falls to 0 as a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))
