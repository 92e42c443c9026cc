"""Folders written by this library: config.json + model.safetensors + README.md.

The weights carry the location tower under ``location.``, the image tower under ``image.``, the
layers of content columns under ``content.`` and ``logit_scale``; safetensors maps the file, so each
is read without the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skgeo_embed._errors import ModelFormatError
from skgeo_embed._files import write_atomically
from skgeo_embed.models.checks import as_format_error
from skgeo_embed.models.packing import pack, unpack

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
FORMAT_VERSION = 1
LAYERS = ("embedding", "hidden")
DIGESTS = "sha256"  # of the weights' file, and of what describes them
LARGEST_CONFIG = 2**20  # bytes


def is_model_folder(path: Path) -> bool:
    """Say whether `path` holds an encoder in this library's format."""
    return (path / CONFIG_NAME).is_file() and (path / WEIGHTS_NAME).is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """Read and check config.json."""
    path = folder / CONFIG_NAME
    with as_format_error(path, "JSON"):
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError(f"it is {path.stat().st_size} bytes long, too long for a config")
        config = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(config, dict) or config.get("library") != "skgeo_embed":
        raise ModelFormatError(
            f"{path} was not written by skgeo_embed (its 'library' is not 'skgeo_embed'); expected "
            "a folder from save_pretrained."
        )
    version = config.get("format_version")
    if not isinstance(version, int) or (
        version <= FORMAT_VERSION and not isinstance(config.get("location"), dict)
    ):
        raise ModelFormatError(
            f"{path} is incomplete: it needs a number 'format_version' and a 'location'; found "
            f"{sorted(config)}."
        )
    if version > FORMAT_VERSION:
        raise ModelFormatError(
            f"{path} has format version {version}, this skgeo_embed reads up to "
            f"{FORMAT_VERSION}; upgrade with pip install --upgrade skgeo-embed."
        )
    _check_values(config, path)
    return config


def _check_values(config: dict[str, Any], path: Path) -> None:
    layer = config.get("default_layer", "embedding")
    if layer not in LAYERS:
        raise ModelFormatError(f"{path}: default_layer is {layer!r}, expected one of {LAYERS}.")
    for key in ("name", "licence", "trained_on"):
        if not isinstance(config.get(key), (str, type(None))):
            raise ModelFormatError(f"{path}: {key} is {config[key]!r}, expected text.")
    for key in ("image", "content"):
        if not isinstance(config.get(key), (dict, type(None))):
            raise ModelFormatError(f"{path}: {key} is {config[key]!r}, expected a description.")


def check_digests(config: dict[str, Any], weights_sha256: str, folder: Path) -> None:
    """Compare a folder with the digests in its config; folders of version 0.1 have none.

    Nothing else tells that a bit of the weights has changed, or that an entry of the description
    that has a default, such as w0, is missing.
    """
    said = config.get(DIGESTS)
    if said is None:
        return
    found = {"weights": weights_sha256, "description": _digest_of(config)}
    names = {"weights": WEIGHTS_NAME, "description": CONFIG_NAME}
    for key, value in found.items():
        if not isinstance(said, dict) or said.get(key) != value:
            raise ModelFormatError(
                f"{folder / names[key]} is not what was written with this model: the sha256 of its "
                f"{key} is {value[:12]}…, {CONFIG_NAME} says "
                f"{str(said.get(key) if isinstance(said, dict) else said)[:12]}…. It is damaged, "
                "was changed, or belongs to another model; copy or fetch all files of the folder "
                "again."
            )


def _digest_of(config: dict[str, Any]) -> str:
    """Hash the parts of a config that determine how its weights are used."""
    used = {key: config.get(key) for key in ("location", "image", "content", "default_layer")}
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()


def read_weights(
    folder: Path, prefix: str, shapes: Mapping[str, Sequence[Any]] | None = None
) -> dict[str, Tensor]:
    """Read the tensors with keys that begin with `prefix`, by their keys without it.

    `shapes` of packed tables, by their whole keys, are compared before any is unpacked.
    """
    return read_safetensors(folder / WEIGHTS_NAME, lambda keys: prefix, shapes)


def read_safetensors(
    path: Path,
    choose: Callable[[list[str]], str],
    shapes: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, Tensor]:
    """Read the tensors with a prefix, which `choose` picks from all keys, without it."""
    import safetensors

    try:
        with (
            as_format_error(path, "safetensors"),
            safetensors.safe_open(path, framework="pt") as file,
        ):
            keys = list(file.keys())
            prefix = choose(keys)
            chosen = {key: file.get_tensor(key) for key in keys if key.startswith(prefix)}
            # they lie in a map of the file, which may be replaced or cut while they are used
            chosen = {key: tensor.clone() for key, tensor in chosen.items()}
            weights = unpack(chosen, file.metadata(), shapes)
            return {key.removeprefix(prefix): value for key, value in weights.items()}
    except safetensors.SafetensorError as error:
        raise ModelFormatError(
            f"{path} is not a complete safetensors file ({error}); it may have been cut off while "
            "it was downloaded or copied: fetch it again."
        ) from error


def write_folder(
    folder: Path, config: dict[str, Any], weights: dict[str, Tensor], card: str
) -> None:
    """Write the three files, each under a temporary name first; config.json comes last."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    tensors, packed = pack(_of_their_own(weights))
    content = save(tensors, metadata={"format": "pt", **packed})
    digests = {"weights": hashlib.sha256(content).hexdigest(), "description": _digest_of(config)}
    config = {
        "library": "skgeo_embed", "format_version": FORMAT_VERSION, **config, DIGESTS: digests,
    }  # fmt: skip
    write_atomically(folder / WEIGHTS_NAME, content)
    write_atomically(folder / CARD_NAME, card.encode("utf-8"))
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / CONFIG_NAME, text.encode("utf-8"))


def _of_their_own(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors on the CPU that share no memory with each other, as safetensors asks."""
    seen: set[int] = set()
    separate = {}
    for key, tensor in weights.items():
        tensor = tensor.detach().cpu().contiguous()
        if tensor.data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(tensor.data_ptr())
        separate[key] = tensor
    return separate
