"""Columns of layers against plain loops over pixels, where they are read, and what they refuse."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch

from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.inference.networks import AnyNetwork
from skgeo_embed.nn.inference.options import EncodingOptions
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.location.content_network import ContentNetwork
from tests.boxes import read_boxes
from tests.nn.inference.test_devices import ACCELERATOR, NoFloat64, no_float64  # noqa: F401

HEIGHT = 64  # pixels of 312.7 km
SIDES = (313.0, 625.0, 1251.0)  # levels 0, 1 and 2


def layer(name="rain", **changes):
    return {
        "name": name,
        "unit": "mm",
        "height": HEIGHT,
        "means_km": list(SIDES),
        "deviations_km": list(SIDES[1:]),
        **changes,
    }


def filled(described, values, contrasts=None):
    """Layers of codes that lie at random, and mean what is given."""
    content = ContentLayers(described, contrasts)
    pictures = {}
    for number, one in enumerate(described):
        shape = one["height"], 2 * one["height"]
        codes = np.random.RandomState(number).randint(0, 256, shape).astype(np.uint8)
        content.fill(one["name"], torch.from_numpy(codes), torch.from_numpy(values))
        pictures[one["name"]] = values.astype(np.float32).astype(float)[codes]
    return content, pictures


def read(content, points):
    with torch.no_grad():
        return content(torch.as_tensor(points, dtype=torch.float64)).numpy()


EVEN = np.linspace(0, 100, 256)


def test_columns_are_those_of_a_loop_over_pixels(sphere_points):
    """Boxes of another place or width, a pole that is read elsewhere, means for deviations."""
    content, pictures = filled([layer(deviations_km=list(SIDES))], EVEN)
    found = read(content, sphere_points)
    for level in range(3):
        mean = read_boxes(pictures["rain"], sphere_points, level)
        square = read_boxes(pictures["rain"] ** 2, sphere_points, level)
        np.testing.assert_allclose(found[:, level], mean, atol=1e-4)
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        # single precision holds squares up to 1e4 to 1e-3, whose root shows where little is left
        np.testing.assert_allclose(found[:, 3 + level], spread, atol=0.05)
        np.testing.assert_allclose(np.median(np.abs(found[:, 3 + level] - spread)), 0, atol=1e-4)


def test_names_units_and_their_order():
    content = ContentLayers(
        [layer("a"), layer("b", unit="m", logarithm=True)], {"a_or_b": ["a", "b"]}
    )
    names = content.column_names()
    assert names[:5] == ["a_mean_313km", "a_mean_625km", "a_mean_1251km",
                         "a_std_625km", "a_std_1251km"]  # fmt: skip
    assert names[5] == "b_mean_313km"
    assert names[10:] == ["a_or_b_mean_313km", "a_or_b_mean_625km", "a_or_b_mean_1251km"]
    assert content.units() == {"a": "mm", "b": "m", "a_or_b": "(a - b) / (a + b)"}
    assert ContentLayers(**content.description()).description() == content.description()


def test_logarithms_and_contrasts_are_of_the_means(sphere_points):
    plain, _ = filled([layer("a"), layer("b")], EVEN, {"c": ("a", "b")})
    logs, _ = filled([layer("a", logarithm=True), layer("b", logarithm=True)], EVEN)
    found, logged = read(plain, sphere_points), read(logs, sphere_points)
    np.testing.assert_allclose(logged, np.log1p(found[:, :10]), atol=1e-5)
    a, b = found[:, :3], found[:, 5:8]
    np.testing.assert_allclose(found[:, 10:], (a - b) / np.maximum(a + b, 1), atol=1e-5)


@pytest.mark.parametrize("lat", [-90.0, 90.0])
def test_a_pole_is_one_place_and_its_neighbours_are_near(lat):
    """The row of boxes beside a pole is no circle around it: each would give another value."""
    content, pictures = filled([layer()], EVEN)
    lon = np.linspace(-180, 180, 37)
    at_pole = read(content, np.column_stack([lon, np.full(37, lat)]))
    assert (at_pole == at_pole[0]).all()
    beside = pictures["rain"][0 if lat > 0 else -1].mean()  # of boxes a third of the way around
    np.testing.assert_allclose(at_pole[0, 0], beside, atol=1e-3)
    near = read(content, np.column_stack([lon, np.full(37, lat * (1 - 1e-6))]))
    np.testing.assert_allclose(near, at_pole, atol=0.01)


def test_both_sides_of_the_antimeridian_are_one_place():
    content, _ = filled([layer()], EVEN)
    both = read(content, [[-180.0, 12.3], [180.0, 12.3], [179.999999, 12.3], [-179.999999, 12.3]])
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)
    np.testing.assert_allclose(both[2:], both[:2], atol=1e-3)


def test_deviations_of_large_values_that_differ_little(sphere_points):
    """A difference of squares loses the digits of pascals, and of kelvins far below zero's."""
    for values in (np.linspace(101_000, 101_100, 256), np.linspace(-101_100, -101_000, 256)):
        content, _ = filled([layer()], values)
        reference, _ = filled([layer()], EVEN)
        found, expected = read(content, sphere_points), read(reference, sphere_points)
        np.testing.assert_allclose(found[:, 3:], expected[:, 3:], atol=0.1)


def test_the_finest_pixels_hold_large_values():
    """Half precision ends at 65,504, and knows metres of a mountain to four."""
    described = {**layer(), "height": 2048, "means_km": [9.77], "deviations_km": []}
    for largest in (8848.0, 1e6):
        content, pictures = filled([described], np.linspace(0, largest, 256))
        points = np.array([[0.0439453125, 0.0439453125], [10.0, 60.0]])
        expected = read_boxes(pictures["rain"], points, 0)
        np.testing.assert_allclose(read(content, points)[:, 0], expected, rtol=1e-5)


def test_precision_is_what_is_asked_for():
    content, _ = filled([layer()], EVEN)
    points = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    assert content(points).dtype == torch.float64
    assert content(points, dtype=torch.float32).dtype == torch.float32
    assert ContentNetwork(content)(points, "content").dtype == torch.float32
    assert content.half().meaning_rain.dtype == torch.float32


def test_an_accelerator_reads_averages_that_were_made_here(sphere_points):
    """Averages are made of tables on the CPU, which are no use to a card that holds the bytes."""
    content, _ = filled([layer()], EVEN)
    points = torch.from_numpy(sphere_points[:40])
    with torch.inference_mode():
        network = AnyNetwork(ContentNetwork(content), ACCELERATOR, torch.float32)
        options = EncodingOptions("content")
        assert network.embed(points, options).shape == (40, 5)
        assert network.embed(points, options).device == ACCELERATOR
        assert network.module.posenc.codes_rain.device.type == "cpu"


def test_a_device_without_double_precision(no_float64, sphere_points):  # noqa: F811
    content, _ = filled([layer()], EVEN)
    with NoFloat64() as guard, torch.inference_mode():
        network = AnyNetwork(ContentNetwork(content), ACCELERATOR, torch.float32)
        values = network.embed(torch.from_numpy(sphere_points[:9]), EncodingOptions("content"))
        assert (values.shape, values.dtype) == ((9, 5), torch.float32)
    assert guard.seen


def test_pickles_and_copies_hold_no_averages(sphere_points):
    content, _ = filled([layer()], EVEN)
    expected = read(content, sphere_points)
    assert len(pickle.dumps(content)) < 12_000  # 64 · 128 bytes, and what they mean
    for again in (pickle.loads(pickle.dumps(content)), copy.deepcopy(content)):
        np.testing.assert_array_equal(read(again, sphere_points), expected)


def test_many_threads_may_be_the_first(sphere_points):
    content, _ = filled([layer()], EVEN)
    expected = read(copy.deepcopy(content), sphere_points)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(read(content, sphere_points)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for one in found:
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a.b"}, r"name must be text without dots, got 'a\.b'"),
        ({"name": ""}, "name must be text"),
        ({"name": 7}, "name must be text"),
        ({"unit": None}, "unit of the layer 'rain' must be text, got None"),
        ({"height": 0}, "must be a whole number of rows, at least 2, got 0"),
        ({"height": 64.0}, r"at least 2, got 64\.0"),
        ({"height": True}, "at least 2, got True"),
        ({"logarithm": "yes"}, "must be true or false, got 'yes'"),
        ({"means_km": [], "deviations_km": []}, "at least one size, and each size only once"),
        ({"means_km": [313.0, 313.0]}, "each size only once"),
        ({"means_km": [313.0, 320.0]}, "each size only once"),  # boxes of one and the same size
        ({"means_km": [313.0], "deviations_km": [320.0]}, "each size only once"),
        ({"means_km": [400.0]}, "be joined to boxes of 400 km"),
        ({"means_km": [0.0]}, r"boxes of 0\.0 km, expected a number between"),
        ({"means_km": [float("nan")]}, "boxes of nan km"),
        ({"means_km": [float("inf")]}, "boxes of inf km"),
        ({"means_km": ["40"]}, "boxes of '40' km"),
        ({"means_km": [20_015.1]}, "be joined to boxes of 20015.1 km"),  # one box from pole to pole
        ({"height": 66, "means_km": [1213.0], "deviations_km": []}, "half of its height 66"),
    ],
)
def test_layers_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        ContentLayers([layer(**change)])


@pytest.mark.parametrize(
    ("layers", "contrasts", "message"),
    [
        ([], {}, "layers must not be empty"),
        ([layer("a"), layer("a")], {}, r"these repeat: \['a'\]"),
        ([layer("a"), layer("b")], {"a": ["a", "b"]}, r"these repeat: \['a'\]"),
        ([layer("a")], {"c": ["a", "x"]}, "'c' compares 'a' and 'x', which must be layers"),
        ([layer("a")], {"c": ["x", "a"]}, "'c' compares 'x' and 'a'"),
        ([layer("a"), layer("b", means_km=[313.0])], {"c": ["a", "b"]}, "over the same boxes"),
        ([layer("a")], {"c": ["a"]}, "not enough values"),
    ],
)
def test_layers_that_do_not_go_together(layers, contrasts, message):
    with pytest.raises(ValueError, match=message):
        ContentLayers(layers, contrasts)


def test_pixels_and_values_that_cannot_be():
    codes = torch.zeros(HEIGHT, 2 * HEIGHT, dtype=torch.uint8)
    content = ContentLayers([layer(logarithm=True)])
    with pytest.raises(ValueError, match=r"'rain' must have shape \(64, 128\), got \(64, 1\)"):
        content.fill("rain", codes[:, :1], torch.zeros(256))
    with pytest.raises(ValueError, match="negative values, which have no logarithm"):
        content.fill("rain", codes, torch.linspace(-1, 1, 256))
    for bad in (float("nan"), float("inf"), 1e20):
        with pytest.raises(ValueError, match="missing, infinite or beyond"):
            content.fill("rain", codes, torch.full((256,), bad))


def test_no_other_network_has_a_layer_of_content():
    content, _ = filled([layer()], EVEN)
    with pytest.raises(ValueError, match="only a ContentNetwork has them"):
        LocationEncoder(3, 4, 4).output_dim("content")
    with pytest.raises(ValueError, match='the only layer is "content"'):
        ContentNetwork(content).output_dim("hidden")


def test_what_inference_prepared_serves_training():
    """Row numbers and tables are made at the first read, and gradients by places need them."""
    content, _ = filled([layer("a"), layer("b", logarithm=True)], EVEN, {"a_or_b": ["a", "b"]})
    points = torch.tensor([[13.4, 52.5], [-74.0, 40.7]], dtype=torch.float64)
    with torch.inference_mode():
        expected = content(points)
    points.requires_grad_()
    found = content(points)
    found.sum().backward()
    np.testing.assert_array_equal(found.detach(), expected)
    assert (points.grad != 0).all()
