"""CSP's location encoder as a transformer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sklearn.utils._param_validation import StrOptions

from skgeo_embed.encoders.network import NETWORK_CONSTRAINTS
from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.encoders.third_party import ThirdPartyEncoder, store_parameters

if TYPE_CHECKING:
    import torch

    from skgeo_embed.models.loaded import LoadedEncoder


@share_docs
class CSPEncoder(ThirdPartyEncoder):
    """Encode longitude and latitude with a CSP or Space2Vec-grid encoder (256 columns).

    CSP [1]_ trains Space2Vec's grid cells [2]_ and a feed-forward network contrastively on
    images of iNaturalist 2018 or fMoW.

    Parameters
    ----------
    model : str or path-like, default=None
        Path of a checkpoint (``.pth.tar`` with `params` and `state_dict`). There is no default:
        CSP's files state no licence. With None the error says where to get them.
    scaling : {"degrees", "unit"}, default="degrees"
        What the network is given: degrees, as it was trained, or longitude / 180 and latitude /
        90, as later users (SatCLIP's notebook among them) did.
    layer : {"embedding", "hidden"}, default="embedding"
        The encoder's output, or its last hidden layer.
    {normalize}
    {device}
    dtype : {"float32", "float64"}, default="float32"
        Precision of the network and of the output; the grid cells are float64.
    {batch_size}
    {places}

    Attributes
    ----------
    {encoder_info_}
    {n_features_in_}

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

    scaling: Literal["degrees", "unit"]
    layer: Literal["embedding", "hidden"]

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
        store_parameters(self, locals())

    def _open(self) -> LoadedEncoder:
        from skgeo_embed.models.third_party.csp import csp_layout

        return csp_layout(self.scaling).open(self.model)

    def _output(self, info: dict[str, Any]) -> tuple[str, int | None]:
        return self.layer, None
