"""MIND's location encoder as a transformer."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sklearn.utils._param_validation import Interval, StrOptions

from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.encoders.third_party import ThirdPartyEncoder, store_parameters
from skgeo_embed.encoders.timed import TIME_CONSTRAINT, TimedTransformer

if TYPE_CHECKING:
    import torch

    from skgeo_embed.models.loaded import LoadedEncoder

CUT_TRUNK = 64  # columns of the full network's default output


@share_docs
class MINDEncoder(TimedTransformer, ThirdPartyEncoder):
    """Encode longitude and latitude with MIND (64 or 128 columns).

    A wide residual SIREN on the Equal Earth projection, distilled from AlphaEarth's yearly
    embeddings and from Climplicit, GeoCLIP and SINR [1]_. Width and depth are those of the file.

    Parameters
    ----------
    model : str or path-like, default="mind"
        "mind" (taylor-geospatial/MIND on the hub, MIT, 227 MB) or "mind-small" (26 MB), another hub
        repository or a folder with mind.safetensors, mind_small.safetensors or model.safetensors,
        or the path of a .safetensors or .pt file.
    layer : {"auto", "embedding", "hidden"}, default="auto"
        The head, or the trunk below it. "auto" gives what the authors use: the first 64 columns
        of the trunk if the head has 64, else the head.
    n_components : int, default=None
        Number of columns, the first of the layer; None gives all. The full trunk was trained to
        be cut at 64, 128, 256, 512, 1,024, 2,048 or 3,072.
    year : float or str, default=None
        Year of the features: one for all places, or the name of the column of X with the year of
        each row (in an array the third column). The format allows for networks that take a year;
        none was released so far, and with the released ones it must be None.
    {network}
    {hub}

    Attributes
    ----------
    {encoder_info_}
    {n_features_in_}

    Notes
    -----
    MIND tells 180° from -180°, and gives a pole another feature for every longitude. Here 180° is
    read as -180° and the poles have longitude 0. The weights are kept in the file's half precision
    and computed in `dtype`.

    References
    ----------
    .. [1] Taylor Geospatial (2026). "MIND". github.com/taylor-geospatial/mind.

    Examples
    --------
    >>> from skgeo_embed import MINDEncoder
    >>> encoder = MINDEncoder("mind-small")
    >>> encoder.fit_transform([[7.83, 36.83]]).shape  # doctest: +SKIP
    (1, 128)
    """

    _feature_prefix = "mind"
    _time_parameter = "year"
    _time_range = (1900.0, 2100.0)
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "layer": [StrOptions({"auto", "embedding", "hidden"})],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "year": TIME_CONSTRAINT,
        **ThirdPartyEncoder._parameter_constraints,
    }

    layer: Literal["auto", "embedding", "hidden"]
    n_components: int | None
    year: float | str | None

    def __init__(
        self,
        model: str | Path = "mind",
        *,
        layer: Literal["auto", "embedding", "hidden"] = "auto",
        n_components: int | None = None,
        year: float | str | None = None,
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
        store_parameters(self, locals())

    def _open(self) -> LoadedEncoder:
        from skgeo_embed.models.third_party.mind import MIND

        return MIND.open(self.model, self._hub_options())

    def _output(self, info: dict[str, Any]) -> tuple[str, int | None]:
        if info["takes_year"] and self._time is None:
            raise ValueError(
                "this network takes a year: pass year=, a number or the name of a column."
            )
        if self._time is not None and not info["takes_year"]:
            raise ValueError(f"this network takes no year, got year={self.year!r}; leave it out.")
        if self.layer != "auto":
            return self.layer, self.n_components
        if info["embed_dim"] != CUT_TRUNK:
            return "embedding", self.n_components
        return "hidden", self.n_components or CUT_TRUNK
