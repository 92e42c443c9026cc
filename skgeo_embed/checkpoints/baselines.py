"""GeoCLIP's, CSP's and GPS2Vec's own file formats."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError
from skgeo_embed.checkpoints import folder as folders
from skgeo_embed.checkpoints.hub import HubOptions, fetch, is_hub_id
from skgeo_embed.checkpoints.lightning_file import read_tensors
from skgeo_embed.checkpoints.loaded import LoadedEncoder, share_encoder
from skgeo_embed.nn.baselines import FeedForward, ScaledGrid, geoclip_network
from skgeo_embed.nn.location import EncodedNetwork

_GEOCLIP_FILE = "model/weights/location_encoder_weights.pth"
_GEOCLIP_HELP = (
    "Its weights (MIT, 38 MB) come with the PyPI package: pip install --no-deps geoclip (it is not "
    "imported, so its requirements are not needed). Or pass a hub repository or folder with the "
    "release (config.json + model.safetensors), or the path of location_encoder_weights.pth."
)
_CSP_HELP = (
    "CSP's checkpoints (fMoW, iNat2018) are in a zip archive linked from the README of "
    "github.com/gengchenmai/csp, which states no licence: ask its authors before you share them. "
    "Unpack it and pass the path of a model_*.pth.tar with gridcell in its name. Space2Vec-grid "
    "checkpoints of TorchSpatial (MIT) open as well."
)
GPS2VEC_HELP = (
    "GPS2Vec's models are one HDF5 file a UTM zone (model_48 N.h5, ...) in archives linked from "
    "the README of github.com/yifangyin/GPS2Vec, which states no licence: ask its authors before "
    "you share them. Unpack one and pass the folder, models_visual or models_tag."
)
_GRID_TYPES = ("gridcell", "Space2Vec-grid")


def open_geoclip(model: Any, options: HubOptions) -> LoadedEncoder:
    """Open GeoCLIP's location encoder from its package, the hub, a folder or a file."""
    name, path, revision, kind = _find_geoclip(model, options)
    weights_file = path / folders.WEIGHTS_NAME if path.is_dir() else path
    info = {
        "name": name,
        "source": kind,
        "path": str(path),
        "revision": revision,
        "sha256": folders.file_sha256(weights_file),
        "licence": "MIT",
        "trained_on": "MediaEval Placing Tasks 2016 (MP-16), geotagged photographs",
    }
    return share_encoder(
        info, "embedding", "geoclip", {}, lambda: _build_geoclip(_read_tensors(weights_file), path)
    )


def _find_geoclip(model: Any, options: HubOptions) -> tuple[str, Path, str | None, str]:
    if model == "geoclip":
        spec = importlib.util.find_spec("geoclip")  # found, not imported: it needs torchvision
        folder = (
            Path(spec.submodule_search_locations[0])
            if spec and (spec.submodule_search_locations)
            else None
        )
        if folder is None or not (folder / _GEOCLIP_FILE).is_file():
            raise ModelNotFoundError(f"the package geoclip is not installed. {_GEOCLIP_HELP}")
        return "geoclip", folder / _GEOCLIP_FILE, None, "package"
    path = Path(model).expanduser()
    if path.is_file():
        return path.name, path.resolve(), None, "checkpoint"
    if path.is_dir():
        if not (path / folders.WEIGHTS_NAME).is_file():
            raise ModelNotFoundError(f"{path} holds no {folders.WEIGHTS_NAME}. {_GEOCLIP_HELP}")
        _check_geoclip_config(path)
        return path.name, path.resolve(), None, "folder"
    if is_hub_id(str(model)):
        fetch(str(model), folders.CONFIG_NAME, options)
        file = fetch(str(model), folders.WEIGHTS_NAME, options)
        _check_geoclip_config(file.path.parent)
        return str(model), file.path.parent, file.commit, "hub"
    raise ModelNotFoundError(f"no GeoCLIP model {str(model)!r}. {_GEOCLIP_HELP}")


def _check_geoclip_config(folder: Path) -> None:
    path = folder / folders.CONFIG_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ModelFormatError(f"{path} cannot be read: {error}. {_GEOCLIP_HELP}") from error
    if config.get("model_type") != "geoclip-location-encoder":
        raise ModelFormatError(
            f"{path} says model_type {config.get('model_type')!r}, not 'geoclip-location-encoder'. "
            f"{_GEOCLIP_HELP}"
        )


def _build_geoclip(weights: dict[str, Tensor], path: Path) -> EncodedNetwork:
    count = len({key.split(".")[0] for key in weights})
    state: dict[str, Tensor] = {}
    try:
        for i in range(count):
            prefix = f"LocEnc{i}."
            state[f"posenc.b{i}"] = weights[f"{prefix}capsule.0.b"]
            for ours, theirs in enumerate((1, 3, 5)):
                for part in ("weight", "bias"):
                    key = f"{prefix}capsule.{theirs}.{part}"
                    state[f"nnet.capsules.{i}.{2 * ours}.{part}"] = weights[key]
            for part in ("weight", "bias"):
                state[f"nnet.capsules.{i}.6.{part}"] = weights[f"{prefix}head.0.{part}"]
        frequencies = [state[f"posenc.b{i}"] for i in range(count)]
        embed_dim, hidden_dim = weights["LocEnc0.head.0.weight"].shape
        with torch.device("meta"):
            network = geoclip_network(frequencies, hidden_dim, embed_dim)
        network.load_state_dict(state, assign=True)
    except (KeyError, RuntimeError) as error:
        raise ModelFormatError(f"{path} holds no GeoCLIP location encoder: {error}") from error
    return network


def open_csp(model: Any, scaling: str) -> LoadedEncoder:
    """Open a CSP or Space2Vec-grid checkpoint (.pth.tar)."""
    if model is None:
        raise ModelNotFoundError(
            f"model is None, but CSP has no weights that may ship. {_CSP_HELP}"
        )
    path = Path(model).expanduser()
    if not path.is_file():
        raise ModelNotFoundError(f"there is no file {str(model)!r}. {_CSP_HELP}")
    info = {
        "name": path.name,
        "source": "checkpoint",
        "path": str(path.resolve()),
        "revision": None,
        "sha256": folders.file_sha256(path),
        "licence": None,
        "trained_on": None,
    }
    return share_encoder(info, "embedding", scaling, {}, lambda: _build_csp(path, scaling))


def _build_csp(path: Path, scaling: str) -> EncodedNetwork:
    content = read_tensors(path)
    params, state = content.get("params"), content.get("state_dict")
    if not isinstance(params, dict) or not isinstance(state, dict):
        raise ModelFormatError(
            f"{path} holds no 'params' and 'state_dict' (found {list(content)[:5]}). {_CSP_HELP}"
        )
    if params.get("spa_enc_type") not in _GRID_TYPES:
        raise ModelFormatError(
            f"{path} holds a {params.get('spa_enc_type')!r} encoder; {' and '.join(_GRID_TYPES)} "
            f"are supported. {_CSP_HELP}"
        )
    if params.get("freq_init", "geometric") != "geometric":
        raise ModelFormatError(
            f"{path} uses freq_init={params['freq_init']!r}; only 'geometric' is supported."
        )
    prefix = next(
        (p for p in ("loc_enc.spa_enc.", "spa_enc.") if f"{p}ffn.layers.0.linear.weight" in state),
        None,
    )
    if prefix is None:
        raise ModelFormatError(f"{path} has no spa_enc.ffn layers (keys begin {list(state)[:3]}).")
    weights = {
        f"nnet.{key.removeprefix(prefix + 'ffn.')}": value
        for key, value in state.items()
        if key.startswith(prefix)
    }
    count = len({key.split(".")[2] for key in weights})
    sizes = [weights["nnet.layers.0.linear.weight"].shape[1]]
    sizes += [weights[f"nnet.layers.{i}.linear.weight"].shape[0] for i in range(count)]
    n_frequencies = params["frequency_num"]
    if sizes[0] != 4 * n_frequencies:
        raise ModelFormatError(
            f"{path}: params say frequency_num={n_frequencies}, the first layer takes {sizes[0]} "
            "columns; the file was put together from different models."
        )
    posenc = ScaledGrid(n_frequencies, params["min_radius"], params["max_radius"], scaling)
    norm = any("layernorm" in key for key in weights)
    try:
        network = FeedForward(sizes, params["spa_f_act"], norm)
        encoder = EncodedNetwork(
            posenc,
            network,
            {"embed_dim": sizes[-1], "hidden_dim": sizes[-2], "n_frequencies": n_frequencies},
        )
        encoder.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise ModelFormatError(f"{path} does not fit a CSP encoder: {error}") from error
    return encoder


def read_gps2vec_zone(path: Path, outputs: list[str]) -> list[tuple[Tensor, Tensor]]:
    """Read the dense layers of one zone's Keras file, hidden ones first: (kernel, bias) each.

    Parameters
    ----------
    path : Path
        A file of `save_weights`, or of `save`, which nests it in /model_weights.
    outputs : list of str
        Names of the output layers, which follow layer1, layer2 and layer3.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            'GPS2VecEncoder reads HDF5 files with h5py: pip install "skgeo-embed[baselines]"'
        ) from error
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            return [_dense_layer(root, name) for name in ("layer1", "layer2", "layer3", *outputs)]
    except (OSError, KeyError) as error:
        raise ModelFormatError(
            f"{path} is no GPS2Vec zone file: {error}. {GPS2VEC_HELP}"
        ) from error


def _dense_layer(root: Any, name: str) -> tuple[Tensor, Tensor]:
    names = [n.decode() if isinstance(n, bytes) else n for n in root[name].attrs["weight_names"]]
    arrays = {n.rpartition("/")[2].split(":")[0]: root[name][n] for n in names}
    kernel, bias = (np.asarray(arrays[part], dtype=np.float32) for part in ("kernel", "bias"))
    return torch.from_numpy(kernel), torch.from_numpy(bias)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return folders.read_weights(path.parent, "")
    return read_tensors(path)
