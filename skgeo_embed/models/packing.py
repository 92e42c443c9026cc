"""Tables of small integers, compressed in files, since neighbours are similar.

A feature grid of a quarter of a degree takes 25 MB as it is and a third of it compressed. A packed
tensor is a row of bytes under the key ``<name>.zlib``; the file's metadata hold the shapes.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".zlib"
METADATA_KEY = "packed"
MIN_SIZE = 2**16  # smaller tables stay as they are
LARGEST = 2**28  # bytes of all packed tables that are read at a time; larger ones are not packed


def pack(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Compress large tables of int8; return the tensors of a file and its metadata."""
    import numpy as np
    import torch

    packed, shapes, room = {}, {}, LARGEST
    for key, tensor in weights.items():
        if tensor.dtype != torch.int8 or not MIN_SIZE <= tensor.numel() <= room:
            packed[key] = tensor
            continue
        room -= tensor.numel()
        planes = np.ascontiguousarray(np.moveaxis(tensor.numpy(), -1, 0))  # a channel at a time
        steps = np.diff(planes, axis=-1, prepend=np.int8(0))  # neighbours are alike; bytes wrap
        pressing = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)  # for small steps
        compressed = pressing.compress(steps.tobytes()) + pressing.flush()
        packed[key + SUFFIX] = torch.frombuffer(bytearray(compressed), dtype=torch.uint8)
        shapes[key] = list(tensor.shape)
    return packed, {METADATA_KEY: json.dumps(shapes)} if shapes else {}


def unpack(
    weights: dict[str, Tensor],
    metadata: Mapping[str, str] | None,
    expected: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, Tensor]:
    """Undo :func:`pack`; a table is never larger than its shape says.

    Shapes are compared with those that are expected, and with :data:`LARGEST`, before anything is
    unpacked: a megabyte may become a gigabyte.
    """
    import numpy as np
    import torch

    said = json.loads((metadata or {}).get(METADATA_KEY, "{}"))
    names = [key.removesuffix(SUFFIX) for key in weights if key.endswith(SUFFIX)]
    shapes = {name: [int(length) for length in said[name]] for name in names}
    for name, shape in shapes.items():
        if expected and name in expected and shape != list(expected[name]):
            raise ValueError(
                f"the packed table {name!r} is of {shape}, the description says "
                f"{list(expected[name])}"
            )
        if min(shape, default=0) <= 0:
            raise ValueError(f"the packed table {name!r} is of the shape {shape}")
    total = sum(math.prod(shape) for shape in shapes.values())
    if total > LARGEST:
        raise ValueError(
            f"its packed tables {names[:4]} claim {total:,} bytes; at most {LARGEST:,} are allowed"
        )
    whole = {}
    for key, tensor in weights.items():
        if not key.endswith(SUFFIX):
            whole[key] = tensor
            continue
        name = key.removesuffix(SUFFIX)
        shape = shapes[name]
        size = math.prod(shape)
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
