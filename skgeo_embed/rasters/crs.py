"""Between longitude and latitude and the reference systems of rasters."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from skgeo_embed._errors import ImageError

LONLAT = "EPSG:4326"


@lru_cache(maxsize=256)
def transformer(crs: str, direction: str) -> Any:
    """Return the transformer of degrees to coordinates of a CRS ("forward"), or back ("inverse").

    Raises
    ------
    ImportError
        If pyproj is missing.
    """
    try:
        from pyproj import Transformer
    except ImportError as error:
        raise ImportError('rasters need pyproj: pip install "skgeo-embed[rasters]"') from error
    ends = (LONLAT, crs) if direction == "forward" else (crs, LONLAT)
    return Transformer.from_crs(*ends, always_xy=True)


def check_crs(crs: str, path: str) -> None:
    """Refuse a CRS that is damaged, or that has no place on the Earth.

    Raises
    ------
    ImageError
        If there is no way from longitude and latitude to it.
    """
    from pyproj import CRS
    from pyproj.exceptions import ProjError

    try:
        system = CRS.from_user_input(crs)
        if system.is_geocentric or len(system.axis_info) < 2:
            raise ImageError(
                f"{path} has a CRS that is neither geographic (longitude and latitude) nor "
                f"projected: a {system.type_name} ({system.name})."
            )
        transformer(crs, "forward")
    except ProjError as error:
        raise ImageError(
            f"{path} has a CRS that longitude and latitude cannot be turned into ({crs[:60]}…): "
            f"{error}"
        ) from error
