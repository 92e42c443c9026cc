"""Make the page that describes places in a visitor's browser: python docs/browser/make.py FOLDER.

The runtime comes from where .ci/browser puts it, so that the page asks no other host. Where it is
missing (there is no npm, say) the page takes it from jsDelivr, which has what npm has.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

from skgeo_embed import SatCLIPEncoder, to_onnx
from skgeo_embed.datasets import land_mask, load_coastlines

HERE = Path(__file__).parent
RUNTIME = HERE.parent / "_build" / "onnxruntime-web"
RUNTIME_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
CELL = 2.5  # degrees between the places that are compared
SHORTEST = 20  # vertices of a coast that is drawn


def make_page(folder: Path) -> None:
    """Write the page, its encoder, its places and its runtime to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("index.html", "page.css", "page.js"):
        shutil.copy(HERE / name, folder)
    encoder = SatCLIPEncoder(layer="content").fit()
    to_onnx(encoder, folder / "content.onnx")
    (folder / "facts.json").write_text(json.dumps(facts(encoder, copy_runtime(folder))))


def copy_runtime(folder: Path) -> str:
    """Copy the runtime beside the page if it is here, and return where the page finds it."""
    if not all((RUNTIME / name).exists() for name in RUNTIME_FILES):
        package = json.loads((HERE / "package.json").read_text())
        version = package["dependencies"]["onnxruntime-web"]
        return f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{version}/dist/"
    (folder / "runtime").mkdir(exist_ok=True)
    for name in RUNTIME_FILES:
        shutil.copy(RUNTIME / name, folder / "runtime")
    return "runtime/"


def facts(encoder: SatCLIPEncoder, runtime: str) -> dict:
    """Return what the page knows beside the encoder."""
    lon, lat = np.arange(-180 + CELL / 2, 180, CELL), np.arange(-58.75, 83, CELL)
    rows, columns = np.nonzero(land_mask(lon, lat))
    units = encoder.encoder_info_["units"]
    return {
        "runtime": runtime,
        "columns": [
            {"name": name, "unit": units[layer_of(name, units)]}
            for name in encoder.get_feature_names_out()
        ],
        "places": np.column_stack([lon[columns], lat[rows]]).tolist(),
        "coast": [
            line.round(2).flatten().tolist() for line in load_coastlines() if len(line) >= SHORTEST
        ],
    }


def layer_of(column: str, layers: dict) -> str:
    """Return the layer of a column named after it, such as lights of "lights_mean_10km"."""
    return max((name for name in layers if column.startswith(f"{name}_")), key=len)


if __name__ == "__main__":
    make_page(Path(sys.argv[1]))
