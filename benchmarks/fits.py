"""What a fit costs, and how it grows: spatial_pipeline and what people take instead.

    python benchmarks/fits.py [--rows 1000 10000 100000] [--only spatial_pipeline boosting]

Prints for each number of rows and each model, one after the other in processes of their own:
seconds and processor seconds of `fit`, how many boostings of 50 columns on the same rows that is
(goal for spatial_pipeline: 8 on 10,000 rows), predictions a second, how far the memory of the
process rises above what it was before the fit, and R² on 5,000 other rows, the same for all. The
table is simulated: content of places in the United States, a local field with a range of some
30 km, and noise. Kriging (PyKrige) and splines (verde) get 3,000 rows at most, and are left out if
they are not installed: `pip install --no-deps pykrige verde pooch platformdirs`.
"""

import argparse
import json
import subprocess
import sys

MEASURE = """
import json, sys, time
import numpy as np, pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skgeo_embed import SatCLIPEncoder, spatial_pipeline
name, n = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
waves, amplitudes = rng.normal(scale=8, size=(2, 60)), rng.normal(size=60)
weights = rng.normal(size=20)
X = rng.uniform([-120, 30], [-80, 48], (5000 + n, 2))  # the first 5,000 are predicted
content = SatCLIPEncoder(layer="content").fit().transform(X)[:, :50]
middle, spread = content[:5000].mean(axis=0), content[:5000].std(axis=0)
y = ((content[:, :20] - middle[:20]) / spread[:20]) @ weights / 4
for start in range(0, len(X), 50_000):
    part = slice(start, start + 50_000)
    y[part] += np.cos(X[part] @ waves) @ amplitudes / 12
y += rng.normal(scale=0.3, size=len(y))
frame = pd.DataFrame(X, columns=["lon", "lat"])
def radians(X):
    return np.deg2rad(np.asarray(X)[:, ::-1])
class Kriging:
    def fit(self, X, y):
        from pykrige.ok import OrdinaryKriging
        self.model = OrdinaryKriging(*X.to_numpy()[:3000].T, y[:3000],
                                     coordinates_type="geographic", variogram_model="exponential")
        return self
    def predict(self, X):
        return self.model.execute("points", *X.to_numpy().T, n_closest_points=16, backend="loop")[0]
class Spline:
    def fit(self, X, y):
        import verde
        self.model = verde.Spline(damping=1e-4).fit(tuple(X.to_numpy()[:3000].T), y[:3000])
        return self
    def predict(self, X):
        return self.model.predict(tuple(X.to_numpy().T))
models = {
    "spatial_pipeline": spatial_pipeline,
    "boosting": lambda: HistGradientBoostingRegressor(random_state=0),
    "neighbours": lambda: make_pipeline(
        FunctionTransformer(radians),
        KNeighborsRegressor(8, weights="distance", algorithm="ball_tree", metric="haversine")),
    "kriging": Kriging,
    "splines": Spline,
}
def mebibytes(of):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(of)) / 1024
unit = time.process_time()
HistGradientBoostingRegressor(early_stopping=False, random_state=0).fit(content[5000:], y[5000:])
unit = time.process_time() - unit
del content, X
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")  # forgets the peak
before = mebibytes("VmRSS")
started = time.perf_counter(), time.process_time()
model = models[name]().fit(frame[5000:], y[5000:])
wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
memory = mebibytes("VmHWM") - before
started = time.perf_counter()
found = model.predict(frame[:5000])
rate = 5000 / (time.perf_counter() - started)
print(json.dumps([wall, cpu, cpu / unit, rate, memory, r2_score(y[:5000], found)]))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    names = ["spatial_pipeline", "boosting", "neighbours", "kriging", "splines"]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    settings = parser.parse_args()
    print("| rows | model | fit, s | processor, s | boostings | predictions a s | MiB | R² |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for n_rows in settings.rows:
        for name in settings.only:
            command = [sys.executable, "-c", MEASURE, name, str(n_rows)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"| {n_rows:,} | {name} | {done.stderr.strip().splitlines()[-1]} |")
                continue
            wall, cpu, units, rate, memory, score = json.loads(done.stdout.splitlines()[-1])
            print(
                f"| {n_rows:,} | {name} | {wall:.1f} | {cpu:.1f} | {units:.1f} | {rate:,.0f} "
                f"| {memory:,.0f} | {score:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
