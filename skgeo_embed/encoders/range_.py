"""RANGE: image features of similar places, retrieved by their location embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skgeo_embed._errors import CoordinateError, ModelFormatError
from skgeo_embed._sphere import unit_vectors
from skgeo_embed.encoders.base import READING_CONSTRAINTS
from skgeo_embed.encoders.image_features import features_of_images
from skgeo_embed.encoders.model_mixin import HUB_CONSTRAINTS, ModelMixin
from skgeo_embed.encoders.network import ChosenDtype, numbered_names
from skgeo_embed.encoders.satclip import SatCLIPEncoder
from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.encoders.third_party import store_parameters
from skgeo_embed.places.reading import read_coordinates

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from skgeo_embed.models.third_party.range_ import RangeDatabase

RANGE_SHARPNESS, RANGE_PLUS_SHARPNESS, GEOGRAPHIC_SHARPNESS = 15.0, 12.0, 40.0
QUERIES = 256  # at a time: each is compared with the whole database


@share_docs
class RANGEEncoder(ModelMixin, ChosenDtype):
    r"""Encode longitude and latitude with image features of similar places (1,280 columns).

    A location embedding q says what a place looks like; RANGE [1]_ compares it with the image
    embeddings k of a database and averages the richer image features v that belong to them:

    .. math::
        s = \sum_j \mathrm{softmax}_j(15\, \hat q \cdot \hat k_j)\, v_j, \qquad
        g = \sum_j \mathrm{softmax}_j(40\, x \cdot x_j)\, v_j

    with x points of the unit sphere. The features are s beside :math:`\hat q`; of RANGE+ they are
    :math:`(1 - \beta) g + \beta s` with 12 in place of 15.

    Parameters
    ----------
    database : str, path-like or RangeDatabase, default="range-large"
        "range-large" (0.9 GB) or "range-medium" (0.45 GB) from MVRL/RANGE-database on the hub,
        which states no licence; or the path of an .npz file with `locs` (n, 2),
        `satclip_embeddings` (n, k) and `image_embeddings` (n, d). `from_images` makes a database
        from your own images.
    location_encoder : transformer, default=None
        Makes q. None takes ``SatCLIPEncoder("satclip-vit16-l40", dtype="float64")``, to which
        the databases on the hub belong.
    beta : float, default=None
        None gives RANGE. A number in [0, 1] gives RANGE+: 1 retrieves by similarity alone, 0 by
        nearness alone; the authors use 0.5.
    {device}
    dtype : {"float32", "float64"}, default="float32"
        Precision of the retrieval and of the output.
    batch_size : int, default=None
        Places that are compared with the whole database at a time; None takes 256.
    {places}
    revision, cache_dir, token, local_files_only
        As for :class:`SatCLIPEncoder`; the revision is the database's.

    Attributes
    ----------
    location_encoder_ : transformer
        The fitted location encoder.
    database_ : RangeDatabase
        The opened database: `lonlat`, `keys` of unit length, `values`.
    encoder_info_ : dict
        Name, sha256 and number of entries of the database, and the location encoder's name.
    n_features_in_ : int
        Number of input columns, always 2.

    References
    ----------
    .. [1] A. Dhakal, S. Sastry, S. Khanal, A. Ahmad, E. Xing, N. Jacobs (2025). "RANGE: Retrieval
       Augmented Neural Fields for Multi-Resolution Geo-Embeddings". CVPR. arXiv 2502.19781.

    Examples
    --------
    >>> import numpy as np
    >>> from skgeo_embed import RANGEEncoder, SatCLIPEncoder
    >>> places = np.random.RandomState(0).uniform(-80, 80, (50, 2))
    >>> features = np.random.RandomState(1).randn(50, 256)  # of images, by the image tower
    >>> encoder = RANGEEncoder.from_images(SatCLIPEncoder(layer="embedding"), features, places)
    >>> encoder.fit_transform([[7.83, 36.83]]).shape
    (1, 512)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "database": "no_validation",
        "location_encoder": [HasMethods(["fit", "transform"]), None],
        "beta": [Interval(Real, 0, 1, closed="both"), None],
        "device": "no_validation",
        "dtype": [StrOptions({"float32", "float64"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        **READING_CONSTRAINTS,
        **HUB_CONSTRAINTS,
    }

    def __init__(
        self,
        database: str | Path | RangeDatabase = "range-large",
        *,
        location_encoder: Any = None,
        beta: float | None = None,
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
        store_parameters(self, locals())

    @classmethod
    def from_images(
        cls,
        location_encoder: Any,
        image_features: Any,
        coords: Any,
        *,
        keys: Any = None,
        **parameters: Any,
    ) -> RANGEEncoder:
        """Make an encoder that retrieves features of your own images.

        Parameters
        ----------
        location_encoder : transformer
            A pretrainer's `location_encoder_`, or another one.
        image_features : array-like of shape (n, d)
            Features that are retrieved, such as a pretrainer's image features.
        coords : array-like of shape (n, 2)
            Longitude and latitude of the images, degrees.
        keys : array-like of shape (n, k), default=None
            Embeddings that location embeddings are compared with: those of the images, in the
            same space. None takes `image_features`, which must then be such embeddings.
        **parameters
            The constructor's other arguments.

        Returns
        -------
        encoder : RANGEEncoder
            The encoder, not fitted.

        Raises
        ------
        ModelFormatError
            If rows do not belong together, or if values are missing or are not real numbers.
        """
        from skgeo_embed.models.third_party.range_ import RangeDatabase, checked_database

        lonlat = read_coordinates(coords).lonlat
        values = features_of_images(image_features, "image_features")
        compared = values if keys is None else features_of_images(keys, "keys")
        names = ("coords", "image_features" if keys is None else "keys", "image_features")
        try:
            arrays = checked_database(lonlat, compared, values, names)
        except ValueError as error:
            raise ModelFormatError(str(error)) from error
        database = RangeDatabase(*arrays, name=f"{len(lonlat)} images")
        return cls(database, location_encoder=location_encoder, **parameters)

    def prepare(self) -> None:
        from skgeo_embed.models.third_party.range_ import RangeDatabase, open_database
        from skgeo_embed.nn.inference.options import EncodingOptions, chosen_device

        database = self.database
        if not isinstance(database, RangeDatabase):
            database = open_database(database, self._hub_options())
            _check_places(database)
        self.database_ = database
        encoder = self.location_encoder
        if encoder is None:
            encoder = SatCLIPEncoder(
                "satclip-vit16-l40",
                layer="embedding",
                dtype="float64",
                cache_dir=self.cache_dir,
                token=self.token,
                local_files_only=self.local_files_only,
            )
        self.location_encoder_ = clone(encoder).fit()
        width = len(self.location_encoder_.get_feature_names_out())
        if database.keys.shape[1] != width:
            raise ValueError(
                f"the database {database.name!r} is compared with {database.keys.shape[1]} "
                f"columns, but the location encoder makes {width}; both must come from one "
                'two-tower model (layer="embedding").'
            )
        self._options = EncodingOptions(
            device=chosen_device(self.device), dtype=self.dtype, batch_size=self.batch_size
        )
        self._beta = self.beta
        self.encoder_info_ = {
            "name": database.name,
            "sha256": database.sha256,
            "n_entries": len(database.values),
            "location_encoder": getattr(self.location_encoder_, "encoder_info_", {}).get("name"),
        }

    def encode(self, lonlat: np.ndarray) -> Iterator[tuple[slice | Tensor, Tensor]]:
        import torch

        from skgeo_embed.nn.inference.devices import resolve_device

        device, dtype = resolve_device(self._options.device), getattr(torch, self._options.dtype)
        batch = self._options.batch_size or QUERIES
        database = self.database_
        keys, values, known = (
            torch.from_numpy(array).to(device, dtype)
            for array in (database.keys, database.values, unit_vectors(database.lonlat))
        )
        for start in range(0, len(lonlat), batch):
            rows = slice(start, min(start + batch, len(lonlat)))
            query = torch.from_numpy(np.array(self.location_encoder_.transform(lonlat[rows])))
            query = torch.nn.functional.normalize(query).to(device, dtype)
            sharpness = RANGE_SHARPNESS if self._beta is None else RANGE_PLUS_SHARPNESS
            image = _retrieved(query, keys, values, sharpness)
            if self._beta is not None:
                here = torch.from_numpy(unit_vectors(lonlat[rows])).to(device, dtype)
                near = _retrieved(here, known, values, GEOGRAPHIC_SHARPNESS)
                image = torch.lerp(near, image, self._beta)
            yield rows, torch.cat([image, query], dim=1).cpu()

    def feature_names(self) -> list[str]:
        width = self.database_.keys.shape[1] + self.database_.values.shape[1]
        return numbered_names("range", width)


def _check_places(database: RangeDatabase) -> None:
    """Check a file's places as strictly as a user's."""
    try:
        read_coordinates(database.lonlat)
    except CoordinateError as error:
        raise ModelFormatError(f"{database.name}: locs: {error}") from error


def _retrieved(query: torch.Tensor, keys: Tensor, values: Tensor, sharpness: float) -> Tensor:
    return (sharpness * (query @ keys.T)).softmax(dim=1) @ values
