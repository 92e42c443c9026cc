"""What a map costs: against `predict` on as many rows, in memory, and for the whole Earth.

    python benchmarks/maps.py [--side 1000] [--model default|spatial_pipeline]

Prints
- seconds and processor time of `predict_grid` to a GeoTIFF of side × side cells, and of `predict`
  on as many rows of a frame, in turns in one process, and their ratio (goal: 1.3);
- memory above the fitted model, in a process of its own (goal: 500 MB whatever the size);
- what the land of the Earth at 1 km (1.5e8 cells) would take at that rate on one core.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skgeo_embed import SatCLIPEncoder, predict_grid, spatial_pipeline
from skgeo_embed.datasets import load_air_temperature

LAND_CELLS = 1.5e8  # of 1 km²
MODELS = {
    "default": lambda: make_pipeline(SatCLIPEncoder(), Ridge()),
    "spatial_pipeline": spatial_pipeline,
}
MEMORY = """
import joblib, sys
from skgeo_embed import predict_grid
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
folder, side = sys.argv[1], int(sys.argv[2])
model = joblib.load(folder + "/model.joblib")
region, step = (-10, 20, 30, 60), 40 / side
predict_grid(model, folder + "/small.tif", region=region, resolution=5, verbose=False)
before = peak()
predict_grid(model, folder + "/map.tif", region=region, resolution=step,
             overwrite=True, verbose=False)
print(round(peak() - before))
"""


def measured(function):
    """Return seconds of the clock and of the processor."""
    started = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--side", type=int, default=1000)
    parser.add_argument("--model", choices=[*MODELS], default="default")
    parser.add_argument("--rounds", type=int, default=2)
    settings = parser.parse_args()
    side = settings.side
    X, y = load_air_temperature(return_X_y=True)
    model = MODELS[settings.model]().fit(X, y)
    grid = {"region": (-10, 20, 30, 60), "resolution": 40 / side, "verbose": False}
    lon, lat = (low + (np.arange(side) + 0.5) * 40 / side for low in (-10, 20))
    rows = np.stack(np.meshgrid(lon, lat[::-1]), -1).reshape(-1, 2)
    rows = pd.DataFrame(rows, columns=["lon", "lat"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "map.tif"
        predict_grid(model, file, **{**grid, "resolution": 5})
        of_map, of_rows = [], []
        for _ in range(settings.rounds):
            of_map.append(measured(lambda: predict_grid(model, file, overwrite=True, **grid)))
            of_rows.append(measured(lambda: model.predict(rows)))
        (wall, cpu), (rows_wall, rows_cpu) = np.min(of_map, axis=0), np.min(of_rows, axis=0)
        print(f"{settings.model}, {side} × {side} cells: {wall:.1f} s, {cpu:.1f} s of processor")
        print(f"predict on {side * side:,} rows: {rows_wall:.1f} s, {rows_cpu:.1f} s of processor")
        print(f"ratio: {wall / rows_wall:.2f} by the clock, {cpu / rows_cpu:.2f} by the processor")
        joblib.dump(model, Path(folder) / "model.joblib")
        command = [sys.executable, "-c", MEMORY, folder, str(side)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"memory above the fitted model: {done.stdout.strip()} MiB")
        hours = cpu / side**2 * LAND_CELLS / 3600
        print(f"the land of the Earth at 1 km, one core: {hours:.1f} h")


if __name__ == "__main__":
    main()
