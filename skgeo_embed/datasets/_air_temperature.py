"""Station air temperatures of Hooker et al. 2018."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.utils import Bunch

DATA_FOLDER = Path(__file__).resolve().parent / "data"
_TARGET = "mean_temperature_c"
_DESCR = """\
Mean annual air temperature (°C) and precipitation (mm) at 3,076 weather stations, with longitude
and latitude in degrees (WGS84). From J. Hooker, G. Duveiller, A. Cescatti (2018), "A global dataset
of air temperature derived from satellite remote sensing and weather stations", Scientific Data
5:180246, doi:10.1038/sdata.2018.246. CC BY 4.0."""


def load_air_temperature(*, return_X_y: bool = False, as_frame: bool = True) -> Any:
    """Load the mean annual air temperature of 3,076 weather stations [1]_.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(X, y)`` instead of a Bunch.
    as_frame : bool, default=True
        Return pandas objects; False gives float64 arrays.

    Returns
    -------
    data : Bunch
        With `data` (3076, 2): lon, lat in degrees; `target` (3076,): mean temperature in °C;
        `frame`: both and mean_precipitation_mm (None unless `as_frame`); `feature_names`,
        `target_names` and `DESCR`.
    (X, y) : tuple
        If `return_X_y`.

    References
    ----------
    .. [1] J. Hooker, G. Duveiller, A. Cescatti (2018). "A global dataset of air temperature
       derived from satellite remote sensing and weather stations". Scientific Data 5:180246.
       CC BY 4.0.

    Examples
    --------
    >>> from skgeo_embed.datasets import load_air_temperature
    >>> X, y = load_air_temperature(return_X_y=True)
    >>> X.shape, list(X.columns)
    ((3076, 2), ['lon', 'lat'])
    >>> float(y.max().round(1))
    30.5
    """
    frame = pd.read_csv(DATA_FOLDER / "air_temperature.csv")
    data: Any = frame[["lon", "lat"]]
    target: Any = frame[_TARGET]
    if not as_frame:
        data, target = data.to_numpy(), target.to_numpy()
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        frame=frame if as_frame else None,
        feature_names=["lon", "lat"],
        target_names=[_TARGET],
        DESCR=_DESCR,
    )
