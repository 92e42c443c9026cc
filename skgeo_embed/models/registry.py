"""What can be named: data only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent / "weights"

# name -> folder below skgeo_embed/weights
BUNDLED = {name: name for name in ("earth-l20", "bluemarble-l20", "bluemarble-l10")}
DEFAULT_MODEL = "earth-l20"
DEFAULT_IMAGE_MODEL = "bluemarble-l10"  # its tower takes plain colour images


@dataclass(frozen=True)
class PublishedModel:
    """A published checkpoint: where it is and what it holds.

    Attributes
    ----------
    name, repository, file, revision : str
        Short name, hub repository, file in it, and git revision.
    legendre_polys : int
        L of its spherical harmonics.
    tower : str
        Its vision tower.
    licence : str
        SPDX name.
    harmonics : str
        The harmonics that its weights were trained with, see
        :class:`~skgeo_embed.nn.harmonics.SphericalHarmonics`.
    """

    name: str
    repository: str
    file: str
    revision: str
    legendre_polys: int
    tower: str
    licence: str
    harmonics: str


PUBLISHED = {
    f"satclip-{tower.lower()}-l{size}": PublishedModel(
        name=f"satclip-{tower.lower()}-l{size}",
        repository=f"microsoft/SatCLIP-{tower}-L{size}",
        file=f"satclip-{tower.lower()}-l{size}.ckpt",
        revision="main",
        legendre_polys=size,
        tower=architecture,
        licence="MIT",
        # at L = 10 the printed coefficients are right to 1e-12
        harmonics="published" if size == 40 else "exact",
    )
    for tower, architecture in (
        ("ResNet18", "resnet18"),
        ("ResNet50", "resnet50"),
        ("ViT16", "vit_small_patch16"),
    )
    for size in (10, 40)
}


@dataclass(frozen=True)
class OtherEncoder:
    """A location encoder of other authors: what opens it, where it is and what is known of it.

    Attributes
    ----------
    name, repository, file : str
        Short name, hub repository, and file in it.
    encoder : str
        The class that opens it.
    columns : int
        Of its features, by default.
    megabytes : float
        Size of the file.
    licence : str or None
        Of the weights; None where nobody says.
    trained_on : str
        What with.
    """

    name: str
    repository: str
    file: str
    encoder: str
    columns: int
    megabytes: float
    licence: str | None
    trained_on: str


# licences as the hub's pages, repositories and pull requests said in 2026
OTHERS = {
    other.name: other
    for other in (
        OtherEncoder(
            "climplicit", "Jobedo/climplicit", "model.safetensors", "ClimplicitEncoder", 1024, 16.3,
            "CC-BY-4.0", "CHELSA climatologies (temperature, precipitation and more, by month)",
        ),
        OtherEncoder(
            "sinr", "MVRL/sinr-location-encoder-1000-cls", "model.safetensors", "SINREncoder", 256,
            50.6, None, "iNaturalist observations of 47,375 species",
        ),
        OtherEncoder(
            "tte", "MVRL/TTE", "model.safetensors", "TTEEncoder", 512, 13.8, "MIT",
            "images matched with the coordinates where they were taken",
        ),
        OtherEncoder(
            "mind", "taylor-geospatial/MIND", "mind.safetensors", "MINDEncoder", 64, 227.0, "MIT",
            "distilled from AlphaEarth, Climplicit, GeoCLIP and SINR",
        ),
        OtherEncoder(
            "mind-small", "isaaccorley/MIND", "mind_small.safetensors", "MINDEncoder", 128, 25.7,
            "MIT", "distilled from AlphaEarth, Climplicit, GeoCLIP and SINR",
        ),
        OtherEncoder(
            "taxabind", "MVRL/ecogeo", "model.safetensors", "GeoCLIPEncoder", 512, 37.8, None,
            "GeoCLIP, tuned on images, sounds, texts and places of species (iSatNat)",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Backbone:
    """Weights of a vision tower that training may start from.

    Attributes
    ----------
    repository, file, revision : str
        Where they are on the hub.
    architecture : str
        The tower they fit, see :data:`skgeo_embed.models.towers.ARCHITECTURES`.
    """

    repository: str
    file: str
    revision: str
    architecture: str


# MoCo on SSL4EO-S12 (Wang et al. 2022, arXiv 2211.07044), CC BY 4.0, 13 bands
BACKBONES = {
    backbone.repository: backbone
    for backbone in (
        Backbone(
            "torchgeo/resnet18_sentinel2_all_moco",
            "resnet18_sentinel2_all_moco-59bfdff9.pth",
            "5b8cddc9a14f3844350b7f40b85bcd32aed75918",
            "resnet18",
        ),
        Backbone(
            "torchgeo/resnet50_sentinel2_all_moco",
            "resnet50_sentinel2_all_moco-df8b932e.pth",
            "da4f3c9dbe09272eb902f3b37f46635fa4726879",
            "resnet50",
        ),
        Backbone(
            "torchgeo/vit_small_patch16_224_sentinel2_all_moco",
            "vit_small_patch16_224_sentinel2_all_moco-67c9032d.pth",
            "1cb683f6c14739634cdfaaceb076529adf898c74",
            "vit_small_patch16",
        ),
    )
}


def published_file(stem: str) -> PublishedModel | None:
    """Recognise a published checkpoint by its file's name, as browsers and people rename it."""
    found = re.search(r"satclip[-_ ]?(resnet18|resnet50|vit16)[-_ ]?l(10|40)(?!\d)", stem.lower())
    return PUBLISHED[f"satclip-{found[1]}-l{found[2]}"] if found else None


def find_published(name: str) -> PublishedModel | None:
    """Find a published model by short name or hub repository, whatever the case."""
    wanted = name.lower()
    return next(
        (m for m in PUBLISHED.values() if wanted in (m.name, m.repository.lower())),
        None,
    )
