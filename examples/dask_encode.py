"""
Encoding a big table on a cluster
=================================

You learn how to encode a table that is larger than one machine's memory with dask: `transform`
of a dask DataFrame is lazy, keeps its partitions and their index, and each worker loads the
weights once, since what travels to it is the encoder's name. On one machine without dask,
``skgeo-embed encode in.parquet out.parquet`` streams a table of any size.

The cluster here is two processes on this machine; with ``Client("scheduler:8786")`` it is yours.
Works offline, half a minute on 2 CPU cores.
"""

import argparse
import pickle
import tempfile
import time
from pathlib import Path

import dask.dataframe as dd
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster

from skgeo_embed import SatCLIPEncoder


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--figure", default="dask_encode.png")
    arguments = parser.parse_args()
    folder = tempfile.TemporaryDirectory()
    points, features = Path(folder.name) / "points", Path(folder.name) / "features"

    # %%
    # A table of visits: many rows, few places. Each partition is one file.
    rng = np.random.RandomState(0)
    places = np.column_stack([rng.uniform(-180, 180, 5000), rng.uniform(-60, 75, 5000)])
    visits = places[rng.randint(0, len(places), arguments.rows)]
    frame = pd.DataFrame(visits, columns=["lon", "lat"])
    dd.from_pandas(frame, npartitions=8).to_parquet(points)

    # %%
    # The encoder is a thousand bytes when it travels. Two processes with one thread each: the
    # number of workers is what grows, on one machine and on many.
    table = dd.read_parquet(points)
    encoder = SatCLIPEncoder("bluemarble-l10", layer="embedding").fit(table[["lon", "lat"]])
    print(f"the encoder pickled: {len(pickle.dumps(encoder)):,} bytes")
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        encoded = encoder.transform(table[["lon", "lat"]])  # nothing is computed yet
        started = time.perf_counter()
        dd.concat([table, encoded], axis=1).to_parquet(features)
        seconds = time.perf_counter() - started
        workers = len(client.scheduler_info()["workers"])

    # %%
    # What a table of yours would take: rows per second and core, of this run.
    rate = arguments.rows / seconds / workers
    print(f"{arguments.rows:,} rows in {seconds:.1f} s: {rate:,.0f} rows per second and worker")
    written = pd.read_parquet(features)
    assert written.shape == (arguments.rows, 2 + len(encoder.get_feature_names_out()))

    rows = np.logspace(6, 10, 9)
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for workers, colour in ((2, "#0072B2"), (16, "#009E73"), (128, "#D55E00")):
        axis.plot(rows, rows / rate / workers / 3600, color=colour, label=f"{workers} workers")
    axis.set(xscale="log", yscale="log", xlabel="rows", ylabel="hours")
    axis.set_title("Time to encode a table, from this run's rate", loc="left")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(arguments.figure, dpi=150)


if __name__ == "__main__":
    main()
