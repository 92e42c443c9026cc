"""GPS2Vec's files: one Keras network a UTM zone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skgeo_embed._errors import ModelFormatError
from skgeo_embed.models.parsing import DAMAGE, check_finite

LARGEST_LAYER = 2**26  # numbers
N_INPUTS = 20 * 20  # cells of a zone
GPS2VEC_HELP = (
    "GPS2Vec's models are one HDF5 file a UTM zone (model_48 N.h5, ...) in archives linked from "
    "the README of github.com/yifangyin/GPS2Vec, which states no licence: ask its authors before "
    "you share them. Unpack one and pass the folder, models_visual or models_tag."
)


def read_gps2vec_zone(path: Path, outputs: list[str]) -> list[tuple[Tensor, Tensor]]:
    """Read the dense layers of one zone's Keras file, hidden ones first: (kernel, bias) each.

    Parameters
    ----------
    path : Path
        A file of `save_weights`, or of `save`, which nests it in /model_weights.
    outputs : list of str
        Names of the output layers, which follow layer1, layer2 and layer3.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            'GPS2VecEncoder reads HDF5 files with h5py: pip install "skgeo-embed[baselines]"'
        ) from error
    try:
        with h5py.File(path, "r") as file:
            root = _own(file, "model_weights") if "model_weights" in file else file
            names = ("layer1", "layer2", "layer3", *outputs)
            layers = [_dense_layer(root, name) for name in names]
            _check_layers(dict(zip(names, layers, strict=True)), path)
            return layers
    except DAMAGE as error:
        if isinstance(error, ModelFormatError):
            raise
        raise ModelFormatError(
            f"{path} is no GPS2Vec zone file: {error}. {GPS2VEC_HELP}"
        ) from error


def _dense_layer(root: Any, name: str) -> tuple[Tensor, Tensor]:
    layer = _own(root, name)
    names = [n.decode() if isinstance(n, bytes) else n for n in layer.attrs["weight_names"]]
    arrays = {n.rpartition("/")[2].split(":")[0]: _own(layer, n) for n in names}
    if any(math.prod(values.shape) > LARGEST_LAYER for values in arrays.values()):
        shapes = [v.shape for v in arrays.values()]
        raise ValueError(f"the layer {name} claims the shapes {shapes}")
    kernel, bias = (np.asarray(arrays[part], dtype=np.float32) for part in ("kernel", "bias"))
    return torch.from_numpy(kernel), torch.from_numpy(bias)


def _own(group: Any, name: str) -> Any:
    """Return a group or values of this very file; HDF5 would follow links and read other files."""
    import h5py

    found = group.file if name.startswith("/") else group
    for part in filter(None, name.split("/")):
        link = found.get(part, getlink=True)
        if not isinstance(link, h5py.HardLink):
            where = getattr(link, "filename", None) or getattr(link, "path", "nothing")
            raise ValueError(f"{name} is no part of the file but a link to {where}")
        found = found[part]
    if isinstance(found, h5py.Dataset):
        if found.external:
            raise ValueError(f"the values of {name} lie in another file, {found.external[0][0]}")
        if found.is_virtual:
            others = ", ".join(sorted({source.file_name for source in found.virtual_sources()}))
            raise ValueError(f"{name} is put together from other values, of {others}")
    return found


def _check_layers(layers: dict[str, tuple[Tensor, Tensor]], path: Path) -> None:
    width = N_INPUTS
    for name, (kernel, bias) in layers.items():
        if kernel.ndim != 2 or kernel.shape != (width, len(bias)):
            raise ModelFormatError(
                f"{path} is no GPS2Vec zone file: {name} has a kernel of shape "
                f"{tuple(kernel.shape)} and {bias.numel()} biases, {width} columns come in."
            )
        check_finite({f"{name}.kernel": kernel, f"{name}.bias": bias}, path)
        if name.startswith("layer"):
            width = len(bias)
