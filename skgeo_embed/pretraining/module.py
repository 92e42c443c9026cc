"""The contrastive task as a Lightning module."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from skgeo_embed._errors import TrainingDivergedError
from skgeo_embed._sphere import great_circle_km
from skgeo_embed.models.lightning_file import LOCATION_KEY, TOWER_KEY
from skgeo_embed.models.towers import describe_tower
from skgeo_embed.nn.objectives.auxiliary import AuxiliaryTargets, RidgeEpisodes
from skgeo_embed.nn.objectives.gather import gather_rows, process_count, process_rank
from skgeo_embed.nn.objectives.loss import (
    contrastive_loss,
    gathered_contrastive_loss,
    retrieval_ranks,
)
from skgeo_embed.nn.objectives.micro_batches import embed_in_pieces
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.pretraining.augmentation import Views, jitter_coordinates
from skgeo_embed.pretraining.data import Batch
from skgeo_embed.pretraining.features import read_rows
from skgeo_embed.pretraining.identity import RUN_KEY
from skgeo_embed.pretraining.recipe import Recipe


class ContrastiveTask(lightning.LightningModule):
    """Train a :class:`~skgeo_embed.nn.two_tower.SatCLIP` on pairs of images and places.

    Parameters
    ----------
    model : SatCLIP
        The two towers; with cached features its `visual` is what follows them.
    recipe : Recipe
        What to optimise.
    views : Views or None
        What the tower is shown of an image; None where images are cached features.
    targets : AuxiliaryTargets or None, default=None
        For the auxiliary regressions, where the recipe has them.
    seed : int
        Of the run.
    batch_size : int
        Pairs in a batch over all processes.
    micro_batch_size : int, default=None
        Pairs whose activations are held at a time.
    visual : torch.nn.Module, default=None
        The image tower whole, where `model` has its head alone; checkpoints carry it.
    identity : dict, default=None
        What the run is, for checkpoints.
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
        seed: int,
        batch_size: int,
        micro_batch_size: int | None = None,
        visual: nn.Module | None = None,
        identity: dict[str, Any] | None = None,
        print_epochs: bool = False,
    ) -> None:
        super().__init__()
        self.model = model.train()
        self.recipe = recipe
        self.views = views
        self.targets = targets
        self.episodes = RidgeEpisodes() if recipe.auxiliary_weight else None
        model.logit_scale.requires_grad_(recipe.learn_temperature)
        self.seed = seed
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.identity = identity or {}
        self.print_epochs = print_epochs
        self.rows: list[dict[str, float]] = []
        self.good_weights: dict[str, Tensor] = {}
        self.best_weights: dict[str, Tensor] = {}
        self._whole = [visual]  # in a list, or its weights would be this module's
        self._sums: dict[str, Tensor] = {}  # of the epoch's steps, and their number
        self._sums_epoch = -1
        self._loss = torch.zeros(())
        self._validation: list[tuple[Tensor, ...]] = []

    def get_extra_state(self) -> dict[str, Any]:
        """Return the history, which travels with the weights: the rows, and the epoch's sums."""
        sums = {name: value.detach().cpu() for name, value in self._sums.items()}
        return {"rows": self.rows, "sums": sums, "sums_epoch": self._sums_epoch}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the history over."""
        self.rows = list(state["rows"])
        self._sums = dict(state.get("sums", {}))
        self._sums_epoch = state.get("sums_epoch", -1)

    def steps_done(self) -> int:
        """Steps of the run so far; a method, which a spawned process can be sent."""
        return self.global_step

    def on_train_start(self) -> None:
        """Remember the weights before the first step."""
        self.good_weights = self._weights()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the step's draws by its number, so that a resumed run repeats them."""
        state = np.random.SeedSequence([self.seed, self.global_step, process_rank()])
        seed = int(state.generate_state(1, np.uint64)[0]) >> 1
        torch.default_generator.manual_seed(seed)  # torch.manual_seed asks every kind of device
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the contrastive loss of this process's share of a batch."""
        size = self.micro_batch_size
        if size:
            embedded = embed_in_pieces(
                self._embed, batch["image"], batch["point"], size, self.model
            )
        else:
            embedded = self._embed(batch["image"], batch["point"])
        images, places, *hidden = embedded
        loss = gathered_contrastive_loss(images, places, self.model.logit_scale)
        self._add_to_epoch("train_loss", loss)
        if self.episodes is not None:
            targets = self._auxiliary_targets(batch)
            error = self.episodes(hidden[0], targets, self.targets.weights, batch["point"])  # type: ignore[union-attr]
            self._add_to_epoch("train_auxiliary", error)
            loss = loss + self.recipe.auxiliary_weight * error
        self._loss = loss.detach()
        return loss

    def _add_to_epoch(self, name: str, value: Tensor) -> None:
        if self._sums_epoch != self.current_epoch:
            self._sums, self._sums_epoch = {}, self.current_epoch
        step = torch.stack([value.detach().double(), torch.ones_like(value, dtype=torch.float64)])
        self._sums[name] = step + self._sums.get(name, torch.zeros_like(step)).to(step.device)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Log the epoch's means once, at its end: each call takes a fifth of a step on a card."""
        if self.trainer.is_last_batch or self.trainer.should_stop:
            for name, (total, count) in self._sums.items():
                self.log(
                    name, total / count, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True
                )

    def _embed(self, image: Tensor, point: Tensor) -> tuple[Tensor, ...]:
        if self.views is not None:
            image = self.views(image, random=True)
        point = jitter_coordinates(point, self.recipe.coord_jitter)
        if self.episodes is None:
            return self.model(image, point)
        return self.model.with_hidden(image, point)

    @torch.no_grad()
    def _auxiliary_targets(self, batch: Batch) -> Tensor:
        image = batch["image"]
        if self.views is not None:
            image = self.views(image, random=False)
        return self.targets(image, batch["point"])  # type: ignore[misc]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep fine waves as they are, and refuse a step that would spoil the weights."""
        self.model.location.hold_waves()
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        size = torch.stack(torch._foreach_norm(gradients)).sum()
        if self.trainer.scaler is not None:  # which skips steps of too large gradients itself
            size = torch.zeros_like(self._loss)
        if not torch.isfinite(self._loss + size):  # one wait for the device, not two
            what = "gradient" if torch.isfinite(self._loss) else "loss"
            value = size if what == "gradient" else self._loss
            raise TrainingDivergedError(
                f"the {what} became {value.item()} at step {self.global_step} (epoch "
                f"{self.current_epoch}) with learning rate {self._learning_rate():g} and "
                f"temperature {self.model.temperature:g}. The pretrainer keeps the weights from "
                f"the end of the epoch before ({len(self.rows)} epochs trained). Lower "
                "learning_rate, or add warmup_epochs; pixels far beyond the others' range do this "
                "too."
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
            images[order], places[order], points[order], self.model, self.batch_size
        ).items():
            self.log(name, value, prog_bar=name in ("val_loss", "val_top1"))

    def on_train_epoch_end(self) -> None:
        """Add the epoch to the history."""
        self.good_weights = self._weights()
        metrics = self.trainer.callback_metrics
        row: dict[str, float] = {"epoch": self.current_epoch}
        row |= {name: self._mean(name) for name in self._sums}
        row |= {name: float(metrics[name]) for name in METRICS if name in metrics.keys() - row}
        row["temperature"] = self.model.temperature
        row["learning_rate"] = self._learning_rate()
        self.rows.append(row)
        if row.get("val_loss", math.inf) <= min(r.get("val_loss", math.inf) for r in self.rows):
            self.best_weights = self.good_weights
        if self.print_epochs and self.trainer.is_global_zero:
            shown = (f"{name} {row[name]:{METRICS[name]}}" for name in METRICS if name in row)
            print(f"epoch {self.current_epoch + 1}/{self.trainer.max_epochs}: {', '.join(shown)}")

    def _mean(self, name: str) -> float:
        """Mean over the steps of the epoch, those before a run was gone on with among them."""
        sums = self._sums[name]
        if process_count() > 1:
            sums = gather_rows(sums[None]).sum(dim=0)
        return float(sums[0] / sums[1])

    def columns(self, known: tuple[str, ...]) -> list[str]:
        """Columns of the history, in order; also of a run that ended in its first epoch."""
        if self.rows:
            return [name for name in known if name in self.rows[-1]]
        return [name for name in known if not name.startswith("val_")]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Describe run and towers, so that a run goes on and encoders open the file."""
        config = self.model.location.config
        checkpoint[RUN_KEY] = self.identity
        checkpoint[LOCATION_KEY] = config
        whole = self._whole[0]
        checkpoint[TOWER_KEY] = {
            "description": describe_tower(self.model.visual if whole is None else whole),
            "weights": None if whole is None else whole.state_dict(),
        }
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

    def _weights(self) -> dict[str, Tensor]:
        frozen = {name for name, p in self.model.named_parameters() if not p.requires_grad}
        return {
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
HISTORY = (
    "epoch", "train_loss", "train_auxiliary", "val_loss", "val_top1", "val_top5", "val_place_top1",
    "val_place_top5", "val_median_km", "temperature", "learning_rate",
)  # fmt: skip
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


@torch.no_grad()
def retrieval_accuracy(model: SatCLIP, pairs: Dataset[Any], views: Views, batch_size: int) -> float:
    """How often an image of the pairs finds its own place first among all of theirs."""
    images, places = [], []
    rows = range(len(pairs))  # type: ignore[arg-type]
    for start in range(0, len(rows), batch_size):
        batch = read_rows(pairs, rows[start : start + batch_size])
        found = model(views(batch["image"], random=False), batch["point"])
        images.append(found[0])
        places.append(found[1])
    ranks, _ = retrieval_ranks(torch.cat(images), torch.cat(places))
    return float((ranks == 1).float().mean())


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
