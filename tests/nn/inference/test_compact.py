"""Compact tables hold what the large ones do, to the last bit, wherever they are read."""

import numpy as np
import pytest
import torch

from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.encodings.detailed import DetailedEncoding
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.nn.inference.compact import PackedTable, SparseRows, compacted
from skgeo_embed.nn.inference.networks import SineNetwork
from skgeo_embed.nn.inference.traced import TracedSines
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.location.content_network import ContentNetwork

HEIGHT = 64  # pixels of 312.7 km
SIDES = [313.0, 625.0, 1251.0]  # levels 0, 1 and 2


def _patchy(random, *shape):
    """Integers that are alike in places, with ranges of 0 to 8 bits."""
    spread = 2 ** random.integers(0, 9, shape) - 1
    patches = (random.random(shape) * spread).astype(int) - 128
    patches[: shape[0] // 2, : shape[1] // 3] = -128
    return np.clip(patches, -128, 127).astype(np.int8)


def _layer(name, height=HEIGHT, **changes):
    sides = {"means_km": SIDES, "deviations_km": SIDES[1:], **changes}
    return {"name": name, "unit": "mm", "height": height, **sides}


@pytest.fixture(scope="module")
def content():
    """Layers of which one is mostly 0, and two have boxes of one grid at different levels."""
    random = np.random.default_rng(0)
    layers = [
        _layer("rain", logarithm=True),
        _layer("snow"),
        _layer("heat", 2 * HEIGHT, means_km=SIDES[:2], deviations_km=SIDES[:2]),
    ]
    content = ContentLayers(layers, {"wetness": ("rain", "snow")})
    meanings = np.arange(256.0), random.normal(0, 100, 256), np.linspace(250, 310, 256)
    for layer, meaning in zip(content.layers, meanings, strict=True):
        codes = _patchy(random, layer.height, 2 * layer.height).astype(int) + 128
        content.fill(layer.name, torch.from_numpy(codes), torch.from_numpy(meaning))
    return content


@pytest.fixture(scope="module")
def places():
    """Random places of the sphere, rows of pixels and both poles."""
    random = np.random.default_rng(1)
    lat = np.rad2deg(np.arcsin(random.uniform(-1, 1, 3000)))
    lat[:9] = -90, 90, 89.99, -89.99, 70.5, -70.5, 0, 88.6, 45
    places = torch.from_numpy(np.column_stack([random.uniform(-180, 180, 3000), lat]))
    places[:2, 0] = 0.0
    places[2:6, 0] = torch.tensor([-180.0, 179.999, -179.9, -180.0])
    return places


@pytest.mark.parametrize("shape", [(7, 10, 3), (16, 16, 1), (2, 1, 2)])
def test_packed_integers_are_those_that_were_packed(shape):
    """Tiles at an edge that are cut off, a width of 8 bits, an odd number of tiles."""
    values = _patchy(np.random.default_rng(2), *shape)
    values[-1, -1] = (-128, 127, 0)[: shape[2]]
    rows, columns = (torch.arange(length) for length in shape[:2])
    found = PackedTable(torch.from_numpy(values)).read(rows[:, None], columns[None])
    np.testing.assert_array_equal(found.numpy(), values)


@pytest.mark.parametrize("lit", [0.0, 0.01, 1.0])
def test_rows_without_runs_of_zeros(lit):
    random = np.random.default_rng(3)
    rows = torch.from_numpy(random.random((64, 2048, 2)) * (random.random((64, 2048, 1)) < lit))
    packed = SparseRows(rows.float())
    found = packed.read(torch.arange(64)[:, None], torch.arange(2048)[None])
    np.testing.assert_array_equal(found.numpy(), rows.float().numpy())
    assert (packed.run > 0) == (lit < 1)
    assert len(packed.values) <= max(1, 200 * lit) * 64 * 2048 / 8


def test_columns_of_layers_are_the_same(content, places):
    """Pixels beyond the antimeridian, wide boxes near a pole, deviations of close values."""
    module = ContentNetwork(content)
    found = compacted(module).posenc(places, dtype=torch.float32)
    expected = content(places, dtype=torch.float32)
    error = (found - expected).abs().amax(0) / expected.abs().amax(0)
    # a deviation is the root of a difference of single precision
    assert error.max() < 2e-4
    means = [name.split("_")[1] == "mean" for name in content.column_names()]
    assert error[means].max() < 1e-6
    assert module.posenc is content


def test_averages_that_are_stored_in_half_precision_are_rounded_likewise(monkeypatch, places):
    """Five kilometres of the default encoder's lights: a digit more would be another number."""
    monkeypatch.setattr("skgeo_embed.nn.encodings.content_boxes.FINE", HEIGHT - 1)
    content = ContentLayers([_layer("rain", deviations_km=[])])
    codes = _patchy(np.random.default_rng(4), HEIGHT, 2 * HEIGHT).astype(int) + 128
    content.fill("rain", torch.from_numpy(codes), torch.arange(256.0))
    found = compacted(ContentNetwork(content)).posenc(places, dtype=torch.float32)
    expected = content(places, dtype=torch.float32)
    assert content.boxes_on(torch.device("cpu")).sizes[0].table.dtype == torch.float16
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize("bounds", [None, (170, -20, -160, 40)], ids=["sphere", "region"])
def test_a_feature_grid_is_the_same(bounds, places):
    grid = FeatureGrid(37, 72, 5, bounds=bounds)
    grid.values.copy_(torch.from_numpy(_patchy(np.random.default_rng(5), 37, 72, 5)))
    module = LocationEncoder(4, feature_grid=grid.description())
    encoding = DetailedEncoding(module.posenc.position, grid)
    module.posenc = encoding
    found = compacted(module).posenc(places, dtype=torch.float32)
    np.testing.assert_array_equal(found, encoding(places, dtype=torch.float32))


@pytest.mark.parametrize("columns", [None, 3])
def test_components_are_mixed_in_the_graph(content, columns, places):
    torch.manual_seed(0)
    module = LocationEncoder(4, hidden_dim=8, sine_dim=16, content=content.description())
    torch.nn.init.normal_(module.nnet.layers[-1].content_weight)
    device = torch.device("cpu")
    networks = [kind(module, device, torch.float64) for kind in (SineNetwork, TracedSines)]
    expected, found = (network._columns_of(1, columns) for network in networks)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), atol=1e-12)


def test_a_table_of_more_than_128_mb():
    """The starts of tiles and their counts of bits need more than 32 bits together."""
    table = PackedTable(torch.zeros(8, 8, 1, dtype=torch.int8))
    n_tiles = 2**21 + 2
    table.tile_bytes, table.across, table.side_bits = 8, n_tiles, 3
    table.pairs = torch.full((n_tiles // 2,), 8 + 16 * 8, dtype=torch.uint8)
    table.lowest = torch.full((n_tiles, 1), -100, dtype=torch.int8)
    table.payload = torch.zeros(64 * n_tiles + 1, dtype=torch.uint8)
    table.payload[-2] = 120
    last = torch.tensor([7]), torch.tensor([8 * n_tiles - 1])
    assert table.read(*last).tolist() == [[20.0]]
