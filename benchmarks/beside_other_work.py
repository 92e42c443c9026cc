"""How long encoding and fitting take while the machine does something else.

    python benchmarks/beside_other_work.py

Beside none, one and two processes that only compute: encoding of 80,000 places by a network of
L = 40 and by the default, and `spatial_pipeline().fit` on 1,000 rows, as they come, with one thread
and with all threads whatever they cost. Medians of rounds in which the three take turns.
"""

import argparse
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from unittest import mock

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from skgeo_embed import SatCLIPEncoder, spatial_pipeline
from skgeo_embed.nn.inference import thread_choice
from skgeo_embed.nn.location import LocationEncoder

BUSY = "while True: sum(range(100_000))"


@contextmanager
def busy_processes(count):
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@contextmanager
def all_threads():
    always = mock.patch.object(thread_choice.BatchCosts, "choose", return_value=False)
    with always, mock.patch.object(thread_choice, "_threads_pay", return_value=True):
        yield


WAYS = {"as it comes": nullcontext, "one thread": lambda: threadpool_limits(1),
        "all threads": all_threads}  # fmt: skip


def tasks(n_points):
    rng = np.random.RandomState(0)
    lonlat = np.column_stack([rng.uniform(-180, 180, n_points), rng.uniform(-60, 80, n_points)])
    torch.manual_seed(0)
    for name, model in (("L = 40", LocationEncoder(legendre_polys=40)), ("default", "earth-l20")):
        encoder = SatCLIPEncoder(model).fit()
        encoder.transform(lonlat)
        yield f"encoding, {name}, µs a point", 1e6 / n_points, lambda e=encoder: e.transform(lonlat)
    table = pd.DataFrame(lonlat[:1000], columns=["lon", "lat"])
    y = np.sin(table["lon"] / 20) + table["lat"] / 50 + 0.1 * rng.randn(len(table))
    yield "spatial_pipeline().fit, 1,000 rows, s", 1.0, lambda: spatial_pipeline().fit(table, y)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=80_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--busy", nargs="+", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    for name, unit, work in tasks(arguments.points):
        work()
        for busy in arguments.busy:
            seconds = {way: [] for way in arguments.ways}
            with busy_processes(busy):
                for _ in range(arguments.rounds):
                    for way in arguments.ways:
                        with WAYS[way]():
                            started = time.perf_counter()
                            work()
                            seconds[way].append(time.perf_counter() - started)
            found = {way: np.median(each) * unit for way, each in seconds.items()}
            listed = ", ".join(f"{way} {value:.3g}" for way, value in found.items())
            ratio = found.get("as it comes", np.nan) / found.get("one thread", np.nan)
            print(f"{name}, beside {busy} busy: {listed}; as it comes / one thread {ratio:.2f}")


if __name__ == "__main__":
    main()
