"""One of each encoder of places, on small files where there are no weights that may ship."""

import os
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from skgeo_embed import (
    ClimplicitEncoder,
    CSPEncoder,
    GeoCLIPEncoder,
    GPS2VecEncoder,
    MINDEncoder,
    PositionalEncoder,
    RANGEEncoder,
    SatCLIPEncoder,
    SINREncoder,
    TorchSpatialEncoder,
    TTEEncoder,
)
from skgeo_embed.nn.location import LocationEncoder
from tests import third_party_recipe as recipe
from tests.third_party_recipe import SPACE2VEC, XYZ, geoclip_weights, write_zone

_FOLDER = tempfile.TemporaryDirectory(prefix=f"skgeo-embed-zoo-{os.getpid()}-")


def _geoclip():
    path = Path(_FOLDER.name) / "geoclip.pth"
    if not path.exists():
        torch.save(geoclip_weights(), path)
    return path


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


def _file(name, weights):
    path = Path(_FOLDER.name) / f"{name}.safetensors"
    if not path.exists():
        save_file(weights(), path)
    return path


def _climplicit():
    return _file("climplicit", lambda: recipe.climplicit(16, 8, 4))


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
    "geoclip": lambda **kw: GeoCLIPEncoder(_geoclip(), **kw),
    "csp": lambda **kw: CSPEncoder(SPACE2VEC, **kw),
    "torchspatial": lambda **kw: TorchSpatialEncoder(XYZ, **kw),
    "climplicit": lambda **kw: ClimplicitEncoder(_climplicit(), **kw),
    "july": lambda **kw: ClimplicitEncoder(_climplicit(), month=7, **kw),
    "sinr": lambda **kw: SINREncoder(_file("sinr", lambda: recipe.sinr(8)), **kw),
    "tte": lambda **kw: TTEEncoder(_file("tte", lambda: recipe.tte(20, 6, 8, 5)), **kw),
    "mind": lambda **kw: MINDEncoder(_file("mind", lambda: recipe.mind(16, 2, 10)), **kw),
    "range": lambda **kw: RANGEEncoder(
        _database(), location_encoder=_small_satclip(layer="embedding", dtype="float64"), **kw
    ),
    "gps2vec": lambda **kw: GPS2VecEncoder(_zones(), **kw),
}
GLOBAL = [name for name in MAKERS if name != "gps2vec"]  # one zone is all that it knows here
