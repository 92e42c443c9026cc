"""Location encoders of other authors, in the files that they published."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError, warn_caller
from skgeo_embed._files import file_sha256
from skgeo_embed.models.folder import WEIGHTS_NAME, read_safetensors
from skgeo_embed.models.hub import HubOptions, fetch, is_hub_id
from skgeo_embed.models.lightning_file import read_tensors
from skgeo_embed.models.model_file import Origin
from skgeo_embed.models.parsing import check_finite, named_path, parsing
from skgeo_embed.models.registry import OTHERS, OtherEncoder
from skgeo_embed.models.sharing import LoadedEncoder, share_engine
from skgeo_embed.nn.location import EncodedNetwork

Build = Callable[[dict[str, Tensor]], EncodedNetwork]


def open_original(
    model: Any,
    options: HubOptions,
    *,
    build: Build,
    prefixes: tuple[str, ...],
    known: str,
) -> LoadedEncoder:
    """Open another author's encoder: a name, a hub repository, a folder or a file.

    Parameters
    ----------
    model : str or path-like
        What names it.
    options : HubOptions
        How to fetch.
    build : callable
        Makes the network of the tensors, whose names it is given without the prefix.
    prefixes : tuple of str
        Of the tower's tensors, the first that is there; others are not read.
    known : str
        The name in the registry of what this layout is known from.
    """
    published = OTHERS[known]
    origin, described = _find(model, published, options)
    assert origin.path is not None
    file = origin.path
    engine = share_engine(
        origin.sha256,
        published.encoder,
        lambda: build_from_file(file, build, prefixes, f"an encoder for {published.encoder}"),
    )
    licence = None if described is None else described.licence
    trained_on = None if described is None else described.trained_on
    if described is not None and licence is None:
        warn_of_licence(described.name, described.repository)
    info = {**origin.facts(), "licence": licence, "trained_on": trained_on, **engine.module.config}
    reopen = None
    if origin.source == "hub":
        pinned = replace(options.without_token(), revision=origin.revision)
        reopen = partial(
            open_original, str(model), pinned, build=build, prefixes=prefixes, known=known
        )
    return LoadedEncoder(engine, published.encoder, info, reopen=reopen)


@cache
def warn_of_licence(name: str, repository: str) -> None:
    """Say, once, that nobody says what a model's licence is."""
    warn_caller(
        f"nobody says under which licence the weights of {name!r} may be used ({repository} on the "
        "hub has none); ask their authors before you share them or what you make of them.",
        UserWarning,
    )


def _find(
    model: Any, known: OtherEncoder, options: HubOptions
) -> tuple[Origin, OtherEncoder | None]:
    """Find the weights' file, and what the registry knows of it."""
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(f"model must be text or a path, got {type(model).__name__}; {_help(known)}")
    name = str(model)
    path = named_path(model)
    if path.is_dir():
        file = next((path / f for f in _file_names(known) if (path / f).is_file()), None)
        if file is None:
            raise ModelNotFoundError(
                f"the folder {name!r} holds no {' and no '.join(_file_names(known))}; "
                f"{_help(known)}"
            )
        return Origin("folder", path.name, file.resolve(), file_sha256(file)), None
    if path.is_file():
        return Origin("checkpoint", path.name, path.resolve(), file_sha256(path)), None
    named = OTHERS.get(name) or next(
        (o for o in _of(known.encoder) if o.repository.lower() == name.lower()), None
    )
    if named is not None and named.encoder != known.encoder:
        raise ModelNotFoundError(f"{name!r} is opened by {named.encoder}; {_help(known)}")
    if named is None and not is_hub_id(name):
        raise ModelNotFoundError(f"there is no {name!r}; {_help(known)}")
    repository, filename = (named.repository, named.file) if named else (name, WEIGHTS_NAME)
    found = fetch(repository, filename, options)
    return Origin("hub", name, found.path, found.sha256, found.commit), named


def _of(encoder: str) -> list[OtherEncoder]:
    return [other for other in OTHERS.values() if other.encoder == encoder]


def _file_names(known: OtherEncoder) -> list[str]:
    return list(dict.fromkeys([*(other.file for other in _of(known.encoder)), WEIGHTS_NAME]))


def _help(known: OtherEncoder) -> str:
    names = ", ".join(f"{o.name!r} ({o.repository} on the hub)" for o in _of(known.encoder))
    return (
        f"pass {names}, another hub repository or a folder with its weights, or the path of a "
        ".safetensors, .pt, .pth or .ckpt file."
    )


def build_from_file(
    file: Path, build: Build, prefixes: tuple[str, ...], what: str
) -> EncodedNetwork:
    """Build the network of a file's tensors; whatever is wrong with them, the file is named."""
    with parsing(file, what):
        weights = _read_tower(file, prefixes)
        check_finite(weights, file)
        try:
            return build(weights)
        except KeyError as error:
            raise ModelFormatError(
                f"{file} holds no {error}, which {what} needs; it begins with "
                f"{sorted(weights)[:4]}."
            ) from error


def _read_tower(file: Path, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """Read the tensors that begin with the first prefix that is there, without it."""
    if file.suffix == ".safetensors":
        return read_safetensors(file, lambda keys: _prefix(keys, prefixes, file))
    content: Mapping[str, Any] = read_tensors(file)
    content = content.get("state_dict", content)
    prefix = _prefix(list(content), prefixes, file)
    return {
        key.removeprefix(prefix): value
        for key, value in content.items()
        if key.startswith(prefix) and isinstance(value, torch.Tensor)
    }


def _prefix(keys: list[str], prefixes: tuple[str, ...], file: Path) -> str:
    for prefix in prefixes:
        if any(key.startswith(prefix) for key in keys):
            return prefix
    raise ModelFormatError(
        f"{file} holds no tensors that begin with {' or '.join(map(repr, prefixes))}; it begins "
        f"with {keys[:4]}."
    )
