"""The contrastive task as a Lightning module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from skgeo_embed._errors import TrainingDivergedError
from skgeo_embed.models.lightning_file import LOCATION_KEY, TOWER_KEY
from skgeo_embed.models.towers import describe_tower
from skgeo_embed.nn.objectives.auxiliary import AuxiliaryTargets, RidgeEpisodes
from skgeo_embed.nn.objectives.gather import gather_rows, process_count, process_rank
from skgeo_embed.nn.objectives.loss import gathered_contrastive_loss
from skgeo_embed.nn.objectives.micro_batches import embed_in_pieces
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.pretraining.data.arrays import Batch
from skgeo_embed.pretraining.data.views import jitter_coordinates
from skgeo_embed.pretraining.recipe import Recipe
from skgeo_embed.pretraining.run.identity import RUN_KEY
from skgeo_embed.pretraining.run.metrics import FORMATS, HISTORY, validation_metrics
from skgeo_embed.pretraining.run.optimizer import make_optimizer, make_schedule


class ContrastiveTask(lightning.LightningModule):
    """Train a :class:`~skgeo_embed.nn.two_tower.SatCLIP` on pairs of images and places.

    Parameters
    ----------
    model : SatCLIP
        The two towers; with cached features, `visual` is only the layer that reads them.
    recipe : Recipe
        What to optimise.
    views : Views or callable
        Cuts and augments images; returns cached features unchanged.
    targets : AuxiliaryTargets or None, default=None
        For the auxiliary regressions, if the recipe has them.
    seed : int
        Seeds every step.
    batch_size : int
        Pairs in a batch over all processes.
    micro_batch_size : int, default=None
        Pairs whose activations are held at a time.
    visual : torch.nn.Module, default=None
        The whole image tower, if `model` has only its head; checkpoints hold it.
    identity : dict, default=None
        The facts of the run, which checkpoints hold.
    print_epochs : bool, default=False
        Print a line per epoch.
    fused : bool, default=True
        Whether the optimiser does a step in one kernel; see
        :func:`~skgeo_embed.pretraining.run.optimizer.make_optimizer`.
    """

    def __init__(
        self,
        model: SatCLIP,
        recipe: Recipe,
        views: Callable[..., Tensor],
        targets: AuxiliaryTargets | None = None,
        *,
        seed: int,
        batch_size: int,
        micro_batch_size: int | None = None,
        visual: nn.Module | None = None,
        identity: dict[str, Any] | None = None,
        print_epochs: bool = False,
        fused: bool = True,
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
        self.fused = fused
        self.rows: list[dict[str, float]] = []
        self.good_weights: dict[str, Tensor] = {}
        self.best_weights: dict[str, Tensor] = {}
        self._whole = [visual]  # in a list, or its weights would be this module's
        self._sums: dict[str, Tensor] = {}  # over the epoch's steps, and their number
        self._sums_epoch = -1
        self._epochs, self._batches = 0, 0
        self._measured: tuple[int, dict[str, float]] = -1, {}  # after which step, and what
        self._of_step: dict[str, Tensor] = {}  # what the step under way adds to the sums
        self._loss = torch.zeros(())
        self._validation: list[tuple[Tensor, ...]] = []

    def get_extra_state(self) -> dict[str, Any]:
        """Return what is stored with the weights: the history, and the position in the data."""
        sums = {name: value.detach().cpu() for name, value in self._sums.items()}
        return {
            "rows": self.rows,
            "sums": sums,
            "sums_epoch": self._sums_epoch,
            "position": self.position(),
            "measured": self._measured,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the history and the position."""
        self.rows = list(state["rows"])
        self._sums = dict(state.get("sums", {}))
        self._sums_epoch = state.get("sums_epoch", -1)
        self._epochs, self._batches = state.get("position") or self._position_by_history()
        self._measured = state.get("measured", (-1, {}))

    def _position_by_history(self) -> tuple[int, int]:
        """Return the position in a checkpoint of an earlier version, which does not say it."""
        epochs = len(self.rows)
        trained = self._sums_epoch == epochs and "train_loss" in self._sums
        return epochs, int(self._sums["train_loss"][1]) if trained else 0

    def position(self) -> tuple[int, int]:
        """Return how many epochs are trained, and how many batches of the one after them.

        Lightning counts an epoch that a callback cut short as a whole one. A spawned process can
        be sent this method.
        """
        return self._epochs, self._batches

    def on_train_start(self) -> None:
        """Remember the weights before the first step, and complete the history.

        A user's callback may have written the checkpoint after the last step of an epoch: after its
        validation, or before, and then its row does not have one.
        """
        self.good_weights = self._weights()
        if self._sums and self._sums_epoch == len(self.rows) == self._epochs - 1:
            self._add_row(self._sums_epoch)

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
        self._of_step = {"train_loss": loss}
        if self.episodes is not None:
            targets = self._auxiliary_targets(batch)
            error = self.episodes(hidden[0], targets, self.targets.weights, batch["point"])  # type: ignore[union-attr]
            self._of_step["train_auxiliary"] = error
            loss = loss + self.recipe.auxiliary_weight * error
        self._loss = loss.detach()
        return loss

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        """Do a step, and count it: callbacks may write a checkpoint before and after it."""
        super().optimizer_step(*args, **options)
        for name, value in self._of_step.items():
            self._add_to_epoch(name, value)
        self._batches += 1
        if self._batches >= self.trainer.num_training_batches:
            self._epochs, self._batches = self._epochs + 1, 0

    def _add_to_epoch(self, name: str, value: Tensor) -> None:
        if self._sums_epoch != self.current_epoch:
            self._sums, self._sums_epoch = {}, self.current_epoch
        step = torch.stack([value.detach().double(), torch.ones_like(value, dtype=torch.float64)])
        self._sums[name] = step + self._sums.get(name, torch.zeros_like(step)).to(step.device)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Log the epoch's means once, at its end: on a GPU each call costs a fifth of a step."""
        if self.trainer.is_last_batch or self.trainer.should_stop:
            for name, (total, count) in self._sums.items():
                self.log(
                    name, total / count, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True
                )

    def _embed(self, image: Tensor, point: Tensor) -> tuple[Tensor, ...]:
        image = self.views(image, random=True)
        point = jitter_coordinates(point, self.recipe.coord_jitter)
        if self.episodes is None:
            return self.model(image, point)
        return self.model.with_hidden(image, point)

    @torch.no_grad()
    def _auxiliary_targets(self, batch: Batch) -> Tensor:
        image = self.views(batch["image"], random=False)
        return self.targets(image, batch["point"])  # type: ignore[misc]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Freeze the weights of fine waves, and refuse a step that would spoil the others."""
        self.model.location.freeze_fine_waves()
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
                f"temperature {self.model.temperature:g}. The pretrainer keeps the weights of "
                f"the end of the previous epoch ({len(self.rows)} epochs trained). Lower "
                "learning_rate, or add warmup_epochs; also look for pixels far outside the range "
                "of the others."
            )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the batch's embeddings for the end of the epoch."""
        image = self.views(batch["image"], random=False)
        images, places = self.model(image, batch["point"])
        self._validation.append((images, places, batch["point"], batch["row"]))

    def on_validation_epoch_end(self) -> None:
        """Log loss, retrieval both ways and the median distance over all processes' pairs."""
        parts = (torch.cat(part) for part in zip(*self._validation, strict=True))
        images, places, points, row = (gather_rows(part) for part in parts)
        self._validation.clear()
        row, order = row.sort()
        first = torch.ones_like(row, dtype=torch.bool)
        first[1:] = row[1:] != row[:-1]  # two processes may have had the same pair
        order = order[first]
        metrics = validation_metrics(
            images[order], places[order], points[order], self.model, self.batch_size
        )
        for name, value in metrics.items():
            self.log(name, value, prog_bar=name in ("val_loss", "val_top1"))
        self._measured = self.global_step, metrics

    def on_train_epoch_end(self) -> None:
        """Add the epoch to the history, unless it was cut short."""
        if self._epochs <= self.current_epoch:
            return
        self.good_weights = self._weights()
        has_row = len(self.rows) > self.current_epoch  # since `on_train_start`
        row = self.rows[-1] if has_row else self._add_row(self.current_epoch)
        losses = [r["val_loss"] for r in self.rows if "val_loss" in r]
        if "val_loss" in row and row["val_loss"] <= min(losses):
            self.best_weights = self.good_weights
        if self.print_epochs and self.trainer.is_global_zero:
            shown = (f"{name} {row[name]:{form}}" for name, form in FORMATS.items() if name in row)
            print(f"epoch {self.current_epoch + 1}/{self.trainer.max_epochs}: {', '.join(shown)}")

    def _add_row(self, epoch: int) -> dict[str, float]:
        """Add an epoch to the history, with what was measured after its last step."""
        row: dict[str, float] = {"epoch": epoch}
        row |= {name: self._mean(name) for name in self._sums}
        step, metrics = self._measured
        row |= metrics if step == self.global_step else {}
        row["temperature"] = self.model.temperature
        row["learning_rate"] = self._learning_rate()
        self.rows.append(row)
        return row

    def _mean(self, name: str) -> float:
        """Return the mean over the epoch's steps, also over those before a run was resumed."""
        sums = self._sums[name]
        if process_count() > 1:
            sums = gather_rows(sums[None]).sum(dim=0)
        return float(sums[0] / sums[1])

    def history(self) -> pd.DataFrame:
        """Return one row per epoch; a run that ended in its first epoch has columns too."""
        if self.rows:
            columns = [name for name in HISTORY if any(name in row for row in self.rows)]
        else:
            columns = [name for name in HISTORY if not name.startswith("val_")]
        return pd.DataFrame(self.rows, columns=columns)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Describe run and towers, so that runs resume and encoders open the file."""
        self._uncount_cut_epoch(checkpoint)
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

    def _uncount_cut_epoch(self, checkpoint: dict[str, Any]) -> None:
        """Say that an epoch has yet to begin, or to be completed if a callback has cut it short."""
        if "loops" not in checkpoint:  # weights alone
            return
        progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
        for counts in (progress["current"], progress["total"]):
            counts["ready"] = counts["started"]  # Lightning would pass over the epoch
        if progress["current"]["processed"] > self._epochs:
            for counts in (progress["current"], progress["total"]):
                counts["processed"] = counts["completed"] = counts["ready"] - 1

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
        """Return the optimiser, and the schedule of its learning rate if it has one."""
        recipe = self.recipe
        optimizer = make_optimizer(self.model, self.episodes, recipe, fused=self.fused)
        if recipe.lr_schedule == "constant" and not recipe.warmup_epochs:
            return optimizer
        n_steps = int(self.trainer.estimated_stepping_batches)
        schedule = make_schedule(optimizer, recipe, n_steps, self.trainer.max_epochs or 1)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
