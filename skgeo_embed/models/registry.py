"""The models that can be named, as data: the one table of what is where, and under what licence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent / "weights"
# what others printed from published weights, by the names below; see models/fingerprints.py
FINGERPRINTS = Path(__file__).resolve().parent / "fingerprints.json"

# name -> folder below skgeo_embed/weights
BUNDLED = {name: name for name in ("earth-l20", "bluemarble-l20", "bluemarble-l10")}
DEFAULT_MODEL = "earth-l20"
DEFAULT_IMAGE_MODEL = "bluemarble-l10"  # its tower takes plain colour images


@dataclass(frozen=True)
class SatCLIPCheckpoint:
    """A SatCLIP checkpoint on the hub: where it is and what it holds.

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


SATCLIP_CHECKPOINTS = {
    f"satclip-{tower.lower()}-l{size}": SatCLIPCheckpoint(
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
class ThirdPartyRow:
    """What is known of a third-party encoder: the class that opens it, where it is, its licence.

    Attributes
    ----------
    name : str
        Short name, which its class takes if the row has a `file`.
    encoder : str
        The class that opens it.
    columns : int
        Number of its features by default.
    trained_on : str
        Its training data.
    licence : str, default=None
        Licence of the weights; None if they state none.
    repository, file : str, default=None
        The hub repository, and the file in it. Without a repository the file is in an installed
        package of the row's name; without a file there is nothing to fetch.
    megabytes : float, default=None
        Size of the file.
    obtain : str, default=None
        How to get it, if it is not on the hub.
    repo_type : str, default=None
        "dataset" for a repository of data, in the hub's own words.
    sha256 : str, default=None
        Hash of the file, by which a copy under another name is recognised.
    """

    name: str
    encoder: str
    columns: int
    trained_on: str
    licence: str | None = None
    repository: str | None = None
    file: str | None = None
    megabytes: float | None = None
    obtain: str | None = None
    repo_type: str | None = None
    sha256: str | None = None


# hashes of the TorchSpatial checkpoints that were compared with published features, by data set
# and encoder: files of pre_trained_models at commit 9f8d833
TORCHSPATIAL_FILES = {
    "fmow_space2vec-theory": "26e3428edddfb7392ff2487bcc40ca6e7eafcc9d77992d5d0a7d194fcb359156",
    "fmow_sphere2vec-spherem": "4ed216c86f8d06ae43e429bc83355783529327e133843e6d1ddda91c170610b8",
    "fmow_wrap_ffn": "60aff41bb53448a1757999607edeeeec861596dfe75ca673dbff4ceacc047d47",
    "fmow_xyz": "cfaa24a45ad7f6564fc6079554ed10d358b21a1273197e87425a7ea278c6ad4f",
    "yfcc_space2vec-grid": "89d5cdb312dd644b9d226aea94b5c5394b4a1ca56ffd3385fb89059e9e69293f",
    "yfcc_space2vec-theory": "16cdc90bd2e700e1e2c25cb78bdadab1e2b61885e775377c95e0699ecb1fe70d",
    "yfcc_sphere2vec-spherec": "f91548c543771ce68a23b150c3e2fd85ab78d205d99d29995b83eaeb15e5b7bd",
    "yfcc_sphere2vec-spherem": "99b3adb64174b04891b54f5e52f7cd4890f296b5fb6a5e51ade3b88432fe217c",
    "yfcc_rff": "ed5c13a14f2e902086a10d7681863718927ed5f1e45f6f657c59bde306adf1a3",
    "yfcc_wrap_ffn": "db6210c093701ca290a7394da8a30623135b545119a027105e8ada766915feaa",
    "yfcc_xyz": "23de9ff887a4c78a869b094699612731c9f02f985061d0cf97bd0d6f8177de78",
}
TORCHSPATIAL_DATA = {"fmow": "functional Map of the World", "yfcc": "YFCC100M, Flickr photographs"}

# licences as the hub's pages, repositories and pull requests said in 2026
THIRD_PARTY = {
    row.name: row
    for row in (
        ThirdPartyRow(
            "climplicit", "ClimplicitEncoder", 1024,
            "CHELSA climatologies (temperature, precipitation and more, by month)", "CC-BY-4.0",
            "Jobedo/climplicit", "model.safetensors", 16.3,
        ),
        ThirdPartyRow(
            "sinr", "SINREncoder", 256, "iNaturalist observations of 47,375 species", None,
            "MVRL/sinr-location-encoder-1000-cls", "model.safetensors", 50.6,
        ),
        ThirdPartyRow(
            "tte", "TTEEncoder", 512, "images matched with the coordinates where they were taken",
            "MIT", "MVRL/TTE", "model.safetensors", 13.8,
        ),
        ThirdPartyRow(
            "mind", "MINDEncoder", 64, "distilled from AlphaEarth, Climplicit, GeoCLIP and SINR",
            "MIT", "taylor-geospatial/MIND", "mind.safetensors", 227.0,
        ),
        ThirdPartyRow(
            "mind-small", "MINDEncoder", 128,
            "distilled from AlphaEarth, Climplicit, GeoCLIP and SINR",
            "MIT", "isaaccorley/MIND", "mind_small.safetensors", 25.7,
        ),
        ThirdPartyRow(
            "geoclip", "GeoCLIPEncoder", 512,
            "MediaEval Placing Tasks 2016 (MP-16), geotagged photographs", "MIT",
            None, "model/weights/location_encoder_weights.pth", 37.8,
            "pip install --no-deps geoclip; the package is not imported, so it needs nothing else",
            sha256="94b80ae3af89fca78539e129dd2929d321247f5ceeeb0a31bc2c31041a253394",
        ),
        ThirdPartyRow(  # config.json and model.safetensors, as geoclip itself writes since 1.2.2
            "geoclip-mvrl", "GeoCLIPEncoder", 512,
            "MediaEval Placing Tasks 2016 (MP-16), geotagged photographs", None,
            "MVRL/geoclip-location-encoder", "model.safetensors", 37.8,
        ),
        ThirdPartyRow(
            "taxabind", "GeoCLIPEncoder", 512,
            "GeoCLIP, tuned on images, sounds, texts and places of species (iSatNat)", None,
            "MVRL/ecogeo", "model.safetensors", 37.8,
        ),
        ThirdPartyRow(
            "range-large", "RANGEEncoder", 1280, "retrieves SatMAE features of S2-100K", None,
            "MVRL/RANGE-database", "range_db_large.npz", 900.0, repo_type="dataset",
        ),
        ThirdPartyRow(
            "range-medium", "RANGEEncoder", 1280, "retrieves SatMAE features of S2-100K", None,
            "MVRL/RANGE-database", "range_db_med.npz", 450.0, repo_type="dataset",
        ),
        ThirdPartyRow(
            "csp", "CSPEncoder", 256, "images of fMoW or iNaturalist 2018",
            obtain="unpack the zip archive that the README of github.com/gengchenmai/csp links to, "
            "and pass the path of a model_*.pth.tar with gridcell in its name. CSP states no "
            "licence: ask its authors before you redistribute the files",
        ),
        *(
            ThirdPartyRow(
                f"torchspatial-{name}", "TorchSpatialEncoder", 256,
                f"images of {TORCHSPATIAL_DATA[name[:4]]}", "MIT",
                obtain="clone github.com/seai-lab/TorchSpatial (MIT) with git-lfs, and pass the "
                "path of a model_*.pth.tar in pre_trained_models",
                sha256=sha256,
            )
            for name, sha256 in TORCHSPATIAL_FILES.items()
        ),
        ThirdPartyRow(
            "gps2vec", "GPS2VecEncoder", 1365, "tags and photographs, by UTM zone",
            obtain="unpack an archive that the README of github.com/yifangyin/GPS2Vec links to, "
            "and pass the folder models_visual or models_tag, with one HDF5 file for each UTM zone "
            "(model_48 N.h5, ...). GPS2Vec states no licence: ask its authors before you "
            "redistribute the files",
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


def satclip_of_file(stem: str) -> SatCLIPCheckpoint | None:
    """Recognise a SatCLIP checkpoint by its file's name, as browsers and people rename it."""
    found = re.search(r"satclip[-_ ]?(resnet18|resnet50|vit16)[-_ ]?l(10|40)(?!\d)", stem.lower())
    return SATCLIP_CHECKPOINTS[f"satclip-{found[1]}-l{found[2]}"] if found else None


def find_satclip(name: str) -> SatCLIPCheckpoint | None:
    """Find a SatCLIP checkpoint by short name or hub repository, whatever the case."""
    wanted = name.lower()
    return next(
        (m for m in SATCLIP_CHECKPOINTS.values() if wanted in (m.name, m.repository.lower())), None
    )


def find_third_party(name: str) -> ThirdPartyRow | None:
    """Find a third-party encoder that has a file, by short name or hub repository."""
    wanted = name.lower()
    return next(
        (
            row
            for row in THIRD_PARTY.values()
            if row.file and wanted in (row.name, str(row.repository).lower())
        ),
        None,
    )


def third_party_rows(encoder: str) -> list[ThirdPartyRow]:
    """Return the rows that a class opens."""
    return [row for row in THIRD_PARTY.values() if row.encoder == encoder]


def hub_encoders() -> dict[str, str]:
    """Return the classes that open files of tensors on the hub, by the name of their modules.

    ``{"tte": "TTEEncoder"}`` stands for `skgeo_embed/encoders/tte.py`, which holds the class, and
    `skgeo_embed/models/third_party/tte.py`, which holds ``TTE``, the layout of its files.
    """
    rows = (row for row in THIRD_PARTY.values() if row.repository and row.repo_type is None)
    return {row.encoder.removesuffix("Encoder").lower(): row.encoder for row in rows}


def row_of_hash(sha256: str) -> ThirdPartyRow | None:
    """Find the row of a file by its content."""
    return next((row for row in THIRD_PARTY.values() if row.sha256 == sha256), None)
