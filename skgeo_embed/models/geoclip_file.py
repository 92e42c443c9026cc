"""GeoCLIP's release: the weights of its location encoder."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError
from skgeo_embed._files import file_sha256
from skgeo_embed.models.folder import CONFIG_NAME, WEIGHTS_NAME
from skgeo_embed.models.hub import HubOptions, fetch, is_hub_id
from skgeo_embed.models.model_file import Origin
from skgeo_embed.models.original_file import build_from_file, open_original
from skgeo_embed.models.parsing import fill_network, named_path, parsing
from skgeo_embed.models.registry import OTHERS
from skgeo_embed.models.sharing import LoadedEncoder, share_engine
from skgeo_embed.nn.location import EncodedNetwork
from skgeo_embed.nn.location.geoclip import geoclip_network

GEOCLIP_SHA256 = "94b80ae3af89fca78539e129dd2929d321247f5ceeeb0a31bc2c31041a253394"
TRAINED_ON = "MediaEval Placing Tasks 2016 (MP-16), geotagged photographs"
TAXABIND = OTHERS["taxabind"]  # GeoCLIP's network with weights of its own
_GEOCLIP_FILE = "model/weights/location_encoder_weights.pth"
_GEOCLIP_HELP = (
    "Its weights (MIT, 38 MB) come with the PyPI package: pip install --no-deps geoclip (it is not "
    "imported, so its requirements are not needed). Or pass a hub repository or folder with the "
    "release (config.json + model.safetensors), or the path of location_encoder_weights.pth."
)


def open_geoclip(model: Any, options: HubOptions) -> LoadedEncoder:
    """Open GeoCLIP's location encoder from its package, the hub, a folder or a file."""
    if str(model).lower() in (TAXABIND.name, TAXABIND.repository.lower()):
        return open_original(
            str(model), options, build=build_geoclip, prefixes=("",), known=TAXABIND.name
        )
    origin = _find_geoclip(model, options)
    assert origin.path is not None
    file = origin.path / WEIGHTS_NAME if origin.path.is_dir() else origin.path
    engine = share_engine(
        origin.sha256,
        "geoclip",
        lambda: build_from_file(file, build_geoclip, ("",), "GeoCLIP's location encoder"),
    )
    known = origin.sha256 == GEOCLIP_SHA256
    info = {
        **origin.facts(),
        "licence": "MIT" if known else None,
        "trained_on": TRAINED_ON if known else None,
        **engine.module.config,
    }
    reopen = None
    if origin.source == "hub":
        pinned = replace(options.without_token(), revision=origin.revision)
        reopen = partial(open_geoclip, str(model), pinned)
    return LoadedEncoder(engine, "geoclip", info, reopen=reopen)


def _find_geoclip(model: Any, options: HubOptions) -> Origin:
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(f"model must be text or a path, got {type(model)}. {_GEOCLIP_HELP}")
    if model == "geoclip":
        spec = importlib.util.find_spec("geoclip")  # found, not imported: it needs torchvision
        folders = spec.submodule_search_locations if spec else None
        file = Path(folders[0]) / _GEOCLIP_FILE if folders else None
        if file is None or not file.is_file():
            raise ModelNotFoundError(f"the package geoclip is not installed. {_GEOCLIP_HELP}")
        return Origin("package", "geoclip", file, file_sha256(file))
    path = named_path(model)
    if path.is_file():
        return Origin("checkpoint", path.name, path.resolve(), file_sha256(path))
    if path.is_dir():
        if not (path / WEIGHTS_NAME).is_file():
            raise ModelNotFoundError(f"{path} holds no {WEIGHTS_NAME}. {_GEOCLIP_HELP}")
        _check_geoclip_config(path)
        return Origin("folder", path.name, path.resolve(), file_sha256(path / WEIGHTS_NAME))
    if is_hub_id(str(model)):
        config = fetch(str(model), CONFIG_NAME, options)
        _check_geoclip_config(config.path.parent)  # before the weights of another model
        same_commit = replace(options, revision=config.commit or options.revision)
        weights = fetch(str(model), WEIGHTS_NAME, same_commit)
        folder = weights.path.parent
        return Origin("hub", str(model), folder, weights.sha256, weights.commit)
    raise ModelNotFoundError(f"no GeoCLIP model {str(model)!r}. {_GEOCLIP_HELP}")


def _check_geoclip_config(folder: Path) -> None:
    path = folder / CONFIG_NAME
    with parsing(path, "GeoCLIP's config"):
        config = json.loads(path.read_text(encoding="utf-8"))
        taxabind = {"sigma", "encoded_size"} <= set(config)
        if config.get("model_type") != "geoclip-location-encoder" and not taxabind:
            raise ModelFormatError(
                f"{path} says model_type {config.get('model_type')!r}, not "
                f"'geoclip-location-encoder'. {_GEOCLIP_HELP}"
            )


def build_geoclip(weights: dict[str, Tensor]) -> EncodedNetwork:
    """Build the network of the tensors, whose sizes are its own."""
    count = len({key.split(".")[0] for key in weights if key.startswith("LocEnc")})
    embed_dim, hidden_dim = weights["LocEnc0.head.0.weight"].shape
    left = dict(weights)  # what no network of this kind has stays under its name
    state: dict[str, Tensor] = {}
    for i in range(count):
        prefix = f"LocEnc{i}."
        state[f"posenc.b{i}"] = left.pop(f"{prefix}capsule.0.b")
        for ours, theirs in enumerate((1, 3, 5)):
            for part in ("weight", "bias"):
                key = f"{prefix}capsule.{theirs}.{part}"
                state[f"nnet.capsules.{i}.{2 * ours}.{part}"] = left.pop(key)
        for part in ("weight", "bias"):
            state[f"nnet.capsules.{i}.6.{part}"] = left.pop(f"{prefix}head.0.{part}")
    frequencies = [state[f"posenc.b{i}"] for i in range(count)]
    shapes = [tuple(matrix.shape) for matrix in frequencies]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2 or shapes[0][1] != 2:
        raise ModelFormatError(
            f"the frequencies (LocEnc*.capsule.0.b) have shapes {shapes[:4]}; (k, 2) each, with "
            "one k, is right."
        )
    with torch.device("meta"):
        network = geoclip_network(frequencies, hidden_dim, embed_dim)
    fill_network(network, {**state, **left})
    return network
