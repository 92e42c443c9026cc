import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.nn.harmonics import SphericalHarmonics
from skgeo_embed.nn.inference import networks
from skgeo_embed.nn.inference.devices import resolve_device
from skgeo_embed.nn.inference.engine import InferenceEngine
from skgeo_embed.nn.inference.images import ImageEngine
from skgeo_embed.nn.inference.networks import SineNetwork
from skgeo_embed.nn.inference.tiles import Tiler
from skgeo_embed.nn.location import LocationEncoder
from tests.engine import encode, encode_grid
from tests.recipe import checkpoints_json, state_dict


def _direct(module, points, layer="embedding"):
    double = copy.deepcopy(module).double().eval()
    with torch.no_grad():
        return double(torch.from_numpy(points), layer).numpy()


@pytest.mark.parametrize("variant", ["resnet18_l10", "default_yaml", "resnet18_l40"])
def test_published_architecture_against_the_original(checkpoint_reference, variant):
    spec = checkpoints_json()["variants"][variant]
    entries = [e for e in spec["state_dict"] if e[0].startswith("model.nnet.")]
    weights = state_dict(entries, {})
    hyper = spec["hyper_parameters"]
    module = LocationEncoder(
        hyper["legendre_polys"], hyper["embed_dim"], hyper["capacity"], hyper["num_hidden_layers"]
    ).double()
    module.load_state_dict({k.removeprefix("model."): v for k, v in weights.items()})
    points = checkpoint_reference["points_lonlat"]
    exact = checkpoint_reference[f"{variant}__location_exact_sh"]
    ours = encode(module, points, dtype="float64")
    np.testing.assert_allclose(ours, exact, rtol=0, atol=1e-10)
    single = encode(module, points)
    assert single.dtype == np.float32
    rms = np.sqrt(np.mean(exact**2))
    np.testing.assert_allclose(single, exact, rtol=0, atol=1e-5 * rms)


@pytest.mark.parametrize("layer", ["embedding", "hidden"])
@pytest.mark.parametrize("num_hidden_layers", [1, 2, 3, 4])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_batches_give_what_the_module_gives(sphere_points, layer, num_hidden_layers, batch_size):
    torch.manual_seed(0)
    module = LocationEncoder(5, 8, 16, num_hidden_layers)
    points = sphere_points[:50]
    engine = InferenceEngine(module)
    ours = encode(engine, points, layer=layer, dtype="float64", batch_size=batch_size)
    np.testing.assert_allclose(ours, _direct(module, points, layer), rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(
    lon=st.lists(st.floats(-180, 180), min_size=1, max_size=9),
    lat=st.lists(st.floats(-90, 90), min_size=1, max_size=9),
    size=st.integers(1, 12),
    layer=st.sampled_from(["embedding", "hidden"]),
    calculation=st.sampled_from(["analytic", "closed-form"]),
    batch_size=st.integers(1, 40),
)
def test_grid_is_the_points_of_the_grid(lon, lat, size, layer, calculation, batch_size):
    torch.manual_seed(0)
    module = LocationEncoder(size, 8, 16, harmonics_calculation=calculation)
    grid = encode_grid(
        module, np.array(lon), np.array(lat), layer=layer, dtype="float64", batch_size=batch_size
    )
    points = np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)
    expected = _direct(module, points, layer).reshape(grid.shape)
    np.testing.assert_allclose(grid, expected, rtol=0, atol=1e-11)


def test_single_precision_grid():
    torch.manual_seed(0)
    module = LocationEncoder(40, 32, 64)
    lon, lat = np.arange(-180.0, 180, 20), np.linspace(-90.0, 90, 19)
    points = np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)
    expected = _direct(module, points)
    grid = encode_grid(module, lon, lat)
    rms = np.sqrt(np.mean(expected**2))
    np.testing.assert_allclose(grid.reshape(-1, 32), expected, rtol=0, atol=1e-5 * rms)


def test_pickle_carries_the_module_only(small_location):
    engine = InferenceEngine(small_location)
    points = np.array([[10.0, 20.0]])
    before = len(pickle.dumps(engine))
    expected = encode(engine, points)
    encode_grid(engine, points[0], points[0])
    assert len(pickle.dumps(engine)) == before
    np.testing.assert_array_equal(encode(pickle.loads(pickle.dumps(engine)), points), expected)


def test_device_names():
    assert resolve_device("cpu") == torch.device("cpu")
    expected = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    best = next((name for name, there in expected.items() if there), "cpu")
    assert resolve_device(None).type == best


def test_devices_that_are_not_there(monkeypatch):
    with pytest.raises(ValueError, match=r"device must be .* got 'gpu'"):
        resolve_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="has no CUDA"):
        resolve_device("cuda:1")


def test_double_precision_on_mps_is_refused(small_location, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(ValueError, match="no float64"):
        encode(small_location, np.zeros((1, 2)), device=torch.device("mps"), dtype="float64")


def test_images_in_batches():
    torch.manual_seed(0)
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5))
    images = np.random.RandomState(0).rand(7, 3, 2, 2).astype(np.float32)
    batches = ImageEngine(tower).encode((images[i : i + 3] for i in range(0, 7, 3)), None)
    parts = np.concatenate(list(batches))
    with torch.no_grad():
        expected = tower(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(parts, expected, atol=1e-6)


@pytest.mark.parametrize("size", [12, 24, 40, 100])
@pytest.mark.parametrize("calculation", ["analytic", "closed-form"])
def test_tables_give_what_the_harmonics_give(monkeypatch, sphere_points, size, calculation):
    monkeypatch.setattr("skgeo_embed.nn.inference.networks.MIN_TABULATED_POINTS", 0)
    monkeypatch.setattr("skgeo_embed.nn.inference.networks.MIN_TABULATED_POLYS", 1)
    torch.manual_seed(0)
    module = LocationEncoder(size, 16, 32, harmonics_calculation=calculation)
    with torch.no_grad():
        module.nnet.layers[0].weight.mul_(3)  # trained first layers are larger than initial ones
    engine = InferenceEngine(module)
    network = SineNetwork(module, torch.device("cpu"), torch.float32)
    assert network.worth_tabulating(len(sphere_points))
    for layer in ("embedding", "hidden"):
        expected = _direct(module, sphere_points, layer)
        rms = np.sqrt(np.mean(expected**2))
        ours = encode(engine, sphere_points, layer=layer, batch_size=100)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * rms)
        grid = encode_grid(engine, sphere_points[:9, 0], sphere_points[:9, 1], layer=layer)
        same = grid[np.arange(9), np.arange(9)]
        np.testing.assert_allclose(same, expected[:9], rtol=0, atol=1e-5 * rms)


@pytest.mark.parametrize("name", ["earth-l20", "bluemarble-l20", "bluemarble-l10"])
@pytest.mark.parametrize("layer", ["embedding", "hidden"])
def test_tables_of_trained_weights(monkeypatch, sphere_points, name, layer):
    monkeypatch.setattr("skgeo_embed.nn.inference.networks.MIN_TABULATED_POINTS", 0)
    monkeypatch.setattr("skgeo_embed.nn.inference.networks.MIN_TABULATED_POLYS", 1)
    encoder = SatCLIPEncoder(name, layer=layer).fit()
    expected = clone(encoder).set_params(dtype="float64").fit().transform(sphere_points)
    rms = np.sqrt(np.mean(expected**2))
    atol = 1.5e-5 * rms  # 1.2e-5 on a card
    np.testing.assert_allclose(encoder.transform(sphere_points), expected, rtol=0, atol=atol)


def test_tables_are_used_where_they_pay(small_location):
    torch.manual_seed(0)
    large, cpu = LocationEncoder(40, 8, 16), torch.device("cpu")
    single = SineNetwork(large, cpu, torch.float32)
    assert not single.worth_tabulating(3000)
    assert single.worth_tabulating(100_000)
    assert not SineNetwork(large, cpu, torch.float64).worth_tabulating(10**6)
    assert not SineNetwork(small_location, cpu, torch.float32).worth_tabulating(10**6)


def test_batches_of_a_grid_cover_it_once():
    cell = torch.arange(35).view(5, 7)
    for batch_size in (1, 3, 5, 7, 12, 35, 100):
        seen = torch.zeros((5, 7), dtype=int)
        for rows, columns in Tiler(batch_size).tiles(5, 7, max_rows=3):
            assert cell[rows, columns].numel() <= batch_size
            seen[rows, columns] += 1
        assert (seen == 1).all()


def test_harmonics_shrink_where_memory_runs_out(monkeypatch, sphere_points):
    torch.manual_seed(0)
    module = LocationEncoder(5, 8, 16)
    expected = encode(module, sphere_points, dtype="float64")
    empty = torch.empty

    def limited(*shape, **options):
        made = empty(*shape, **options)
        if made.numel() > 25 * 30:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return made

    monkeypatch.setattr(networks, "HARMONICS_BYTES", 0)  # as on a card
    monkeypatch.setattr(torch, "empty", limited)
    with pytest.warns(RuntimeWarning, match="continuing with batch_size=25"):
        ours = encode(module, sphere_points, dtype="float64", batch_size=100)
    np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_batches_shrink_where_memory_runs_out(monkeypatch, sphere_points):
    torch.manual_seed(0)
    module = LocationEncoder(5, 8, 16)
    expected = encode(module, sphere_points)
    finish, sizes = SineNetwork.finish, []

    def limited(self, first, content, options):
        sizes.append(len(first))
        if len(first) > 30:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return finish(self, first, content, options)

    monkeypatch.setattr(SineNetwork, "finish", limited)
    with pytest.warns(RuntimeWarning, match="continuing with batch_size=25"):
        ours = encode(module, sphere_points, batch_size=100)
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    assert sizes[:3] == [100, 50, 25]
    monkeypatch.setattr(
        SineNetwork, "finish", lambda self, _, *rest: limited(self, torch.zeros(99, 1), *rest)
    )
    with (
        pytest.warns(RuntimeWarning, match="batch_size=1"),
        pytest.raises(torch.cuda.OutOfMemoryError),
    ):
        encode(module, sphere_points, batch_size=2)


@pytest.mark.parametrize("network", ["siren", "mlp", "fcnet", "linear"])
@pytest.mark.parametrize("kind", ["wrap", "grid", "spheremplus", "sphericalharmonics"])
def test_every_encoding_and_network(sphere_points, network, kind):
    torch.manual_seed(0)
    module = LocationEncoder(
        6, 8, 16, positional_encoding=kind, network=network, harmonics_calculation="discretized"
    )
    engine = InferenceEngine(module)
    for layer in ("embedding", "hidden")[: 1 if network == "linear" else 2]:
        ours = encode(engine, sphere_points, layer=layer, dtype="float64", batch_size=100)
        expected = _direct(module, sphere_points, layer)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)
        grid = encode_grid(
            engine, sphere_points[:5, 0], sphere_points[:4, 1], layer=layer, dtype="float64"
        )
        points = np.stack(np.meshgrid(sphere_points[:5, 0], sphere_points[:4, 1]), axis=-1)
        np.testing.assert_allclose(
            grid.reshape(20, -1), _direct(module, points.reshape(-1, 2), layer), atol=1e-12
        )


def test_hidden_scale_of_any_network(sphere_points):
    torch.manual_seed(0)
    module = LocationEncoder(4, 8, 16, network="fcnet", hidden_scale=0.1)
    ours = encode(module, sphere_points, layer="hidden", dtype="float64")
    expected = _direct(module, sphere_points, "hidden")
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


def test_published_rounding_reaches_grids_and_tables(monkeypatch, sphere_points):
    monkeypatch.setattr("skgeo_embed.nn.inference.networks.MIN_TABULATED_POINTS", 0)
    torch.manual_seed(0)
    module = LocationEncoder(40, 16, 32, harmonics="published")
    exact = LocationEncoder(40, 16, 32)
    exact.load_state_dict(module.state_dict())
    expected = _direct(module, sphere_points)
    rms = np.sqrt(np.mean(expected**2))
    assert abs(expected - _direct(exact, sphere_points)).max() > 1e-3 * rms
    engine = InferenceEngine(module)
    np.testing.assert_allclose(encode(engine, sphere_points), expected, rtol=0, atol=1e-5 * rms)
    grid = encode_grid(engine, sphere_points[:30, 0], sphere_points[:30, 1], dtype="float64")
    np.testing.assert_allclose(
        grid[np.arange(30), np.arange(30)], expected[:30], rtol=0, atol=1e-10
    )


def test_a_linear_network_has_no_hidden_layer():
    module = LocationEncoder(4, 8, network="linear")
    with pytest.raises(ValueError, match="no hidden layer"):
        module(torch.zeros(1, 2), layer="hidden")


def test_harmonics_of_several_batches_are_those_of_each(monkeypatch, sphere_points):
    torch.manual_seed(0)
    module = LocationEncoder(5, 8, 16)
    asked = []
    forward = SphericalHarmonics.forward

    def counted(self, lonlat, *arguments, **options):
        asked.append(len(lonlat))
        return forward(self, lonlat, *arguments, **options)

    monkeypatch.setattr(SphericalHarmonics, "forward", counted)
    blocks = encode(module, sphere_points, batch_size=50)
    assert asked == [507]
    monkeypatch.setattr(networks, "HARMONICS_BYTES", 2 * 50 * 25 * 4)
    pairs = encode(module, sphere_points, batch_size=50)
    assert asked[1:] == [100, 100, 100, 100, 100, 7]
    monkeypatch.setattr(networks, "HARMONICS_BYTES", 0)
    singly = encode(module, sphere_points, batch_size=50)
    assert asked[7:] == [*[50] * 10, 7]
    np.testing.assert_allclose(pairs, blocks, atol=1e-6)
    np.testing.assert_allclose(singly, blocks, atol=1e-6)
