"""MIND's location encoder as a transformer."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sklearn.utils._param_validation import Interval, StrOptions

from skgeo_embed.encoders.base import NETWORK_CONSTRAINTS, NetworkTransformer
from skgeo_embed.encoders.model_mixin import HUB_CONSTRAINTS, ModelMixin
from skgeo_embed.encoders.timed import TIME_CONSTRAINT, TimedTransformer

if TYPE_CHECKING:
    import torch

CUT_TRUNK = 64  # columns of the full network's default output


class MINDEncoder(ModelMixin, TimedTransformer, NetworkTransformer):
    """Encode longitude and latitude with MIND (64 or 128 columns).

    A wide residual SIREN on the Equal Earth projection, distilled from AlphaEarth's yearly
    embeddings and from Climplicit, GeoCLIP and SINR [1]_. Width and depth are those of the file.

    Parameters
    ----------
    model : str or path-like, default="mind"
        "mind" (taylor-geospatial/MIND on the hub, MIT, 227 MB) or "mind-small" (26 MB), another hub
        repository or a folder with mind.safetensors, mind_small.safetensors or model.safetensors,
        or the path of a .safetensors or .pt file.
    layer : {"auto", "embedding", "hidden"}, default="auto"
        The head, or the trunk below it. "auto" is what the authors use: the first 64 columns of
        the trunk where the head has 64, else the head.
    n_components : int, default=None
        Only the first columns. The full trunk was trained to be cut at 64, 128, 256, 512, 1,024,
        2,048 or 3,072.
    year : float or str, default=None
        For a network that takes a year: one for all places, or the name of the column of X that
        holds each row's (of an array it is the third).
    normalize : bool, default=False
        Scale every row to unit length.
    device : str or torch.device, default=None
        Where to compute; None takes cuda, mps or cpu, the first that is there.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the network and of the output.
    batch_size : int, default=None
        Points encoded at a time; None takes what suits the device.
    on_invalid : {"raise", "nan"}, default="raise"
        What to do with NaN, infinite or out-of-range coordinates.
    lon, lat : str or int, default=None
        Columns of longitude and latitude where their names do not tell, such as "x" and "y"; the
        input may then have other columns too.
    area_points : int or str, default=64
        Points spread evenly over each polygon or along each line: their number, or the distance
        between them, such as "5km".
    area_statistic : {"mean", "std"}, default="mean"
        What of the points' features is given for an area; a point's deviation is 0.
    revision, cache_dir, token, local_files_only
        As for :class:`SatCLIPEncoder`.

    Attributes
    ----------
    encoder_info_ : dict
        What was loaded: name, source, path, revision, sha256, licence, training data, sizes.
    n_features_in_ : int
        Columns of what it was fitted on.

    Notes
    -----
    The original takes longitude as it is written: 180° and -180° are two places there, and a pole
    is one for every longitude. Here 180° is read as -180° and the poles have longitude 0. The file
    is kept in its half precision and computed in `dtype`.

    References
    ----------
    .. [1] Taylor Geospatial (2026). "MIND". github.com/taylor-geospatial/mind.

    Examples
    --------
    >>> from skgeo_embed import MINDEncoder
    >>> encoder = MINDEncoder("mind-small")
    >>> encoder.fit_transform([[7.83, 36.83]]).shape  # doctest: +SKIP
    (1, 128)
    """

    _feature_prefix = "mind"
    _time_parameter = "year"
    _time_range = (1900.0, 2100.0)
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, Path],
        "layer": [StrOptions({"auto", "embedding", "hidden"})],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "year": TIME_CONSTRAINT,
        **NETWORK_CONSTRAINTS,
        **HUB_CONSTRAINTS,
    }

    def __init__(
        self,
        model: str | Path = "mind",
        *,
        layer: Literal["auto", "embedding", "hidden"] = "auto",
        n_components: int | None = None,
        year: float | str | None = None,
        normalize: bool = False,
        device: str | torch.device | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        batch_size: int | None = None,
        on_invalid: Literal["raise", "nan"] = "raise",
        lon: str | int | None = None,
        lat: str | int | None = None,
        area_points: int | str = 64,
        area_statistic: Literal["mean", "std"] = "mean",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> None:
        self.model = model
        self.layer = layer
        self.n_components = n_components
        self.year = year
        self.normalize = normalize
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.on_invalid = on_invalid
        self.lon = lon
        self.lat = lat
        self.area_points = area_points
        self.area_statistic = area_statistic
        self.revision = revision
        self.cache_dir = cache_dir
        self.token = token
        self.local_files_only = local_files_only

    def prepare(self) -> None:
        from skgeo_embed.models.original_file import open_original
        from skgeo_embed.models.other_networks import build_mind

        loaded = open_original(
            self.model,
            self._hub_options(),
            build=build_mind,
            prefixes=("",),
            known="mind",
        )
        if loaded.info["takes_year"] != (self._time is not None):
            raise ValueError(
                "this network takes a year: pass year=, a number or the name of a column."
                if loaded.info["takes_year"]
                else f"this network takes no year, got year={self.year!r}; leave it out."
            )
        layer, columns = self.layer, self.n_components
        if layer == "auto":
            by_head = loaded.info["embed_dim"] != CUT_TRUNK
            layer = "embedding" if by_head else "hidden"
            columns = columns or (None if by_head else CUT_TRUNK)
        self._use_network(loaded, layer, columns)
