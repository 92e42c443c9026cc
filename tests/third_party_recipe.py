"""Files in the layouts of third parties, by the recipe that their reference numbers were made with.

For the tensor with state-dict key k: RandomState(crc32(k)), one draw of the whole shape, by the
first rule that fits; else the rules of tests/recipe.py.
"""

import json
import math
import re
import zlib
from functools import partial

import numpy as np
import torch

from tests.recipe import REFERENCE, draw, state_dict

SPACE2VEC = REFERENCE.parent / "weights" / "space2vec_grid_yfcc.pth.tar"
XYZ = REFERENCE.parent / "weights" / "xyz_fmow.pth.tar"

SIREN = re.compile(
    r"^(location_encoder\.(layers\.\d+|last_layer)|first\.linear|blocks\.\d+\.linear)\."
)


def numbers():
    """Outputs of the authors' code."""
    with np.load(REFERENCE / "more_encoders.npz") as file:
        return dict(file)


def stream(key):
    return np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)


def weights(shapes, dtype="float32"):
    """Tensors of {key: shape}."""
    return {
        key: torch.from_numpy(np.asarray(_draw(key, shape, shapes)).astype(dtype)).reshape(shape)
        for key, shape in shapes.items()
    }


def _draw(key, shape, shapes):
    rng, last = stream(key), key.rpartition(".")[2]
    if SIREN.match(key):
        fan_in = shapes[key.rpartition(".")[0] + ".weight"][1]
        first = ".layers.0." in key or key.startswith("first.")
        bound = 1 / fan_in if first else math.sqrt(6 / fan_in)
        return rng.uniform(-bound, bound, shape)
    if last == "year_freqs":
        return 2.0 ** np.arange(8)
    if last == "_img_temperature":
        return 0.05
    if last == "log_temperature":
        return math.log(0.35) + 0.2 * rng.standard_normal()
    if last == "_log_tau":
        return math.log(45) + 0.05 * rng.standard_normal(shape)
    if last in ("_directions", "registers"):
        return rng.standard_normal(shape)
    if last == "_embeddings":
        return 4 * rng.standard_normal(shape)
    capsule = re.match(r"LocEnc(\d)\.capsule\.0\.b$", key)
    if capsule:
        return 16.0 ** int(capsule[1]) * rng.standard_normal(shape)
    return draw(key, shape)


def _linear(name, dim_in, dim_out, bias=True):
    shapes = {f"{name}.weight": (dim_out, dim_in)}
    return {**shapes, f"{name}.bias": (dim_out,)} if bias else shapes


def _residual(name, dim):
    return {**_linear(f"{name}.w1", dim, dim), **_linear(f"{name}.w2", dim, dim)}


def climplicit(hidden=512, out=256, n_layers=16):
    shapes = _linear("location_encoder.layers.0", 4, hidden)
    for i in range(1, n_layers):
        shapes |= _linear(f"location_encoder.layers.{i}", hidden, hidden)
    shapes |= _linear("location_encoder.last_layer", hidden, out)
    return weights(shapes | _linear("chelsa_regressor", out, 11))


def sinr(hidden=256, n_classes=30):
    shapes = _linear("class_emb", hidden, n_classes, bias=False) if n_classes else {}
    shapes |= _linear("feats.0", 4, hidden)
    for i in range(2, 6):
        shapes |= _residual(f"feats.{i}", hidden)
    return weights(shapes)


def tte(n_sites=4096, site=384, dim=512, n_registers=64):
    registers = "location.semantic_registers"
    shapes = {
        "location._directions": (n_sites, 3),
        "location._log_tau": (n_sites,),
        "location._embeddings": (n_sites, site),
        f"{registers}.registers": (n_registers, dim),
        f"{registers}.log_temperature": (),
        f"{registers}._img_temperature": (),
        **_linear(f"{registers}.loc_to_logits", site, n_registers),
        **_linear(f"{registers}.img_to_logits", dim, n_registers),
        **_linear(f"{registers}.site_to_out", site, dim),
        f"{registers}.norm.weight": (dim,),
        f"{registers}.norm.bias": (dim,),
        **_linear("location.mlp.0", dim, dim),
        **_residual("location.mlp.2", dim),
        **_residual("location.mlp.3", dim),
        **_linear("location.mlp.4", dim, dim, bias=False),
    }
    return weights(shapes)


def mind(width=1024, depth=6, head=128, *, year=False, dtype="float32"):
    shapes = {"year_freqs": (8,), **_linear("first.linear", 18 if year else 2, width)}
    for i in range(depth):
        shapes |= _linear(f"blocks.{i}.linear", width, width)
    return weights(shapes | (_linear("head", width, head) if head else {}), dtype)


def taxabind():
    shapes = {}
    for i in range(3):
        shapes[f"LocEnc{i}.capsule.0.b"] = (256, 2)
        for layer, dim_in in ((1, 512), (3, 1024), (5, 1024)):
            shapes |= _linear(f"LocEnc{i}.capsule.{layer}", dim_in, 1024)
        shapes |= _linear(f"LocEnc{i}.head.0", 1024, 512)
    return weights(shapes)


def range_database(path, n=200, k=256, d=1024, dtype="float64"):
    rng = stream("range_db/locs")
    lon = rng.uniform(-180, 180, n)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    keys = stream("range_db/satclip_embeddings").standard_normal((n, k))
    values = stream("range_db/image_embeddings").standard_normal((n, d))
    np.savez(
        path,
        locs=np.column_stack([lon, lat]),
        satclip_embeddings=keys.astype(dtype),
        image_embeddings=values.astype(dtype),
    )
    return path


def reference(name):
    with np.load(REFERENCE / f"{name}.npz") as file:
        return dict(file)


def usual(points):
    """Rows that have one notation: no poles, and not +180°, which authors tell from -180°."""
    return (np.abs(points[:, 1]) < 90) & (points[:, 0] < 180)


def geoclip_weights(seed=0):
    """Small random weights under GeoCLIP's names."""
    rng = np.random.RandomState(seed)

    def tensor(*shape):
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32) / 4)

    weights = {}
    for i in range(3):
        prefix = f"LocEnc{i}."
        weights[f"{prefix}capsule.0.b"] = tensor(6, 2)
        for layer, width_in in ((1, 12), (3, 10), (5, 10)):
            weights[f"{prefix}capsule.{layer}.weight"] = tensor(10, width_in)
            weights[f"{prefix}capsule.{layer}.bias"] = tensor(10)
        weights[f"{prefix}head.0.weight"], weights[f"{prefix}head.0.bias"] = (
            tensor(7, 10),
            tensor(7),
        )
    return weights


# weights of a small network of each class that the hub has, by the name of its module
SMALL = {
    "climplicit": partial(climplicit, 8, 4, 3),
    "sinr": partial(sinr, 8),
    "tte": partial(tte, 20, 6, 8, 5),
    "mind": partial(mind, 16, 2, 10),
    "geoclip": geoclip_weights,
}


def csp_checkpoint(path, dataset, **changes):
    spec = json.loads((REFERENCE / "csp.json").read_text())["models"][dataset]
    state = state_dict(spec["state_dict"], spec["aliases"])
    params = {**spec["params"], **changes}
    torch.save({"epoch": 1, "state_dict": state, "optimizer": {}, "params": params}, path)
    return path


def recipe_array(name, shape, is_bias):
    rng = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    scale = 0.1 if is_bias else 1 / np.sqrt(shape[0])
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def write_zone(path, kind, nested=False):
    import h5py

    layout = json.loads((REFERENCE / "gps2vec.json").read_text())["layout"][kind]
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if nested else file
        root.attrs["layer_names"] = [name.encode() for name in layout["layer_names"]]
        for name, _, weights, *_ in layout["layers"]:
            group = root.create_group(name)
            group.attrs["weight_names"] = [w[0].encode() for w in weights]
            for weight, shape, _ in weights:
                array = recipe_array(f"{kind}/{weight}", tuple(shape), weight.endswith("bias:0"))
                group.create_dataset(weight, data=array)
