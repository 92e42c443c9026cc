"""One of each encoder of places, on small files where there are no weights that may ship."""

import os
import tempfile
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

import skgeo_embed
from skgeo_embed import (
    CSPEncoder,
    GPS2VecEncoder,
    PositionalEncoder,
    RANGEEncoder,
    SatCLIPEncoder,
    TorchSpatialEncoder,
)
from skgeo_embed.models.registry import hub_encoders
from skgeo_embed.nn.location import LocationEncoder
from tests import third_party_recipe as recipe
from tests.third_party_recipe import SPACE2VEC, XYZ, write_zone

_FOLDER = tempfile.TemporaryDirectory(prefix=f"skgeo-embed-zoo-{os.getpid()}-")


def _zones():
    folder = Path(_FOLDER.name) / "zones"
    if not folder.exists():
        folder.mkdir()
        write_zone(folder / "model_48 N.h5", "visual")
    return folder


def _module():
    torch.manual_seed(0)
    return LocationEncoder(6, 8, 16)


def _own_network():
    torch.manual_seed(0)
    return LocationEncoder(6, 8, 16, positional_encoding="grid", network="fcnet")


def weights_file(name):
    """A small file in the layout of the one that the hub has."""
    path = Path(_FOLDER.name) / f"{name}.safetensors"
    if not path.exists():
        save_file(recipe.SMALL[name](), path)
    return path


def _of_the_hub(name, **parameters):
    return getattr(skgeo_embed, hub_encoders()[name])(weights_file(name), **parameters)


def _database():
    path = Path(_FOLDER.name) / "database.npz"
    if not path.exists():
        recipe.range_database(path, n=20, k=256, d=6)
    return path


def _small_satclip(**parameters):
    return SatCLIPEncoder("bluemarble-l10", **parameters)


MAKERS = {
    "satclip": lambda **kw: _small_satclip(**kw),
    "module": lambda **kw: SatCLIPEncoder(_module(), **kw),
    "fcnet": lambda **kw: SatCLIPEncoder(_own_network(), **kw),
    "positional": lambda **kw: PositionalEncoder(legendre_polys=4, **kw),
    "csp": lambda **kw: CSPEncoder(SPACE2VEC, **kw),
    "torchspatial": lambda **kw: TorchSpatialEncoder(XYZ, **kw),
    **{name: partial(_of_the_hub, name) for name in hub_encoders()},
    "july": partial(_of_the_hub, "climplicit", month=7),
    "range": lambda **kw: RANGEEncoder(
        _database(), location_encoder=_small_satclip(layer="embedding", dtype="float64"), **kw
    ),
    "gps2vec": lambda **kw: GPS2VecEncoder(_zones(), **kw),
}
GLOBAL = [name for name in MAKERS if name != "gps2vec"]  # one zone is all that it knows here
