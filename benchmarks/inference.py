"""How fast coordinates are encoded: ratios measured in one run.

    pip install --no-deps rshf==0.2.2   # carries the original's harmonics; optional
    python benchmarks/inference.py
    python benchmarks/inference.py --scaling docs/benchmarks/scaling.png

Prints, for L = 40, hidden 512, output 256, float32, 2 threads:
- our time over that of the network's three matrix products alone, same batch size (the floor),
  for 1,000,000 random points, a 0.25° global grid, L = 10, one point and a thousand;
- the original's time (float64 harmonics and network, rshf's copy) over ours;
- a pointwise three-term recurrence in torch with the same network, the peers' algorithm, over ours;
- 10 million rows of 50,000 places over those places alone, and two threads over one;
- GeoCLIP over its matrix products (random weights take the same time), and the original's
  GPS2Vec steps, point by point, over ours;
- encoding the 3,076 stations from a cold start over `import torch` plus `import sklearn`.

With --scaling, the time a point from 10,000 to 10,000,000 points, as a table and a plot instead.
"""

import argparse
import importlib.util
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import types
from pathlib import Path

import h5py
import numpy as np
import torch
import utm

from skgeo_embed import GPS2VecEncoder, SatCLIPEncoder
from skgeo_embed.models.third_party.geoclip import geoclip_network
from skgeo_embed.models.third_party.gps2vec import read_gps2vec_zone, run_zone
from skgeo_embed.nn.inference.engine import InferenceEngine
from skgeo_embed.nn.inference.options import EncodingOptions
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.places.utm import _cell_centres

L, HIDDEN, OUT = 40, 512, 256
BATCH = 2048  # what SatCLIPEncoder takes on a CPU


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


def dense_products(n_points, batch_size=BATCH, size=L):
    """The three matrix products of the network and nothing else."""
    shapes = [(size * size, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, OUT)]
    weights = [torch.randn(shape) for shape in shapes]
    features = torch.randn(min(batch_size, n_points), size * size)

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


def pointwise_recurrence(module, batch_size=BATCH):
    """The peers' algorithm: Legendre functions order by order, harmonics, three dense layers."""
    layers = [*module.nnet.layers, module.nnet.last_layer]
    weights = [(layer.weight * layer.w0, layer.bias * layer.w0) for layer in layers]

    def harmonics(points):
        phi, theta = torch.deg2rad(points + torch.tensor([180.0, 90.0])).unbind(1)
        x, s = torch.cos(theta), torch.sin(theta)
        columns = [None] * L**2
        sectoral = torch.full_like(x, math.sqrt(1 / (4 * math.pi)))
        for m in range(L):
            if m:
                sectoral = sectoral * s * math.sqrt((2 * m + 1) / (2 * m))
            before, current = torch.zeros_like(x), sectoral
            waves = (
                (math.sqrt(2) * torch.cos(m * phi), math.sqrt(2) * torch.sin(m * phi))
                if m
                else (math.pi, None)
            )
            for degree in range(m, L):
                if degree > m:
                    scale = (2 * degree + 1) / (degree**2 - m**2)
                    rise = math.sqrt(scale * (2 * degree - 1))
                    fall = 0.0
                    if degree > m + 1:
                        fall = math.sqrt(scale * ((degree - 1) ** 2 - m**2) / (2 * degree - 3))
                    before, current = current, rise * x * current - fall * before
                columns[degree * degree + degree + m] = current * waves[0]
                if m:
                    columns[degree * degree + degree - m] = current * waves[1]
        return torch.stack(columns, dim=1)

    def run(points):
        with torch.inference_mode():
            outputs = []
            for start in range(0, len(points), batch_size):
                x = harmonics(torch.as_tensor(points[start : start + batch_size])).float()
                for weight, bias in weights[:-1]:
                    x = torch.sin(torch.nn.functional.linear(x, weight, bias))
                outputs.append(torch.nn.functional.linear(x, *weights[-1]))
            return torch.cat(outputs)

    return run


def scaling(encoder, file):
    """Time a point for 10⁴ ... 10⁷ points, ours and the floor's; ten million give 10 GB."""
    import matplotlib.pyplot as plt

    floor = dense_products(20_000)
    seconds(floor)
    floor = statistics.median(seconds(floor) for _ in range(5)) / 20_000 * 1e6
    counts = [10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000]
    ours = []
    for count in counts:
        points = random_points(count)
        repeats = 3 if count <= 100_000 else 1
        encoder.transform(points[:30_000])
        ours.append(
            statistics.median(
                seconds(lambda p=points: encoder.transform(p)) for _ in range(repeats)
            )
            / count
            * 1e6
        )
        print(
            f"{count:>10,} points: {ours[-1]:.2f} µs a point, {ours[-1] / floor:.2f} of the floor"
        )
    _, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    axis.plot(counts, ours, "o-", color="#0072B2", label="SatCLIPEncoder.transform")
    axis.axhline(floor, color="#D55E00", ls="--", label="three matrix products (the floor)")
    axis.set(xscale="log", ylim=(0, None), xlabel="points", ylabel="time a point (µs)")
    axis.set_title(f"L = {L}, hidden {HIDDEN}, output {OUT}, float32, 2 threads", loc="left")
    axis.legend(frameon=False, loc="lower left")
    axis.spines[["top", "right"]].set_visible(False)
    plt.savefig(file, dpi=150)


def repeats_ratio(encoder, n_rows):
    """Ten million rows of 50,000 places over the places alone and over filling the memory."""
    places = random_points(50_000)
    rows = np.random.RandomState(0).randint(0, len(places), n_rows)
    encoder.transform(places)
    alone = statistics.median(seconds(lambda: encoder.transform(places)) for _ in range(3))
    points = places[rows]

    def fill():
        out = torch.from_numpy(np.empty((len(points), OUT), dtype=np.float32))
        table = torch.zeros(len(places), OUT)
        for start in range(0, len(rows), 8192):
            part = rows[start : start + 8192]
            out[start : start + 8192] = table.index_select(0, torch.from_numpy(part))

    fill()  # so that neither is the first to touch the machine's memory
    whole = seconds(lambda: encoder.transform(points))
    return whole, alone, seconds(fill)


def threads_ratio(encoder, points):
    def together():
        threads = [threading.Thread(target=encoder.transform, args=(points,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def in_turn():
        encoder.transform(points), encoder.transform(points)

    return paired_ratio(together, in_turn, 3)


def cold_start(repeats):
    encode = (
        "from skgeo_embed import SatCLIPEncoder; "
        "from skgeo_embed.datasets import load_air_temperature; "
        "SatCLIPEncoder().fit_transform(load_air_temperature(return_X_y=True)[0])"
    )

    def run(code):
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    return paired_ratio(run(encode), run("import torch, sklearn"), repeats)


def import_time(repeats):
    def run(code):
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    empty = statistics.median(seconds(run("pass")) for _ in range(repeats))
    ours = statistics.median(seconds(run("import skgeo_embed")) for _ in range(repeats)) - empty
    torch_alone = statistics.median(seconds(run("import torch")) for _ in range(repeats)) - empty
    return ours / torch_alone, ours, torch_alone


def geoclip_ratio(points, repeats):
    """GeoCLIP's time over that of its capsules' matrix products."""
    frequencies = [torch.randn(256, 2) * sigma for sigma in (1, 16, 256)]
    network = geoclip_network(frequencies, hidden_dim=1024, embed_dim=512)
    engine = InferenceEngine(network)
    shapes = [(512, 1024), (1024, 1024), (1024, 1024), (1024, 512)]
    weights = [torch.randn(shape) for shape in shapes]
    batch_size = BATCH
    features = torch.randn(batch_size, 512)

    def products():
        with torch.inference_mode():
            for start in range(0, len(points), batch_size):
                for _ in frequencies:
                    x = features[: min(batch_size, len(points) - start)]
                    for weight in weights:
                        x = x @ weight

    def encode():
        for _ in engine.encode(points, EncodingOptions(batch_size=batch_size)):
            pass

    return paired_ratio(encode, products, repeats)


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
                layers = read_gps2vec_zone(path, {"object": 1000, "scene": 365})
                run_zone(grid[None], [(kernel.float(), bias.float()) for kernel, bias in layers])

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


def show(what, ratio, ours, other):
    print(f"{what}: {ratio:.2f}  ({ours:.4g} s, {other:.4g} s)", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scaling", help="where to draw the time a point, instead of the rest")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    module = LocationEncoder(L, OUT, HIDDEN)
    encoder = SatCLIPEncoder(module).fit()
    if arguments.scaling:
        scaling(encoder, arguments.scaling)
        return
    points = random_points(arguments.points)
    floor = dense_products(len(points))
    measured = paired_ratio(lambda: encoder.transform(points), floor, arguments.repeats)
    show(f"{len(points):,} points / floor", *measured)

    few = points[: len(points) // 20]
    original = original_network(encoder._encoder.engine.module)
    if original is None:
        print("original: rshf is not installed")
    else:
        batches = [few[i : i + 5000] for i in range(0, len(few), 5000)]
        measured = paired_ratio(
            lambda: [original(batch) for batch in batches], lambda: encoder.transform(few), 2
        )
        show(f"original / ours, {len(few):,} points", *measured)
    peer = pointwise_recurrence(module)
    np.testing.assert_allclose(peer(few[:500]), encoder.transform(few[:500]), atol=1e-4)
    many = points[:100_000]
    measured = paired_ratio(lambda: peer(many), lambda: encoder.transform(many), 3)
    show(f"pointwise recurrence / ours, {len(many):,} points", *measured)

    rows = 5 if len(points) >= 100_000 else 50
    lon, lat = np.arange(-180, 180, 0.25), np.linspace(-90, 90, 721)[::rows]  # a fifth of the rows
    floor = dense_products(len(lon) * len(lat))
    measured = paired_ratio(lambda: encoder.transform_grid(lon, lat), floor, 3)
    show(f"0.25° grid, {len(lon) * len(lat):,} points / floor", *measured)

    small = SatCLIPEncoder(LocationEncoder(10, OUT, HIDDEN)).fit()
    floor = dense_products(len(many), size=10)
    measured = paired_ratio(lambda: small.transform(many), floor, 5)
    show(f"L = 10, {len(many):,} points / floor", *measured)
    for count in (1, 1000):
        measured = paired_ratio(
            lambda n=count: encoder.transform(points[:n]), dense_products(count), 51
        )
        show(f"{count:,} point(s) / floor", *measured)

    show("two threads / in turn", *threads_ratio(encoder, many))
    n_rows = 10 * len(points)
    whole, alone, fill = repeats_ratio(encoder, n_rows)
    print(
        f"{n_rows:,} rows of 50,000 places: {whole:.1f} s; the places alone {alone:.2f} s, filling "
        f"their rows {fill:.1f} s: {whole / (alone + fill):.2f} of the sum"
    )

    few = points[: len(points) // 50]
    show(f"GeoCLIP, {len(few):,} points / products", *geoclip_ratio(few, 3))
    ratio, theirs, ours = gps2vec_ratio(max(1000, len(points) // 50))
    print(f"GPS2Vec point by point / ours, a point: {ratio:.0f}  ({theirs:.0f} µs, {ours:.0f} µs)")
    if arguments.repeats > 1:  # many new processes
        show("3,076 stations, cold / import torch, sklearn", *cold_start(arguments.repeats))
        ratio, ours, other = import_time(arguments.repeats)
        print(f"import skgeo_embed / import torch: {ratio:.3f}  ({ours:.3f} s, {other:.2f} s)")


if __name__ == "__main__":
    main()
