"""Climplicit's location encoder as a transformer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from skgeo_embed.encoders.base import NETWORK_CONSTRAINTS, NetworkTransformer
from skgeo_embed.encoders.model_mixin import HUB_CONSTRAINTS, ModelMixin
from skgeo_embed.encoders.timed import TIME_CONSTRAINT, TimedTransformer

if TYPE_CHECKING:
    import torch


class ClimplicitEncoder(ModelMixin, TimedTransformer, NetworkTransformer):
    """Encode longitude, latitude and month with Climplicit (256 columns, 1,024 without a month).

    It was trained to reproduce the climate of CHELSA, at a kilometre, month by month [1]_: a
    residual SIREN of sixteen layers on longitude, latitude and the month as an angle.

    Parameters
    ----------
    model : str or path-like, default="climplicit"
        "climplicit" (Jobedo/climplicit on the hub, CC-BY-4.0), another hub repository or a folder
        with model.safetensors, or the path of a .safetensors or .pth file with its tensors.
    month : float or str, default=None
        A number from 1 to 12 gives 256 columns for that month, which may lie between two; text
        names a column of X that holds the month of each row (of an array it is the third). None
        gives 1,024 columns: those of March, June, September and December.
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
    is one for every longitude. Here 180° is read as -180° and the poles have longitude 0. Positions
    are float64, where the original rounds them to float32 (1e-7 of the features). What predicts
    CHELSA from the features is in the file and not read.

    References
    ----------
    .. [1] J. Dollinger, D. Robert, E. Plekhanova, L. Drees, J. D. Wegner (2025). "Climplicit:
       Climatic Implicit Embeddings for Global Ecological Tasks". arXiv 2504.05089.

    Examples
    --------
    >>> from skgeo_embed import ClimplicitEncoder
    >>> encoder = ClimplicitEncoder(month=7)
    >>> encoder.fit_transform([[7.83, 36.83]]).shape  # doctest: +SKIP
    (1, 256)
    """

    _feature_prefix = "climplicit"
    _time_parameter = "month"
    _time_range = (1.0, 12.0)
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, Path],
        "month": TIME_CONSTRAINT,
        **NETWORK_CONSTRAINTS,
        **HUB_CONSTRAINTS,
    }

    def __init__(
        self,
        model: str | Path = "climplicit",
        *,
        month: float | str | None = None,
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
        self.month = month
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
        from skgeo_embed.models.other_networks import build_climplicit

        loaded = open_original(
            self.model,
            self._hub_options(),
            build=build_climplicit,
            prefixes=("location_encoder.",),
            known="climplicit",
        )
        columns = None if self._time is None else loaded.info["month_dim"]
        self._use_network(loaded, "embedding", columns)
