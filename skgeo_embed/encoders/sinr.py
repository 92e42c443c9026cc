"""SINR's location encoder as a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.encoders.third_party import ThirdPartyEncoder

if TYPE_CHECKING:
    from skgeo_embed.models.loaded import LoadedEncoder


@share_docs
class SINREncoder(ThirdPartyEncoder, model="sinr"):
    """Encode longitude and latitude with SINR (256 columns, none negative).

    It was trained to tell which of 47,375 species are found at a place, from observations
    alone [1]_; the features are those that its classes are predicted from.

    Parameters
    ----------
    model : str or path-like, default="sinr"
        "sinr" (MVRL/sinr-location-encoder-1000-cls on the hub), another hub repository or a folder
        with model.safetensors, or the path of the authors' .pt file. The weights state no
        licence; ask their authors before you redistribute them.
    {network}
    {hub}

    Attributes
    ----------
    {encoder_info_}
    {n_features_in_}

    Notes
    -----
    SINR's latitude is periodic like its longitude, so both poles have one feature; a pole has
    longitude 0 here. The matrix of the classes is not read.

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

    def _open(self) -> LoadedEncoder:
        from skgeo_embed.models.third_party.sinr import SINR

        return SINR.open(self.model, self._hub_options())
