"""
A service without torch
=======================

You learn how to put a fitted pipeline into a web service that starts in a second: the pipeline as
one file in ONNX, a small application on FastAPI and onnxruntime around it, and coordinates that
are checked as everywhere in this package, without loading torch.

Start the service by itself with ``python serve.py temperature.onnx 8000``.
"""

import json
import math
import socket
import statistics
import subprocess
import sys
import time
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from skgeo_embed import CoordinateError
from skgeo_embed.places.reading import read_coordinates

TILE = 64  # cells along a side

# %%
# The application. It asks the file, whose input "lonlat" is (n, 2) degrees. ``read_coordinates``
# needs numpy alone; what it refuses becomes an answer 422 that says what is wrong.


def make_app(path):
    """Make a service that answers for one place, for many, and with tiles of a map."""
    from fastapi import Body, FastAPI, Request
    from fastapi.responses import JSONResponse, Response
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    app = FastAPI(title="Mean temperature")

    def predict(places):
        lonlat = read_coordinates(places).lonlat
        return session.run(["prediction"], {"lonlat": lonlat})[0][:, 0]

    @app.exception_handler(CoordinateError)
    def refuse(request: Request, error: CoordinateError):
        return JSONResponse({"detail": str(error)}, status_code=422)

    @app.get("/place")
    def one_place(lon: float, lat: float):
        return {"prediction": float(predict([[lon, lat]])[0])}

    @app.post("/places")
    def many_places(lonlat: list[tuple[float, float]] = Body(embed=True)):  # noqa: B008
        return {"prediction": predict(lonlat).tolist()}

    @app.get("/tiles/{z}/{x}/{y}.json")
    def tile(z: int, x: int, y: int):
        return {"prediction": predict(places_of_tile(z, x, y)).reshape(TILE, TILE).tolist()}

    @app.get("/tiles/{z}/{x}/{y}.png")
    def picture(z: int, x: int, y: int):
        degrees = predict(places_of_tile(z, x, y)).reshape(TILE, TILE)
        return Response(png(degrees, lowest=-30, highest=35), media_type="image/png")

    return app


def places_of_tile(z, x, y):
    """Return the centres of the cells of a tile as web maps number them, row by row."""
    if not (0 <= z <= 24 and 0 <= x < 2**z and 0 <= y < 2**z):
        raise CoordinateError(f"there is no tile {z}/{x}/{y}: x and y go from 0 to 2**z - 1.")
    cells = (np.arange(TILE) + 0.5) / TILE
    lon = (x + cells) / 2**z * 360 - 180
    lat = np.rad2deg(np.arctan(np.sinh(math.pi * (1 - 2 * (y + cells) / 2**z))))
    return np.column_stack([np.tile(lon, TILE), np.repeat(lat, TILE)])


def png(values, lowest, highest):
    """Write a grid of values as a picture in shades of grey."""
    shades = np.clip((values - lowest) / (highest - lowest) * 255, 0, 255).astype(np.uint8)
    rows = np.pad(shades, [(0, 0), (1, 0)]).tobytes()  # each row begins with its filter: none

    def chunk(kind, data):
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    size = values.shape[1].to_bytes(4, "big") + values.shape[0].to_bytes(4, "big")
    header = chunk(b"IHDR", size + bytes([8, 0, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


if __name__ == "__main__" and len(sys.argv) == 3 and sys.argv[1].endswith(".onnx"):
    import uvicorn

    uvicorn.run(make_app(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
    sys.exit()

# %%
# The model: features of the place, and a ridge. ``to_onnx`` compares the file with the pipeline
# before it writes it, and returns the largest deviation, here in °C.

import joblib
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgeo_embed import SatCLIPEncoder, to_onnx
from skgeo_embed.datasets import load_air_temperature

X, y = load_air_temperature(return_X_y=True)
model = make_pipeline(SatCLIPEncoder(n_components=64), StandardScaler(), Ridge()).fit(X, y)
folder = TemporaryDirectory()
as_onnx, as_pickle = Path(folder.name, "temperature.onnx"), Path(folder.name, "temperature.joblib")
print(f"largest deviation: {to_onnx(model, as_onnx):.0e} °C")
_ = joblib.dump(model, as_pickle)

# %%
# The service runs in a process of its own, on a port that is free.

import httpx

script = globals().get("__file__") or sys.argv[0]
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]

started = time.perf_counter()
service = subprocess.Popen([sys.executable, script, str(as_onnx), str(port)])
client = httpx.Client(base_url=f"http://127.0.0.1:{port}")
paris = {"lon": 2.35, "lat": 48.86}
answer = None
while answer is None:
    try:
        answer = client.get("/place", params=paris)
    except httpx.ConnectError:
        if service.poll() is not None or time.perf_counter() - started > 60:
            raise
        time.sleep(0.01)
print(f"first answer after {time.perf_counter() - started:.2f} s: {answer.json()}")

# %%
# Many places, a tile, and a mistake that is explained.

places = [[2.35, 48.86], [-0.13, 51.51], [77.2, 28.6]]
print(client.post("/places", json={"lonlat": places}).json())
picture = client.get("/tiles/3/4/2.png").content
print(f"a tile as a picture: {len(picture):,} bytes")
refused = client.get("/place", params={"lon": 48.86, "lat": 122.35})
print(refused.status_code, refused.json()["detail"])

# %%
# Four tiles of numbers side by side, from the Atlantic to Siberia.

import matplotlib.pyplot as plt

tiles = [client.get(f"/tiles/3/{x}/2.json").json()["prediction"] for x in range(3, 7)]
figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
for axis, x, tile in zip(axes, range(3, 7), tiles, strict=True):
    shown = axis.imshow(tile, vmin=-20, vmax=25, cmap="RdYlBu_r")
    axis.set(title=f"/tiles/3/{x}/2.json", xticks=[], yticks=[])
_ = figure.colorbar(shown, ax=axes, label="mean temperature, °C")

# %%
# What it costs, beside the same pipeline in torch. Each runs in a new process, which prints the
# seconds to its first answer, the memory it then holds, and the median milliseconds of an answer.

MEASURE = """
import time; started = time.perf_counter()
import json, statistics, sys
import numpy as np
path = sys.argv[1]
if path.endswith(".onnx"):
    from onnxruntime import InferenceSession
    from skgeo_embed.places.reading import read_coordinates
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    answer = lambda places: session.run(None, {"lonlat": read_coordinates(places).lonlat})[0]
else:
    import joblib, pandas
    model = joblib.load(path)
    answer = lambda places: model.predict(pandas.DataFrame(places, columns=["lon", "lat"]))
one, random = np.array([[2.35, 48.86]]), np.random.default_rng(0)
many = np.column_stack([random.uniform(-180, 180, 1000), random.uniform(-90, 90, 1000)])
answer(one)
found = {"first answer, s": time.perf_counter() - started}
import psutil
found["memory, MB"] = psutil.Process().memory_info().rss / 1e6
for name, places, times in (("1 place, ms", one, 200), ("1,000 places, ms", many, 20)):
    taken = []
    for shift in range(times):
        places = places + 1e-6  # a new place each time
        start = time.perf_counter()
        answer(places)
        taken.append(1000 * (time.perf_counter() - start))
    found[name] = statistics.median(taken)
print(json.dumps(found))
"""


def measured(path):
    """Run the measurement in a process that has nothing else loaded."""
    run = [sys.executable, "-c", MEASURE, str(path)]
    return json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


in_onnx, in_torch = measured(as_onnx), measured(as_pickle)
print(f"{'':20}{'onnxruntime':>12}{'torch':>12}")
for name, value in in_onnx.items():
    print(f"{name:20}{value:12.2f}{in_torch[name]:12.2f}")

# %%
# An answer over HTTP, with what FastAPI adds, and the end of the service.

waited = []
for _ in range(100):
    start = time.perf_counter()
    client.get("/place", params=paris)
    waited.append(1000 * (time.perf_counter() - start))
print(f"one place over HTTP: {statistics.median(waited):.1f} ms")
service.terminate()
service.wait()
client.close()
folder.cleanup()
