"""From what a user passes as `model` to an opened model."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError
from skgeo_embed._files import file_sha256, file_state
from skgeo_embed.models.checks import check_finite, named_path
from skgeo_embed.models.folder import CONFIG_NAME, WEIGHTS_NAME, is_model_folder, read_config
from skgeo_embed.models.folder_model import FolderModel
from skgeo_embed.models.hub import HubOptions, fetch, is_hub_id
from skgeo_embed.models.lightning_file import LightningModel, read_tensors
from skgeo_embed.models.loaded import LoadedEncoder, LoadedTower, load_encoder, reopening
from skgeo_embed.models.model_file import ModelFile, ModuleModel, Origin, local_origin
from skgeo_embed.models.registry import (
    BACKBONES,
    BUNDLED,
    SATCLIP_CHECKPOINTS,
    THIRD_PARTY,
    WEIGHTS_FOLDER,
    find_satclip,
    satclip_of_file,
)
from skgeo_embed.models.towers import ARCHITECTURES, build_tower
from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.inference.engine import runs_own_code
from skgeo_embed.nn.inference.images import ImageEngine
from skgeo_embed.nn.location import EncodedNetwork, LocationEncoder
from skgeo_embed.nn.location.content_network import ContentNetwork
from skgeo_embed.nn.location.untrained import untrained_twin

ROUNDING_MATTERS_FROM = 30  # SatCLIP's code is off by 4e-5 at L = 30, 1e-8 at 20


def find_model(
    model: Any, options: HubOptions | None = None, *, allow_pickle: bool = False
) -> ModelFile:
    """Find a model's files, fetching them from the hub if needed, all of one commit.

    Raises
    ------
    ModelNotFoundError, ModelAccessError, ModelDownloadError
        If a name, folder or file does not exist or cannot be had; the message lists what does.
    ModelFormatError
        If its description cannot be read.
    TypeError
        If it does not name a model.
    """
    if isinstance(model, ModelFile):
        return model
    if isinstance(model, nn.Module):
        return ModuleModel(model, _module_sha256(model))
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(f"model must be {accepted_models()}; got {type(model).__name__}.")
    options = options or HubOptions()
    name, path = str(model), named_path(model)
    if name in BUNDLED:
        return _open_folder("bundled", name, WEIGHTS_FOLDER / BUNDLED[name])
    if is_model_folder(path):
        return _open_folder("folder", path.name, path.resolve())
    if path.is_file():
        origin = local_origin("checkpoint", path.name, path.resolve())
        return LightningModel(origin, satclip_of_file(path.stem), allow_pickle=allow_pickle)
    checkpoint = find_satclip(name)
    if checkpoint is not None:
        options = replace(options, revision=options.revision or checkpoint.revision)
        file = fetch(checkpoint.repository, checkpoint.file, options)
        origin = Origin("hub", checkpoint.name, file.path, file.sha256, file.commit, file.state)
        return LightningModel(origin, checkpoint, allow_pickle=allow_pickle)
    if is_hub_id(name) and not path.exists():
        return _open_repository(name, options)
    raise ModelNotFoundError(_not_found_message(name, path))


def _open_folder(source: str, name: str, path: Path) -> FolderModel:
    weights = path / WEIGHTS_NAME
    state = file_state(weights)  # before the hash, so that a write during hashing shows as a change
    bundled = source == "bundled"  # a search fits its encoder hundreds of times
    sha256 = _known_sha256(weights, state) if bundled else file_sha256(weights)
    return FolderModel(Origin(source, name, path, sha256, state=state))


@lru_cache(maxsize=len(BUNDLED))
def _known_sha256(path: Path, state: tuple[int, ...]) -> str:
    return file_sha256(path)


def _open_repository(name: str, options: HubOptions) -> FolderModel:
    try:
        config = fetch(name, CONFIG_NAME, options)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(f"{error} Otherwise pass {accepted_models()}.") from error
    read_config(config.path.parent)  # before gigabytes of somebody else's weights
    same_commit = replace(options, revision=config.commit or options.revision)
    weights = fetch(name, WEIGHTS_NAME, same_commit)
    folder = weights.path.parent
    return FolderModel(Origin("hub", name, folder, weights.sha256, weights.commit, weights.state))


def open_location_encoder(
    model: Any,
    *,
    harmonics: str = "auto",
    untrained: bool = False,
    options: HubOptions | None = None,
    allow_pickle: bool = False,
) -> LoadedEncoder:
    """Open the location tower of whatever :class:`~skgeo_embed.SatCLIPEncoder` takes as `model`.

    With `untrained` its weights are drawn at random, as they were before training.

    Raises
    ------
    ModelNotFoundError, ModelAccessError, ModelDownloadError
        If its files cannot be had.
    ModelFormatError
        If they cannot be read.
    TypeError, ValueError
        If it is to be untrained, and how it began cannot be known.
    """
    options = options or HubOptions()
    file = find_model(model, options, allow_pickle=allow_pickle)
    chosen = file.harmonics if harmonics == "auto" else harmonics
    variant = json.dumps(
        {**(file.description or {}), "harmonics": chosen}, sort_keys=True, default=str
    )
    build: Callable[[], EncodedNetwork] = partial(file.location, chosen)
    if untrained:
        decay = _spectral_decay(file)
        variant = f"{variant}:untrained:{decay}"
        build = partial(_untrained, file, chosen, decay)
    settings = {"harmonics": harmonics, "untrained": untrained, "allow_pickle": allow_pickle}
    reopen = reopening(open_location_encoder, file.origin, options, **settings)
    loaded = load_encoder(file, variant, build, reopen=reopen, content=_reader_of_content(file))
    if untrained:
        module = loaded.engine.module
        loaded = replace(loaded, info={**_facts_of_untrained(file, module), **module.config})
    if harmonics == "auto":
        _warn_of_rounding(file, loaded.info)
    return loaded


def _untrained(file: ModelFile, harmonics: str, spectral_decay: float) -> LocationEncoder:
    trained = file.location(harmonics)
    if type(trained) is not LocationEncoder or runs_own_code(trained):
        raise TypeError(
            f"untrained=True draws the weights of a LocationEncoder at random, and the "
            f"{type(trained).__name__} that was passed runs code of its own (a class or hooks); "
            "pass a new one of yours as model, with untrained=False."
        )
    return untrained_twin(trained, spectral_decay)


def _spectral_decay(file: ModelFile) -> float:
    """Return how the folder's first weights were drawn; folders of version 0.1 have no recipe."""
    training = file.details.get("training") or {}
    recipe = training.get("recipe") or training
    return float(recipe.get("spectral_decay", 0.0))


def _facts_of_untrained(file: ModelFile, module: EncodedNetwork) -> dict[str, Any]:
    """Return the facts of an untrained encoder; only a feature grid comes from the file."""
    facts = {**file.facts, "name": f"{file.origin.name}, untrained", "untrained": True}
    if "feature_grid" not in module.config:
        return {**facts, "licence": None, "trained_on": None}
    sources = file.trained_on or "sources that are not stated"
    return {**facts, "trained_on": f"nothing; the feature grid was filled from {sources}"}


def open_content(
    model: Any, *, options: HubOptions | None = None, allow_pickle: bool = False
) -> LoadedEncoder:
    """Open the content columns of whatever :class:`~skgeo_embed.SatCLIPEncoder` takes as `model`.

    Raises
    ------
    ModelNotFoundError, ModelAccessError, ModelDownloadError
        If its files cannot be had.
    ModelFormatError
        If they cannot be read.
    ValueError
        If it has no content columns.
    """
    options = options or HubOptions()
    file = find_model(model, options, allow_pickle=allow_pickle)
    variant = "content"
    if isinstance(file, FolderModel):
        variant += f" {file.content_description()}"
    if isinstance(file, ModuleModel):  # its own hash covers the network alone
        variant += f" {_content_sha256(file.content())}"
    reopen = reopening(open_content, file.origin, options, allow_pickle=allow_pickle)
    loaded = load_encoder(file, variant, partial(_content_network, file), reopen=reopen)
    content: Any = loaded.engine.module.posenc
    info = {**file.facts, "units": content.units()}
    return replace(loaded, info=info, default_layer="content")


def _content_sha256(content: ContentLayers | None) -> str:
    if content is None:
        return "of none"
    digest = hashlib.sha256(repr(content.description()).encode())
    _add_tensors(digest, content)
    return digest.hexdigest()


def _reader_of_content(file: ModelFile) -> Callable[[], ContentLayers | None] | None:
    if isinstance(file, FolderModel):
        return file.content_as_opened if file.has_content else None
    # the layers alone, or a pickle would hold the module twice
    content = file.content()
    return None if content is None else partial(_as_it_is, content)


def _as_it_is(content: ContentLayers) -> ContentLayers:
    return content


def _content_network(file: ModelFile) -> ContentNetwork:
    content = file.content()
    if content is None:
        raise ValueError(
            f'layer="content" needs content columns, and {file.origin.name!r} has none. Use one '
            'that has them, such as the bundled "earth-l20", or another layer. An encoder that you '
            "train has them if earth_grid or content_grid made its recipe's feature grid; the "
            "checkpoints of its run do not."
        )
    return ContentNetwork(content)


def open_image_tower(
    model: Any,
    vision_tower: nn.Module | None = None,
    *,
    options: HubOptions | None = None,
    allow_pickle: bool = False,
) -> LoadedTower:
    """Open the image tower of whatever :class:`~skgeo_embed.SatCLIPImageEncoder` takes.

    Raises
    ------
    ModelNotFoundError, ModelAccessError, ModelDownloadError
        If its files cannot be had.
    ModelFormatError
        If they cannot be read, or hold no image tower.
    """
    options = options or HubOptions()
    file = find_model(model, options, allow_pickle=allow_pickle)
    reopen = None
    if vision_tower is None:
        reopen = reopening(open_image_tower, file.origin, options, allow_pickle=allow_pickle)
    return LoadedTower(ImageEngine(file.image(vision_tower)), file.facts, reopen)


def _warn_of_rounding(file: ModelFile, info: dict[str, Any]) -> None:
    """Warn if a checkpoint may be a SatCLIP checkpoint under another name."""
    unknown = file.origin.source == "checkpoint" and file.licence is None
    if unknown and (info.get("legendre_polys") or 0) >= ROUNDING_MATTERS_FROM:
        warnings.warn(
            f"{file.origin.name} was read with exact harmonics. If SatCLIP's own code trained it, "
            "pass harmonics='published', which reproduces the rounding of its harmonics; pass "
            "harmonics='exact' to silence this.",
            UserWarning,
            stacklevel=5,
        )


def open_backbone(name: str, embed_dim: int = 256, options: HubOptions | None = None) -> nn.Module:
    """Open a vision tower to train from: MoCo weights from the hub and a new last layer.

    Parameters
    ----------
    name : str
        A hub repository of :data:`~skgeo_embed.models.registry.BACKBONES`, such as
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
    check_finite(weights, backbone.file)
    missing, unexpected = tower.load_state_dict(weights, strict=False)
    if unexpected or set(missing) - new:
        raise ModelFormatError(
            f"{backbone.file} does not fit {backbone.architecture}: missing "
            f"{sorted(set(missing) - new)[:4]}, unexpected {list(unexpected)[:4]}."
        )
    return tower


def accepted_models() -> str:
    """Say in a sentence what may be passed as `model`."""
    return (
        f"a bundled name ({', '.join(map(repr, BUNDLED))}), a SatCLIP checkpoint's "
        f"({', '.join(map(repr, SATCLIP_CHECKPOINTS))}, or its hub repository such as "
        "'microsoft/SatCLIP-ViT16-L40'), any hub repository or folder written by save_pretrained "
        "(config.json + model.safetensors), the path of a Lightning .ckpt file, or a "
        "skgeo_embed.nn.location.LocationEncoder module"
    )


def _module_sha256(module: nn.Module) -> str:
    """Hash of a module's class, description and weights."""
    config = getattr(module, "config", {})
    described = sorted(config.items()) if isinstance(config, dict) else config
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    if any(tensor.is_meta for tensor in module.state_dict().values()):
        raise TypeError(f"the {type(module).__name__} is on the device meta and holds no weights.")
    if type(module) is not LocationEncoder:
        kind += f":{id(type(module))}"  # a class may be defined anew under its name
    elif runs_own_code(module):
        kind += f":{id(module)}"
    digest = hashlib.sha256(f"{kind}{described!r}".encode())
    _add_tensors(digest, module)
    return digest.hexdigest()


def _add_tensors(digest: Any, module: nn.Module) -> None:
    for key, value in sorted(module.state_dict().items()):
        digest.update(f"{key}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())


def _not_found_message(name: str, path: Path) -> str:
    if path.is_dir():
        found = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
        return f"the folder {name!r} holds no encoder (found: {found}); pass {accepted_models()}."
    if name in THIRD_PARTY:
        encoder = THIRD_PARTY[name].encoder
        return f"{name!r} is a third-party encoder: use {encoder} instead of SatCLIPEncoder."
    repositories = [checkpoint.repository for checkpoint in SATCLIP_CHECKPOINTS.values()]
    known = [*BUNDLED, *SATCLIP_CHECKPOINTS, *repositories]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? Otherwise " if close else ""
    return f"no encoder is named {name!r}; {hint}pass {accepted_models()}."
