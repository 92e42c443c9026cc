"""SINR's location encoder as a transformer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from skgeo_embed.encoders.base import NETWORK_CONSTRAINTS, NetworkTransformer
from skgeo_embed.encoders.model_mixin import HUB_CONSTRAINTS, ModelMixin

if TYPE_CHECKING:
    import torch


class SINREncoder(ModelMixin, NetworkTransformer):
    """Encode longitude and latitude with SINR (256 columns, none negative).

    It was trained to tell which of 47,375 species are found at a place, from observations
    alone [1]_; the features are what lies below the classes.

    Parameters
    ----------
    model : str or path-like, default="sinr"
        "sinr" (MVRL/sinr-location-encoder-1000-cls on the hub), another hub repository or a folder
        with model.safetensors, or the path of an original .pt file. Nobody says what the licence
        of these weights is.
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
    The original's latitude is periodic as its longitude is, so both poles have one feature; a pole
    has longitude 0 here. The matrix of the classes is not read.

    References
    ----------
    .. [1] E. Cole, G. Van Horn, C. Lange, A. Shepard, P. Leary, P. Perona, S. Loarie, O. Mac Aodha
       (2023). "Spatial Implicit Neural Representations for Global-Scale Species Mapping". ICML.
       arXiv 2306.02564.

    Examples
    --------
    >>> from skgeo_embed import SINREncoder
    >>> encoder = SINREncoder()
    >>> encoder.fit_transform([[7.83, 36.83]]).shape  # doctest: +SKIP
    (1, 256)
    """

    _feature_prefix = "sinr"
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, Path],
        **NETWORK_CONSTRAINTS,
        **HUB_CONSTRAINTS,
    }

    def __init__(
        self,
        model: str | Path = "sinr",
        *,
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
        from skgeo_embed.models.other_networks import build_sinr

        loaded = open_original(
            self.model,
            self._hub_options(),
            build=build_sinr,
            prefixes=("feats.", "model.feats."),
            known="sinr",
        )
        self._use_network(loaded, "embedding")
