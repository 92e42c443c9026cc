"""GeoCLIP's location encoder as a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.encoders.third_party import ThirdPartyEncoder

if TYPE_CHECKING:
    from skgeo_embed.models.loaded import LoadedEncoder


@share_docs
class GeoCLIPEncoder(ThirdPartyEncoder, model="geoclip"):
    """Encode longitude and latitude with GeoCLIP's location encoder (512 columns).

    It was trained by matching geotagged photographs with their coordinates [1]_: an Equal
    Earth projection, three capsules of random Fourier features (sigma 1, 16 and 256), added.

    Parameters
    ----------
    model : str or path-like, default="geoclip"
        "geoclip" takes the weights of the installed PyPI package of that name
        (``pip install --no-deps geoclip``; the package is not imported); "taxabind" is TaxaBind's
        location encoder (MVRL/ecogeo on the hub), the same network tuned on species; a hub
        repository or a folder with config.json and model.safetensors; or the path of
        ``location_encoder_weights.pth``.
    {normalize}
    {device}
    dtype : {"float32", "float64"}, default="float32"
        Precision of the network and of the output; the Fourier features are float64.
    {batch_size}
    {places}
    {hub}

    Attributes
    ----------
    {encoder_info_}
    {n_features_in_}

    Notes
    -----
    GeoCLIP is discontinuous at the antimeridian and gives a pole another feature for every
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

    def _open(self) -> LoadedEncoder:
        from skgeo_embed.models.third_party.geoclip import GEOCLIP

        return GEOCLIP.open(self.model, self._hub_options())
