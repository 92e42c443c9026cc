"""CSP's location encoder as a transformer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sklearn.utils._param_validation import StrOptions

from skgeo_embed.encoders.base import NETWORK_CONSTRAINTS, NetworkTransformer

if TYPE_CHECKING:
    import torch


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
    lon, lat : str or int, default=None
        Columns of longitude and latitude where their names do not tell, such as "x" and "y"; the
        input may then have other columns too.
    area_points : int or str, default=64
        Points spread evenly over each polygon or along each line: their number, or the distance
        between them, such as "5km".
    area_statistic : {"mean", "std"}, default="mean"
        What of the points' features is given for an area; a point's deviation is 0.

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
        lon: str | int | None = None,
        lat: str | int | None = None,
        area_points: int | str = 64,
        area_statistic: Literal["mean", "std"] = "mean",
    ) -> None:
        self.model = model
        self.scaling = scaling
        self.layer = layer
        self.normalize = normalize
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.on_invalid = on_invalid
        self.lon = lon
        self.lat = lat
        self.area_points = area_points
        self.area_statistic = area_statistic

    def prepare(self) -> None:
        from skgeo_embed.models.csp_file import open_csp

        self._use_network(open_csp(self.model, self.scaling), self.layer)
