"""The Lightning module: what it optimises, and where batches are."""

import torch

from skgeo_embed import Recipe
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.nn.vision.small_cnn import SmallConvNet
from skgeo_embed.pretraining.data.views import Views
from skgeo_embed.pretraining.run.task import ContrastiveTask


def make_task(model, **recipe):
    return ContrastiveTask(model, Recipe(**recipe), Views(model.visual), seed=0, batch_size=8)


def test_optimizer_groups():
    model = SatCLIP(SmallConvNet(3, 8, widths=(4,)), LocationEncoder(4, 8, 16))
    task = make_task(model)
    optimizer = task.configure_optimizers()
    assert isinstance(optimizer, torch.optim.AdamW)
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = {
        group["weight_decay"]: {names[p] for p in group["params"]}
        for group in optimizer.param_groups
    }
    assert groups[0.01] == {
        "visual.blocks.0.weight",
        "visual.head.weight",
        "location.nnet.layers.0.weight",
        "location.nnet.layers.1.weight",
        "location.nnet.last_layer.weight",
    }
    assert "logit_scale" in groups[0.0]
    assert groups[0.0] | groups[0.01] == set(names.values())


def test_frozen_parameters_are_left_out():
    model = SatCLIP(SmallConvNet(3, 8, widths=(4,)), LocationEncoder(4, 8, 16))
    model.visual.requires_grad_(False)
    task = make_task(model)
    chosen = {id(p) for g in task.configure_optimizers().param_groups for p in g["params"]}
    assert chosen.isdisjoint({id(p) for p in model.visual.parameters()})


class NoLightning:
    training = True


def test_batches_are_moved_before_they_are_cut_up():
    """The states of a device are kept for what is recomputed only if the batch is there."""
    model = SatCLIP(SmallConvNet(3, 8, widths=(4,)), LocationEncoder(4, 8, 16))
    task = ContrastiveTask(
        model, Recipe(), Views(model.visual), seed=0, batch_size=8, micro_batch_size=2
    )
    task._fabric = None
    task._trainer = NoLightning()
    batch = {"image": torch.zeros(8, 3, 4, 4), "point": torch.zeros(8, 2, dtype=torch.float64)}
    moved = task.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert {value.device.type for value in moved.values()} == {"meta"}
