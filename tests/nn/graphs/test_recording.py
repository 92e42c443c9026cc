"""Functions of torch as graphs give what torch gives, for any number of rows."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from skgeo_embed.export.graph import Graph
from skgeo_embed.nn.graphs.recording import add_function

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def _session(function, width=4):
    graph = Graph()
    source = graph.input("x", "numbers", width)
    examples = torch.linspace(-2, 3, 3 * width, dtype=torch.float64).view(3, width)
    result = add_function(graph, function, source, examples)
    with torch.no_grad():
        expected = function(examples).numpy()
    model = graph.to_model({"y": (result, expected.dtype, expected.shape[1:])})
    return onnxruntime.InferenceSession(model.SerializeToString())


def _layers():
    torch.manual_seed(0)
    layers = [nn.Linear(4, 6), nn.BatchNorm1d(6), nn.SiLU(), nn.LayerNorm(6), nn.GELU()]
    layers += [nn.Linear(6, 6), nn.ELU(), nn.ReLU(), nn.Dropout(), nn.LeakyReLU()]
    network = nn.Sequential(*layers, nn.Linear(6, 3), nn.GELU("tanh"), nn.Softmax(dim=1)).eval()
    network[1].running_mean.fill_(0.3)
    network[1].running_var.fill_(2.0)
    return network


LAYERS = _layers()
LAYERS_64 = _layers().double()


def _in_place(x):
    made = torch.zeros(len(x), 4, dtype=torch.float64)
    made[:, 1:3] = x[:, :2]
    made[:, 0].copy_(x[:, 3].sin_())
    return made.mul_(2)


def _in_the_middle(x):
    x[:, 1].mul_(3)
    x[:, :2] += 1
    return x


FUNCTIONS = {
    "layers": lambda x: LAYERS(x.float()),
    "layers in double precision": LAYERS_64,
    "in place": lambda x: _in_place(x.clone()),
    "remainders": lambda x: torch.cat([x % 0.7, x // 0.7, ((x * 9).long() % 5).double()], dim=1),
    "whole numbers": lambda x: ((x * 100).int() // 7).double(),
    "in place in the middle": lambda x: _in_the_middle(x.clone()),
    "bits": lambda x: ((((x + 9) * 50).int() >> 2) & 7).double(),
    "rows of ones": lambda x: torch.cat([torch.ones(len(x), 2), x], dim=1),
    "constants alone": lambda x: x @ torch.outer(torch.arange(4.0), torch.ones(3)).double(),
    "normalized": lambda x: functional.normalize(x),
    "flipped": lambda x: torch.stack([x.flip(1), x.cumsum(1)], dim=2).flatten(1)[:, 1:-2:2],
    "reshaped": lambda x: x.view(-1, 2).mean(dim=1).view(len(x), 2).expand(len(x), 2),
    "pairs": lambda x: (x[:, :, None] * x[:, None]).transpose(1, 2).reshape(len(x), -1),
    "functions": lambda x: torch.cat([x.cos(), x.tan(), x.sinh(), (x / 4).asin()], dim=1),
    "chosen": lambda x: torch.where((x > 0) ^ (x < 1), x.clamp(-1, 2), x[:, [3, 2, 1, 0]]),
    "largest": lambda x: x.amax(dim=1, keepdim=True) - x.mean(1, keepdim=True) + (1 - x).abs(),
    "looked up": lambda x: torch.arange(40.0).view(10, 4)[(x[:, 0].abs() * 2).long()],
}

TAKEN_APART = [pytest.param(name, marks=pytest.mark.slow) for name in ("softplus", "mish", "selu")]


@pytest.mark.parametrize("name", [*FUNCTIONS, *TAKEN_APART])
@pytest.mark.parametrize("n", [1, 5])
def test_the_same_values(name, n):
    function = FUNCTIONS.get(name) or getattr(functional, name)
    x = np.random.default_rng(0).uniform(-2, 3, (n, 4))
    with torch.no_grad():
        expected = function(torch.from_numpy(x.copy())).numpy()
    (found,) = _session(function).run(None, {"x": x})
    assert found.shape == expected.shape
    tolerance = 1e-6 if expected.dtype == np.float32 or "double" in name else 1e-13
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x if x.sum() > 0 else -x, "_local_scalar_dense.*depends on values"),
        (lambda x: x[x[:, 0] > 0], "booleans; use torch.where"),
        (lambda x: x.sort(dim=1).values, "aten::sort.*Replace it"),
        (lambda x: torch.from_numpy(np.abs(x.numpy())), "leaves torch"),
        (lambda x: nn.BatchNorm1d(4).double()(x), "in training: call its method eval"),
        (lambda x: torch.linalg.vector_norm(x, ord=3, dim=1, keepdim=True), "norm of order 3"),
        (lambda x: torch.div(x, 0.7, rounding_mode="trunc"), "aten::div"),
    ],
)
def test_what_a_graph_cannot_do_is_named(function, message):
    with pytest.raises(TypeError, match=message):
        _session(function)
