"""From what a user passes as `model` to loaded towers."""

from __future__ import annotations

import copy
import difflib
import hashlib
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError
from skgeo_embed.checkpoints import folder as folders
from skgeo_embed.checkpoints.hub import HubOptions, fetch, is_hub_id
from skgeo_embed.checkpoints.lightning_file import (
    location_of_checkpoint,
    read_checkpoint,
    read_tensors,
    vision_of_checkpoint,
)
from skgeo_embed.checkpoints.loaded import LoadedEncoder, share_encoder, variant_of
from skgeo_embed.checkpoints.registry import (
    BACKBONES,
    BUNDLED,
    PUBLISHED,
    WEIGHTS_FOLDER,
    PublishedModel,
    find_published,
    published_file,
)
from skgeo_embed.checkpoints.towers import ARCHITECTURES, build_tower
from skgeo_embed.nn.location import LocationEncoder
from skgeo_embed.nn.towers import ProjectedTower

ROUNDING_MATTERS_FROM = 30  # at L = 30 the original is off by up to 4e-5, at L = 20 by 1e-8


@dataclass(frozen=True)
class Source:
    """Where a model's files are, and what is known about them.

    Attributes
    ----------
    kind : {"bundled", "folder", "checkpoint", "hub"}
        How it was named.
    name : str
        The name or the file's name.
    path : Path
        A folder in this library's format, or a Lightning checkpoint.
    sha256 : str
        Of the weights' file.
    revision : str or None
        The hub's commit.
    published : PublishedModel or None
        The registry's entry, if it is one of the published checkpoints.
    """

    kind: str
    name: str
    path: Path
    sha256: str
    revision: str | None = None
    published: PublishedModel | None = None


def find_source(model: Any, options: HubOptions) -> Source:
    """Find the files of a named model, fetching them from the hub where needed.

    Raises
    ------
    ModelNotFoundError
        If a name, folder or file does not exist; the message lists what does.
    """
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(f"model must be {accepted_models()}; got {type(model).__name__}.")
    name = str(model)
    if name in BUNDLED:
        path = WEIGHTS_FOLDER / BUNDLED[name]
        return Source("bundled", name, path, folders.file_sha256(path / folders.WEIGHTS_NAME))
    path = Path(model).expanduser()
    if folders.is_model_folder(path):
        sha256 = folders.file_sha256(path / folders.WEIGHTS_NAME)
        return Source("folder", path.name, path.resolve(), sha256)
    if path.is_file():
        published = published_file(path.stem)
        return Source(
            "checkpoint", path.name, path.resolve(), folders.file_sha256(path), None, published
        )
    published = find_published(name)
    if published is not None:
        if options.revision is None:
            options = replace(options, revision=published.revision)
        file = fetch(published.repository, published.file, options)
        return Source("hub", published.name, file.path, file.sha256, file.commit, published)
    if is_hub_id(name) and not path.exists():
        try:
            config = fetch(name, folders.CONFIG_NAME, options)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(f"{error} Otherwise pass {accepted_models()}.") from error
        folders.read_config(config.path.parent)  # before gigabytes of somebody else's weights
        same_commit = replace(options, revision=config.commit or options.revision)
        weights = fetch(name, folders.WEIGHTS_NAME, same_commit)
        return Source("hub", name, weights.path.parent, weights.sha256, weights.commit)
    raise ModelNotFoundError(_not_found_message(name, path))


def open_location_encoder(
    model: Any,
    *,
    harmonics: str = "auto",
    options: HubOptions | None = None,
    allow_pickle: bool = False,
) -> LoadedEncoder:
    """Open whatever :class:`~skgeo_embed.SatCLIPEncoder` accepts as `model`.

    Raises
    ------
    ModelNotFoundError, ModelAccessError, ModelDownloadError
        If its files cannot be had.
    ModelFormatError
        If they cannot be read.
    """
    options = options or HubOptions()
    if isinstance(model, LocationEncoder):
        return _from_module(model, harmonics)
    if isinstance(model, nn.Module):
        raise TypeError(
            f"model is a {type(model).__name__}; a module must be a "
            "skgeo_embed.nn.location.LocationEncoder."
        )
    source = find_source(model, options)
    request = {
        "model": str(model),
        "harmonics": harmonics,
        # a pickle opens the commit that it was made with
        "options": replace(options.without_token(), revision=source.revision or options.revision),
        "allow_pickle": allow_pickle,
    }
    info: dict[str, Any] = {
        "name": source.name,
        "source": source.kind,
        "path": None if source.kind == "bundled" else str(source.path),
        "revision": source.revision,
        "sha256": source.sha256,
    }
    if source.path.is_dir():
        config = folders.read_config(source.path)
        info |= {"licence": config.get("licence"), "trained_on": config.get("trained_on")}
        default_layer = config.get("default_layer", "embedding")

        def read() -> tuple[dict[str, Any], dict[str, Tensor]]:
            return config["location"], folders.read_weights(source.path, "location.")

        declared = config.get("location", {}).get("harmonics", "exact")
        description = config.get("location")
    else:
        published = source.published
        info |= {
            "licence": published.licence if published else None,
            "trained_on": "S2-100K" if published else None,
        }
        default_layer = "embedding"

        def read() -> tuple[dict[str, Any], dict[str, Tensor]]:
            content = read_checkpoint(source.path, allow_pickle=allow_pickle)
            location, weights = location_of_checkpoint(content, source.path)
            # read from the map into memory of their own: the file may go away
            return location, {key: value.clone() for key, value in weights.items()}

        declared = published.harmonics if published else "exact"
        description = None
    chosen = declared if harmonics == "auto" else harmonics
    loaded = share_encoder(
        info,
        default_layer,
        variant_of(description, chosen),
        request,
        lambda: _build(read, chosen, str(source.path)),
    )
    if harmonics == "auto" and not source.path.is_dir():
        _check_published(source, loaded.info)
    return loaded


def open_vision_tower(
    model: Any,
    vision_tower: nn.Module | None,
    options: HubOptions | None = None,
    allow_pickle: bool = False,
) -> tuple[nn.Module, dict[str, Any]]:
    """Open the image tower of a model, or copy a module; returns it with its facts."""
    if isinstance(model, nn.Module):
        info = {"name": type(model).__name__, "source": "module", "path": None, "sha256": None}
        return copy.deepcopy(model).cpu().eval(), info
    source = find_source(model, options or HubOptions())
    if source.path.is_dir():
        config = folders.read_config(source.path)
        if not config.get("image"):
            raise ModelFormatError(
                f"{source.path} holds a location tower only, images cannot be encoded with it."
            )
        weights = folders.read_weights(source.path, "image.")
        description, embed_dim = config["image"], config["location"]["embed_dim"]
    else:
        content = read_checkpoint(source.path, allow_pickle=allow_pickle)
        description, weights = vision_of_checkpoint(content, source.path)
        embed_dim = description["embed_dim"]
    tower = copy.deepcopy(vision_tower) if vision_tower is not None else build_tower(description)
    if "head.weight" in weights and any(key.startswith("tower.") for key in weights):
        tower = ProjectedTower(tower, weights["head.weight"].shape[1], embed_dim)
    try:
        tower.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelFormatError(
            f"the image tower's weights in {source.path} do not fit the module "
            f"{type(tower).__name__}: {error}"
        ) from error
    info = {
        "name": source.name,
        "source": source.kind,
        "path": str(source.path),
        "sha256": source.sha256,
    }
    return tower.float().eval(), info


def open_logit_scale(
    model: Any, options: HubOptions | None = None, allow_pickle: bool = False
) -> float:
    """Read the logarithm of the inverse temperature of a model with two towers."""
    source = find_source(model, options or HubOptions())
    if source.path.is_dir():
        scale = folders.read_weights(source.path, "logit_scale").get("")
    else:
        content = read_checkpoint(source.path, allow_pickle=allow_pickle)
        scale = content["state_dict"].get("model.logit_scale")
    if scale is None:
        raise ModelFormatError(f"{source.path} holds no logit_scale, so it is no two-tower model.")
    return float(scale)


def open_backbone(name: str, embed_dim: int = 256, options: HubOptions | None = None) -> nn.Module:
    """Open a vision tower to train from: MoCo weights from the hub and a new last layer.

    Parameters
    ----------
    name : str
        A hub repository of :data:`~skgeo_embed.checkpoints.registry.BACKBONES`, such as
        "torchgeo/resnet18_sentinel2_all_moco", or the name of an architecture for one
        without pretrained weights.
    embed_dim : int, default=256
        Columns of the new last layer.
    options : HubOptions, default=None
        How to fetch.

    Returns
    -------
    tower : torch.nn.Module
        Maps (n, 13, height, width) to (n, embed_dim).
    """
    if name in ARCHITECTURES:
        return build_tower({"architecture": name, "in_channels": 13, "embed_dim": embed_dim})
    if name not in BACKBONES:
        raise ModelNotFoundError(
            f"no vision tower is named {name!r}; known are "
            f"{', '.join([*BACKBONES, *ARCHITECTURES])}."
        )
    backbone = BACKBONES[name]
    options = options or HubOptions()
    pinned = replace(options, revision=options.revision or backbone.revision)
    file = fetch(backbone.repository, backbone.file, pinned)
    tower = build_tower(
        {"architecture": backbone.architecture, "in_channels": 13, "embed_dim": embed_dim}
    )
    weights = read_tensors(file.path)
    new = {"fc.weight", "fc.bias", "head.weight", "head.bias"}
    weights = {key: value for key, value in weights.items() if key not in new}
    missing, unexpected = tower.load_state_dict(weights, strict=False)
    if unexpected or set(missing) - new:
        raise ModelFormatError(
            f"{backbone.file} does not fit {backbone.architecture}: missing "
            f"{sorted(set(missing) - new)[:4]}, unexpected {list(unexpected)[:4]}."
        )
    return tower


def accepted_models() -> str:
    """What may be passed as `model`, in a sentence."""
    return (
        f"a bundled name ({', '.join(map(repr, BUNDLED))}), a published one "
        f"({', '.join(map(repr, PUBLISHED))}, or its hub repository such as "
        "'microsoft/SatCLIP-ViT16-L40'), any hub repository or folder written by save_pretrained "
        "(config.json + model.safetensors), the path of a Lightning .ckpt file, or a "
        "skgeo_embed.nn.location.LocationEncoder module"
    )


def _build(
    read: Callable[[], tuple[dict[str, Any], dict[str, Tensor]]], harmonics: str, where: str
) -> LocationEncoder:
    try:
        config, weights = read()
        config = dict(config)
        if config.get("positional_encoding", "sphericalharmonics") == "sphericalharmonics":
            config["harmonics"] = harmonics
        calculation = config.get("harmonics_calculation", "analytic")
        if harmonics == "published" and calculation != "analytic":
            raise ModelFormatError(
                f"harmonics='published' is the rounding of the 'analytic' harmonics, but the "
                f"encoder in {where} uses {calculation!r} ones; pass harmonics='exact'."
            )
        with torch.device("meta"):  # no memory, no random numbers for what is replaced
            module = LocationEncoder(**config)
        module.load_state_dict(weights, assign=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, ModelFormatError):
            raise
        raise ModelFormatError(
            f"the encoder in {where} cannot be opened: its description and its tensors are not "
            f"those of one network ({error})."
        ) from error
    return module.float() if module.dtype == torch.float16 else module


def _check_published(source: Source, config: dict[str, Any]) -> None:
    """Compare a published checkpoint with the registry; speak up where it may be one renamed."""
    found = config.get("legendre_polys")
    if source.published is not None and found != source.published.legendre_polys:
        raise ModelFormatError(
            f"{source.path} is named like {source.published.name}, whose L is "
            f"{source.published.legendre_polys}, but holds an encoder with L = {found}; rename it."
        )
    if source.published is None and found and found >= ROUNDING_MATTERS_FROM:
        warnings.warn(
            f"{source.path.name} was read with exact harmonics. If the original's code trained it, "
            "pass harmonics='published', which reproduces the rounding of its harmonics; pass "
            "harmonics='exact' to silence this.",
            UserWarning,
            stacklevel=5,
        )


def _from_module(module: LocationEncoder, harmonics: str) -> LoadedEncoder:
    info = {
        "name": type(module).__name__,
        "source": "module",
        "path": None,
        "revision": None,
        "sha256": _module_sha256(module),
        "licence": None,
        "trained_on": None,
    }
    state = {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
    chosen = module.config.get("harmonics", "exact") if harmonics == "auto" else harmonics
    return share_encoder(
        info,
        "embedding",
        variant_of(module.config, chosen),
        {},
        lambda: _build(lambda: (module.config, state), chosen, "memory"),
    )


def _module_sha256(module: nn.Module) -> str:
    digest = hashlib.sha256(repr(sorted(getattr(module, "config", {}).items())).encode())
    for key, value in sorted(module.state_dict().items()):
        digest.update(f"{key}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _not_found_message(name: str, path: Path) -> str:
    if path.is_dir():
        found = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
        return f"the folder {name!r} holds no encoder (found: {found}); pass {accepted_models()}."
    known = [*BUNDLED, *PUBLISHED, *(model.repository for model in PUBLISHED.values())]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? Otherwise " if close else ""
    return f"no encoder is named {name!r}; {hint}pass {accepted_models()}."
