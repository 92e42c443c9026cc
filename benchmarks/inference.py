"""How fast coordinates are encoded: ratios measured in one run.

    pip install --no-deps rshf==0.2.2   # carries the original's harmonics; optional
    python benchmarks/inference.py

Prints, for L = 40, hidden 512, output 256, float32, 2 threads:
- our time over that of the network's three matrix products alone, same batch size (the floor);
- the original's time (float64 harmonics and network, rshf's copy) over ours;
- a 0.25° global grid by `transform_grid` over the floor;
- GeoCLIP over its matrix products (random weights take the same time), and the original's
  GPS2Vec steps, point by point, over ours;
- encoding the 3,076 stations from a cold start over `import torch` plus `import sklearn`.
"""

import argparse
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import h5py
import numpy as np
import torch
import utm

from skgeo_embed import GeoCLIPEncoder, GPS2VecEncoder, SatCLIPEncoder
from skgeo_embed._baselines import run_zone
from skgeo_embed._utm_grid import _cell_centres
from skgeo_embed.checkpoints.baselines import read_gps2vec_zone
from skgeo_embed.nn.baselines import geoclip_network
from skgeo_embed.nn.inference import InferenceEngine
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


def geoclip_ratio(points, repeats):
    """GeoCLIP's time over that of its capsules' matrix products."""
    frequencies = [torch.randn(256, 2) * sigma for sigma in (1, 16, 256)]
    network = geoclip_network(frequencies, hidden_dim=1024, embed_dim=512)
    engine = InferenceEngine(network)
    shapes = [(512, 1024), (1024, 1024), (1024, 1024), (1024, 512)]
    weights = [torch.randn(shape) for shape in shapes]
    batch_size = GeoCLIPEncoder().batch_size
    features = torch.randn(batch_size, 512)

    def products():
        with torch.inference_mode():
            for start in range(0, len(points), batch_size):
                for _ in frequencies:
                    x = features[: min(batch_size, len(points) - start)]
                    for weight in weights:
                        x = x @ weight

    return paired_ratio(lambda: engine.encode(points, batch_size=batch_size), products, repeats)


def gps2vec_ratio(n_points):
    """The original's steps point by point over GPS2VecEncoder, in one zone with random weights.

    For every point the original samples the zone's edges, fills the distance grid cell by cell,
    opens the zone's file and runs one row through it.
    """
    rng = np.random.RandomState(0)
    points = np.column_stack([rng.uniform(102, 108, n_points), rng.uniform(0, 8, n_points)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model_48 N.h5"
        write_zone(path, rng)

        def one_by_one():
            for lon, lat in points[:20]:
                easting, northing, _, _ = utm.from_latlon(lat, lon)
                _cell_centres.cache_clear()
                columns, rows = _cell_centres(48, "N")
                grid = np.zeros((20, 20))
                for i, x in enumerate(columns):
                    for j, y in enumerate(rows):
                        distance = np.linalg.norm(np.asarray([easting - x, northing - y]))
                        grid[i, j] = np.exp(-distance / 20_000)
                run_zone(grid[None], read_gps2vec_zone(path, ["object", "scene"]), "cpu", "float32")

        def vectorised():
            GPS2VecEncoder(folder).fit().transform(points)

        vectorised(), one_by_one()
        ours = statistics.median(seconds(vectorised) for _ in range(3)) / n_points
        theirs = statistics.median(seconds(one_by_one) for _ in range(3)) / 20
    return theirs / ours, theirs * 1e6, ours * 1e6


def write_zone(path, rng):
    sizes = {"layer1": (400, 512), "layer2": (512, 1024), "layer3": (1024, 2048)}
    sizes |= {"object": (2048, 1000), "scene": (2048, 365)}
    with h5py.File(path, "w") as file:
        for name, shape in sizes.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0", f"{name}/bias:0"]
            kernel = rng.standard_normal(shape).astype(np.float32) / shape[0] ** 0.5
            group.create_dataset(f"{name}/kernel:0", data=kernel)
            group.create_dataset(f"{name}/bias:0", data=np.zeros(shape[1], dtype=np.float32))


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

    few = points[:20_000]
    ratio, ours, other = geoclip_ratio(few, 3)
    print(f"GeoCLIP, {len(few):,} points / products: {ratio:.2f}  ({ours:.2f} s, {other:.2f} s)")
    ratio, theirs, ours = gps2vec_ratio(20_000)
    print(f"GPS2Vec point by point / ours, a point: {ratio:.0f}  ({theirs:.0f} µs, {ours:.0f} µs)")

    ratio, ours, other = cold_start()
    print(
        f"3,076 stations, cold / import torch, sklearn: {ratio:.2f}  ({ours:.2f} s, {other:.2f} s)"
    )
    ratio, ours, other = import_time()
    print(f"import skgeo_embed / import torch: {ratio:.3f}  ({ours:.3f} s, {other:.2f} s)")


if __name__ == "__main__":
    main()
