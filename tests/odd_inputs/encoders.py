"""One of each encoder of places, by name; fitted once, and what it makes of places."""

import importlib.util
import json
import os
import tempfile
from functools import cache, partial
from pathlib import Path

import h5py
import numpy as np
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
    TTEEncoder,
)
from skgeo_embed.nn.location import LocationEncoder
from tests import third_party_recipe
from tests.recipe import REFERENCE

# Inside UTM zone 31 N whichever of the two numbers comes first, so that a swap is no error, and
# exact in bfloat16, so that no type rounds them.
PLACES = np.array([[2.5, 5.5], [4.25, 1.75], [0.5, 3.125]])
LON, LAT = PLACES.T
GAP = np.where([[False], [True], [False]], np.nan, PLACES)  # the second place is missing
SPACE2VEC = REFERENCE.parent / "weights" / "space2vec_grid_yfcc.pth.tar"
ZONE_SHAPES = {
    "layer1": (400, 8), "layer2": (8, 8), "layer3": (8, 8), "object": (8, 1000), "scene": (8, 365),
}  # fmt: skip
_FOLDER = tempfile.TemporaryDirectory(prefix=f"skgeo-embed-odd-{os.getpid()}-")


def geoclip_weights():
    """Small weights under GeoCLIP's names, the same number in all of them."""
    shapes = {"capsule.0.b": (6, 2), "head.0.weight": (7, 10), "head.0.bias": (7,)}
    for layer, width in ((1, 12), (3, 10), (5, 10)):
        shapes[f"capsule.{layer}.weight"], shapes[f"capsule.{layer}.bias"] = (10, width), (10,)
    return {
        f"LocEnc{i}.{key}": torch.full(shape, 0.1)
        for i in range(3)
        for key, shape in shapes.items()
    }


def taxabind_weights():
    return third_party_recipe.weights({key: tuple(t.shape) for key, t in geoclip_weights().items()})


def write_zone(path):
    """Write the networks of a zone of GPS2Vec, small, in Keras's layout."""
    rng = np.random.RandomState(0)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in ZONE_SHAPES]
        for name, shape in ZONE_SHAPES.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [
                f"{name}/{part}:0".encode() for part in ("kernel", "bias")
            ]
            group.create_dataset(f"{name}/kernel:0", data=rng.randn(*shape).astype("f4"))
            group.create_dataset(f"{name}/bias:0", data=rng.randn(shape[1]).astype("f4"))
    return path


# third-party encoders of one file: the class, small weights in its layout, what it is made with
OF_ONE_FILE = {
    "ClimplicitEncoder": (
        ClimplicitEncoder, partial(third_party_recipe.climplicit, 32, 16, 4), {"month": 7},
    ),
    "SINREncoder": (SINREncoder, partial(third_party_recipe.sinr, 32), {}),
    "TTEEncoder": (TTEEncoder, partial(third_party_recipe.tte, 64, 16, 32, 8), {}),
    "MINDEncoder": (MINDEncoder, partial(third_party_recipe.mind, 48, 3, 24), {}),
    "GeoCLIPEncoder of TaxaBind": (GeoCLIPEncoder, taxabind_weights, {}),
}  # fmt: skip
CLASSES = {
    "SatCLIPEncoder": SatCLIPEncoder,
    "PositionalEncoder": PositionalEncoder,
    "GeoCLIPEncoder": GeoCLIPEncoder,
    "CSPEncoder": CSPEncoder,
    "GPS2VecEncoder": GPS2VecEncoder,
    **{name: row[0] for name, row in OF_ONE_FILE.items()},
    "RANGEEncoder": RANGEEncoder,
}
if importlib.util.find_spec("geoclip") is None:  # its real weights, 9 MB, come from that package
    del CLASSES["GeoCLIPEncoder"]
ENCODERS = list(CLASSES)


def make(name, **options):
    """Make an encoder that is not fitted yet."""
    usual = _usual_options(name)
    if name == "RANGEEncoder":  # a new one each time: a test may change its parameters
        usual = {**usual, "location_encoder": keys_encoder()}
    return CLASSES[name](**{**usual, **options})


@cache
def _usual_options(name):
    folder = Path(_FOLDER.name) / name
    folder.mkdir()
    if name == "CSPEncoder":
        return {"model": SPACE2VEC}
    if name == "GPS2VecEncoder":
        write_zone(folder / "model_31 N.h5")
        return {"model": folder}
    if name == "RANGEEncoder":
        return {"database": third_party_recipe.range_database(folder / "db.npz", n=40, k=256, d=12)}
    if name not in OF_ONE_FILE:
        return {}
    save_file(OF_ONE_FILE[name][1](), folder / "model.safetensors")
    if name == "GeoCLIPEncoder of TaxaBind":
        config = {"sigma": [1, 16, 256], "encoded_size": 12}
        (folder / "config.json").write_text(json.dumps(config))
    return {"model": folder, **OF_ONE_FILE[name][2]}


def keys_encoder():
    """Make a location encoder of a model of two towers, for RANGE."""
    return SatCLIPEncoder("bluemarble-l10", layer="embedding", dtype="float64")


def fitted(name, **options):
    """Return a fitted encoder, one for all tests."""
    return _fitted_once(name, tuple(options.items()))


@cache
def _fitted_once(name, options):
    return make(name, **dict(options)).fit()


def features(name, places, **options):
    """Encode places given as plain floats: what every other notation must give."""
    places = tuple(map(tuple, np.array(places, dtype=float).tolist()))
    return _features_once(name, places, tuple(options.items()))


@cache
def _features_once(name, places, options):
    return _fitted_once(name, options).transform(np.array(places))


def features_of_pairs(name, lon, lat, **options):
    """Encode the pairs of two axes as places, one by one: what a grid must give."""
    pairs = np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)
    return features(name, pairs, **options).reshape(len(lat), len(lon), -1)


def make_small_model(folder):
    """Save a location encoder of two dozen numbers; return the folder and its features."""
    torch.manual_seed(0)
    encoder = SatCLIPEncoder(LocationEncoder(4, 5, 6)).fit()
    encoder.save_pretrained(folder)
    return folder, encoder.transform(PLACES)
