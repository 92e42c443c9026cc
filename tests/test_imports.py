"""The rooms of the package: who may import whom, and what import costs."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import skgeo_embed

PACKAGE = Path(skgeo_embed.__file__).parent
# A room imports from rooms of lower rank, and from itself. Files of rank 0 may import each other
# (a region that looks swapped is an error of `_errors`) as long as there is no circle. Rooms that
# the design's one-line order leaves out: `images` reads GeoTIFFs, so it stands above `rasters`;
# `datasets` and `model_selection` are beside `encoders`.
RANK = {
    "__init__": 0,
    "_errors": 0,
    "_files": 0,
    "_fitting": 0,
    "_html": 0,
    "_region": 0,
    "_sphere": 0,
    "nn": 1,
    "places": 2,
    "models": 2,
    "rasters": 2,
    "images": 3,
    "datasets": 4,
    "model_selection": 4,
    "encoders": 4,
    "pretraining": 5,
    "geolocation": 5,
    "export": 6,
    "prediction": 5,
    "streaming": 6,
    "inspection": 7,
    "_versions": 7,
    "cli": 8,
}
LAZY = {
    "torch",
    "jsonargparse",
    "lightning",
    "safetensors",
    "huggingface_hub",
    "matplotlib",
    "bokeh",
    "PIL",
    "dask",
    "geopandas",
    "xarray",
    "cartopy",
    "rasterio",
    "pyproj",
    "shapely",
    "h3",
    "tqdm",
    "h5py",
    "utm",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "skl2onnx",
}
TORCH_ROOMS = {"nn", "pretraining", "models"}
TORCH_FREE = {  # what is imported before anything is fitted
    "nn/encodings/__init__.py",
    "nn/__init__.py",
    "nn/inference/locks.py",
    "models/__init__.py",
    "models/registry.py",
    "models/folder.py",
    "models/checks.py",
    "models/hub.py",
    "models/card.py",
    "models/tokens.py",
    "pretraining/pretrainer.py",
    "pretraining/recipe.py",
    "pretraining/__init__.py",
}
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}


def _room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms(path):
    modules = _imported(ast.walk(TREES[path]))
    room = _room(path)
    rooms = {m.split(".")[1] for m in modules if m and m.startswith("skgeo_embed.")} - {room}
    assert {other for other in rooms if RANK[other] >= RANK[room] > 0} == set()


def test_no_other_files_at_the_root():
    found = {path.stem for path in PACKAGE.glob("*.py")}
    assert found == {room for room in RANK if room.startswith("_")} | {"geolocation"}


def test_no_circles():
    """Files whose imports, followed inside functions too, lead back to them."""
    names = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in FILES}
    imports = {
        name.removesuffix(".__init__"): {
            module
            for module in _imported(ast.walk(TREES[path]))
            if module in names or f"{module}.__init__" in names
        }
        - {"skgeo_embed"}
        for name, path in names.items()
    }
    circles = []

    def follow(name, trail):
        if name in trail:
            circles.append([*trail[trail.index(name) :], name])
            return
        if name in done:
            return
        for other in imports.get(name, ()):
            follow(other, [*trail, name])
        done.add(name)

    done = set()
    for name in imports:
        follow(name, [])
    assert circles == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_inside_functions(path):
    if _room(path) in TORCH_ROOMS and str(path.relative_to(PACKAGE)) not in TORCH_FREE:
        return
    top = {m.split(".")[0] for m in _imported(TREES[path].body)}
    assert top.isdisjoint(LAZY)


@pytest.fixture(scope="module")
def loaded():
    """What a new process has loaded when it has imported, made an encoder, and encoded."""
    code = """
import json, sys
import skgeo_embed, skgeo_embed as s
stages = []
dir(s), stages.append(list(sys.modules))
encoder = s.SatCLIPEncoder()
repr(encoder), stages.append(list(sys.modules))
encoder.fit_transform([[1, 2]]), stages.append(list(sys.modules))
import torch
from skgeo_embed.models.towers import ARCHITECTURES, build_tower
with torch.device("meta"):
    for name in ARCHITECTURES:
        build_tower({"architecture": name, "in_channels": 13, "embed_dim": 256})
stages.append(list(sys.modules))
print(json.dumps(stages))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [set(modules) for modules in json.loads(run.stdout)]


def test_import_loads_neither_torch_nor_lightning(loaded):
    assert "skgeo_embed" in loaded[0]
    assert loaded[0].isdisjoint(LAZY | {"sklearn", "pandas", "numpy"})


def test_encoders_can_be_made_without_torch(loaded):
    assert loaded[1].isdisjoint(LAZY)


def test_encoding_does_not_load_lightning_or_the_hub(loaded):
    assert "torch" in loaded[2]
    assert loaded[2].isdisjoint({"lightning", "huggingface_hub"})


def test_encoding_does_not_load_compilers(loaded):
    """Operations on the device meta, where models are built, may: two seconds for nothing."""
    assert loaded[3].isdisjoint({"torch._dynamo", "sympy"})


def test_public_names():
    for name in skgeo_embed.__all__:
        assert getattr(skgeo_embed, name) is not None
        assert name in dir(skgeo_embed)
    with pytest.raises(AttributeError, match="No skgeo_embed attribute nonsense"):
        skgeo_embed.nonsense  # noqa: B018
