"""GPS2Vec's networks, one for each UTM zone, from their Keras files."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skgeo_embed.models.checks import as_format_error, check_finite
from skgeo_embed.nn.inference.devices import resolve_device
from skgeo_embed.nn.inference.locks import ForkSafeLock
from skgeo_embed.nn.inference.options import EncodingOptions

LARGEST_LAYER = 2**26  # numbers
N_INPUTS = 20 * 20  # cells of a zone
ZONE_CACHE = 32  # zone networks kept in memory, about 22 MB each
Layers = list[tuple[Tensor, Tensor]]


class ZoneCache:
    """Keep the networks of the zones used last on the device; a pickle holds the files' names.

    Parameters
    ----------
    files : dict of str to Path
        The file of each zone.
    outputs : list of str
        Names of the output layers.
    """

    def __init__(self, files: dict[str, Path], outputs: list[str]) -> None:
        self._files, self._outputs = files, outputs
        self._layers: OrderedDict[str, Layers] = OrderedDict()
        self._lock = ForkSafeLock()

    def get(self, zone: str, options: EncodingOptions) -> Layers:
        """Return a zone's layers, hidden ones first, on the device and in the type asked for."""
        with self._lock:
            if zone not in self._layers:
                device, dtype = resolve_device(options.device), getattr(torch, options.dtype)
                self._layers[zone] = [
                    (kernel.to(dtype).to(device), bias.to(dtype).to(device))
                    for kernel, bias in read_gps2vec_zone(self._files[zone], self._outputs)
                ]
                if len(self._layers) > ZONE_CACHE:
                    self._layers.popitem(last=False)
            self._layers.move_to_end(zone)
            return self._layers[zone]

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return ZoneCache, (self._files, self._outputs)


def run_zone(grid: np.ndarray, layers: Layers) -> Tensor:
    """Run three dense layers with ReLU, and one softmax for each output layer, side by side."""
    kernel = layers[0][0]
    with torch.inference_mode():
        # the authors feed the networks single precision
        x = torch.from_numpy(grid.reshape(len(grid), -1)).float().to(kernel.device, kernel.dtype)
        for kernel, bias in layers[:3]:
            x = torch.relu(torch.addmm(bias, x, kernel))
        outputs = [torch.softmax(torch.addmm(bias, x, kernel), 1) for kernel, bias in layers[3:]]
        return torch.cat(outputs, dim=1).cpu()


def read_gps2vec_zone(path: Path, outputs: list[str]) -> Layers:
    """Read the dense layers of one zone's Keras file, hidden ones first: (kernel, bias) each.

    Parameters
    ----------
    path : Path
        A file of Keras's `save_weights`, or of its `save`, which nests the same below
        /model_weights.
    outputs : list of str
        Names of the output layers, which follow layer1, layer2 and layer3.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            'GPS2VecEncoder reads HDF5 files with h5py: pip install "skgeo-embed[third-party]"'
        ) from error
    names = ("layer1", "layer2", "layer3", *outputs)
    with as_format_error(path, "a GPS2Vec zone file"), h5py.File(path, "r") as file:
        root = _own(file, "model_weights") if "model_weights" in file else file
        layers = [_dense_layer(root, name) for name in names]
        _check_layers(dict(zip(names, layers, strict=True)), path)
    return layers


def _dense_layer(root: Any, name: str) -> tuple[Tensor, Tensor]:
    layer = _own(root, name)
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in layer.attrs["weight_names"]]
    arrays = {n.rpartition("/")[2].split(":")[0]: _own(layer, n) for n in names}
    if not all(hasattr(values, "shape") for values in arrays.values()):
        raise ValueError(f"the layer {name} has groups in the place of values")
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
        if not isinstance(found, h5py.Group):
            raise ValueError(f"{name} lies below values, not below a group")
        link = found.get(part, getlink=True)
        if not isinstance(link, h5py.HardLink):
            where = getattr(link, "filename", None) or getattr(link, "path", "nothing")
            raise ValueError(f"{name} is a link to {where}, not part of the file")
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
            raise ValueError(
                f"{name} has a kernel of shape {tuple(kernel.shape)} and {bias.numel()} biases; "
                f"{width} columns come in"
            )
        check_finite({f"{name}.kernel": kernel, f"{name}.bias": bias}, path)
        if name.startswith("layer"):
            width = len(bias)
