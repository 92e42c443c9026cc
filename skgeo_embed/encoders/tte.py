"""TTE's location encoder as a transformer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from skgeo_embed.encoders.base import NETWORK_CONSTRAINTS, NetworkTransformer
from skgeo_embed.encoders.model_mixin import HUB_CONSTRAINTS, ModelMixin

if TYPE_CHECKING:
    import torch


class TTEEncoder(ModelMixin, NetworkTransformer):
    """Encode longitude and latitude with TTE (512 columns).

    4,096 sites on the sphere hold embeddings, which are averaged by nearness with a sharpness that
    was learned for each; registers, attended to by what is alike, and a network follow.

    Parameters
    ----------
    model : str or path-like, default="tte"
        "tte" (MVRL/TTE on the hub, MIT), another hub repository or a folder with model.safetensors,
        or the path of a .safetensors file or a Lightning checkpoint.
    normalize : bool, default=True
        Scale every row to unit length, as the original does.
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
    It works on the sphere: poles and the antimeridian are places like others. The temperature of
    the registers is the learned one in the file; the one that training ended with is not saved.

    References
    ----------
    .. [1] Multimodal Vision Research Laboratory, Washington University in St. Louis (2026). "TTE".
       github.com/mvrl/TTE.

    Examples
    --------
    >>> from skgeo_embed import TTEEncoder
    >>> encoder = TTEEncoder()
    >>> encoder.fit_transform([[7.83, 36.83]]).shape  # doctest: +SKIP
    (1, 512)
    """

    _feature_prefix = "tte"
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, Path],
        **NETWORK_CONSTRAINTS,
        **HUB_CONSTRAINTS,
    }

    def __init__(
        self,
        model: str | Path = "tte",
        *,
        normalize: bool = True,
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
        from skgeo_embed.models.other_networks import build_tte

        loaded = open_original(
            self.model,
            self._hub_options(),
            build=build_tte,
            prefixes=("location.", "model.location."),
            known="tte",
        )
        self._use_network(loaded, "embedding")
