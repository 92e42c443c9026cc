"""Odd modules given to `SatCLIPEncoder`: what they compute is what it gives, or it says why not."""

import copy

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.nn.location import LocationEncoder
from tests.odd_inputs.checking import check
from tests.odd_inputs.encoders import LAT, LON, PLACES

pytestmark = pytest.mark.slow


class OwnForward(LocationEncoder):
    def forward(self, lonlat, layer="embedding"):
        return super().forward(lonlat, layer) * 0 + 7.0


@pytest.fixture
def module():
    torch.manual_seed(1)
    return LocationEncoder(4, 5, 6).eval()


@pytest.fixture
def right(module):
    with torch.no_grad():
        return module(torch.tensor(PLACES)).numpy()


def encode(module):
    return SatCLIPEncoder(module).fit().transform(PLACES)


@pytest.mark.parametrize("training", [False, True])
def test_modules(module, right, training):
    check(lambda: encode(copy.deepcopy(module).train(training)), lambda: right)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_precisions(module, right, dtype):
    check(lambda: encode(copy.deepcopy(module).to(dtype)), lambda: right, tolerance=0.05)


def test_a_subclass_with_its_own_forward():
    check(lambda: encode(OwnForward(4, 5, 6)), lambda: np.full((3, 5), 7.0))


def test_a_subclass_with_its_own_forward_by_grid():
    encoder = SatCLIPEncoder(OwnForward(4, 5, 6)).fit()
    check(lambda: encoder.transform_grid(LON, LAT), lambda: np.full((3, 3, 5), 7.0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(module, value):
    next(iter(module.parameters())).data[0] = value
    check(lambda: encode(module), words=("NaN",))


def test_a_module_without_values(module):
    check(lambda: encode(module.to("meta")), words=("meta",))


def test_a_forward_hook(module, right):
    module.register_forward_hook(lambda module, args, out: out + 1)
    check(lambda: encode(module), lambda: right + 1, ("hook",))


def test_a_forward_put_on_the_module(module):
    module.forward = lambda lonlat, layer="embedding": torch.full((len(lonlat), 5), 7.0)
    check(lambda: encode(module), lambda: np.full((3, 5), 7.0), ("forward",))


def test_a_weight_norm(module, right):
    torch.nn.utils.parametrizations.weight_norm(module.nnet.last_layer)
    check(lambda: encode(module), lambda: right, ("network",))


def test_training_goes_on_after_fit(module, right):
    encoder = SatCLIPEncoder(module).fit()
    for parameter in module.parameters():
        parameter.data.zero_()
    check(lambda: encoder.transform(PLACES), lambda: right)
    check(lambda: clone(encoder).fit().transform(PLACES)[0], lambda: np.zeros(5))
