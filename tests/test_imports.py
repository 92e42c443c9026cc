"""The rooms of the package: who may import whom, and what import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skgeo_embed

PACKAGE = Path(skgeo_embed.__file__).parent
ESTIMATORS = {
    "_base",
    "_baselines",
    "_geolocator",
    "_html",
    "_hub_parameters",
    "_positional",
    "_pretrainer",
    "_satclip",
    "_satclip_image",
    "_sharing",
}
BASIC = {"_cache_folder", "_dask", "_errors", "_repeats", "_coordinates", "_images", "_utm_grid"}
MAY_IMPORT = {
    "_errors": set(),
    "_coordinates": {"_errors"},
    "_dask": {"_coordinates", "_errors"},
    "_repeats": set(),
    "_images": {"_errors"},
    "_cache_folder": set(),
    "_utm_grid": set(),
    "nn": {"nn"},
    "checkpoints": {"checkpoints", "nn", "_errors"},
    "training": {"training", "nn", "checkpoints", *BASIC},
    "datasets": {"datasets", "checkpoints", *BASIC},
    **{name: {"nn", "checkpoints", "training", *BASIC, *ESTIMATORS} for name in ESTIMATORS},
    "inspection": {"inspection", "datasets", *BASIC},
    "model_selection": {"model_selection", *BASIC},
    "_versions": {"nn", "_cache_folder"},
    "cli": {"cli", "datasets", "inspection", "checkpoints", *BASIC},
    "__init__": {*ESTIMATORS, "_errors", "_versions"},
}
LAZY = {
    "torch",
    "jsonargparse",
    "lightning",
    "safetensors",
    "huggingface_hub",
    "matplotlib",
    "PIL",
    "dask",
    "geopandas",
    "xarray",
    "cartopy",
    "rasterio",
    "tqdm",
    "h5py",
    "utm",
}
TORCH_ROOMS = {"nn", "training", "checkpoints/loading.py", "checkpoints/towers.py"} | {
    "checkpoints/baselines.py",
    "checkpoints/lightning_file.py",
}
FILES = sorted(PACKAGE.rglob("*.py"))


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
    modules = _imported(ast.walk(ast.parse(path.read_text())))
    rooms = {m.split(".")[1] for m in modules if m and m.startswith("skgeo_embed.")}
    assert rooms <= MAY_IMPORT[_room(path)]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_inside_functions(path):
    if _room(path) in TORCH_ROOMS or str(path.relative_to(PACKAGE)) in TORCH_ROOMS:
        return
    top = {m.split(".")[0] for m in _imported(ast.parse(path.read_text()).body)}
    assert top.isdisjoint(LAZY)


def _fresh(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def test_import_loads_neither_torch_nor_lightning():
    code = "import sys, skgeo_embed, skgeo_embed as s; dir(s); print(*sys.modules)"
    loaded = set(_fresh(code))
    assert "skgeo_embed" in loaded
    assert loaded.isdisjoint(LAZY | {"sklearn", "pandas", "numpy"})


def test_encoders_can_be_made_without_torch():
    code = "import sys, skgeo_embed; repr(skgeo_embed.SatCLIPEncoder()); print(*sys.modules)"
    assert set(_fresh(code)).isdisjoint(LAZY)


def test_encoding_does_not_load_lightning_or_the_hub():
    code = (
        "import sys, skgeo_embed; skgeo_embed.SatCLIPEncoder().fit_transform([[1, 2]]);"
        "print(*sys.modules)"
    )
    assert set(_fresh(code)).isdisjoint({"lightning", "huggingface_hub"})


def test_public_names():
    for name in skgeo_embed.__all__:
        assert getattr(skgeo_embed, name) is not None
        assert name in dir(skgeo_embed)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        skgeo_embed.nonsense  # noqa: B018
