"""How fast coordinates are encoded: ratios measured in one run.

    pip install --no-deps rshf==0.2.2   # carries the original's harmonics; optional
    python benchmarks/inference.py

Prints, for L = 40, hidden 512, output 256, float32, 2 threads:
- our time over that of the network's three matrix products alone, same batch size (the floor);
- the original's time (float64 harmonics and network, rshf's copy) over ours;
- a 0.25° global grid by `transform_grid` over the floor;
- encoding the 3,076 stations from a cold start over `import torch` plus `import sklearn`.
"""

import argparse
import importlib.util
import statistics
import subprocess
import sys
import time
import types

import numpy as np
import torch

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.nn.location import LocationEncoder

L, HIDDEN, OUT = 40, 512, 256


def seconds(function):
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def paired_ratio(function, reference, repeats):
    """Median of function / reference, each pair measured in turn."""
    function(), reference()
    pairs = [(seconds(function), seconds(reference)) for _ in range(repeats)]
    ratio = statistics.median(ours / other for ours, other in pairs)
    return ratio, *(statistics.median(column) for column in zip(*pairs, strict=True))


def random_points(n):
    rng = np.random.RandomState(0)
    lon, lat = rng.uniform(-180, 180, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n)))
    return np.column_stack([lon, lat])


def dense_products(n_points, batch_size):
    """The three matrix products of the network and nothing else."""
    shapes = [(L * L, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, OUT)]
    weights = [torch.randn(shape) for shape in shapes]
    features = torch.randn(min(batch_size, n_points), L * L)

    def run():
        with torch.inference_mode():
            for start in range(0, n_points, batch_size):
                x = features[: min(batch_size, n_points - start)]
                for weight in weights:
                    x = x @ weight

    return run


def original_network(module):
    """The original's float64 path: generated harmonics, then the network; None without rshf."""
    spec = importlib.util.find_spec("rshf")
    if spec is None or spec.submodule_search_locations is None:
        return None
    folder = f"{spec.submodule_search_locations[0]}/satclip"
    package = types.ModuleType("original")  # rshf itself needs packages that torch 2.13 lacks
    package.__path__ = [folder]
    sys.modules["original"] = package
    harmonics = importlib.import_module("original.spherical_harmonics").SphericalHarmonics(L)
    layers = [*module.nnet.layers, module.nnet.last_layer]
    weights = [(layer.weight.double(), layer.bias.double(), layer.w0) for layer in layers]

    def run(points):
        with torch.inference_mode():
            x = harmonics(torch.from_numpy(points))
            for weight, bias, w0 in weights[:-1]:
                x = torch.sin(w0 * torch.nn.functional.linear(x, weight, bias))
            return torch.nn.functional.linear(x, *weights[-1][:2])

    return run


def cold_start():
    encode = (
        "from skgeo_embed import SatCLIPEncoder; "
        "from skgeo_embed.datasets import load_air_temperature; "
        "SatCLIPEncoder().fit_transform(load_air_temperature(return_X_y=True)[0])"
    )

    def run(code):
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    return paired_ratio(run(encode), run("import torch, sklearn"), repeats=5)


def import_time():
    def run(code):
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    empty = statistics.median(seconds(run("pass")) for _ in range(5))
    ours = statistics.median(seconds(run("import skgeo_embed")) for _ in range(5)) - empty
    torch_alone = statistics.median(seconds(run("import torch")) for _ in range(5)) - empty
    return ours / torch_alone, ours, torch_alone


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    module = LocationEncoder(L, OUT, HIDDEN)
    encoder = SatCLIPEncoder(module).fit()
    points = random_points(arguments.points)
    floor = dense_products(len(points), encoder.batch_size)

    ratio, ours, other = paired_ratio(lambda: encoder.transform(points), floor, arguments.repeats)
    print(f"{len(points):,} points / floor: {ratio:.2f}  ({ours:.2f} s, {other:.2f} s)")

    original = original_network(encoder._encoder.engine.module)
    if original is None:
        print("original: rshf is not installed")
    else:
        batches = [points[i : i + 5000] for i in range(0, len(points), 5000)]
        ratio, theirs, ours = paired_ratio(
            lambda: [original(batch) for batch in batches], lambda: encoder.transform(points), 2
        )
        print(f"original / ours: {ratio:.1f}  ({theirs:.2f} s, {ours:.2f} s)")

    lon, lat = np.arange(-180, 180, 0.25), np.linspace(-90, 90, 721)[::5]  # a fifth of the rows
    floor = dense_products(len(lon) * len(lat), encoder.batch_size)
    ratio, ours, other = paired_ratio(lambda: encoder.transform_grid(lon, lat), floor, 3)
    count = len(lon) * len(lat)
    print(f"0.25° grid, {count:,} points / floor: {ratio:.2f}  ({ours:.2f} s, {other:.2f} s)")

    ratio, ours, other = cold_start()
    print(
        f"3,076 stations, cold / import torch, sklearn: {ratio:.2f}  ({ours:.2f} s, {other:.2f} s)"
    )
    ratio, ours, other = import_time()
    print(f"import skgeo_embed / import torch: {ratio:.3f}  ({ours:.3f} s, {other:.2f} s)")


if __name__ == "__main__":
    main()
