"""The contrastive task as a Lightning module."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor, nn

from skgeo_embed.nn.loss import contrastive_loss, retrieval_hits
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.training.augmentation import (
    ImageAugmentation,
    fit_to_tower,
    jitter_coordinates,
)
from skgeo_embed.training.data import Batch


class ContrastiveTask(lightning.LightningModule):
    """Train a :class:`~skgeo_embed.nn.two_tower.SatCLIP` on pairs of images and places.

    Parameters
    ----------
    model : SatCLIP
        The two towers.
    learning_rate, weight_decay : float
        For AdamW.
    augment : bool
        Whether training images are cropped, flipped and blurred.
    coord_jitter : float
        Largest shift of training coordinates, degrees.
    """

    def __init__(
        self,
        model: SatCLIP,
        *,
        learning_rate: float,
        weight_decay: float,
        augment: bool,
        coord_jitter: float,
    ) -> None:
        super().__init__()
        self.model = model.train()
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.augmentation = ImageAugmentation() if augment else nn.Identity()
        self.coord_jitter = coord_jitter
        self._validation: list[tuple[Tensor, Tensor]] = []

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment training batches on the device they are on."""
        training = bool(self.trainer.training)
        images = fit_to_tower(batch["image"], self.model.visual, random=training)
        if not training:
            return {"image": images, "point": batch["point"]}
        return {
            "image": self.augmentation(images),
            "point": jitter_coordinates(batch["point"], self.coord_jitter),
        }

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the contrastive loss of one batch."""
        images, places = self.model(batch["image"], batch["point"])
        loss = contrastive_loss(images, places, self.model.logit_scale)
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=1)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the batch's loss and keep its embeddings for retrieval."""
        images, places = self.model(batch["image"], batch["point"])
        loss = contrastive_loss(images, places, self.model.logit_scale)
        self.log("val_loss", loss, prog_bar=True, batch_size=len(images))
        self._validation.append((images, places))

    def on_validation_epoch_end(self) -> None:
        """Log top-1 retrieval among all validation pairs, image to place."""
        images, places = (torch.cat(parts) for parts in zip(*self._validation, strict=True))
        self._validation.clear()
        self.log("val_top1", retrieval_hits(images, places).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; no decay on one-dimensional parameters, norms, biases and logit_scale."""
        decayed, plain = split_decay(self.model)
        groups: list[dict[str, Any]] = [
            {"params": plain, "weight_decay": 0.0},
            {"params": decayed, "weight_decay": self.weight_decay},
        ]
        groups = [group for group in groups if group["params"]]
        return torch.optim.AdamW(groups, lr=self.learning_rate)


def split_decay(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split trainable parameters into decayed and undecayed (fewer than two dimensions)."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [p for p in trainable if p.ndim >= 2], [p for p in trainable if p.ndim < 2]
