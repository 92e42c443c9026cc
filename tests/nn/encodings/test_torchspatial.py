"""TorchSpatial's positional encodings follow its formulas, written out here for one place."""

import math

import numpy as np
import pytest
import torch

from skgeo_embed.nn.encodings.building import make_encoding

SMALLEST, LARGEST, F = 0.02, 1.5, 5
FREQUENCIES = [1 / (SMALLEST * (LARGEST / SMALLEST) ** (s / (F - 1))) for s in range(F)]
PLACES = [(7.83, 36.83), (-122.4, -37.8), (179.99, 89.0), (0.0, 0.0), (-180.0, 12.5)]
sin, cos = math.sin, math.cos


def theory(lon, lat):
    for f in FREQUENCIES:
        for turn in (0, 120, 240):
            along = lon * cos(math.radians(turn)) + lat * sin(math.radians(turn))
            yield from (sin(along * f), cos(along * f))


def in_radians(formula):
    def columns(lon, lat):
        a, b = math.radians(lon), math.radians(lat)
        for f in FREQUENCIES:
            yield from formula(a, b, f)

    return columns


def sphere_c(a, b, f):
    return sin(b * f), cos(b * f) * cos(a * f), cos(b * f) * sin(a * f)


def single(a, b, f):
    return sin(b * f), cos(b * f), sin(a * f), cos(a * f)


def mixed(a, b, f):
    return cos(b * f) * cos(a), cos(b) * cos(a * f), cos(b * f) * sin(a), cos(b) * sin(a * f)


def dfs(lon, lat):
    a, b = math.radians(lon), math.radians(lat)
    of_lon = [wave(a * f) for wave in (sin, cos) for f in FREQUENCIES]
    of_lat = [wave(b * f) for wave in (sin, cos) for f in FREQUENCIES]
    yield from (x * y for x in of_lon for y in of_lat)
    yield from in_radians(single)(lon, lat)


def nerf(lon, lat):
    a, b = math.radians(lon), math.radians(lat)
    vector = cos(b) * cos(a), cos(b) * sin(a), sin(b)
    yield from (wave(2**k * math.pi * x) for wave in (sin, cos) for x in vector for k in range(F))


def wrap_ffn(lon, lat):
    u = math.pi * lon / 180, math.pi * lat / 90
    return sin(u[0]), sin(u[1]), cos(u[0]), cos(u[1])


FORMULAS = {
    "space2vec-theory": theory,
    "sphere2vec-spherec": in_radians(sphere_c),
    "sphere2vec-spherec+": in_radians(lambda *x: (*single(*x), *sphere_c(*x)[1:])),
    "sphere2vec-spherem": in_radians(lambda a, b, f: (sin(b * f), *mixed(a, b, f))),
    "sphere2vec-spherem+": in_radians(lambda *x: (*single(*x), *mixed(*x))),
    "sphere2vec-dfs": dfs,
    "nerf": nerf,
    "wrap_ffn": wrap_ffn,
}


@pytest.mark.parametrize("kind", FORMULAS)
def test_columns_are_those_of_the_formula(kind):
    encoding = make_encoding(kind, n_frequencies=F, min_radius=SMALLEST, max_radius=LARGEST)
    found = encoding(torch.tensor(PLACES, dtype=torch.float64)).numpy()
    expected = [list(FORMULAS[kind](*place)) for place in PLACES]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    names = encoding.column_names()
    assert len(set(names)) == len(names) == encoding.embedding_dim == found.shape[1]


def test_random_waves_are_the_same_every_time_and_those_that_are_given():
    places = torch.tensor(PLACES, dtype=torch.float64)
    first, second = (make_encoding("rff", n_frequencies=F)(places) for _ in range(2))
    assert torch.equal(first, second)
    assert first.square().sum(dim=1).mean() == pytest.approx(1, rel=0.4)  # each about 1 / F
    from skgeo_embed.nn.encodings.torchspatial import RandomFourier

    directions, shifts = torch.tensor([[2.0, -1.0], [0.5, 3.0]]), torch.tensor([0.1, 0.2])
    found = RandomFourier(2, directions, shifts)(places).numpy()
    expected = [
        [cos(lon / 180 * d[0] + lat / 90 * d[1] + b) for d, b in (((2, 0.5), 0.1), ((-1, 3), 0.2))]
        for lon, lat in PLACES
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def test_columns_have_the_name_of_what_they_are():
    encoding = make_encoding("sphere2vec-dfs", n_frequencies=2, min_radius=0.1, max_radius=1)
    names = encoding.column_names()
    values = encoding(torch.tensor([[30.0, 60.0]], dtype=torch.float64))[0]
    a, b = math.radians(30), math.radians(60)
    assert values[names.index("sin_lon_f1_cos_lat_f0")] == pytest.approx(sin(a) * cos(10 * b))
    assert values[names.index("cos_lon_f0")] == pytest.approx(cos(10 * a))
