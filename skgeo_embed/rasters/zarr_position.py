"""Where the pixels of a Zarr store lie: its coordinate reference system and its axes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed.rasters.crs import LONLAT

MAPPINGS = ("spatial_ref", "crs")  # variables that hold the CRS where nothing names them
ATTRIBUTES = (
    "proj:code", "proj:wkt2", "proj:projjson", "proj:epsg", "crs_wkt", "spatial_ref", "crs", "epsg"
)  # fmt: skip
RADIANS = {"degree": np.pi / 180, "degrees": np.pi / 180, "deg": np.pi / 180, "°": np.pi / 180}
RADIANS |= {f"{word}_{side}": np.pi / 180 for word in ("degree", "degrees") for side in
            ("east", "north", "e", "n")}  # fmt: skip
RADIANS |= dict.fromkeys(("radian", "radians", "rad"), 1.0)
METRES = dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0)
METRES |= dict.fromkeys(("km", "kilometre", "kilometres", "kilometer", "kilometers"), 1000.0)
METRES |= dict.fromkeys(("ft", "foot", "feet"), 0.3048)
METRES |= dict.fromkeys(("us_survey_foot", "us survey foot", "us_survey_feet"), 1200 / 3937)


def crs_of(data: Any, array: Any, axes: tuple[str, str], path: str) -> Any:
    """Return the coordinate reference system of a variable, a pyproj.CRS.

    Raises
    ------
    ImageError
        If it is not stated, cannot be understood, or contradicts the names of the axes.
    """
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    is_lonlat = axes[1] in ("lon", "longitude")
    units = str(array[axes[1]].attrs.get("units", "")) if axes[1] in array.coords else ""
    for stated in _stated(data, array):
        try:
            crs = CRS.from_cf(stated) if _is_cf(stated) else CRS.from_user_input(_code(stated))
        except (CRSError, KeyError, ValueError, TypeError) as error:
            raise ImageError(f"{path} has a CRS that cannot be understood: {error}") from error
        if is_lonlat and not crs.is_geographic:
            raise ImageError(
                f"{path} has axes {axes[0]!r} and {axes[1]!r}, but its CRS, {crs.name}, is not one "
                "of longitude and latitude; name them y and x."
            )
        return crs
    if is_lonlat or units.lower() in ("degrees_east", "degree_east"):
        return CRS.from_user_input(LONLAT)
    raise ImageError(
        f"{path} has no CRS: neither a grid mapping (such as spatial_ref) nor proj:code; write it, "
        "for example with rioxarray's rio.write_crs."
    )


def _stated(data: Any, array: Any) -> Iterator[Any]:
    """Yield what states a CRS, the surest first."""
    for attributes in mappings(data, array):
        wkt = attributes.get("crs_wkt") or attributes.get("spatial_ref")
        if wkt:
            yield str(wkt)
        elif "grid_mapping_name" in attributes:
            yield dict(attributes)
    for attributes in (array.attrs, data.attrs):
        for key in ATTRIBUTES:
            if attributes.get(key):
                yield attributes[key]


def mappings(data: Any, array: Any) -> Iterator[dict[str, Any]]:
    """Yield the attributes of the variables that say where a variable lies, the surest first."""
    named = str(array.encoding.get("grid_mapping") or array.attrs.get("grid_mapping") or "")
    for name in (*(word.rstrip(":") for word in named.split()), *MAPPINGS):
        if name in data.variables and not data.variables[name].ndim:
            yield data.variables[name].attrs


def _is_cf(stated: Any) -> bool:
    return isinstance(stated, dict) and "grid_mapping_name" in stated


def _code(stated: Any) -> Any:
    return f"EPSG:{stated}" if str(stated).isdigit() else stated


def steps_of(
    array: Any, axes: tuple[str, str], crs: Any, path: str
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the step and the outer edge of x and of y, in units of the CRS.

    Raises
    ------
    ImageError
        If an axis has no coordinates, or they are not evenly spaced numbers of a known unit.
    """
    y, x = axes
    return _step(array, x, crs, path), _step(array, y, crs, path)


def _step(array: Any, axis: str, crs: Any, path: str) -> tuple[float, float]:
    values = values_of(array, axis, crs, path)
    if len(values) < 2:
        raise ImageError(
            f"{path}: the axis {axis!r} has one value, which does not say how large a cell is."
        )
    step = (values[-1] - values[0]) / (len(values) - 1)
    if not step or not np.allclose(np.diff(values), step, rtol=1e-3, atol=0):
        raise ImageError(f"{path}: the coordinate {axis!r} is not evenly spaced.")
    return float(step), float(values[0] - step / 2)


def values_of(array: Any, axis: str, crs: Any, path: str) -> np.ndarray:
    """Return the coordinates along an axis, in units of the CRS.

    Raises
    ------
    ImageError
        If the axis has none, or they are not numbers of a known unit.
    """
    if axis not in array.coords:
        raise ImageError(f"{path} has no position: its dimension {axis!r} has no coordinates.")
    values = array[axis].to_numpy()
    if values.dtype.kind not in "iuf":
        raise ImageError(f"{path}: the coordinate {axis!r} must be numbers, got {values.dtype}.")
    factor = _factor(str(array[axis].attrs.get("units", "")), crs, axis, path)
    return np.asarray(values, dtype=np.float64) * factor


def _factor(unit: str, crs: Any, axis: str, path: str) -> float:
    """Return by what to multiply coordinates to have them in the CRS's unit."""
    own = crs.axis_info[0]
    word = unit.strip().lower()
    if word in ("", "1", own.unit_name.lower()):
        return 1.0
    known = RADIANS if crs.is_geographic else METRES
    if word not in known:
        raise ImageError(
            f"{path}: the coordinate {axis!r} is in {unit!r}, but its CRS, {crs.name}, is in "
            f"{own.unit_name}; write the coordinates in that unit."
        )
    factor: float = known[word] / own.unit_conversion_factor
    return 1.0 if np.isclose(factor, 1, rtol=1e-9) else factor
