"""Files of third-party encoders: found by name or path, and opened in one way."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from skgeo_embed._errors import ModelNotFoundError, warn_caller
from skgeo_embed.models.checks import as_format_error, check_finite, named_path
from skgeo_embed.models.folder import CONFIG_NAME, WEIGHTS_NAME, read_safetensors
from skgeo_embed.models.hub import HubFile, HubOptions, fetch, is_hub_id
from skgeo_embed.models.lightning_file import read_tensors
from skgeo_embed.models.loaded import LoadedEncoder, load_encoder, reopening
from skgeo_embed.models.model_file import (
    ModelFile,
    Origin,
    check_location_output,
    local_origin,
)
from skgeo_embed.models.registry import (
    ThirdPartyRow,
    find_third_party,
    row_of_hash,
    third_party_rows,
)
from skgeo_embed.nn.location import EncodedNetwork


@dataclass(frozen=True)
class Layout:
    """How the files of a third-party encoder are found, and how its network is built from one.

    Attributes
    ----------
    encoder : str
        The class that opens them, as in the registry.
    build : callable
        Makes the network from the tensors, by their names without the prefix. It raises
        ValueError or KeyError if they do not fit.
    prefixes : tuple of str
        What the names of the tensors begin with: the first prefix that is in the file counts,
        and tensors of other names are not read.
    params : bool
        Whether `build` is also given what the file says under "params".
    variant : str
        What tells apart networks that are built in several ways from one file.
    check_config : callable or None
        Checks config.json, given its folder, before the weights are read or fetched.
    """

    encoder: str
    build: Callable[..., EncodedNetwork]
    prefixes: tuple[str, ...] = ("",)
    params: bool = False
    variant: str = ""
    check_config: Callable[[Path], None] | None = None

    def open(self, model: Any, options: HubOptions | None = None) -> LoadedEncoder:
        """Open what `model` names: a short name, a hub repository, a folder or a file.

        Raises
        ------
        ModelNotFoundError, ModelAccessError, ModelDownloadError
            If its file cannot be had.
        ModelFormatError
            If the file cannot be read.
        """
        options = options or HubOptions()
        origin, row = _find(model, self, options)
        file = ThirdPartyModel(origin, self, row)
        loaded = load_encoder(
            file,
            f"{self.encoder} {self.variant}",
            file.location,
            reopen=reopening(self.open, file.origin, options),
        )
        if row is not None and row.licence is None:
            warn_of_licence(row)
        return loaded


class ThirdPartyModel(ModelFile):
    """The location encoder in a third party's file."""

    def __init__(self, origin: Origin, layout: Layout, row: ThirdPartyRow | None) -> None:
        self.origin, self._path, self._layout = origin, origin.file, layout
        self.details = {}
        if row is not None:
            self.licence, self.trained_on = row.licence, row.trained_on

    def location(self, harmonics: str = "exact") -> EncodedNetwork:
        """Build the network."""
        layout = self._layout
        with as_format_error(self._path, f"an encoder for {layout.encoder}"):
            with self.origin.as_found():
                weights, params = _read_tower(self._path, layout.prefixes)
            check_finite(weights, self._path)
            network = layout.build(weights, params) if layout.params else layout.build(weights)
            check_location_output(network, self._path)
            return network


@cache
def warn_of_licence(row: ThirdPartyRow) -> None:
    """Say, once, that a model's weights state no licence."""
    warn_caller(
        f"the weights of {row.name!r} ({row.repository} on the hub) state no licence; ask their "
        "authors before you redistribute them or anything derived from them.",
        UserWarning,
    )


def not_found(encoder: str, what: str) -> ModelNotFoundError:
    """Return an error that says what is missing, and what may be passed to a class as its model."""
    rows = third_party_rows(encoder)
    named = [
        f"{row.name!r} ({row.obtain or f'{row.repository} on the hub'})" for row in rows if row.file
    ]
    if not named:
        return ModelNotFoundError(f"{what}; {rows[0].obtain}.")
    return ModelNotFoundError(
        f"{what}; pass {', '.join(named)}, another hub repository or a folder with its weights, or "
        "the path of a .safetensors, .pt, .pth or .ckpt file."
    )


def _find(model: Any, layout: Layout, options: HubOptions) -> tuple[Origin, ThirdPartyRow | None]:
    """Find the weights' file, and what the registry knows of it."""
    encoder, rows = layout.encoder, third_party_rows(layout.encoder)
    if model is None:
        raise not_found(encoder, f"{encoder} has no default model")
    name, path, named = str(model), named_path(model), find_third_party(str(model))
    row = named if named in rows else None
    file: Path | None
    if row is not None and row.repository is None and isinstance(model, str):
        source, file = "package", _file_in_package(row)
    else:
        source, file = "folder" if path.is_dir() else "checkpoint", _local_file(path, layout)
    if file is not None:
        origin = local_origin(source, path.name, file)
        return origin, row_of_hash(origin.sha256)
    if row is not None and row.repository is not None:
        found = fetch(row.repository, str(row.file), options)
    elif path.is_dir():
        names = " and no ".join(_file_names(layout))
        raise not_found(encoder, f"the folder {name!r} holds no {names}")
    elif named is not None:
        raise not_found(encoder, f"{name!r} is opened by {named.encoder}")
    elif is_hub_id(name) and any(row.repository for row in rows):
        found = _fetch_unknown(name, layout, options)
    else:
        raise not_found(encoder, f"there is no {name!r}")
    return Origin("hub", name, found.path, found.sha256, found.commit, found.state), row


def _file_in_package(row: ThirdPartyRow) -> Path:
    spec = importlib.util.find_spec(row.name)  # not imported: it may need more than its file
    folders = spec.submodule_search_locations if spec else None
    file = Path(folders[0]) / str(row.file) if folders else None
    if file is None or not file.is_file():
        raise not_found(row.encoder, f"the package {row.name} is not installed")
    return file


def _local_file(path: Path, layout: Layout) -> Path | None:
    """Return the file in a folder or at a path, if there is one."""
    for name in _file_names(layout):
        if (path / name).is_file():
            if layout.check_config is not None:
                layout.check_config(path)
            return (path / name).resolve()
    return path.resolve() if path.is_file() else None


def _file_names(layout: Layout) -> list[str]:
    """Names that the weights may have in a folder."""
    known = [row.file for row in third_party_rows(layout.encoder) if row.repository and row.file]
    return list(dict.fromkeys([*known, WEIGHTS_NAME]))


def _fetch_unknown(name: str, layout: Layout, options: HubOptions) -> HubFile:
    """Fetch the weights of a repository that the registry does not know."""
    if layout.check_config is not None:  # before the weights of another model
        config = fetch(name, CONFIG_NAME, options)
        layout.check_config(config.path.parent)
        options = replace(options, revision=config.commit or options.revision)
    return fetch(name, WEIGHTS_NAME, options)


def _read_tower(file: Path, prefixes: tuple[str, ...]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors that begin with the first prefix that is there, without it; and params."""
    if file.suffix == ".safetensors":
        return read_safetensors(file, lambda keys: _prefix(keys, prefixes)), {}
    content = read_tensors(file)
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise ValueError(f"its state_dict is a {type(state).__name__}, not a dict of tensors")
    if not all(isinstance(key, str) for key in state):
        raise ValueError("its state_dict has names that are not text")
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    prefix = _prefix(list(tensors), prefixes)
    weights = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    return weights, content.get("params") or {}


def _prefix(keys: list[str], prefixes: tuple[str, ...]) -> str:
    for prefix in prefixes:
        if any(key.startswith(prefix) for key in keys):
            return prefix
    raise ValueError(
        f"it has no tensors that begin with {' or '.join(map(repr, prefixes))}; it begins with "
        f"{keys[:4]}"
    )


def count_layers(weights: dict[str, Tensor], prefix: str = "") -> int:
    """Return how many numbered layers begin with a prefix."""
    rest = (key.removeprefix(prefix) for key in weights if key.startswith(prefix))
    return len({name.partition(".")[0] for name in rest})
