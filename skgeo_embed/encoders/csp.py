"""CSP's location encoder as a transformer."""

from __future__ import annotations

from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.encoders.torchspatial import TorchSpatialEncoder


@share_docs
class CSPEncoder(TorchSpatialEncoder):
    """Encode longitude and latitude with a CSP or TorchSpatial encoder (256 columns).

    This is :class:`TorchSpatialEncoder` under its earlier name: it opens the same files and gives
    the same features, in columns named csp000, csp001, ... CSP [1]_ trains Space2Vec's grid cells
    and a feed-forward network contrastively on images of iNaturalist 2018 or fMoW.

    Parameters
    ----------
    model : str or path-like, default=None
        Path of a checkpoint (``.pth.tar`` with `params` and `state_dict`). There is no default:
        CSP's files state no licence. With None the error says where to get them.
    {torchspatial}

    Attributes
    ----------
    {encoder_info_}
    {n_features_in_}

    References
    ----------
    .. [1] G. Mai, N. Lao, Y. He, J. Song, S. Ermon (2023). "CSP: Self-Supervised Contrastive
       Spatial Pre-Training for Geospatial-Visual Representations". ICML. arXiv 2305.01118.

    Examples
    --------
    >>> from skgeo_embed import CSPEncoder
    >>> encoder = CSPEncoder("model_dir/model_fmow_gridcell.pth.tar")
    >>> encoder.fit_transform([[7.83, 36.83]]).shape  # doctest: +SKIP
    (1, 256)
    """

    _feature_prefix = "csp"
    _registry_name = "CSPEncoder"
