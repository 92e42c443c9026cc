"""Climplicit's location encoder as a transformer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from skgeo_embed.encoders.shared_docs import share_docs
from skgeo_embed.encoders.third_party import ThirdPartyEncoder, store_parameters
from skgeo_embed.encoders.timed import TIME_CONSTRAINT, TimedTransformer

if TYPE_CHECKING:
    import torch

    from skgeo_embed.models.loaded import LoadedEncoder


@share_docs
class ClimplicitEncoder(TimedTransformer, ThirdPartyEncoder):
    """Encode longitude, latitude and month with Climplicit (256 columns, 1,024 without a month).

    It was trained to reproduce the climate of CHELSA, at a kilometre, month by month [1]_: a
    residual SIREN of sixteen layers on longitude, latitude and the month as an angle.

    Parameters
    ----------
    model : str or path-like, default="climplicit"
        "climplicit" (Jobedo/climplicit on the hub, CC-BY-4.0), another hub repository or a folder
        with model.safetensors, or the path of a .safetensors or .pth file with its tensors.
    month : float or str, default=None
        A number from 1 to 12 gives 256 columns for that month, which may lie between two; text
        names the column of X with the month of each row (in an array the third column). None
        gives 1,024 columns: those of March, June, September and December.
    {network}
    {hub}

    Attributes
    ----------
    {encoder_info_}
    {n_features_in_}

    Notes
    -----
    Climplicit tells 180° from -180°, and gives a pole another feature for every longitude. Here
    180° is read as -180° and the poles have longitude 0. Positions are float64, while the authors'
    code rounds them to float32 (1e-7 of the features). The file also holds the layers that predict
    CHELSA from the features; they are not read.

    References
    ----------
    .. [1] J. Dollinger, D. Robert, E. Plekhanova, L. Drees, J. D. Wegner (2025). "Climplicit:
       Climatic Implicit Embeddings for Global Ecological Tasks". arXiv 2504.05089.

    Examples
    --------
    >>> from skgeo_embed import ClimplicitEncoder
    >>> encoder = ClimplicitEncoder(month=7)
    >>> encoder.fit_transform([[7.83, 36.83]]).shape  # doctest: +SKIP
    (1, 256)
    """

    _feature_prefix = "climplicit"
    _time_parameter = "month"
    _time_range = (1.0, 12.0)
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "month": TIME_CONSTRAINT,
        **ThirdPartyEncoder._parameter_constraints,
    }

    month: float | str | None

    def __init__(
        self,
        model: str | Path = "climplicit",
        *,
        month: float | str | None = None,
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
        from skgeo_embed.models.third_party.climplicit import CLIMPLICIT

        return CLIMPLICIT.open(self.model, self._hub_options())

    def _output(self, info: dict[str, Any]) -> tuple[str, int | None]:
        return "embedding", None if self._time is None else info["month_dim"]
