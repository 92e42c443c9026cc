"""Deterministic weights, so that outputs can be compared with the original's without its files.

For the tensor with state-dict key k: RandomState(crc32(k)), one draw of the whole shape, by the
first rule that fits.
"""

import json
import math
import re
import zlib
from pathlib import Path

import numpy as np
import torch

REFERENCE = Path(__file__).parent / "data" / "reference"
_CONSTANT_SCALE = {"cls_token", "pos_embed", "class_embedding", "positional_embedding"}


def checkpoints_json():
    return json.loads((REFERENCE / "satclip_checkpoints.json").read_text())


def draw(key, shape, siren_fan_in=None):
    """Values of one tensor; `siren_fan_in` is the width into a SIREN layer, else None."""
    rng = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)
    last = key.rpartition(".")[2]
    if siren_fan_in is not None:
        first = ".layers.0." in key
        bound = 1 / siren_fan_in if first else math.sqrt(6 / siren_fan_in)
        return rng.uniform(-bound, bound, shape)
    if last == "num_batches_tracked":
        return np.zeros(shape)
    if last == "logit_scale":
        return np.full(shape, math.log(1 / 0.07))
    if last in _CONSTANT_SCALE:
        return 0.02 * rng.standard_normal(shape)
    if last == "running_mean":
        return 0.1 * rng.standard_normal(shape)
    if last == "running_var":
        return 1 + 0.1 * np.abs(rng.standard_normal(shape))
    if len(shape) >= 2:
        return rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
    if last.endswith("bias"):
        return 0.1 * rng.standard_normal(shape)
    return 1 + 0.1 * rng.standard_normal(shape)


def state_dict(entries, aliases):
    """Weights for [[key, shape, dtype], ...]; an alias copies its source."""
    shapes = {key: shape for key, shape, _ in entries}
    state = {}
    for key, shape, dtype in entries:
        if key in aliases:
            state[key] = state[aliases[key]]
            continue
        fan_in = None
        if re.search(r"nnet\.(layers\.\d+|last_layer)\.", key):
            fan_in = shapes[key.rpartition(".")[0] + ".weight"][1]
        values = torch.from_numpy(np.asarray(draw(key, tuple(shape), fan_in)))
        state[key] = values.to(getattr(torch, dtype)).reshape(shape)
    return state
