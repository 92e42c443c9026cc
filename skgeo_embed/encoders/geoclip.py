"""GeoCLIP's location encoder as a transformer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from skgeo_embed.encoders.base import NETWORK_CONSTRAINTS, NetworkTransformer
from skgeo_embed.encoders.model_mixin import HUB_CONSTRAINTS, ModelMixin

if TYPE_CHECKING:
    import torch


class GeoCLIPEncoder(ModelMixin, NetworkTransformer):
    """Encode longitude and latitude with GeoCLIP's location encoder (512 columns).

    It was trained by matching geotagged photographs with their coordinates [1]_: an Equal
    Earth projection, three capsules of random Fourier features (sigma 1, 16 and 256), added.

    Parameters
    ----------
    model : str or path-like, default="geoclip"
        "geoclip" takes the weights of the installed PyPI package of that name, which is not
        imported (``pip install --no-deps geoclip``); "taxabind" is TaxaBind's encoder of places
        (MVRL/ecogeo on the hub), the same network tuned on species; a hub repository or a folder
        with the release (config.json + model.safetensors); or the path of
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
        **HUB_CONSTRAINTS,
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
        from skgeo_embed.models.geoclip_file import open_geoclip

        self._use_network(open_geoclip(self.model, self._hub_options()), "embedding")
