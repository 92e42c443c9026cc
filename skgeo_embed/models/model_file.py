"""The interface of models in every format, and how towers are built from tensors."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skgeo_embed._errors import ModelFormatError
from skgeo_embed._files import file_sha256, file_state
from skgeo_embed.models.checks import as_format_error, check_finite, check_output, network_sizes
from skgeo_embed.models.folder import WEIGHTS_NAME
from skgeo_embed.models.towers import CUSTOM, build_tower
from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.nn.inference.engine import runs_own_code
from skgeo_embed.nn.location import EncodedNetwork, LocationEncoder
from skgeo_embed.nn.vision.small_cnn import ProjectedTower


@dataclass(frozen=True)
class Origin:
    """Where a model's files are, found once.

    Attributes
    ----------
    source : {"bundled", "folder", "checkpoint", "hub", "package", "module"}
        How it was named.
    name : str
        The name or the file's name.
    path : Path or None
        A folder in this library's format, or a file; None for a module in memory.
    sha256 : str
        Hash of the weights.
    revision : str or None
        The hub's commit.
    state : tuple or None
        What tells whether the weights' file is still the one that was hashed; None for a module.
    """

    source: str
    name: str
    path: Path | None
    sha256: str
    revision: str | None = None
    state: tuple[int, ...] | None = field(default=None, repr=False, compare=False)

    @property
    def file(self) -> Path:
        """The path of a model that is not a module."""
        if self.path is None:
            raise ValueError(f"{self.name} is a module in memory, which has no path.")
        return self.path

    def is_unchanged(self) -> bool:
        """Say whether the weights' file is there and holds what it held."""
        weights = self.file / WEIGHTS_NAME if self.file.is_dir() else self.file
        if not weights.is_file():
            return False
        return file_state(weights) == self.state or file_sha256(weights) == self.sha256

    @contextmanager
    def as_found(self) -> Iterator[None]:
        """Raise if the file that was read is no longer the file that was hashed."""
        yield
        if not self.is_unchanged():
            raise ModelFormatError(
                f"{self.file} was replaced or changed while it was read, after its hash had been "
                f"taken ({self.sha256[:12]}…); fit again when no program writes to it."
            )

    def facts(self) -> dict[str, Any]:
        """Return the facts that `encoder_info_` shows."""
        return {
            "name": self.name,
            "source": self.source,
            "path": None if self.path is None or self.source == "bundled" else str(self.path),
            "revision": self.revision,
            "sha256": self.sha256,
        }


def local_origin(source: str, name: str, path: Path) -> Origin:
    """Take the hash of a file."""
    state = file_state(path)  # before the hash, so that a write during hashing shows as a change
    return Origin(source, name, path, file_sha256(path), state=state)


class ModelFile(ABC):
    """A model that was found and described. Its towers are read on demand."""

    origin: Origin
    licence: str | None = None
    trained_on: str | None = None
    default_layer: str = "embedding"
    harmonics: str = "exact"  # what its weights were trained with
    details: dict[str, Any]  # further facts about its training
    description: dict[str, Any] | None = None  # of the location tower, beside the weights' hash

    @property
    def facts(self) -> dict[str, Any]:
        """Name, source, path, revision, sha256, licence and training data."""
        return {**self.origin.facts(), "licence": self.licence, "trained_on": self.trained_on}

    @abstractmethod
    def location(self, harmonics: str) -> EncodedNetwork:
        """Build the location tower, with "exact" or "published" harmonics."""

    def image(self, vision_tower: nn.Module | None = None) -> nn.Module:
        """Build the image tower, or load its weights into a copy of the user's module."""
        raise ModelFormatError(
            f"{self.origin.path or self.origin.name} holds a location tower only, images cannot be "
            "encoded with it."
        )

    def content(self) -> ContentLayers | None:
        """Read the content layers that it was made of, if the file has them."""
        return None

    def logit_scale(self) -> float:
        """Return the logarithm of the inverse temperature."""
        raise ModelFormatError(
            f"{self.origin.path or self.origin.name} holds no logit_scale, so it is not a "
            "two-tower model."
        )


def build_location(
    config: dict[str, Any], weights: dict[str, Tensor], harmonics: str, where: str | Path
) -> LocationEncoder:
    """Build a location tower from its description and tensors, which must fit each other."""
    with as_format_error(where, "a location encoder"):
        config = dict(config)
        _check_sizes(config, weights, where)
        if config.get("positional_encoding", "sphericalharmonics") == "sphericalharmonics":
            config["harmonics"] = harmonics
        calculation = config.get("harmonics_calculation", "analytic")
        if harmonics == "published" and calculation != "analytic":
            raise ModelFormatError(
                f"harmonics='published' is the rounding of the 'analytic' harmonics, but the "
                f"encoder in {where} uses {calculation!r} ones; pass harmonics='exact'."
            )
        try:
            with torch.device("meta"):  # no memory or random numbers for weights that are replaced
                module = LocationEncoder(**config)
            module.load_state_dict(weights, assign=True)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelFormatError(
                f"the encoder in {where} cannot be opened: its description and its tensors are not "
                f"those of one network ({error})."
            ) from error
        check_finite(weights, where)
        scale = torch.tensor(module.hidden_scale)
        check_finite({"hidden_scale": scale}, where)
        if module.dtype in (torch.float16, torch.bfloat16):
            module.nnet.float()
        check_location_output(module, where)
    return module


def check_location_output(module: EncodedNetwork, where: str | Path) -> None:
    """Refuse a location tower whose output overflows, for positions of a usual size."""
    encoding: Any = module.posenc
    content = getattr(encoding, "content", None)
    width = encoding.embedding_dim + (0 if content is None else content.embedding_dim)
    positions = torch.linspace(0, 97 * width, 4 * width).sin().view(4, width)

    def outputs(nnet: Any) -> Iterator[Tensor]:
        yield nnet(positions)
        if hasattr(nnet, "hidden"):
            yield nnet.hidden(positions) * module.hidden_scale

    check_output(module.nnet, outputs, where)


def _check_sizes(config: dict[str, Any], weights: dict[str, Tensor], where: str | Path) -> None:
    """Compare a description with the tensors before anything of its sizes is built."""
    found = network_sizes(weights, where)
    dim_in = found.pop("dim_in") - _detail_columns(config, weights, where)
    if found["network"] in ("fcnet", "linear"):
        del found["num_hidden_layers"]  # they have as many as they have
    if found["network"] == "linear":
        del found["hidden_dim"]
    for key, value in found.items():
        said = config.get(key, value)
        if said != value:
            raise ModelFormatError(
                f"the encoder in {where} cannot be opened: its description and its tensors are not "
                f"those of one network ({key} is {said!r} in the description, {value!r} in the "
                "tensors)."
            )
    size = config.get("legendre_polys")
    kind = config.get("positional_encoding", "sphericalharmonics")
    if kind == "sphericalharmonics" and size is not None and size**2 != dim_in:
        raise ModelFormatError(
            f"the encoder in {where} cannot be opened: its description and its tensors are not "
            f"those of one network (L = {size!r} makes {size**2} columns, the first layer takes "
            f"{dim_in})."
        )


def build_content(
    description: dict[str, Any], weights: dict[str, Tensor], where: str | Path
) -> ContentLayers:
    """Build content columns from their description and layers, which must fit each other."""
    with as_format_error(where, "content layers"):
        check_finite(weights, where)
        try:
            if not isinstance(description.get("contrasts") or {}, dict):
                raise ValueError("its contrasts are not a dict")
            with torch.device("meta"):
                content = ContentLayers(**description)
            content.load_state_dict(weights, assign=True)
            content.check_values()
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            cause = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
            raise ModelFormatError(
                f"the content columns in {where} cannot be opened: their description and their "
                f"layers do not fit each other ({cause[:400].rstrip('.')})."
            ) from error
    return content


def content_of(location: nn.Module) -> ContentLayers | None:
    """Return the content layers of a location encoder in memory, if it knows them."""
    posenc = getattr(location, "posenc", None)
    grid = getattr(posenc, "grid", None)
    content: ContentLayers | None = grid.content if isinstance(grid, FeatureGrid) else None
    return getattr(posenc, "content", None) if content is None else content


def location_tensors(location: nn.Module, content: ContentLayers | None) -> dict[str, Tensor]:
    """Return the tensors of a location tower and its content for a file, which holds them once."""
    own = location.state_dict()
    tensors = {f"location.{k}": v for k, v in own.items() if not k.startswith("posenc.content.")}
    of_content = {} if content is None else content.state_dict()
    return {**tensors, **{f"content.{key}": value for key, value in of_content.items()}}


def build_image_tower(
    description: dict[str, Any],
    weights: dict[str, Tensor],
    vision_tower: nn.Module | None,
    where: str | Path,
) -> nn.Module:
    """Build an image tower from its description, or load its weights into the user's module."""
    with as_format_error(where, "an image tower"):
        check_finite(weights, where)
        projected = description.get("projected")
        if projected is None:  # folders of version 0.1 do not say
            projected = vision_tower is not None and "head.weight" in weights
            projected = projected and any(key.startswith("tower.") for key in weights)
        if vision_tower is None:
            if description.get("architecture") == CUSTOM:
                raise ModelFormatError(
                    f"the image tower in {where} is a module of your own "
                    f"({description.get('class')}), which a file cannot rebuild; build it and pass "
                    "it as SatCLIPImageEncoder(model, vision_tower=module), its weights are loaded "
                    "into it."
                )
            _check_counts(description, max(len(weights), 64), where)
            with torch.device("meta"):
                tower = build_tower(description)
        else:
            tower = copy.deepcopy(vision_tower).cpu()
            if projected:
                embed_dim, dim_in = weights["head.weight"].shape
                tower = ProjectedTower(tower, dim_in, embed_dim)
        try:
            tower.load_state_dict(weights, assign=vision_tower is None)
        except RuntimeError as error:
            raise ModelFormatError(
                f"the image tower's weights in {where} do not fit the module "
                f"{type(tower).__name__}: {error}"
            ) from error
    tower = tower.float().eval()
    if vision_tower is None:
        built: Any = tower.config
        size, channels = built.get("image_size", 64), built.get("in_channels", 13)
        pixels = torch.linspace(0, 997, size * size * channels).sin().view(1, channels, size, size)
        check_output(tower, lambda it: [it(pixels)], where)
    return tower


def _check_counts(description: dict[str, Any], most: int, where: str | Path) -> None:
    """Refuse a depth that needs more tensors than there are, before so many layers are built."""
    for key, value in description.items():
        values = value if isinstance(value, list) else [value]
        deep = sum(v for v in values if isinstance(v, int)) if key in ("depth", "depths") else 0
        if len(values) > most or deep > most:
            raise ModelFormatError(
                f"the image tower in {where} cannot be built: {key}={str(value)[:60]} asks for "
                "more layers than there are tensors."
            )


DETAILS = {  # of encodings beside the harmonics: the table, and its lengths in a description
    "feature_grid": ("posenc.grid.values", ("height", "width", "channels")),
    "fine_waves": ("posenc.waves.phases", ("count",)),
}


def _detail_columns(config: dict[str, Any], weights: dict[str, Tensor], where: str | Path) -> int:
    """Count the columns beside the harmonics; the description must fit the tables."""
    columns = 0
    for name, (key, lengths) in DETAILS.items():
        described, table = config.get(name), weights.get(key)
        if described is None and table is None:
            continue
        found = None if table is None else tuple(table.shape)
        said = tuple(dict(described or {}).get(length) for length in lengths)
        if found != said:
            raise ModelFormatError(
                f"the encoder in {where} cannot be opened: its description and its tensors are not "
                f"those of one network ({name} of {said} in the description, {found} in the "
                "tensors)."
            )
        columns += int(said[-1])
    return columns


class ModuleModel(ModelFile):
    """Modules in memory: a location encoder, a vision tower, or both with their temperature."""

    def __init__(self, module: nn.Module, sha256: str) -> None:
        from skgeo_embed.nn.two_tower import SatCLIP

        self.origin = Origin("module", type(module).__name__, None, sha256)
        self.details = {}
        self._location = self._visual = module
        self._logit_scale: Tensor | None = None
        if isinstance(module, SatCLIP):
            self._location, self._visual = module.location, module.visual
            self._logit_scale = module.logit_scale
        if isinstance(self._location, LocationEncoder):
            self.harmonics = str(self._location.config.get("harmonics", "exact"))

    def location(self, harmonics: str) -> LocationEncoder:
        """Copy the location encoder."""
        module = self._location
        if not isinstance(module, LocationEncoder):
            raise TypeError(
                f"model is a {type(module).__name__}; a module must be a "
                "skgeo_embed.nn.location.LocationEncoder."
            )
        check_finite(module.state_dict(), type(module).__name__)
        if type(module) is not LocationEncoder or runs_own_code(module):
            if harmonics != self.harmonics:
                raise ValueError(
                    f"harmonics={harmonics!r}, but {type(module).__name__} is a class of your own; "
                    'pass harmonics="auto", and choose the harmonics when you build it.'
                )
            return copy.deepcopy(module).cpu()
        state = {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
        return build_location(module.config, state, harmonics, "memory")

    def content(self) -> ContentLayers | None:
        """Return the layers that its feature grid was made of."""
        return content_of(self._location)

    def image(self, vision_tower: nn.Module | None = None) -> nn.Module:
        """Copy the vision tower."""
        check_finite(self._visual.state_dict(), type(self._visual).__name__)
        return copy.deepcopy(self._visual).cpu().eval()

    def logit_scale(self) -> float:
        """Return the model's."""
        if self._logit_scale is None:
            return super().logit_scale()
        return float(self._logit_scale.detach())
