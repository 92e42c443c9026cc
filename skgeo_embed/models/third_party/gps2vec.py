"""GPS2Vec's networks, one for each UTM zone, from their Keras files."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skgeo_embed._errors import ModelFormatError
from skgeo_embed._files import beginning_and_end
from skgeo_embed.models.checks import as_format_error, check_finite
from skgeo_embed.nn.inference.devices import resolve_device
from skgeo_embed.nn.inference.locks import ForkSafeLock
from skgeo_embed.nn.inference.options import EncodingOptions

LARGEST_ZONE = 2**26  # numbers in the layers of a zone; the authors' zones have 5 million
N_INPUTS = 20 * 20  # cells of a zone
ZONE_CACHE = 32  # zone networks kept in memory, about 22 MB each
Layers = list[tuple[Tensor, Tensor]]
ZoneState = tuple[int, int, str]


class ZoneCache:
    """Keep the networks of the zones used last on the device; a pickle holds the files' names.

    Parameters
    ----------
    files : dict of str to Path
        The file of each zone.
    outputs : dict of str to int
        Names of the output layers, and their columns.
    states : dict of str to tuple, default=None
        Size and time of each file when it was found; None takes them as they are.
    """

    def __init__(
        self,
        files: dict[str, Path],
        outputs: dict[str, int],
        states: dict[str, ZoneState] | None = None,
    ) -> None:
        self._files, self._outputs = files, outputs
        self._states = states or {zone: state_of(path) for zone, path in files.items()}
        self._layers: OrderedDict[str, Layers] = OrderedDict()
        self._lock = ForkSafeLock()

    def digest(self) -> str:
        """Tell these files from others, by their names, sizes and times."""
        return hashlib.sha256(repr(sorted(self._states.items())).encode()).hexdigest()

    def get(self, zone: str, options: EncodingOptions) -> Layers:
        """Return a zone's layers, hidden ones first, on a device and in a dtype."""
        with self._lock:
            if zone not in self._layers:
                device, dtype = resolve_device(options.device), getattr(torch, options.dtype)
                self._layers[zone] = [
                    (kernel.to(dtype).to(device), bias.to(dtype).to(device))
                    for kernel, bias in self._read(zone)
                ]
                if len(self._layers) > ZONE_CACHE:
                    self._layers.popitem(last=False)
            self._layers.move_to_end(zone)
            return self._layers[zone]

    def _read(self, zone: str) -> Layers:
        path = self._files[zone]
        as_fitted = path.is_file() and state_of(path) == self._states[zone]
        layers = read_gps2vec_zone(path, self._outputs) if as_fitted else []
        if not as_fitted or state_of(path) != self._states[zone]:
            raise ModelFormatError(
                f"{path} is no longer the file that the encoder was fitted with: its size, time or "
                "content has changed, or it was removed. Restore that file, or fit again."
            )
        return layers

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return ZoneCache, (self._files, self._outputs, self._states)


def state_of(path: Path) -> ZoneState:
    """Return what tells a file from one that has replaced it, and not from a copy of it.

    Its size, its time and the hash of its beginning and its end: files of zones have one size, and
    archives keep times.
    """
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, hashlib.sha256(beginning_and_end(path)).hexdigest()


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


def read_gps2vec_zone(path: Path, outputs: dict[str, int]) -> Layers:
    """Read the dense layers of one zone's Keras file, hidden ones first: (kernel, bias) each.

    Parameters
    ----------
    path : Path
        A file of Keras's `save_weights`, or of its `save`, which nests the same below
        /model_weights.
    outputs : dict of str to int
        Names of the output layers, which follow layer1, layer2 and layer3, and their columns.
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
        values = {name: _values_of(root, name) for name in names}
        _check_shapes(values, outputs)  # of all layers, before any is read
        layers = {name: _dense_layer(*values[name]) for name in names}
        for name, (kernel, bias) in layers.items():
            check_finite({f"{name}.kernel": kernel, f"{name}.bias": bias}, path)
        found = list(layers.values())
        if not run_zone(np.ones((1, 20, 20)), found).isfinite().all():
            raise ValueError(
                "its weights are finite numbers, but so large that what is computed with them in "
                "single precision is NaN"
            )
    return found


def _values_of(root: Any, name: str) -> tuple[Any, Any]:
    """Return a layer's kernel and bias as they lie in the file, not read."""
    layer = _own(root, name)
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in layer.attrs["weight_names"]]
    arrays = {n.rpartition("/")[2].split(":")[0]: _own(layer, n) for n in names}
    if not all(hasattr(values, "shape") for values in arrays.values()):
        raise ValueError(f"the layer {name} has groups instead of values")
    return arrays["kernel"], arrays["bias"]


def _dense_layer(kernel: Any, bias: Any) -> tuple[Tensor, Tensor]:
    read = (np.asarray(values, dtype=np.float32) for values in (kernel, bias))
    return tuple(map(torch.from_numpy, read))  # type: ignore[return-value]


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


def _check_shapes(layers: dict[str, tuple[Any, Any]], outputs: dict[str, int]) -> None:
    """Compare the layers' shapes, as the file's header has them, with each other and the output."""
    width = N_INPUTS
    for name, (kernel, bias) in layers.items():
        odd = [str(values.dtype) for values in (kernel, bias) if values.dtype.kind != "f"]
        if odd:
            raise ValueError(f"{name} holds {odd[0]}; weights are floating point")
        if len(bias.shape) != 1 or kernel.shape != (width, len(bias)):
            raise ValueError(
                f"{name} has a kernel of shape {tuple(kernel.shape)} and biases of shape "
                f"{tuple(bias.shape)}; its input has {width} columns"
            )
        if name in outputs and len(bias) != outputs[name]:
            raise ValueError(
                f"{name} has {len(bias)} columns, and {outputs[name]} are expected of it; it "
                "belongs to another kind of encoder"
            )
        if name not in outputs:
            width = len(bias)
    # a chunk is unpacked as a whole, and may be larger than the part that is read
    claims = [(v.shape, v.chunks or ()) for both in layers.values() for v in both]
    size = sum(max(map(math.prod, claim)) for claim in claims)
    if size > LARGEST_ZONE:
        raise ValueError(f"its layers claim {size:,} numbers; at most {LARGEST_ZONE:,} are allowed")
