"""The contrastive task as a Lightning module."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import lightning.pytorch as lightning
import numpy as np
import torch
from torch import Tensor, nn

from skgeo_embed._errors import TrainingDivergedError
from skgeo_embed.models.lightning_file import LOCATION_KEY
from skgeo_embed.nn.objectives.auxiliary import AuxiliaryTargets, RidgeEpisodes
from skgeo_embed.nn.objectives.gather import gather_rows, process_rank
from skgeo_embed.nn.objectives.loss import (
    contrastive_loss,
    gathered_contrastive_loss,
    retrieval_ranks,
)
from skgeo_embed.nn.objectives.micro_batches import embed_in_pieces
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.places.sphere import great_circle_km
from skgeo_embed.pretraining.augmentation import Views, jitter_coordinates
from skgeo_embed.pretraining.data import Batch


@dataclass(frozen=True)
class Recipe:
    """How to train; see :class:`skgeo_embed.SatCLIPPretrainer` for each."""

    learning_rate: float
    weight_decay: float
    batch_size: int
    coord_jitter: float
    seed: int
    warmup_epochs: float = 0
    lr_schedule: Literal["constant", "cosine"] = "constant"
    micro_batch_size: int | None = None
    learn_temperature: bool = True
    min_temperature: float = 0.0
    soft_targets: float = 0.0
    auxiliary_weight: float = 0.0


class ContrastiveTask(lightning.LightningModule):
    """Train a :class:`~skgeo_embed.nn.two_tower.SatCLIP` on pairs of images and places.

    Parameters
    ----------
    model : SatCLIP
        The two towers; with cached features its `visual` is what follows them.
    recipe : Recipe
        How to train.
    views : Views or None
        What the tower is shown of an image; None where images are cached features.
    targets : AuxiliaryTargets or None, default=None
        For the auxiliary regressions and soft targets, where the recipe has them.
    print_epochs : bool, default=False
        Print a line an epoch.
    """

    def __init__(
        self,
        model: SatCLIP,
        recipe: Recipe,
        views: Views | None,
        targets: AuxiliaryTargets | None = None,
        *,
        print_epochs: bool = False,
    ) -> None:
        super().__init__()
        self.model = model.train()
        self.recipe = recipe
        self.views = views
        self.targets = targets
        self.episodes = RidgeEpisodes() if recipe.auxiliary_weight else None
        model.logit_scale.requires_grad_(recipe.learn_temperature)
        self.print_epochs = print_epochs
        self.rows: list[dict[str, float]] = []
        self.good_weights: dict[str, Tensor] = {}
        self._validation: list[tuple[Tensor, ...]] = []

    def get_extra_state(self) -> dict[str, Any]:
        """Return the history: it travels with the weights, to checkpoints and from processes."""
        return {"rows": self.rows}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the history over."""
        self.rows = list(state["rows"])

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move a batch to the device, or leave it where pieces of it will be moved."""
        if self.recipe.micro_batch_size and self.trainer.training:
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_train_start(self) -> None:
        """Remember the weights before the first step."""
        self._remember_weights()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step's draws by its number, so that a resumed run repeats them."""
        state = np.random.SeedSequence([self.recipe.seed, self.global_step, process_rank()])
        torch.manual_seed(int(state.generate_state(1, np.uint64)[0]) >> 1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the contrastive loss of this process's share of a batch."""
        recipe, size = self.recipe, self.recipe.micro_batch_size
        if size:
            embedded = embed_in_pieces(
                self._embed, batch["image"], batch["point"], size, self.model
            )
        else:
            embedded = self._embed(batch["image"], batch["point"])
        images, places, *hidden = embedded
        point = batch["point"].to(images.device)
        targets, summary = self._describe(batch["image"], point)
        loss = gathered_contrastive_loss(
            images,
            places,
            self.model.logit_scale,
            summary if recipe.soft_targets else None,
            recipe.soft_targets,
        )
        self._log_train("train_loss", loss)
        if self.episodes is not None:
            error = self.episodes(hidden[0].float(), targets, self.targets.weights, point)  # type: ignore[union-attr]
            self._log_train("train_auxiliary", error)
            loss = loss + recipe.auxiliary_weight * error
        self._stop_if_diverged("loss", loss.detach())
        return loss

    def _log_train(self, name: str, value: Tensor) -> None:
        self.log(name, value, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True)

    def _embed(self, image: Tensor, point: Tensor) -> tuple[Tensor, ...]:
        image, point = image.to(self.device), point.to(self.device)
        if self.views is not None:
            image = self.views(image, random=True)
        point = jitter_coordinates(point, self.recipe.coord_jitter)
        if self.episodes is None:
            return self.model(image, point)
        return self.model.with_hidden(image, point)

    @torch.no_grad()
    def _describe(self, image: Tensor, point: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the auxiliary targets and the summaries of a batch, where they are wanted."""
        if self.targets is None:
            return None, None
        image = image.to(point.device)
        if self.views is not None:
            image = self.views(image, random=False)
        targets = self.targets(image, point) if self.episodes is not None else None
        return targets, self.targets.summary(image)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Keep the temperature above its floor."""
        if self.recipe.min_temperature:
            with torch.no_grad():
                self.model.logit_scale.clamp_(max=-math.log(self.recipe.min_temperature))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep fine waves as they are, and refuse a step that would spoil the weights."""
        self.model.location.hold_waves()
        if self.trainer.scaler is not None:  # it skips such steps itself
            return
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        self._stop_if_diverged("gradient", torch.stack(torch._foreach_norm(gradients)).sum())

    def _stop_if_diverged(self, what: str, value: Tensor) -> None:
        if torch.isfinite(value):
            return
        raise TrainingDivergedError(
            f"the {what} became {value.item()} at step {self.global_step} (epoch "
            f"{self.current_epoch}) with learning rate {self._learning_rate():g} and temperature "
            f"{self.model.temperature:g}. The pretrainer keeps the weights from the end of the "
            f"epoch before ({len(self.rows)} epochs trained). Lower learning_rate, or add "
            "warmup_epochs; pixels far beyond the others' range do this too."
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the batch's embeddings for the end of the epoch."""
        image = batch["image"]
        if self.views is not None:
            image = self.views(image, random=False)
        images, places = self.model(image, batch["point"])
        self._validation.append((images, places, batch["point"], batch["row"]))

    def on_validation_epoch_end(self) -> None:
        """Log loss, retrieval both ways and the median error over all processes' pairs."""
        parts = (torch.cat(part) for part in zip(*self._validation, strict=True))
        images, places, points, row = (gather_rows(part) for part in parts)
        self._validation.clear()
        row, order = row.sort()
        first = torch.ones_like(row, dtype=torch.bool)
        first[1:] = row[1:] != row[:-1]  # a pair may have been dealt to two processes
        order = order[first]
        for name, value in validation_metrics(
            images[order], places[order], points[order], self.model, self.recipe.batch_size
        ).items():
            self.log(name, value, prog_bar=name in ("val_loss", "val_top1"))

    def on_train_epoch_end(self) -> None:
        """Add the epoch to the history."""
        self._remember_weights()
        metrics = self.trainer.callback_metrics
        names = [name for name in METRICS if name in metrics]
        row: dict[str, float] = {"epoch": self.current_epoch}
        row |= {name: float(metrics[name]) for name in names}
        row["temperature"] = self.model.temperature
        row["learning_rate"] = self._learning_rate()
        self.rows.append(row)
        if self.print_epochs and self.trainer.is_global_zero:
            values = ", ".join(f"{name} {row[name]:{METRICS[name]}}" for name in names)
            print(f"epoch {self.current_epoch + 1}/{self.trainer.max_epochs}: {values}")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Describe the location tower in the original's words, so that encoders open the file."""
        config = self.model.location.config
        checkpoint[LOCATION_KEY] = config
        checkpoint["hyper_parameters"] = {
            "le_type": config["positional_encoding"],
            "pe_type": config["network"],
            "harmonics_calculation": config.get("harmonics_calculation", "analytic"),
            "frequency_num": config.get("n_frequencies", 16),
            "min_radius": config.get("min_radius", 1.0),
            "max_radius": config.get("max_radius", 360.0),
        }

    def _learning_rate(self) -> float:
        return float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def _remember_weights(self) -> None:
        frozen = {name for name, p in self.model.named_parameters() if not p.requires_grad}
        self.good_weights = {
            name: value.detach().cpu().clone()
            for name, value in self.model.state_dict().items()
            if name not in frozen
        }

    def configure_optimizers(self) -> Any:
        """AdamW; no decay on one-dimensional parameters, norms, biases and logit_scale."""
        decayed, plain = split_decay(self.model)
        groups: list[dict[str, Any]] = [
            {"params": plain, "weight_decay": 0.0},
            {"params": decayed, "weight_decay": self.recipe.weight_decay},
        ]
        if self.episodes is not None:
            strengths = list(self.episodes.parameters())
            groups.append({"params": strengths, "weight_decay": 0.0, "lr": RIDGE_LEARNING_RATE})
        groups = [group for group in groups if group["params"]]
        optimizer = torch.optim.AdamW(groups, lr=self.recipe.learning_rate, fused=True)
        recipe = self.recipe
        if recipe.lr_schedule == "constant" and not recipe.warmup_epochs:
            return optimizer
        total = int(self.trainer.estimated_stepping_batches)
        warmup = round(recipe.warmup_epochs * total / max(self.trainer.max_epochs or 1, 1))

        def factor(step: int) -> float:
            return learning_rate_factor(step, warmup, total, recipe.lr_schedule)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


RIDGE_LEARNING_RATE = 1e-2
METRICS = {
    "train_loss": ".4f",
    "train_auxiliary": ".4f",
    "val_loss": ".4f",
    "val_top1": ".3f",
    "val_top5": ".3f",
    "val_place_top1": ".3f",
    "val_place_top5": ".3f",
    "val_median_km": ".0f",
}


def validation_metrics(
    images: Tensor, places: Tensor, points: Tensor, model: SatCLIP, batch_size: int
) -> dict[str, float]:
    """Mean loss of batches in order, retrieval among all pairs, median distance to the match."""
    losses = [
        contrastive_loss(image, place, model.logit_scale) * len(image)
        for image, place in zip(images.split(batch_size), places.split(batch_size), strict=True)
    ]
    place_ranks, best = retrieval_ranks(images, places)
    image_ranks, _ = retrieval_ranks(places, images)
    lonlat = points.cpu().numpy()
    return {
        "val_loss": float(torch.stack(losses).sum() / len(images)),
        "val_top1": float((place_ranks <= 1).float().mean()),
        "val_top5": float((place_ranks <= 5).float().mean()),
        "val_place_top1": float((image_ranks <= 1).float().mean()),
        "val_place_top5": float((image_ranks <= 5).float().mean()),
        "val_median_km": float(np.median(great_circle_km(lonlat[best.cpu().numpy()], lonlat))),
    }


def learning_rate_factor(step: int, warmup: int, total: int, schedule: str) -> float:
    """Linear from 0 over the first `warmup` steps, then 1 or half a cosine down to 0."""
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def split_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split trainable parameters into decayed and undecayed (fewer than two dimensions)."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [p for p in trainable if p.ndim >= 2], [p for p in trainable if p.ndim < 2]
