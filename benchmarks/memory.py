"""How much memory loading and geolocating take: peak above the imports, in fresh processes.

    python benchmarks/memory.py

Prints
- opening a published-size location tower (L = 40, hidden 512, float64) from a full checkpoint of
  100 MB on disk and encoding 10 points;
- 1,000 images against 1,000,000 candidate places.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.vit import VisionTransformer

MEASURE = """
import resource
import {imports}
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
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


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "satclip-vit16-l40.ckpt"
        write_checkpoint(path)
        megabytes = path.stat().st_size / 1e6
        used = peak_mib(
            "skgeo_embed.checkpoints.loading",
            "from skgeo_embed import SatCLIPEncoder\n"
            f"SatCLIPEncoder({str(path)!r}).fit().transform([[i, i] for i in range(10)])",
        )
    print(f"location tower of a {megabytes:.0f} MB checkpoint, 10 points: {used} MiB")
    used = peak_mib(
        "skgeo_embed.checkpoints.loading, numpy as np",
        "from skgeo_embed import ImageGeolocator\n"
        "images = np.random.RandomState(0).rand(1000, 3, 16, 16)\n"
        "ImageGeolocator(n_candidates=1_000_000).fit().predict_top_k(images, k=5)",
    )
    print(f"1,000 images against 1,000,000 candidates: {used} MiB")


if __name__ == "__main__":
    main()
