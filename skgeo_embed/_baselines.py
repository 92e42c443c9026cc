"""The other published location encoders: GeoCLIP, CSP and GPS2Vec."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions

from skgeo_embed._base import (
    NETWORK_CONSTRAINTS,
    CoordinateTransformer,
    NetworkTransformer,
    numbered_names,
)
from skgeo_embed._errors import CoordinateError, InvalidCoordinateWarning, ModelNotFoundError
from skgeo_embed._hub_parameters import HUB_CONSTRAINTS, hub_options, without_token
from skgeo_embed._utm_grid import distance_grid, zone_names

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_HUB = {key: value for key, value in HUB_CONSTRAINTS.items() if key != "allow_pickle"}
_MAX_ZONES_NAMED = 8
ZONE_CACHE = 32  # zone models kept in memory, about 22 MB each


class GeoCLIPEncoder(NetworkTransformer):
    """Encode longitude and latitude with GeoCLIP's location encoder (512 columns).

    It was trained by matching geotagged photographs with their coordinates [1]_: an Equal
    Earth projection, three capsules of random Fourier features (sigma 1, 16 and 256), added.

    Parameters
    ----------
    model : str or path-like, default="geoclip"
        "geoclip" takes the weights of the installed PyPI package of that name, which is not
        imported (``pip install --no-deps geoclip``); a hub repository or a folder with the
        release (config.json + model.safetensors); or the path of
        ``location_encoder_weights.pth``.
    normalize : bool, default=False
        Scale every row to unit length.
    device : str or torch.device, default=None
        Where to compute; None takes cuda, mps or cpu, the first that is there.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the network and of the output; the Fourier features are float64.
    batch_size : int, default=None
        Points encoded at a time; None takes what suits the device.
    on_invalid : {"raise", "nan"}, default="raise"
        What to do with NaN, infinite or out-of-range coordinates.
    revision, cache_dir, token, local_files_only
        As for :class:`SatCLIPEncoder`.

    Attributes
    ----------
    encoder_info_ : dict
        What was loaded: name, source, path, revision, sha256, licence, training data.
    n_features_in_ : int
        2.

    Notes
    -----
    The original is discontinuous at the antimeridian and gives the poles a feature for every
    longitude. Here 180° is read as -180° and the poles have longitude 0.

    References
    ----------
    .. [1] V. Vivanco Cepeda, G. K. Nayak, M. Shah (2023). "GeoCLIP: Clip-Inspired Alignment
       between Locations and Images for Effective Worldwide Geo-localization". NeurIPS.
       arXiv 2309.16020.

    Examples
    --------
    >>> from skgeo_embed import GeoCLIPEncoder
    >>> encoder = GeoCLIPEncoder("geoclip")  # needs: pip install --no-deps geoclip
    >>> encoder.fit([[7.83, 36.83]]).transform([[7.83, 36.83]]).shape  # doctest: +SKIP
    (1, 512)
    """

    _feature_prefix = "geoclip"
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, Path],
        **NETWORK_CONSTRAINTS,
        **_HUB,
    }

    def __init__(
        self,
        model: str | Path = "geoclip",
        *,
        normalize: bool = False,
        device: str | torch.device | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        batch_size: int | None = None,
        on_invalid: Literal["raise", "nan"] = "raise",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> None:
        self.model = model
        self.normalize = normalize
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.on_invalid = on_invalid
        self.revision = revision
        self.cache_dir = cache_dir
        self.token = token
        self.local_files_only = local_files_only

    def _prepare(self) -> None:
        from skgeo_embed.checkpoints.baselines import open_geoclip

        self._keep(open_geoclip(self.model, hub_options(self)), "embedding")

    def __getstate__(self) -> dict[str, Any]:
        return without_token(super().__getstate__())


class CSPEncoder(NetworkTransformer):
    """Encode longitude and latitude with a CSP or Space2Vec-grid encoder (256 columns).

    CSP [1]_ trains Space2Vec's grid cells [2]_ and a feed-forward network contrastively on
    images of iNaturalist 2018 or fMoW.

    Parameters
    ----------
    model : str or path-like, default=None
        Path of a published checkpoint (``.pth.tar`` with `params` and `state_dict`). There is
        no default: the files carry no licence, the error says where they are.
    scaling : {"degrees", "unit"}, default="degrees"
        What the network is fed: degrees, as it was trained, or longitude / 180 and latitude /
        90, as later users (SatCLIP's notebook among them) did.
    layer : {"embedding", "hidden"}, default="embedding"
        The encoder's output, or its last hidden layer.
    normalize : bool, default=False
        Scale every row to unit length.
    device : str or torch.device, default=None
        Where to compute; None takes cuda, mps or cpu, the first that is there.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the network and of the output; the grid cells are float64.
    batch_size : int, default=None
        Points encoded at a time; None takes what suits the device.
    on_invalid : {"raise", "nan"}, default="raise"
        What to do with NaN, infinite or out-of-range coordinates.

    Attributes
    ----------
    encoder_info_ : dict
        What was loaded: name, source, path, sha256, sizes.
    n_features_in_ : int
        2.

    References
    ----------
    .. [1] G. Mai, N. Lao, Y. He, J. Song, S. Ermon (2023). "CSP: Self-Supervised Contrastive
       Spatial Pre-Training for Geospatial-Visual Representations". ICML. arXiv 2305.01118.
    .. [2] G. Mai et al. (2020). "Multi-Scale Representation Learning for Spatial Feature
       Distributions using Grid Cells". ICLR. arXiv 2003.00824.

    Examples
    --------
    >>> from skgeo_embed import CSPEncoder
    >>> encoder = CSPEncoder("model_dir/model_fmow_gridcell.pth.tar")
    >>> encoder.fit_transform([[7.83, 36.83]]).shape  # doctest: +SKIP
    (1, 256)
    """

    _feature_prefix = "csp"
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, Path, None],
        "scaling": [StrOptions({"degrees", "unit"})],
        "layer": [StrOptions({"embedding", "hidden"})],
        **NETWORK_CONSTRAINTS,
    }

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        scaling: Literal["degrees", "unit"] = "degrees",
        layer: Literal["embedding", "hidden"] = "embedding",
        normalize: bool = False,
        device: str | torch.device | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        batch_size: int | None = None,
        on_invalid: Literal["raise", "nan"] = "raise",
    ) -> None:
        self.model = model
        self.scaling = scaling
        self.layer = layer
        self.normalize = normalize
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.on_invalid = on_invalid

    def _prepare(self) -> None:
        from skgeo_embed.checkpoints.baselines import open_csp

        self._keep(open_csp(self.model, self.scaling), self.layer)


class GPS2VecEncoder(CoordinateTransformer):
    """Encode longitude and latitude with GPS2Vec, one network a UTM zone.

    Every zone has a network of its own, fed with the distances to the 20 × 20 cells of the
    zone [1]_.

    Parameters
    ----------
    model : str or path-like, default=None
        Folder of the zone files, ``model_48 N.h5`` and so on (``models_visual`` or
        ``models_tag``). There is no default: the files carry no licence, the error says where
        they are.
    kind : {"visual", "tag"}, default="visual"
        "visual": probabilities of 1000 objects and 365 scenes (1365 columns); "tag": of 2000
        tags.
    device : str or torch.device, default=None
        Where to compute; None takes cuda, mps or cpu, the first that is there.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the network and of the output; distances are float64.
    batch_size : int, default=4096
        Points encoded at a time.
    on_invalid : {"raise", "nan"}, default="raise"
        What to do with invalid coordinates, latitudes outside 80°S to 84°N, and points whose
        zone has no file: raise an error that names the zones, or give NaN features.

    Attributes
    ----------
    encoder_info_ : dict
        What was found: name, source, path, kind and the zones that have a file.
    n_features_in_ : int
        2.

    References
    ----------
    .. [1] Y. Yin, Y. Zhang, Z. Liu, S. Wang, R. R. Shah, R. Zimmermann (2021). "GPS2Vec:
       Pre-Trained Semantic Embeddings for Worldwide GPS Coordinates". IEEE Transactions on
       Multimedia 24, doi:10.1109/TMM.2021.3060951.

    Examples
    --------
    >>> from skgeo_embed import GPS2VecEncoder
    >>> encoder = GPS2VecEncoder("models_visual")
    >>> encoder.fit_transform([[103.76, 1.32]]).shape  # doctest: +SKIP
    (1, 1365)
    """

    _outputs: ClassVar[dict[str, dict[str, int]]] = {
        "visual": {"object": 1000, "scene": 365},
        "tag": {"tag": 2000},
    }
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, Path, None],
        "kind": [StrOptions({"visual", "tag"})],
        "device": "no_validation",
        "dtype": [StrOptions({"float32", "float64"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "on_invalid": [StrOptions({"raise", "nan"})],
    }

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        kind: Literal["visual", "tag"] = "visual",
        device: str | torch.device | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        batch_size: int = 4096,
        on_invalid: Literal["raise", "nan"] = "raise",
    ) -> None:
        self.model = model
        self.kind = kind
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.on_invalid = on_invalid

    def _prepare(self) -> None:
        from skgeo_embed.checkpoints.baselines import GPS2VEC_HELP

        if self.model is None:
            raise ModelNotFoundError(
                f"model is None, but GPS2Vec has no weights that may ship. {GPS2VEC_HELP}"
            )
        folder = Path(self.model).expanduser()
        self._files = {
            file.stem.removeprefix("model_"): file.resolve() for file in folder.glob("model_*.h5")
        }
        if not self._files:
            found = "no model_*.h5 file" if folder.is_dir() else "nothing"
            raise ModelNotFoundError(f"there is {found} at {str(self.model)!r}. {GPS2VEC_HELP}")
        self._zones = ZoneCache()
        self.encoder_info_ = {
            "name": folder.name,
            "source": "folder",
            "path": str(folder.resolve()),
            "kind": self.kind,
            "zones": sorted(self._files),
        }

    def _encode(self, lonlat: np.ndarray, rows: np.ndarray, *, out: np.ndarray) -> None:
        zones = zone_names(lonlat)
        usable = np.isin(zones, list(self._files))
        if not usable.all():
            self._report(lonlat, zones, usable)
        out[rows[~usable]] = np.nan
        for zone in np.unique(zones[usable]):
            inside = np.flatnonzero(zones == zone)
            layers = self._zones.get(self._files[str(zone)], list(self._outputs[self.kind]))
            for start in range(0, len(inside), self.batch_size):
                part = inside[start : start + self.batch_size]
                grid = distance_grid(lonlat[part], str(zone))
                out[rows[part]] = run_zone(grid, layers, self.device, self.dtype)

    def _report(self, lonlat: np.ndarray, zones: np.ndarray, usable: np.ndarray) -> None:
        outside = zones == ""
        missing = sorted(set(zones[~usable & ~outside]))
        parts = []
        if outside.any():
            row = int(np.flatnonzero(outside)[0])
            parts.append(
                f"{int(outside.sum())} of {len(lonlat)} points lie outside 80°S to 84°N, where UTM "
                f"ends (first: lon={lonlat[row, 0]:g}, lat={lonlat[row, 1]:g})"
            )
        if missing:
            named = ", ".join(f"'{zone}'" for zone in missing[:_MAX_ZONES_NAMED])
            more = len(missing) - _MAX_ZONES_NAMED
            parts.append(
                f"{int((~usable & ~outside).sum())} of {len(lonlat)} points lie in {len(missing)} "
                f"zone(s) without a file in {self.encoder_info_['path']}: {named}"
                + (f" and {more} more" if more > 0 else "")
            )
        message = "; ".join(parts)
        if self.on_invalid == "raise":
            raise CoordinateError(
                f'{message}. Leave these points out, or pass on_invalid="nan" for NaN features.'
            )
        warnings.warn(f"{message}. Their features are NaN.", InvalidCoordinateWarning, stacklevel=6)

    def _width(self) -> int:
        return sum(self._outputs[self.kind].values())

    def _feature_names(self) -> list[str]:
        return numbered_names(f"gps2vec_{self.kind}", self._width())

    def _output_dtype(self) -> str:
        return self.dtype

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        return tags


class ZoneCache:
    """Zone networks in memory, the least recently used ones dropped; never pickled."""

    def __init__(self) -> None:
        self._layers: OrderedDict[Path, list[tuple[Tensor, Tensor]]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, outputs: list[str]) -> list[tuple[Tensor, Tensor]]:
        from skgeo_embed.checkpoints.baselines import read_gps2vec_zone

        with self._lock:
            if path not in self._layers:
                self._layers[path] = read_gps2vec_zone(path, outputs)
                if len(self._layers) > ZONE_CACHE:
                    self._layers.popitem(last=False)
            self._layers.move_to_end(path)
            return self._layers[path]

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return ZoneCache, ()


def run_zone(
    grid: np.ndarray, layers: list[tuple[Tensor, Tensor]], device: Any, dtype: str
) -> np.ndarray:
    """Three dense layers with ReLU, then one softmax for each output layer, side by side."""
    import torch

    from skgeo_embed.nn.inference import resolve_device

    options = {"device": resolve_device(device), "dtype": getattr(torch, dtype)}
    moved = [(kernel.to(**options), bias.to(**options)) for kernel, bias in layers]
    with torch.inference_mode():
        # the original feeds its networks single precision
        x = torch.from_numpy(grid.reshape(len(grid), -1)).float().to(**options)
        for kernel, bias in moved[:3]:
            x = torch.relu(torch.addmm(bias, x, kernel))
        outputs = [torch.softmax(torch.addmm(bias, x, kernel), 1) for kernel, bias in moved[3:]]
        return torch.cat(outputs, dim=1).cpu().numpy()
