"""Tables of small integers, compressed in files, since neighbours are alike.

A feature grid of a quarter of a degree takes 25 MB as it is and a third of it compressed. A packed
tensor is a row of bytes under the key ``<name>.zlib``; the file's metadata hold the shapes.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".zlib"
METADATA_KEY = "packed"
MIN_SIZE = 2**16  # smaller tables stay as they are
LARGEST = 2**30  # bytes that a packed table may claim


def pack(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Compress large tables of int8; return the tensors of a file and its metadata."""
    import numpy as np
    import torch

    packed, shapes = {}, {}
    for key, tensor in weights.items():
        if tensor.dtype != torch.int8 or tensor.numel() < MIN_SIZE:
            packed[key] = tensor
            continue
        planes = np.ascontiguousarray(np.moveaxis(tensor.numpy(), -1, 0))  # a channel at a time
        steps = np.diff(planes, axis=-1, prepend=np.int8(0))  # neighbours are alike; bytes wrap
        pressing = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)  # for small steps
        compressed = pressing.compress(steps.tobytes()) + pressing.flush()
        packed[key + SUFFIX] = torch.frombuffer(bytearray(compressed), dtype=torch.uint8)
        shapes[key] = list(tensor.shape)
    return packed, {METADATA_KEY: json.dumps(shapes)} if shapes else {}


def unpack(weights: dict[str, Tensor], metadata: Mapping[str, str] | None) -> dict[str, Tensor]:
    """Undo :func:`pack`; a table is never larger than its shape says."""
    import numpy as np
    import torch

    shapes = json.loads((metadata or {}).get(METADATA_KEY, "{}"))
    whole = {}
    for key, tensor in weights.items():
        if not key.endswith(SUFFIX):
            whole[key] = tensor
            continue
        name = key.removesuffix(SUFFIX)
        shape = [int(length) for length in shapes[name]]
        size = math.prod(shape)
        if not 0 < size <= LARGEST:
            raise ValueError(f"the packed table {name!r} claims {size} bytes")
        content = zlib.decompressobj().decompress(tensor.numpy().tobytes(), size + 1)
        if len(content) != size:
            raise ValueError(f"the packed table {name!r} is not of the shape that it claims")
        width, channels = shape[-2:] if len(shape) > 1 else (*shape, 1)
        steps = np.frombuffer(content, dtype=np.int8).reshape(channels, -1, width)
        table = np.empty((steps.shape[1], width, channels), dtype=np.int8)
        for number, row in enumerate(table):  # a row at a time stays in the cache
            np.cumsum(steps[:, number], axis=-1, dtype=np.int8, out=row.T)
        whole[name] = torch.from_numpy(table.reshape(shape))
    return whole
