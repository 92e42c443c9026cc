"""Speed of third-party encoders, each against its own matrix products.

    python benchmarks/other_encoders.py [--points 20480]

Networks have the published sizes and random weights (tests/third_party_recipe.py): what is
measured does not depend on them. A floor is the time of the matrix products alone, for TTE with the
softmax over its 4,096 sites; ratios are of the same run, the median of rounds in turn.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from skgeo_embed import ClimplicitEncoder, GeoCLIPEncoder, MINDEncoder, SINREncoder, TTEEncoder
from tests import third_party_recipe

BATCH = 2048


def networks(skip_full):
    """Name, class, weights and parameters of each."""
    yield "Climplicit, a month", ClimplicitEncoder, third_party_recipe.climplicit, {"month": 7}
    yield "Climplicit, four seasons", ClimplicitEncoder, third_party_recipe.climplicit, {}
    yield "SINR", SINREncoder, third_party_recipe.sinr, {}
    yield "TTE", TTEEncoder, third_party_recipe.tte, {}
    yield "TaxaBind", GeoCLIPEncoder, third_party_recipe.taxabind, {}
    yield "MIND, 1,024 x 6", MINDEncoder, third_party_recipe.mind, {}
    if not skip_full:
        yield (
            "MIND, 3,072 x 12",
            MINDEncoder,
            lambda: third_party_recipe.mind(3072, 12, 64, dtype="float16"),
            {"layer": "embedding"},
        )


def products(module, repeats):
    """A callable that does the matrix products of a batch, and TTE's softmax."""
    matrices = [p.float() for p in module.nnet.parameters() if p.ndim == 2]
    inputs = [torch.randn(BATCH * repeats, matrix.shape[1]) for matrix in matrices]
    sites = getattr(module.nnet, "directions", None)
    turned = {"embeddings", "registers"}  # these are averaged: (n, sites) @ (sites, columns)
    names = [n for n, p in module.nnet.named_parameters() if p.ndim == 2]
    for number, name in enumerate(names):
        if name in turned:
            inputs[number] = torch.randn(BATCH, len(matrices[number]))
            matrices[number] = matrices[number].T

    def run():
        for x, matrix in zip(inputs, matrices, strict=True):
            y = x @ matrix.T
            if sites is not None and y.shape[1] == len(sites):
                y.softmax(dim=1)

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=20_480)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip-full", action="store_true", help="without MIND of 3,072 x 12")
    arguments = parser.parse_args()
    points = np.random.RandomState(0).uniform(-80, 80, (arguments.points, 2))
    print("| encoder | MB | points a second | / its matrix products |")
    print("| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name, kind, make, parameters in networks(arguments.skip_full):
            file = Path(folder) / "model.safetensors"
            save_file(make(), file)
            encoder = kind(file, **parameters).fit()
            module = encoder._encoder.engine.module
            n_places = min(arguments.points, BATCH * 2) if "3,072" in name else arguments.points
            floor = products(module, 4 if name.endswith("seasons") else 1)
            encoder.transform(points[:BATCH])
            with torch.inference_mode():
                floor()
            times = []
            for _ in range(arguments.rounds):
                started = time.perf_counter()
                encoder.transform(points[:n_places])
                middle = time.perf_counter()
                with torch.inference_mode():
                    for _ in range(n_places // BATCH):
                        floor()
                times.append((middle - started, time.perf_counter() - middle))
            ours, least = np.median(times, axis=0)
            megabytes = file.stat().st_size / 1e6
            print(
                f"| {name} | {megabytes:.1f} | {n_places / ours:,.0f} | {ours / least:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
