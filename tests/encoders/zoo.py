"""One of each encoder of places, on small files where there are no weights that may ship."""

import os
import tempfile
from pathlib import Path

import torch

from skgeo_embed import (
    CSPEncoder,
    GeoCLIPEncoder,
    GPS2VecEncoder,
    PositionalEncoder,
    SatCLIPEncoder,
)
from skgeo_embed.nn.location import LocationEncoder
from tests.encoders.test_baselines import SPACE2VEC, geoclip_weights, write_zone

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


MAKERS = {
    "satclip": lambda **kw: SatCLIPEncoder("bluemarble-l10", **kw),
    "module": lambda **kw: SatCLIPEncoder(_module(), **kw),
    "fcnet": lambda **kw: SatCLIPEncoder(_own_network(), **kw),
    "positional": lambda **kw: PositionalEncoder(legendre_polys=4, **kw),
    "geoclip": lambda **kw: GeoCLIPEncoder(_geoclip(), **kw),
    "csp": lambda **kw: CSPEncoder(SPACE2VEC, **kw),
    "gps2vec": lambda **kw: GPS2VecEncoder(_zones(), **kw),
}
GLOBAL = [name for name in MAKERS if name != "gps2vec"]  # one zone is all that it knows here
