"""Compares an encoder with numbers that others printed from its real weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from skgeo_embed._errors import ModelNotFoundError
from skgeo_embed._files import file_sha256
from skgeo_embed.models.checks import named_path
from skgeo_embed.models.hub import HubOptions
from skgeo_embed.models.lightning_file import read_checkpoint
from skgeo_embed.models.loaded import LoadedEncoder
from skgeo_embed.models.opening import open_location_encoder
from skgeo_embed.models.registry import (
    FINGERPRINTS,
    THIRD_PARTY,
    find_satclip,
    find_third_party,
    row_of_hash,
    satclip_of_file,
)
from skgeo_embed.models.third_party.geoclip import GEOCLIP
from skgeo_embed.models.third_party.model import not_found
from skgeo_embed.models.third_party.torchspatial import torchspatial_layout
from skgeo_embed.nn.inference.options import EncodingOptions

LAYOUTS = {
    "GeoCLIPEncoder": GEOCLIP,
    "TorchSpatialEncoder": torchspatial_layout("TorchSpatialEncoder", "degrees"),
}
SIMILARITY = 6e-5  # half of the last printed digit, and the rounding of the printing program
FEATURES = 2e-4  # of float32 features of size up to 46
PRECISIONS: tuple[Literal["float64", "float32"], ...] = ("float64", "float32")


@dataclass(frozen=True)
class Finding:
    """One comparison: what was compared, what it should be, what it is, and whether it agrees."""

    what: str
    expected: str
    found: str
    agrees: bool


def check_model(
    model: str | Path, options: HubOptions | None = None
) -> tuple[LoadedEncoder, str, list[Finding]]:
    """Open an encoder and compare it with the known numbers of its published weights.

    Parameters
    ----------
    model : str or path-like
        A name of the registry, a hub repository, or the path of a published file: SatCLIP's are
        recognised by their name, others by their hash.
    options : HubOptions, default=None
        How to fetch it.

    Returns
    -------
    loaded : LoadedEncoder
        The encoder.
    source : str
        Where the numbers come from.
    findings : list of Finding
        The comparisons; the encoder is right if all agree.

    Raises
    ------
    ModelNotFoundError
        If no numbers of its weights are known; the message lists those that are.
    ModelAccessError, ModelDownloadError, ModelFormatError
        If it cannot be had or opened.
    """
    path = named_path(str(model))
    checkpoint = satclip_of_file(path.stem) if path.is_file() else find_satclip(str(model))
    if checkpoint is not None:
        known = _numbers(checkpoint.name)
        loaded = open_location_encoder(str(model), options=options)
        file = Path(loaded.info["path"])
        findings = [*_of_file(known, file), *_of_similarity(known, loaded)]
        return loaded, known["source"], findings
    sha256 = file_sha256(path) if path.is_file() else None
    row = find_third_party(str(model)) if sha256 is None else row_of_hash(sha256)
    if row is None and str(model) in THIRD_PARTY:
        row = THIRD_PARTY[str(model)]  # it has a name and is opened by its path
        raise not_found(row.encoder, f"{row.name} has no address")
    if row is None and sha256 is not None:
        raise ModelNotFoundError(
            f"{model} differs from every published file of which numbers are known: its sha256 is "
            f"{sha256}. If it should be one of them, it is damaged or was changed; fetch it again."
        )
    if row is None:
        raise _unknown(str(model))
    known = _numbers(row.name)
    loaded = LAYOUTS[row.encoder].open(model, options)
    findings = [_finding("sha256", row.sha256, loaded.info["sha256"])] if row.sha256 else []
    return loaded, known["source"], [*findings, *_of_features(known, loaded)]


@cache
def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _numbers(name: str) -> dict[str, Any]:
    known = _read(FINGERPRINTS).get(name)
    if known is None:
        raise _unknown(name)
    return dict(known)


def _unknown(name: str) -> ModelNotFoundError:
    return ModelNotFoundError(
        f"no published numbers are known for {name!r}. They are known for "
        f"{', '.join(_read(FINGERPRINTS))}; pass one of these names or, for a model without an "
        "address, the path of its file."
    )


def _finding(what: str, expected: Any, found: Any) -> Finding:
    return Finding(what, str(expected), str(found), expected == found)


def _of_file(known: dict[str, Any], file: Path) -> list[Finding]:
    """Compare the file's size, and names, shapes and types of its tensors."""
    findings = []
    if "bytes" in known:
        findings.append(_finding("bytes of the file", known["bytes"], file.stat().st_size))
    state = read_checkpoint(file)["state_dict"]
    for name, (shape, dtype) in known.get("tensors", {}).items():
        tensor = state.get(name)
        found = "missing" if tensor is None else f"{list(tensor.shape)} {tensor.dtype}"
        findings.append(_finding(name, f"{shape} torch.{dtype}", found))
    for name, number in known.get("numbers", {}).items():
        value = round(float(state[name]), 4) if name in state else None
        findings.append(_finding(name, number, value))
    return findings


def _of_similarity(known: dict[str, Any], loaded: LoadedEncoder) -> list[Finding]:
    """Compare the mean cosine similarity of a place with points around it, by distance."""
    said = known.get("similarity")
    if said is None:
        return []
    rings = [
        points_around(said["centre"], length / said["radius_km"], said["bearings"])
        for length in said["kilometres"]
    ]
    places = np.concatenate([np.array([said["centre"]]), *rings])
    findings = []
    for precision in PRECISIONS:
        features = _encode(loaded, places, precision)
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        means = (unit[1:] @ unit[0]).reshape(len(rings), said["bearings"]).mean(axis=1)
        for length, expected, found in zip(said["kilometres"], said["mean"], means, strict=True):
            findings.append(
                Finding(
                    f"similarity at {length:g} km, {precision}",
                    f"{expected:.4f}",
                    f"{found:.4f}",
                    bool(abs(found - expected) <= SIMILARITY),
                )
            )
    return findings


def _of_features(known: dict[str, Any], loaded: LoadedEncoder) -> list[Finding]:
    """Compare some columns of features, place by place."""
    said = known["features"]
    expected = np.array(said["values"])
    findings = []
    for precision in PRECISIONS:
        found = _encode(loaded, np.array(said["places"]), precision)[:, said["columns"]]
        largest = abs(found - expected).max(axis=1)
        for (lon, lat), deviation in zip(said["places"], largest, strict=True):
            findings.append(
                Finding(
                    f"features at {lon:.2f}, {lat:.2f}, {precision}",
                    f"within {FEATURES:g}",
                    f"within {deviation:.1g}",
                    bool(deviation <= FEATURES),
                )
            )
    return findings


def _encode(
    loaded: LoadedEncoder, places: np.ndarray, precision: Literal["float64", "float32"]
) -> np.ndarray:
    """Return the embeddings of places, rounded to float32 as the printing programs did."""
    options = EncodingOptions(device=torch.device("cpu"), dtype=precision)
    out = np.empty((len(places), loaded.engine.width(options)), dtype=np.float32)
    for rows, values in loaded.engine.encode(places, options):
        out[rows] = values.numpy()
    return out.astype(np.float64)


def points_around(centre: list[float], angle: float, count: int) -> np.ndarray:
    """Return points at an angle from a place, evenly around it from north, (count, 2) degrees."""
    lon, lat = np.deg2rad(centre)
    bearings = 2 * np.pi * np.arange(count) / count
    sine = np.sin(lat) * np.cos(angle) + np.cos(lat) * np.sin(angle) * np.cos(bearings)
    east = np.arctan2(
        np.sin(bearings) * np.sin(angle) * np.cos(lat), np.cos(angle) - np.sin(lat) * sine
    )
    around = np.rad2deg(np.column_stack([lon + east, np.arcsin(sine)]))
    around[:, 0] = (around[:, 0] + 180) % 360 - 180
    return around
