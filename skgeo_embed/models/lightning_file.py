"""Checkpoints of SatCLIP and of this library's runs, in the same format."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skgeo_embed._errors import ModelFormatError
from skgeo_embed.models.checks import (
    as_format_error,
    check_claims,
    check_zip,
    checked_logit_scale,
    network_sizes,
)
from skgeo_embed.models.model_file import ModelFile, Origin, build_image_tower, build_location
from skgeo_embed.models.registry import SatCLIPCheckpoint
from skgeo_embed.models.towers import tower_of_checkpoint
from skgeo_embed.nn.encodings import PARAMETERS
from skgeo_embed.nn.location import LocationEncoder

_LOCATION_PREFIXES = ("model.location.nnet.", "model.nnet.", "location.nnet.", "nnet.")
LOCATION_KEY = "skgeo_embed_location"  # of a checkpoint: the location tower's configuration
TOWER_KEY = "skgeo_embed_image"  # the image tower's description, and its weights if it is frozen
_VISUAL_PREFIX = "model.visual."
TRUST = (
    "If you trust who made it, pass allow_pickle=True; better, ask for a file written by "
    "save_pretrained."
)


class LightningModel(ModelFile):
    """A SatCLIP checkpoint, which is read when its first tower is built."""

    def __init__(
        self, origin: Origin, known: SatCLIPCheckpoint | None, *, allow_pickle: bool
    ) -> None:
        self.origin = origin
        self._path = origin.file
        self._known = known
        self._allow_pickle = allow_pickle
        self._content: dict[str, Any] | None = None
        self.details = {}
        if known is not None:
            self.licence, self.trained_on = known.licence, "S2-100K"
            self.harmonics = known.harmonics

    def location(self, harmonics: str) -> LocationEncoder:
        """Build the location tower."""
        with self.origin.as_found(), as_format_error(self._path, "a Lightning checkpoint"):
            config, weights = location_of_checkpoint(self._read(), self._path)
            self._check_name(config)
            # read from the map into memory of their own: the file may go away
            weights = {key: value.clone() for key, value in weights.items()}
        return build_location(config, weights, harmonics, self._path)

    def image(self, vision_tower: nn.Module | None = None) -> nn.Module:
        """Build the image tower."""
        with self.origin.as_found(), as_format_error(self._path, "a Lightning checkpoint"):
            description, weights = vision_of_checkpoint(
                self._read(), self._path, own=vision_tower is not None
            )
            weights = {key: value.clone() for key, value in weights.items()}
        return build_image_tower(description, weights, vision_tower, self._path)

    def logit_scale(self) -> float:
        """Read the temperature."""
        scale = self._read()["state_dict"].get("model.logit_scale")
        if scale is None:
            return super().logit_scale()
        return checked_logit_scale(scale, self._path)

    def _read(self) -> dict[str, Any]:
        if self._content is None:
            self._content = read_checkpoint(self._path, allow_pickle=self._allow_pickle)
        return self._content

    def _check_name(self, config: dict[str, Any]) -> None:
        """Compare a checkpoint with what the registry knows by its name; it may be renamed."""
        found = config.get("legendre_polys")
        if self._known is not None and found != self._known.legendre_polys:
            raise ModelFormatError(
                f"{self._path} is named like {self._known.name}, whose L is "
                f"{self._known.legendre_polys}, but holds an encoder with L = {found}; rename "
                "it."
            )


def read_checkpoint(
    path: Path, *, allow_pickle: bool = False, advice: str = TRUST
) -> dict[str, Any]:
    """Read a Lightning checkpoint; tensors are mapped from the file, not read.

    Parameters
    ----------
    path : Path
        The file.
    allow_pickle : bool, default=False
        Run whatever code the file contains. Only for files from people you trust.
    advice : str
        What to do about a file that holds objects which need code from it.

    Raises
    ------
    ModelFormatError
        If the file is damaged, is not a checkpoint, or, without `allow_pickle`, holds objects
        that need code from the file to be rebuilt.
    """
    mapped = False
    try:
        # only zip files, which torch writes since 1.6, can be mapped
        mapped = zipfile.is_zipfile(path)
        if mapped:
            check_zip(path)
        content = torch.load(path, map_location="cpu", weights_only=not allow_pickle, mmap=mapped)
    except Exception as error:  # torch raises almost anything, UnboundLocalError among it
        unsafe = re.search(r"GLOBAL (\S+)", str(error))
        if unsafe:
            raise ModelFormatError(_unsafe_message(path, unsafe.group(1), advice)) from error
        if not mapped:
            raise ModelFormatError(_foreign_message(path)) from error
        cause = _first_line(error)
        raise ModelFormatError(
            f"{path} is not a complete torch checkpoint ({cause}); it may have "
            "been cut off while it was downloaded or copied: fetch it again."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise ModelFormatError(
            f"{path} is a torch file but not a Lightning checkpoint: it has no state_dict."
        )
    if not all(isinstance(key, str) for key in content["state_dict"]):
        raise ModelFormatError(
            f"{path} is not a Lightning checkpoint: its state_dict has names that are not text."
        )
    check_claims(content, path)
    return content


def read_tensors(path: Path) -> dict[str, Any]:
    """Read a plain torch file without running code from it."""
    try:
        if zipfile.is_zipfile(path):
            check_zip(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost anything
        raise ModelFormatError(
            f"{path} was not opened: it is damaged, or holds objects that only running code from "
            f"the file could rebuild ({type(error).__name__}: {_first_line(error)}). Fetch it "
            "again."
        ) from error
    if not isinstance(content, dict):
        raise ModelFormatError(f"{path} holds a {type(content).__name__}, not a dict of tensors.")
    check_claims(content, path)
    return content


def location_of_checkpoint(
    content: dict[str, Any], path: Path
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the location tower's config and weights; sizes come from the tensors."""
    state = content["state_dict"]
    described = content.get(LOCATION_KEY)
    if isinstance(described, dict):  # written by this library: the whole tower, described
        return described, _tensors(state, "model.location.")
    prefix = next((p for p in _LOCATION_PREFIXES if any(k.startswith(p) for k in state)), None)
    if prefix is None:
        raise ModelFormatError(
            f"{path} holds no location network (no key begins with "
            f"{' or '.join(map(repr, _LOCATION_PREFIXES[:2]))}); it begins with {list(state)[:4]}."
        )
    weights = {f"nnet.{key}": value for key, value in _tensors(state, prefix).items()}
    hyper = _hyper_parameters(content)
    sizes = network_sizes(weights, path)
    config = {**_encoding_config(hyper, sizes.pop("dim_in"), path), **sizes}
    _compare(hyper, config, path)
    return config, weights


def vision_of_checkpoint(
    content: dict[str, Any], path: Path, *, own: bool = False
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the image tower's config, unless the module is the user's own, and weights."""
    state = content["state_dict"]
    weights = _tensors(state, _VISUAL_PREFIX)
    described = content.get(TOWER_KEY)
    if isinstance(described, dict):  # written by this library
        apart = described["weights"]  # the weights of a frozen tower, or None
        return dict(described["description"]), weights if apart is None else _tensors(apart, "")
    if not weights:
        raise ModelFormatError(f"{path} holds no image tower (no key begins with 'model.visual.').")
    if own:  # the user's own module needs no description
        return {}, weights
    hyper = _hyper_parameters(content)
    return tower_of_checkpoint(hyper.get("vision_layers"), weights), weights


def _tensors(state: Any, prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    if not isinstance(state, dict):
        raise ValueError(f"weights are a {type(state).__name__}, not a dict of tensors")
    return {
        key.removeprefix(prefix): value
        for key, value in state.items()
        if key.startswith(prefix) and isinstance(value, Tensor)
    }


def _hyper_parameters(content: dict[str, Any]) -> dict[str, Any]:
    hyper = content.get("hyper_parameters") or {}
    return dict(hyper) if isinstance(hyper, dict) else dict(vars(hyper))


def _encoding_config(hyper: dict[str, Any], dim_in: int, path: Path) -> dict[str, Any]:
    kind = str(hyper.get("le_type", "sphericalharmonics")).lower()
    if kind == "sphericalharmonics":
        legendre_polys = round(dim_in**0.5)
        if legendre_polys**2 != dim_in:
            raise ModelFormatError(
                f"{path}: the first layer takes {dim_in} columns, not a square number, so it "
                "cannot follow spherical harmonics."
            )
        return {
            "positional_encoding": kind,
            "legendre_polys": legendre_polys,
            "harmonics_calculation": hyper.get("harmonics_calculation", "analytic"),
        }
    theirs = {"n_frequencies": "frequency_num", "min_radius": "min_radius",
              "max_radius": "max_radius"}  # fmt: skip
    needed = [theirs[name] for name in PARAMETERS.get(kind, theirs)]
    lost = [name for name in needed if name not in hyper]
    if lost:
        raise ModelFormatError(
            f"{path}: the hyper-parameters say le_type={kind!r} and not {', '.join(lost)}, without "
            "which places are encoded in another way; use the checkpoint as it was written."
        )
    return {
        "positional_encoding": kind,
        "n_frequencies": hyper.get("frequency_num", 16),
        "min_radius": hyper.get("min_radius", 1),
        "max_radius": hyper.get("max_radius", 360),
    }


def _compare(hyper: dict[str, Any], config: dict[str, Any], path: Path) -> None:
    """Refuse a file if its hyper-parameters and its tensors disagree."""
    names = {"embed_dim": "embed_dim", "legendre_polys": "legendre_polys", "pe_type": "network"}
    if config["network"] in ("siren", "mlp"):
        names["num_hidden_layers"] = "num_hidden_layers"
    if config["network"] != "linear":
        names["capacity"] = "hidden_dim"
    for theirs, ours in names.items():
        said, found = hyper.get(theirs), config.get(ours)
        if said is not None and found is not None and said != found:
            raise ModelFormatError(
                f"{path}: the hyper-parameters say {theirs}={said!r}, the tensors {found!r}; the "
                "file was put together from different models."
            )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]


def _foreign_message(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(60)
    what = f"it begins with {start!r}" if start else "it is empty"
    if start.startswith(b"PK"):
        what = "it is an incomplete zip file, cut off while it was downloaded: fetch it again"
    elif start.startswith(b"version https://git-lfs"):
        what = "it is a git-lfs pointer: fetch the file itself, with git lfs pull"
    elif start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        what = "it is a web page: fetch the file itself, from its download link"
    return f"{path} is not a torch checkpoint: {what}."


def _unsafe_message(path: Path, name: str, advice: str) -> str:
    return (
        f"{path} was not opened: it holds an object of type {name} that torch can only rebuild by "
        f"running code from the file, which could do anything on this machine. {advice}"
    )
