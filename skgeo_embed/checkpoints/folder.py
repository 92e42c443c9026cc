"""Folders written by this library: config.json + model.safetensors + README.md.

The weights carry the location tower under ``location.``, the image tower under ``image.`` and
``logit_scale``; safetensors maps the file, so one tower is read without the other.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skgeo_embed._errors import ModelFormatError

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
FORMAT_VERSION = 1


def is_model_folder(path: Path) -> bool:
    """Say whether `path` holds an encoder in this library's format."""
    return (path / CONFIG_NAME).is_file() and (path / WEIGHTS_NAME).is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """Read and check config.json."""
    path = folder / CONFIG_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelFormatError(f"{path} is not valid JSON: {error}") from error
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
    return config


def read_weights(folder: Path, prefix: str) -> dict[str, Tensor]:
    """Read the tensors whose key begins with `prefix`, without it."""
    from safetensors import SafetensorError, safe_open

    path = folder / WEIGHTS_NAME
    try:
        with safe_open(path, framework="pt") as file:
            keys = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118
            return {key.removeprefix(prefix): file.get_tensor(key) for key in keys}
    except SafetensorError as error:
        raise ModelFormatError(
            f"{path} is not a complete safetensors file ({error}); it may have been cut off while "
            "it was copied: fetch or save it again."
        ) from error


def write_folder(
    folder: Path, config: dict[str, Any], weights: dict[str, Tensor], card: str
) -> None:
    """Write the three files, each under a temporary name first; config.json comes last."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    config = {"library": "skgeo_embed", "format_version": FORMAT_VERSION, **config}
    contiguous = {key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()}
    write_atomically(folder / WEIGHTS_NAME, save(contiguous, metadata={"format": "pt"}))
    write_atomically(folder / CARD_NAME, card.encode("utf-8"))
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / CONFIG_NAME, text.encode("utf-8"))


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file beside `path`, then rename it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes files that only their owner reads
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
