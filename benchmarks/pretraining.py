"""What pretraining costs: ratios measured in one run.

    python benchmarks/pretraining.py
    python benchmarks/pretraining.py --device cuda   # a card's own loop and products instead

Prints
(a) steps a second of `fit` over those of a bare PyTorch loop with the same modules and data;
(b) an epoch of 100,000 cached 512-d features (L = 40, hidden 512, batch 1,024) over its forward
    and backward matrix products alone, and what 500 epochs take;
(c) an epoch through a frozen ResNet18 at 256 x 256 pixels over one on its cached features;
(d) peak memory of training on a 20 GB memory-mapped array, above the imports.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lightning.pytorch as lightning
import numpy as np
import torch

from skgeo_embed import Recipe, SatCLIPPretrainer
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.objectives.loss import contrastive_loss
from skgeo_embed.nn.two_tower import SatCLIP
from skgeo_embed.nn.vision.frozen import freeze_all_but_last
from skgeo_embed.nn.vision.resnet import resnet18
from skgeo_embed.nn.vision.small_cnn import SmallConvNet
from skgeo_embed.pretraining.data.arrays import ArrayPairs
from skgeo_embed.pretraining.data.features import FeaturePairs
from skgeo_embed.pretraining.data.views import Views, jitter_coordinates, unchanged
from skgeo_embed.pretraining.run.checkpoints import Checkpoints
from skgeo_embed.pretraining.run.optimizer import split_decay
from skgeo_embed.pretraining.run.options import checked_options
from skgeo_embed.pretraining.run.source import Source
from skgeo_embed.pretraining.run.task import ContrastiveTask
from skgeo_embed.pretraining.run.training import Schedule, train

EPOCHS = 500


class Clock(lightning.Callback):
    """Seconds of each step, from the end of the one before; the first is left out."""

    def __init__(self):
        self.seconds = []
        self.before = None

    def __deepcopy__(self, memo):
        return self  # a run's copy shares what is measured

    def on_train_batch_end(self, *_):
        now = time.perf_counter()
        if self.before is not None:
            self.seconds.append(now - self.before)
        self.before = now


def land_points(n, seed=0):
    rng = np.random.RandomState(seed)
    return np.column_stack(
        [rng.uniform(-180, 180, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n)))]
    )


def waited(device):
    """Wait until a card is done with what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def trainer_options(device, **others):
    return {"accelerator": "gpu" if device == "cuda" else "cpu", **others}


def bare_loop(images, lonlat, batch_size, steps, device):
    """The same modules and the same work without Lightning, sampler or checks."""
    torch.manual_seed(0)
    model = SatCLIP(SmallConvNet(images.shape[1]), LocationEncoder(10)).train().to(device)
    views, pairs = Views(model.visual), ArrayPairs(images, lonlat)
    decayed, plain = split_decay(model)
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": plain, "weight_decay": 0.0}], lr=1e-4, fused=True
    )
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        rows = torch.randperm(len(pairs))[:batch_size].numpy()
        batch = {key: value.to(device) for key, value in pairs.__getitems__(rows).items()}
        image = views(batch["image"], random=True)
        loss = contrastive_loss(
            *model(image, jitter_coordinates(batch["point"], 0.01)), model.logit_scale
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        waited(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def fit_against_bare_loop(device, n_pairs, repeats):
    lonlat = land_points(n_pairs)
    images = np.random.RandomState(0).randint(0, 255, (n_pairs, 3, 32, 32), dtype=np.uint8)
    ours, bare = [], []
    for _ in range(repeats):
        bare.append(bare_loop(images, lonlat, 256, 24, device))
        clock = Clock()
        SatCLIPPretrainer(
            "satclip", max_epochs=1, batch_size=256, val_fraction=0, random_state=0, verbose=0,
            trainer_options=trainer_options(device, callbacks=[clock]),
        ).fit(images, lonlat)  # fmt: skip
        ours.append(statistics.median(clock.seconds))
    ratio = min(bare) / min(ours)
    print(
        f"(a) steps a second, fit / bare loop: {ratio:.2f} "
        f"({1 / min(ours):.1f} against {1 / min(bare):.1f}; goal 0.9)"
    )


def products_of_a_step(batch, shapes, device, repeats=15):
    """Seconds of the matrix products of a step, forward and backward."""
    jobs = []
    for dim_in, dim_out, input_gradient in shapes:
        x, w, g = (
            torch.randn(*size, device=device)
            for size in ((batch, dim_in), (dim_out, dim_in), (batch, dim_out))
        )
        jobs.append((x, w, g, input_gradient))
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        for x, w, g, input_gradient in jobs:
            x @ w.T
            g.T @ x
            if input_gradient:
                g @ w
        waited(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def cached_epoch(device, n_pairs, batch=1024, width=512, embed=256):
    features = np.random.RandomState(0).standard_normal((n_pairs, 1, width)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        np.save(path, features)
        pairs = FeaturePairs(np.load(path, mmap_mode="r"), land_points(n_pairs))
        torch.manual_seed(0)
        model = SatCLIP(torch.nn.Linear(width, embed), LocationEncoder(40, hidden_dim=512))
        task = ContrastiveTask(model, Recipe(), unchanged, seed=0, batch_size=batch)
        clock = Clock()
        options = checked_options(trainer_options(device, callbacks=[clock]), None)
        rows = list(range(n_pairs)), []
        train(
            task, model, Source(pairs, unchanged), rows, Schedule(1, batch, 0, "last", 0),
            Checkpoints(), options,
        )  # fmt: skip
    shapes = [
        (1600, 512, False), (512, 512, True), (512, embed, True), (width, embed, False),
        (embed, batch, True),
    ]  # fmt: skip
    floor = products_of_a_step(batch, shapes, device)
    step = statistics.mean(clock.seconds)
    epoch = step * (n_pairs / batch)
    print(
        f"(b) cached epoch / its matrix products: {step / floor:.2f} (goal 1.4); an epoch takes "
        f"{epoch:.1f} s, {EPOCHS} epochs {EPOCHS * epoch / 3600:.1f} h "
        f"({step * 1e3:.2f} and {floor * 1e3:.2f} ms a step)"
    )
    return epoch / n_pairs


def uncached_epoch(cached_second_a_pair, device, size):
    n, batch = (96, 32) if device == "cpu" else (1024, 128)
    images = np.random.RandomState(0).randint(0, 10000, (n, 13, size, size), dtype=np.uint16)
    clock = Clock()
    torch.manual_seed(0)
    SatCLIPPretrainer(
        Recipe(legendre_polys=40), vision_tower=freeze_all_but_last(resnet18(13)),
        feature_cache=None, max_epochs=2, batch_size=batch, val_fraction=0, random_state=0,
        verbose=0, trainer_options=trainer_options(device, callbacks=[clock]),
    ).fit(images, land_points(n))  # fmt: skip
    pair = statistics.median(clock.seconds) / batch
    print(
        f"(c) uncached / cached epoch, frozen ResNet18 at {size} x {size}: "
        f"{pair / cached_second_a_pair:.0f} (goal 100); {1 / pair:.0f} images a second, "
        f"an epoch of 100,000 takes {1e5 * pair / 3600:.1f} h"
    )


MEMORY = """
import sys
import numpy as np, torch, lightning.pytorch as lightning
from skgeo_embed import SatCLIPPretrainer
from skgeo_embed.pretraining.data import features, pairs
from skgeo_embed.pretraining.run import towers, training

class Stop(lightning.Callback):
    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step >= 40

def peak():  # VmHWM, since a new process inherits ru_maxrss from the one that started it
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20

before = peak()
images = np.load(sys.argv[1], mmap_mode="r")
rng = np.random.RandomState(0)
lonlat = np.column_stack([rng.uniform(-180, 180, len(images)), rng.uniform(-60, 80, len(images))])
SatCLIPPretrainer("satclip", max_epochs=1, batch_size=64, val_fraction=0, random_state=0, verbose=0,
                  trainer_options={"callbacks": [Stop()]}).fit(images, lonlat)
print(f"{peak() - before:.2f}")
"""


def memory_of_a_large_array():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        shape = (round(20e9 / (12 * 256 * 256 * 2)), 12, 256, 256)
        # a sparse file: it takes no disk, and is read as any other
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=shape)
        size = path.stat().st_size
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, path], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    print(
        f"(d) peak memory of training on a {size / 1e9:.0f} GB memory map, 40 batches of 64: "
        f"{done.stdout.strip()} GiB (goal 2)"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--toy", action="store_true", help="see whether it runs")
    arguments = parser.parse_args()
    device = arguments.device
    torch.set_num_threads(2)
    toy = arguments.toy
    fit_against_bare_loop(device, n_pairs=2048 if toy else 8192, repeats=1 if toy else 3)
    second_a_pair = cached_epoch(device, n_pairs=2048 if toy else 100_000)
    uncached_epoch(second_a_pair, device, size=64 if toy else 256)
    if device == "cpu" and not toy:
        memory_of_a_large_array()


if __name__ == "__main__":
    main()
