"""Checkpoints of CSP and of TorchSpatial's Space2Vec-grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError
from skgeo_embed._files import file_sha256
from skgeo_embed.models.lightning_file import read_tensors
from skgeo_embed.models.model_file import Origin
from skgeo_embed.models.parsing import check_finite, named_path, parsing
from skgeo_embed.models.sharing import LoadedEncoder, share_engine
from skgeo_embed.nn.location import EncodedNetwork
from skgeo_embed.nn.location.csp import FeedForward, ScaledGrid

_CSP_HELP = (
    "CSP's checkpoints (fMoW, iNat2018) are in a zip archive linked from the README of "
    "github.com/gengchenmai/csp, which states no licence: ask its authors before you share them. "
    "Unpack it and pass the path of a model_*.pth.tar with gridcell in its name. Space2Vec-grid "
    "checkpoints of TorchSpatial (MIT) open as well."
)
_GRID_TYPES = ("gridcell", "Space2Vec-grid")


def open_csp(model: Any, scaling: str) -> LoadedEncoder:
    """Open a CSP or Space2Vec-grid checkpoint (.pth.tar)."""
    if model is None:
        raise ModelNotFoundError(
            f"model is None, but CSP has no weights that may ship. {_CSP_HELP}"
        )
    path = named_path(model)
    if not path.is_file():
        raise ModelNotFoundError(f"there is no file {str(model)!r}. {_CSP_HELP}")
    origin = Origin("checkpoint", path.name, path.resolve(), file_sha256(path))
    engine = share_engine(origin.sha256, scaling, lambda: _build_csp(path, scaling))
    info = {**origin.facts(), "licence": None, "trained_on": None, **engine.module.config}
    return LoadedEncoder(engine, scaling, info)


def _build_csp(path: Path, scaling: str) -> EncodedNetwork:
    with parsing(path, "a CSP encoder"):
        return _network_of(read_tensors(path), path, scaling)


def _network_of(content: dict[str, Any], path: Path, scaling: str) -> EncodedNetwork:
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
    network = FeedForward(sizes, params["spa_f_act"], norm)
    facts = {"embed_dim": sizes[-1], "hidden_dim": sizes[-2], "n_frequencies": n_frequencies}
    encoder = EncodedNetwork(posenc, network, facts)
    check_finite(weights, path)
    encoder.load_state_dict(weights)
    return encoder
