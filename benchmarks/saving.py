"""Size and start of one model in each format it can be saved in.

Each file is opened in a process of its own, which answers for one place and ends. Its processor
seconds, from the start of Python to the answer, are printed.

    python saving.py

How far files in ONNX are from `transform` on 10,000 places of the whole sphere, relative to the
largest feature, for the encoders of the package and, if their paths are given, TorchSpatial's:

    python saving.py --deviations [model_*.pth.tar ...]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skgeo_embed import PositionalEncoder, SatCLIPEncoder, TorchSpatialEncoder, to_onnx
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.models.registry import BUNDLED, DEFAULT_MODEL

PLACE = "[[2.35, 48.86]]"
OPENED = {
    "model.joblib": f"import joblib; joblib.load(path).predict({PLACE})",
    "model.skops": (
        "import skops.io; from skgeo_embed.export import SKOPS_TYPES; "
        f"skops.io.load(path, trusted=SKOPS_TYPES).predict({PLACE})"
    ),
    "model.onnx": (
        "import numpy as np, onnxruntime; onnxruntime.InferenceSession(path)"
        f".run(None, {{'lonlat': np.array({PLACE})}})"
    ),
    "encoder": (
        f"from skgeo_embed import SatCLIPEncoder; SatCLIPEncoder(path).fit().transform({PLACE})"
    ),
}
MEASURE = """
import resource, sys
path = sys.argv[1]
{opened}
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
"""


def save(folder):
    """Write the model, or its encoder alone, in every format."""
    X, y = load_air_temperature(return_X_y=True)
    model = make_pipeline(SatCLIPEncoder(), Ridge()).fit(X, y)
    joblib.dump(model, folder / "model.joblib")
    to_onnx(model, folder / "model.onnx")
    model[0].save_pretrained(folder / "encoder", licence="MIT")
    try:
        import skops.io
    except ImportError:
        print("skops is not installed, and left out")
    else:
        skops.io.dump(model, folder / "model.skops")


def size(path):
    """Return the bytes of a file, or of the files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def opened(path, code, rounds=3):
    """Return the least processor seconds of a process that opens a file."""
    command = [sys.executable, "-c", MEASURE.format(opened=code), str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(rounds)
    ]
    return min(map(float, found))


def print_deviation(name, encoder, folder):
    """Print deviation, size and processor seconds of an encoder's file."""
    from onnxruntime import InferenceSession

    encoder.fit()
    started = time.process_time()
    to_onnx(encoder, folder / "encoder.onnx")
    seconds = time.process_time() - started
    random = np.random.default_rng(0)
    lat = np.rad2deg(np.arcsin(random.uniform(-1, 1, 10_000)))
    places = np.column_stack([random.uniform(-180, 360, 10_000), lat])
    session = InferenceSession(folder / "encoder.onnx")
    (found,) = session.run(None, {"lonlat": places})
    expected = encoder.transform(places)
    deviation = np.abs(found - expected).max() / np.abs(expected).max()
    kilobytes = size(folder / "encoder.onnx") / 1e3
    print(f"{name:60} {deviation:8.0e} {kilobytes:8,.0f} kB {seconds:5.1f} s")


def deviations(paths):
    """Print a line for each layer of each bundled encoder, and for each file."""
    encoders = {
        f"{model}, {layer}": SatCLIPEncoder(model, layer=layer)
        for model in BUNDLED
        for layer in ("hidden", "embedding", "content")
        if layer != "content" or model == DEFAULT_MODEL
    }
    encoders["earth-l20, hidden, float64"] = SatCLIPEncoder(dtype="float64", layer="hidden")
    encoders["PositionalEncoder()"] = PositionalEncoder()
    encoders |= {Path(path).name[:60]: TorchSpatialEncoder(path) for path in paths}
    with tempfile.TemporaryDirectory() as folder:
        for name, encoder in encoders.items():
            print_deviation(name, encoder, Path(folder))


def main():
    """Print a line for each format."""
    if "--deviations" in sys.argv:
        deviations(sys.argv[2:])
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        save(folder)
        for name, code in OPENED.items():
            if (folder / name).exists():
                seconds = opened(folder / name, code)
                kilobytes = size(folder / name) / 1e3
                print(f"{name:14} {kilobytes:10,.0f} kB {seconds:6.1f} s")


if __name__ == "__main__":
    main()
