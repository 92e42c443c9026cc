import pytest
import torch

from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.nn.vision.small_cnn import SmallConvNet
from skgeo_embed.pretraining.augmentation import Views
from skgeo_embed.pretraining.module import ContrastiveTask, Recipe
from skgeo_embed.pretraining.sampling import split_pairs

RECIPE = Recipe(learning_rate=1e-4, weight_decay=0.01, batch_size=8, coord_jitter=0.01, seed=0)


def test_optimizer_groups():
    model = SatCLIP(SmallConvNet(3, 8, widths=(4,)), LocationEncoder(4, 8, 16))
    task = ContrastiveTask(model, RECIPE, Views(model.visual))
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
    task = ContrastiveTask(model, RECIPE, Views(model.visual))
    chosen = {id(p) for g in task.configure_optimizers().param_groups for p in g["params"]}
    assert chosen.isdisjoint({id(p) for p in model.visual.parameters()})


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5])
def test_split_is_a_partition(fraction):
    train, val = split_pairs(50, fraction, torch.Generator().manual_seed(0))
    assert sorted(train + val) == list(range(50))
    assert len(val) == round(50 * fraction)
