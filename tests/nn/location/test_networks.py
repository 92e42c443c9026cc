import math

import pytest
import torch

from skgeo_embed.nn.location.networks import Siren, SirenNet, dropout, make_network
from tests.recipe import checkpoints_json, state_dict


@pytest.mark.parametrize("name", ["linear", "mlp", "mlp3", "fcnet", "siren", "siren3"])
def test_against_the_original(checkpoint_reference, positional_reference, name):
    spec = checkpoints_json()["location_nets"][name]
    weights = state_dict(spec["state_dict"], spec["aliases"])
    weights = {key.removeprefix("model.nnet."): value for key, value in weights.items()}
    layers = spec["num_hidden_layers"] or 0
    net = make_network(spec["pe_type"], 4, 16, 8, layers, dropout=0.5).double().eval()
    net.load_state_dict(weights)
    inputs = torch.from_numpy(positional_reference["wrap"][positional_reference["subset"]])
    expected = torch.from_numpy(checkpoint_reference[f"wrap_{name}__location"])
    torch.testing.assert_close(net(inputs), expected, rtol=0, atol=1e-12)
    if name != "linear":
        assert net.hidden(inputs).shape == (32, 16)


def test_unknown_network():
    with pytest.raises(ValueError, match="unknown network 'kan'"):
        make_network("kan", 4, 16, 8, 2, 0.5)


def test_initial_bounds():
    torch.manual_seed(0)
    net = SirenNet(100, 512, 256)
    for layer, bound in (
        (net.layers[0], 1 / 100),
        (net.layers[1], math.sqrt(6 / 512)),
        (net.last_layer, math.sqrt(6 / 512)),
    ):
        largest = layer.weight.abs().max().item()
        assert 0.99 * bound < largest <= bound
        assert layer.bias.abs().max().item() <= bound


def test_dropout_sits_before_the_sine_and_only_in_training():
    torch.manual_seed(0)
    layer = Siren(4, 1000, dropout=0.5)
    x = torch.randn(1, 4)
    linear = torch.nn.functional.linear(x, layer.weight, layer.bias)
    out = layer.train()(x)
    dropped = out == 0
    assert 0.4 < dropped.float().mean() < 0.6
    torch.testing.assert_close(out[~dropped], torch.sin(2 * linear)[~dropped])
    torch.testing.assert_close(layer.eval()(x), torch.sin(linear))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.93])
def test_dropout(p):
    torch.manual_seed(0)
    x = torch.full((300, 401), 2.0, requires_grad=True)
    out = dropout(x, p)
    kept = out != 0
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 2 / (1 - p)))
    assert 1 - kept.float().mean() == pytest.approx(p, abs=4 * (p * (1 - p) / x.numel()) ** 0.5)
    columns = 1 - kept.float().mean(dim=0)  # no column is favoured
    assert (columns - p).abs().max() < 6 * (p * (1 - p) / 300) ** 0.5
    out.sum().backward()
    torch.testing.assert_close(x.grad, kept / (1 - p))
    torch.manual_seed(0)
    assert torch.equal(dropout(x, p), out)
