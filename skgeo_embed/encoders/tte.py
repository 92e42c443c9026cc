"""TTE's location encoder as a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.encoders.third_party import ThirdPartyEncoder

if TYPE_CHECKING:
    from skgeo_embed.models.loaded import LoadedEncoder


@share_docs
class TTEEncoder(ThirdPartyEncoder, model="tte", normalize=True):
    """Encode longitude and latitude with TTE (512 columns).

    4,096 sites on the sphere hold embeddings, which are averaged by nearness; each site has a
    learned sharpness. Attention to registers and a network follow.

    Parameters
    ----------
    model : str or path-like, default="tte"
        "tte" (MVRL/TTE on the hub, MIT), another hub repository or a folder with model.safetensors,
        or the path of a .safetensors file or a Lightning checkpoint.
    normalize : bool, default=True
        Scale every row to unit length, as the authors do.
    {device}
    {dtype}
    {batch_size}
    {places}
    {hub}

    Attributes
    ----------
    {encoder_info_}
    {n_features_in_}

    Notes
    -----
    It works on the sphere: poles and the antimeridian are places like others. The temperature of
    the registers is the learned one in the file; the final one of the training is not saved.

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

    def _open(self) -> LoadedEncoder:
        from skgeo_embed.models.third_party.tte import TTE

        return TTE.open(self.model, self._hub_options())
