"""Devices that are not here, emulated: one without float64, one whose memory runs out."""

import copy

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from skgeo_embed.nn.inference import devices, tiles
from skgeo_embed.nn.inference.devices import resolve_device
from skgeo_embed.nn.inference.engine import is_sine_network
from skgeo_embed.nn.inference.images import ImageEngine
from skgeo_embed.nn.inference.networks import AnyNetwork, SineNetwork
from skgeo_embed.nn.inference.options import EncodingOptions
from skgeo_embed.nn.inference.tiles import Tiler
from skgeo_embed.nn.location import LocationEncoder

# the device "meta" stands for the accelerator: it knows every operation, and no values
ACCELERATOR = torch.device("meta")


class NoFloat64(TorchDispatchMode):
    """Refuses double precision on the accelerator, as Apple's GPUs do."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.device.type == "meta":
            if out.dtype == torch.float64:
                raise TypeError(f"{func}: this device has no float64")
            self.seen += 1
        return out

    def __init__(self):
        super().__init__()
        self.seen = 0


@pytest.fixture
def no_float64(monkeypatch):
    for module in ("devices", "networks", "images"):
        monkeypatch.setattr(
            f"skgeo_embed.nn.inference.{module}.has_float64", lambda device: device.type != "meta"
        )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"network": "fcnet"},
        {"positional_encoding": "grid"},
        {"positional_encoding": "spheremplus", "network": "mlp"},
        {"harmonics_calculation": "discretized"},
        {
            "feature_grid": {"height": 5, "width": 8, "channels": 3},
            "fine_waves": {"count": 4, "longest_km": 80.0, "shortest_km": 5.0},
        },
    ],
)
@pytest.mark.parametrize("kind", [SineNetwork, AnyNetwork])
def test_positions_are_encoded_elsewhere(no_float64, sphere_points, config, kind):
    module = LocationEncoder(5, 8, 16, **config).eval()
    if kind is SineNetwork and not is_sine_network(module):
        pytest.skip("runs as any network")
    points = torch.from_numpy(sphere_points[:40])
    with NoFloat64() as guard, torch.inference_mode():
        network = kind(module, ACCELERATOR, torch.float32)
        for layer, width in (("embedding", 8), ("hidden", 16)):
            options = EncodingOptions(layer)
            done = list(network.encode(points, options, Tiler(7)))
            assert sum(len(values) for _, values in done) == 40
            assert {values.shape[1] for _, values in done} == {width}
            assert {values.dtype for _, values in done} == {torch.float32}
            grid = network.encode_grid(points[:5, 0], points[:3, 1], options, Tiler(7))
            assert sum(len(values) for _, _, values in grid) == 15
    assert guard.seen > 10


def test_the_emulation_refuses_float64(no_float64, sphere_points, monkeypatch):
    monkeypatch.setattr("skgeo_embed.nn.inference.networks.has_float64", lambda device: True)
    module = LocationEncoder(5, 8, 16, positional_encoding="grid").eval()
    network = AnyNetwork(module, ACCELERATOR, torch.float32)
    points = torch.from_numpy(sphere_points)
    with NoFloat64(), torch.inference_mode(), pytest.raises(TypeError, match="no float64"):
        next(network.encode(points, "embedding", Tiler(100)))


def test_an_own_forward_is_given_float64_or_nothing(no_float64):
    class Own(LocationEncoder):
        def forward(self, lonlat, layer="embedding"):
            return super().forward(lonlat, layer)

    with pytest.raises(ValueError, match="Own has its own forward"):
        AnyNetwork(Own(4, 8, 16), ACCELERATOR, torch.float32)


def test_tables_are_left_alone_where_their_kernel_is_missing():
    network = SineNetwork(LocationEncoder(40, 8, 16), torch.device("cpu"), torch.float32)
    assert network.worth_tabulating(10**6)
    network.device = torch.device("mps")
    assert not network.worth_tabulating(10**6)


@pytest.mark.parametrize("limit", [50, 13, 1])
def test_memory_runs_out_once_per_size_and_stays_halved(limit):
    tried = []

    def compute(columns):
        size = columns.stop - columns.start
        tried.append(size)
        if size > limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return torch.arange(columns.start, columns.stop)

    def compute_all():
        for _, columns in tiler.tiles(1, 230):
            with tiler.computing(columns):
                values = compute(columns)
            if not tiler.ran_out:
                yield values

    tiler = Tiler(100)
    with pytest.warns(RuntimeWarning, match="continuing with batch_size"):
        first = list(compute_all())
    again = list(compute_all())  # the next band
    for done in (first, again):
        assert torch.equal(torch.cat(done), torch.arange(230))
    assert sorted(size for size in tried if size > limit) == sorted(
        {100, 50, 25, 12, 6, 3, 2, 1} & {size for size in tried if size > limit}
    )


def test_other_errors_are_not_taken_for_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes differ"), Tiler(100).computing(slice(0, 100)):
        raise RuntimeError("shapes differ")
    assert devices.is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: ...)"))


def test_one_cuda_device_has_one_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert resolve_device("cuda") == resolve_device("cuda:0") == resolve_device(None)
    with pytest.raises(ValueError, match=r"2 CUDA device\(s\)"):
        resolve_device("cuda:9")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_towers_of_any_precision(dtype):
    torch.manual_seed(0)
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5))
    images = np.random.RandomState(0).rand(7, 3, 2, 2).astype(np.float32)
    with torch.no_grad():
        expected = tower(torch.from_numpy(images)).numpy()
    (found,) = ImageEngine(copy.deepcopy(tower).to(dtype)).encode([images], None)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6 if dtype.itemsize >= 4 else 2e-2)


def test_images_in_smaller_pieces_where_memory_runs_out(monkeypatch):
    sizes = []

    class Small(torch.nn.Module):
        def forward(self, images):
            sizes.append(len(images))
            if len(images) > 2:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return images.flatten(1)

    images = np.arange(7 * 12, dtype=np.float32).reshape(7, 3, 2, 2)
    with pytest.warns(RuntimeWarning, match="batch_size=1"):
        found = list(ImageEngine(Small()).encode([images, images], None))
    np.testing.assert_array_equal(np.concatenate(found), np.tile(images.reshape(7, -1), (2, 1)))
    assert sizes.count(7) == sizes.count(3) == 1


def test_a_tower_is_moved_once(no_float64, monkeypatch):
    moves = []
    tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5)).double()
    engine = ImageEngine(tower)
    deepcopy = copy.deepcopy
    monkeypatch.setattr(
        "skgeo_embed.nn.inference.images.copy.deepcopy", lambda t: moves.append(t) or deepcopy(t)
    )
    with NoFloat64():
        moved = [engine.tower_on(ACCELERATOR) for _ in range(3)]
    assert len(moves) == 1
    assert moved[0] is moved[2]
    assert {p.dtype for p in moved[0].parameters()} == {torch.float32}
    assert tiles.Tiler(3).batch_size == 3
