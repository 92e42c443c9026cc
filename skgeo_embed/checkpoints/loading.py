"""From what a user passes as `model` to a loaded encoder."""

from __future__ import annotations

import copy
import hashlib
import os
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError
from skgeo_embed.checkpoints import folder as folders
from skgeo_embed.checkpoints.registry import BUNDLED, WEIGHTS_FOLDER
from skgeo_embed.checkpoints.towers import build_tower
from skgeo_embed.nn.inference import InferenceEngine
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.towers import ProjectedTower

ACCEPTED = (
    "a bundled name ({bundled}), a folder written by save_pretrained (config.json + "
    "model.safetensors), or a skgeo_embed.nn.location.LocationEncoder module"
)


@dataclass(frozen=True, eq=False)
class LoadedEncoder:
    """A frozen location encoder with the facts about where it came from.

    Instances are shared: the same weights are held once in a process, however many
    estimators use them, so copies of an instance are the instance.
    """

    engine: InferenceEngine
    info: dict[str, Any]
    default_layer: str = "embedding"

    def __deepcopy__(self, memo: dict[int, Any]) -> LoadedEncoder:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self.info["source"] == "bundled":  # ships with the package: travels by name
            return open_bundled, (self.info["name"], self.info["sha256"])
        return _rebuild, (self.engine, self.info, self.default_layer)


_shared: weakref.WeakValueDictionary[tuple[str, str], LoadedEncoder] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def open_location_encoder(model: Any) -> LoadedEncoder:
    """Open whatever :class:`~skgeo_embed.SatCLIPEncoder` accepts as `model`.

    Raises
    ------
    ModelNotFoundError
        If a name, folder or file does not exist; the message lists what does.
    ModelFormatError
        If it exists but cannot be read.
    """
    if isinstance(model, LocationEncoder):
        return _from_module(model)
    if isinstance(model, nn.Module):
        raise TypeError(
            f"model is a {type(model).__name__}; a module must be a "
            "skgeo_embed.nn.location.LocationEncoder."
        )
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(f"model must be {_accepted()}; got {type(model).__name__}.")
    if isinstance(model, str) and model in BUNDLED:
        return open_bundled(model)
    path = Path(model).expanduser()
    if folders.is_model_folder(path):
        return _from_folder(path, source="folder", name=path.name)
    raise ModelNotFoundError(_not_found_message(model, path))


def open_bundled(name: str, expected_sha256: str | None = None) -> LoadedEncoder:
    """Open an encoder that ships inside the package."""
    if name not in BUNDLED:
        raise ModelNotFoundError(
            f"this version of skgeo_embed has no bundled encoder {name!r} (it has: "
            f"{', '.join(BUNDLED)}); install the version that the object was made with."
        )
    loaded = _from_folder(WEIGHTS_FOLDER / BUNDLED[name], source="bundled", name=name)
    if expected_sha256 not in (None, loaded.info["sha256"]):
        raise ModelFormatError(
            f"the bundled encoder {name!r} of this skgeo_embed has other weights (sha256 "
            f"{loaded.info['sha256'][:12]}…) than the pickled object was made with "
            f"({str(expected_sha256)[:12]}…); install the version it was made with, or fit again."
        )
    return loaded


def _from_folder(path: Path, *, source: str, name: str) -> LoadedEncoder:
    config = folders.read_config(path)
    sha256 = folders.file_sha256(path / folders.WEIGHTS_NAME)
    info = {
        "name": name,
        "source": source,
        "path": None if source == "bundled" else str(path.resolve()),
        "revision": None,
        "sha256": sha256,
        "licence": config.get("licence"),
        "trained_on": config.get("trained_on"),
    }
    default_layer = config.get("default_layer", "embedding")

    def build() -> LocationEncoder:
        try:
            with torch.device("meta"):  # no memory, no random numbers for what is replaced
                module = LocationEncoder(**config["location"])
            weights = folders.read_weights(path, "location.")
            module.load_state_dict(weights, assign=True)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, ModelFormatError):
                raise
            raise ModelFormatError(
                f"the encoder in {path} cannot be opened: config.json and model.safetensors do "
                f"not describe the same network ({error})."
            ) from error
        return module.float() if module.dtype == torch.float16 else module

    return _share(info, default_layer, build)


def _from_module(module: LocationEncoder) -> LoadedEncoder:
    info = {
        "name": type(module).__name__,
        "source": "module",
        "path": None,
        "revision": None,
        "sha256": _module_sha256(module),
        "licence": None,
        "trained_on": None,
    }

    def build() -> LocationEncoder:
        with torch.device("meta"):
            copied = LocationEncoder(**module.config)
        state = {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
        copied.load_state_dict(state, assign=True)
        return copied

    return _share(info, "embedding", build)


def _rebuild(engine: InferenceEngine, info: dict[str, Any], default_layer: str) -> LoadedEncoder:
    return _share(info, default_layer, lambda: engine.module, known=True)


def _share(
    info: dict[str, Any], default_layer: str, build: Any, *, known: bool = False
) -> LoadedEncoder:
    """Return the process's encoder with these weights and facts, building it on first use."""
    key = (info["sha256"], f"{info['source']}:{info['name']}:{info['path']}")
    with _lock:
        loaded = _shared.get(key)
        if loaded is None:
            twin = next((other for k, other in _shared.items() if k[0] == key[0]), None)
            engine = twin.engine if twin is not None else InferenceEngine(build())
            facts = info if known else {**info, **engine.module.config}
            loaded = LoadedEncoder(engine, facts, default_layer)
            _shared[key] = loaded
        return loaded


def _module_sha256(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(f"{key}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _accepted() -> str:
    return ACCEPTED.format(bundled=", ".join(repr(name) for name in BUNDLED))


def _not_found_message(model: Any, path: Path) -> str:
    if path.is_dir():
        found = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
        return f"the folder {str(model)!r} holds no encoder (found: {found}); pass {_accepted()}."
    return f"no encoder is named {str(model)!r}; pass {_accepted()}."


def open_vision_tower(
    model: Any, vision_tower: nn.Module | None
) -> tuple[nn.Module, dict[str, Any]]:
    """Open the image tower of a folder, or copy a module; returns it with its facts."""
    if isinstance(model, nn.Module):
        info = {"name": type(model).__name__, "source": "module", "path": None}
        return copy.deepcopy(model).cpu().eval(), info
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(
            "model must be a bundled name, a folder written by save_pretrained or a "
            f"torch.nn.Module; got {type(model).__name__}."
        )
    bundled = isinstance(model, str) and model in BUNDLED
    path = WEIGHTS_FOLDER / BUNDLED[str(model)] if bundled else Path(model).expanduser()
    if not folders.is_model_folder(path):
        raise ModelNotFoundError(
            f"{str(model)!r} is no folder with {folders.CONFIG_NAME} and {folders.WEIGHTS_NAME}; "
            "pass one written by SatCLIPPretrainer.save_pretrained."
        )
    config = folders.read_config(path)
    if not config.get("image"):
        raise ModelFormatError(
            f"{path} holds a location tower only, images cannot be encoded with it."
        )
    tower = (
        copy.deepcopy(vision_tower) if vision_tower is not None else build_tower(config["image"])
    )
    weights = folders.read_weights(path, "image.")
    embed_dim = config["location"]["embed_dim"]
    if "head.weight" in weights and any(key.startswith("tower.") for key in weights):
        tower = ProjectedTower(tower, weights["head.weight"].shape[1], embed_dim)
    try:
        tower.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelFormatError(
            f"the image tower's weights in {path} do not fit the module "
            f"{type(tower).__name__}: {error}"
        ) from error
    info = {"name": path.name, "source": "bundled" if bundled else "folder", "path": str(path)}
    return tower.eval(), info
