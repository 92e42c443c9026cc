"""Encoding on a card: how exact, how fast, and where a training step's time goes.

    python benchmarks/gpu.py [--device cuda]

Prints
- root mean square deviation from our float64 on the CPU, over the features' own: in float64,
  float32, float32 with tf32 products, and bfloat16 autocast of the plain module;
- points a second of `transform`, of the engine where features stay on the card, of a pointwise
  three-term recurrence in torch with the same network (torchgeo's algorithm) there, and of the
  network's matrix products alone;
- one training step of cached features, profiled: the card's busy time, what it copies, and what
  takes longest.
"""

import argparse
import contextlib
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parent))

from inference import HIDDEN, OUT, L, pointwise_recurrence, random_points

from skgeo_embed import Recipe, SatCLIPEncoder
from skgeo_embed.nn.inference.tiles import Tiler
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.objectives.loss import contrastive_loss
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.pretraining.data.views import jitter_coordinates
from skgeo_embed.pretraining.run.optimizer import split_decay

CARD_BATCH = 65_536  # what SatCLIPEncoder takes on a card
PRECISIONS = ("float64", "float32", "tf32", "bfloat16")


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(function, device, repeats=5):
    """Median time of a call, the card's work included."""
    function()
    times = []
    for _ in range(repeats):
        wait(device)
        started = time.perf_counter()
        function()
        wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


@contextlib.contextmanager
def tf32(allowed):
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def encoders():
    """Name, and a function that makes an encoder with the given parameters."""
    torch.manual_seed(0)
    large = LocationEncoder(L, OUT, HIDDEN)
    yield "`earth-l20`, the default", lambda **p: SatCLIPEncoder(**p)
    yield "`bluemarble-l20`", lambda **p: SatCLIPEncoder("bluemarble-l20", layer="embedding", **p)
    yield f"L = {L}, hidden {HIDDEN}", lambda **p: SatCLIPEncoder(large, **p)


def exactness(device):
    points = random_points(20_000)
    print(f"| root mean square deviation | {' | '.join(PRECISIONS)} |")
    print("| --- | --- | --- | --- | --- |")
    for name, make in encoders():
        truth = make(device="cpu", dtype="float64").fit().transform(points)
        scale = np.sqrt(np.mean(truth**2))
        cells = []
        for precision in PRECISIONS:
            with tf32(precision == "tf32"):
                features = in_precision(make, points, device, precision)
            cells.append(f"{np.sqrt(np.mean((features - truth) ** 2)) / scale:.1e}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def in_precision(make, points, device, precision):
    if precision != "bfloat16":
        dtype = "float64" if precision == "float64" else "float32"
        return make(device=device, dtype=dtype).fit().transform(points)
    encoder = make(device="cpu").fit()
    layer = encoder.encoder_info_["layer"]
    module = encoder._encoder.engine.module.float().to(device)
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
        features = module(torch.from_numpy(points).to(device), layer).float().cpu().numpy()
    module.to("cpu")
    return features


def on_the_card(encoder, points):
    """Encode, and leave the features there."""
    options = encoder._options
    network = encoder._encoder.engine._network(options)
    tiler = Tiler(CARD_BATCH)
    lonlat = torch.from_numpy(points)

    def run():
        with torch.inference_mode():
            for _ in network.encode(lonlat, options, tiler):
                pass

    return run


def products(module, n_points, device):
    matrices = [p.detach().float().to(device) for p in module.nnet.parameters() if p.ndim == 2]
    first = torch.randn(CARD_BATCH, matrices[0].shape[1], device=device)

    def run():
        with torch.inference_mode():
            for start in range(0, n_points, CARD_BATCH):
                x = first[: min(CARD_BATCH, n_points - start)]
                for matrix in matrices:
                    x = x @ matrix.T

    return run


def speed(device, n_points):
    points = random_points(n_points)
    print("| points a second | transform | features stay there | products, float32 | tf32 |")
    print("| --- | --- | --- | --- | --- |")
    for name, make in encoders():
        encoder = make(device=device).fit()
        module = encoder._encoder.engine.module
        floor = products(module, n_points, device)
        cells = [
            n_points / seconds(lambda e=encoder: e.transform(points), device),
            n_points / seconds(on_the_card(encoder, points), device),
            n_points / seconds(floor, device),
        ]
        with tf32(True):
            cells.append(n_points / seconds(floor, device))
        print(f"| {name} | {' | '.join(f'{cell:,.0f}' for cell in cells)} |", flush=True)
    torch.manual_seed(0)
    module = LocationEncoder(L, OUT, HIDDEN).to(device)
    few = points[: n_points // 10]
    with torch.device(device):
        peer = pointwise_recurrence(module, CARD_BATCH)
        lonlat = torch.from_numpy(few)
        theirs = len(few) / seconds(lambda: peer(lonlat.to(device)), device, repeats=2)
    print(
        f"a pointwise recurrence in torch there, L = {L}, batches of {CARD_BATCH:,}: {theirs:,.0f}"
    )
    encoder = SatCLIPEncoder(module.cpu(), device=device).fit()
    lon, lat = np.arange(-180, 180, 0.25), np.linspace(-90, 90, 721)
    grid = len(lon) * len(lat) / seconds(lambda: encoder.transform_grid(lon, lat), device, 3)
    print(f"0.25° grid, L = {L}: {grid:,.0f}")
    one = seconds(lambda: encoder.transform(points[:1]), device, 51)
    print(f"one point: {one * 1e3:.2f} ms")


def profiled_step(device, batch_size=8192, width=512):
    """A step of the published recipe on cached features, as `training_step` does it."""
    torch.manual_seed(0)
    model = SatCLIP(torch.nn.Linear(width, OUT), LocationEncoder(L)).train().to(device)
    decayed, plain = split_decay(model)
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": plain, "weight_decay": 0.0}], lr=1e-4, fused=True
    )
    features = torch.randn(batch_size, width)
    lonlat = torch.from_numpy(random_points(batch_size))
    if device == "cuda":
        features, lonlat = features.pin_memory(), lonlat.pin_memory()
    jitter = Recipe(legendre_polys=L).coord_jitter

    def step():
        image = features.to(device, non_blocking=True)
        point = lonlat.to(device, non_blocking=True)
        loss = contrastive_loss(*model(image, jitter_coordinates(point, jitter)), model.logit_scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    alone = seconds(step, device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as run:
        for _ in range(5):
            step()
        wait(device)
    table = run.key_averages()
    print(f"a step of {batch_size:,} cached pairs, L = {L}: {alone * 1e3:.1f} ms")
    if device == "cuda":
        busy = sum(row.self_device_time_total for row in table) / 5e3
        copied = sum(row.self_device_time_total for row in table if "Memcpy HtoD" in row.key) / 5e3
        print(f"the card is busy {busy:.1f} ms of it, {copied:.2f} ms with copies to it")
        print(table.table(sort_by="self_cuda_time_total", row_limit=12, max_name_column_width=48))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--points", type=int, default=1_000_000)
    arguments = parser.parse_args()
    if arguments.device == "cuda":
        print(torch.cuda.get_device_name(), "torch", torch.__version__)
    exactness(arguments.device)
    speed(arguments.device, arguments.points)
    profiled_step(arguments.device)


if __name__ == "__main__":
    main()
