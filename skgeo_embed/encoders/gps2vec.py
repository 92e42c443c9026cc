"""GPS2Vec as a transformer."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skgeo_embed._errors import (
    CoordinateError,
    InvalidCoordinateWarning,
    warn_caller,
)
from skgeo_embed.encoders.base import READING_CONSTRAINTS
from skgeo_embed.encoders.network import ChosenDtype, numbered_names
from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.encoders.third_party import store_parameters
from skgeo_embed.places.reading import Coordinates
from skgeo_embed.places.utm import distance_grid, zone_names

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_MAX_ZONES_NAMED = 8


@share_docs
class GPS2VecEncoder(ChosenDtype):
    """Encode longitude and latitude with GPS2Vec, which has one network for each UTM zone.

    The network of a zone is fed with the distances to the 20 × 20 cells of the zone [1]_.

    Parameters
    ----------
    model : str or path-like, default=None
        Folder of the zone files, ``model_48 N.h5`` and so on (``models_visual`` or
        ``models_tag``). There is no default: the files state no licence. With None the error
        says where to get them.
    kind : {"visual", "tag"}, default="visual"
        "visual" gives the probabilities of 1,000 objects and 365 scenes (1,365 columns), "tag"
        those of 2,000 tags.
    {device}
    dtype : {"float32", "float64"}, default="float32"
        Precision of the network and of the output; distances are float64.
    batch_size : int, default=4096
        Points encoded at a time.
    on_invalid : {"raise", "nan"}, default="raise"
        What to do with invalid coordinates, latitudes outside 80°S to 84°N, and points whose
        zone has no file: raise an error that names the zones, or give NaN features.
    {columns}
    {areas}

    Attributes
    ----------
    encoder_info_ : dict
        What was found: name, source, path, kind, the zones that have a file, and a digest of the
        files' names, sizes and times. A file that has been replaced since is refused.
    n_features_in_ : int
        Number of input columns, always 2.

    References
    ----------
    .. [1] Y. Yin, Y. Zhang, Z. Liu, S. Wang, R. R. Shah, R. Zimmermann (2021). "GPS2Vec:
       Pre-Trained Semantic Embeddings for Worldwide GPS Coordinates". IEEE Transactions on
       Multimedia 24, doi:10.1109/TMM.2021.3060951.

    Examples
    --------
    >>> from skgeo_embed import GPS2VecEncoder
    >>> encoder = GPS2VecEncoder("models_visual")
    >>> encoder.fit_transform([[103.76, 1.32]]).shape  # doctest: +SKIP
    (1, 1365)
    """

    _outputs: ClassVar[dict[str, dict[str, int]]] = {
        "visual": {"object": 1000, "scene": 365},
        "tag": {"tag": 2000},
    }
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, Path, None],
        "kind": [StrOptions({"visual", "tag"})],
        "device": "no_validation",
        "dtype": [StrOptions({"float32", "float64"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        **READING_CONSTRAINTS,
    }

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        kind: Literal["visual", "tag"] = "visual",
        device: str | torch.device | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        batch_size: int = 4096,
        on_invalid: Literal["raise", "nan"] = "raise",
        lon: str | int | None = None,
        lat: str | int | None = None,
        area_points: int | str = 64,
        area_statistic: Literal["mean", "std"] = "mean",
    ) -> None:
        store_parameters(self, locals())

    def prepare(self) -> None:
        from skgeo_embed.models.checks import named_path
        from skgeo_embed.models.third_party.gps2vec import ZoneCache
        from skgeo_embed.models.third_party.model import not_found
        from skgeo_embed.nn.inference.options import EncodingOptions, chosen_device

        if self.model is None:
            raise not_found("GPS2VecEncoder", "GPS2VecEncoder has no default model")
        folder = named_path(self.model)
        files = {
            file.stem.removeprefix("model_"): file.resolve() for file in folder.glob("model_*.h5")
        }
        if not files:
            found = "no model_*.h5 file" if folder.is_dir() else "nothing"
            raise not_found("GPS2VecEncoder", f"there is {found} at {str(self.model)!r}")
        self._options = EncodingOptions(
            device=chosen_device(self.device), dtype=self.dtype, batch_size=self.batch_size
        )
        self._kind = self.kind
        self._zones = ZoneCache(files, dict(self._outputs[self.kind]))
        self.encoder_info_ = {
            "name": folder.name,
            "source": "folder",
            "path": str(folder.resolve()),
            "kind": self.kind,
            "zones": sorted(files),
            "files": self._zones.digest(),
        }

    def usable(self, places: Coordinates) -> Coordinates:
        zones = zone_names(np.where(places.valid[:, None], places.lonlat, 0.0))
        usable = np.isin(zones, self.encoder_info_["zones"])
        left_out = places.valid & ~usable
        if not left_out.any():
            return places
        message = self._describe(places, zones, left_out)
        if self.reader_.on_invalid == "raise":
            raise CoordinateError(
                f'{message}. Leave these points out, or pass on_invalid="nan" for NaN features.'
            )
        warn_caller(f"{message}. Their features are NaN.", InvalidCoordinateWarning)
        lonlat = np.where(left_out[:, None], np.nan, places.lonlat)
        return places._replace(lonlat=lonlat, valid=places.valid & usable)

    def covers(self, lonlat: np.ndarray) -> np.ndarray:
        return np.isin(zone_names(lonlat), self.encoder_info_["zones"])

    def _describe(self, places: Coordinates, zones: np.ndarray, left_out: np.ndarray) -> str:
        outside = np.flatnonzero(left_out & (zones == ""))
        missing = np.flatnonzero(left_out & (zones != ""))
        parts = []
        if len(outside):
            lon, lat = places.lonlat[outside[0]]
            parts.append(
                f"{len(outside)} of {len(zones)} points lie outside 80°S to 84°N, where UTM "
                f"ends (first: row {outside[0]}, lon={lon:g}, lat={lat:g})"
            )
        if len(missing):
            names = sorted(set(zones[missing]))
            named = ", ".join(f"'{zone}'" for zone in names[:_MAX_ZONES_NAMED])
            more = len(names) - _MAX_ZONES_NAMED
            parts.append(
                f"{len(missing)} of {len(zones)} points (first: row {missing[0]}) lie in "
                f"{len(names)} zone(s) without a file in {self.encoder_info_['path']}: {named}"
                + (f" and {more} more" if more > 0 else "")
            )
        return "; ".join(parts)

    def encode(self, lonlat: np.ndarray) -> Iterator[tuple[slice | Tensor, Tensor]]:
        import torch

        from skgeo_embed.models.third_party.gps2vec import run_zone

        zones = zone_names(lonlat)
        batch_size = self._options.batch_size or len(lonlat)
        for zone in np.unique(zones):
            inside = np.flatnonzero(zones == zone)
            layers = self._zones.get(str(zone), self._options)
            for start in range(0, len(inside), batch_size):
                part = inside[start : start + batch_size]
                grid = distance_grid(lonlat[part], str(zone))
                yield torch.from_numpy(part), run_zone(grid, layers)

    @property
    def n_features_out(self) -> int:
        return sum(self._outputs[self._kind].values())

    def feature_names(self) -> list[str]:
        return numbered_names(f"gps2vec_{self._kind}", self.n_features_out)
