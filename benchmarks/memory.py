"""How much memory loading and geolocating take: peak above the imports, in fresh processes.

    python benchmarks/memory.py

Prints
- opening a published-size location tower (L = 40, hidden 512, float64) from a full checkpoint of
  100 MB on disk and encoding 10 points;
- 1,000 images against 1,000,000 candidate places;
- `transform` of 3,000,000 places, L = 40 and L = 100, beyond its output of 3 GB;
- `skgeo-embed encode` of 10,000,000 rows (needs 25 GB of disk), the whole process.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.vision.vit import VisionTransformer

# VmHWM, since a new process inherits ru_maxrss from the one that started it
MEASURE = """
import {imports}
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
before = peak()
{code}
print(round(peak() - before))
"""


def peak_mib(imports, code):
    script = MEASURE.format(imports=imports, code=code)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(result.stderr)
    return int(result.stdout)


def write_checkpoint(path):
    """The layout of satclip-vit16-l40.ckpt with random weights."""
    location = LocationEncoder(40).double().state_dict()
    state = {f"model.{key}": value for key, value in location.items()}
    state |= {f"model.location.{key}": value for key, value in location.items()}
    visual = VisionTransformer().state_dict()
    state |= {f"model.visual.{key}": value for key, value in visual.items()}
    state["model.logit_scale"] = torch.tensor(2.66)
    hyper = {"legendre_polys": 40, "vision_layers": "moco_vit16", "embed_dim": 256}
    torch.save({"state_dict": state, "hyper_parameters": hyper}, path)


def encode_command(folder, n_rows):
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"id": np.arange(n_rows)})
    frame["lon"], frame["lat"] = rng.uniform(-180, 180, n_rows), rng.uniform(-90, 90, n_rows)
    frame.to_parquet(folder / "in.parquet", row_group_size=1_000_000)
    del frame
    started = time.perf_counter()
    used = peak_mib(
        "skgeo_embed.cli",
        "before = 0\n"
        "import contextlib, io\n"
        f"arguments = ['encode', '{folder}/in.parquet', '{folder}/out.parquet']\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    skgeo_embed.cli.main([*arguments, '--layer', 'embedding'])",
    )
    return used, n_rows / (time.perf_counter() - started)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "satclip-vit16-l40.ckpt"
        write_checkpoint(path)
        megabytes = path.stat().st_size / 1e6
        used = peak_mib(
            "skgeo_embed.models.opening",
            "from skgeo_embed import SatCLIPEncoder\n"
            f"SatCLIPEncoder({str(path)!r}).fit().transform([[i, i] for i in range(10)])",
        )
    print(f"location tower of a {megabytes:.0f} MB checkpoint, 10 points: {used} MiB")
    used = peak_mib(
        "skgeo_embed.models.opening, numpy as np",
        "from skgeo_embed import ImageGeolocator\n"
        "images = np.random.RandomState(0).rand(1000, 3, 16, 16)\n"
        "ImageGeolocator(n_candidates=1_000_000).fit().predict_top_k(images, k=5)",
    )
    print(f"1,000 images against 1,000,000 candidates: {used} MiB", flush=True)
    n_points = 3_000_000
    for size in (40, 100):
        used = peak_mib(
            "numpy as np, torch, skgeo_embed.models.opening, pandas",
            "from skgeo_embed import SatCLIPEncoder\n"
            "from skgeo_embed.nn.location import LocationEncoder\n"
            f"points = np.random.RandomState(0).uniform(-90, 90, ({n_points}, 2))\n"
            "before = peak()\n"
            f"SatCLIPEncoder(LocationEncoder({size})).fit().transform(points)",
        )
        beyond = used - n_points * 256 * 4 / 2**20
        print(f"{n_points:,} places, L = {size}, beyond the output: {beyond:.0f} MiB", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        used, rate = encode_command(Path(folder), 10_000_000)
    print(f"skgeo-embed encode, 10,000,000 rows: {used} MiB in all, {rate:,.0f} rows/s")


if __name__ == "__main__":
    main()
