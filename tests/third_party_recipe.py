"""Weights of other authors' layouts by the recipe that their reference numbers were made with.

For the tensor with state-dict key k: RandomState(crc32(k)), one draw of the whole shape, by the
first rule that fits; else the rules of tests/recipe.py.
"""

import math
import re
import zlib

import numpy as np
import torch

from tests.recipe import REFERENCE, draw

SIREN = re.compile(
    r"^(location_encoder\.(layers\.\d+|last_layer)|first\.linear|blocks\.\d+\.linear)\."
)


def numbers():
    """Outputs of the originals."""
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
