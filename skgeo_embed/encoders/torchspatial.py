"""TorchSpatial's location encoders, and CSP's, as a transformer."""

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
class TorchSpatialEncoder(ThirdPartyEncoder):
    """Encode longitude and latitude with a published encoder of TorchSpatial or CSP (256 columns).

    TorchSpatial [1]_ publishes location encoders trained on images of YFCC, fMoW, iNaturalist and
    others, under MIT: Space2Vec-grid and -theory [2]_, Sphere2Vec-sphereC, -sphereC+, -sphereM,
    -sphereM+ and -dfs [3]_, xyz, NeRF, wrap_ffn and rff. CSP [4]_ has the same format, and states
    no licence.

    Parameters
    ----------
    model : str or path-like, default=None
        Path of a checkpoint (``.pth.tar`` with `params` and `state_dict`). There is no default;
        with None the error says where to get them.
    {torchspatial}

    Attributes
    ----------
    {encoder_info_}
        `compared_with` says whether features of this kind of encoder were compared with what its
        authors published; those of sphereC+, sphereM+, dfs and NeRF were not.
    {n_features_in_}

    See Also
    --------
    CSPEncoder : The same, with columns named csp000, csp001, ...

    References
    ----------
    .. [1] N. Wu et al. (2024). "TorchSpatial: A Location Encoding Framework and Benchmark for
       Spatial Representation Learning". NeurIPS. arXiv 2406.15658.
    .. [2] G. Mai et al. (2020). "Multi-Scale Representation Learning for Spatial Feature
       Distributions using Grid Cells". ICLR. arXiv 2003.00824.
    .. [3] G. Mai et al. (2023). "Sphere2Vec: A general-purpose location representation learning
       over a spherical surface for large-scale geospatial predictions". ISPRS Journal of
       Photogrammetry and Remote Sensing 202. arXiv 2306.17624.
    .. [4] G. Mai, N. Lao, Y. He, J. Song, S. Ermon (2023). "CSP: Self-Supervised Contrastive
       Spatial Pre-Training for Geospatial-Visual Representations". ICML. arXiv 2305.01118.

    Examples
    --------
    >>> from skgeo_embed import TorchSpatialEncoder
    >>> encoder = TorchSpatialEncoder("pre_trained_models/xyz/model_yfcc_xyz.pth.tar")
    >>> encoder.fit_transform([[7.83, 36.83]]).shape  # doctest: +SKIP
    (1, 256)
    """

    _feature_prefix = "torchspatial"
    _registry_name = "TorchSpatialEncoder"
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
        from skgeo_embed.models.third_party.torchspatial import torchspatial_layout

        return torchspatial_layout(self._registry_name, self.scaling).open(self.model)

    def _output(self, info: dict[str, Any]) -> tuple[str, int | None]:
        return self.layer, None
