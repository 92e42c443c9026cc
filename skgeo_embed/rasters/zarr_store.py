"""Reads Zarr stores: in each group one variable of numbers with y and x, and maybe years."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed.rasters.cache import Read
from skgeo_embed.rasters.conventions import PREFIX, Described, from_attributes
from skgeo_embed.rasters.geotiff import check_block_bytes, is_address
from skgeo_embed.rasters.products import Product
from skgeo_embed.rasters.zarr_position import crs_of, steps_of

AXES = (("y", "x"), ("lat", "lon"), ("latitude", "longitude"), ("northing", "easting"))
TIME_UNITS = {"days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"}
ZONE = re.compile(r"utm\d{2}")  # a group of the layout "utm_zones"
TIMES = ("time", "year")
EMBEDDINGS = "embeddings"  # the variable that counts beside others, where a store is described
NOT_A_TIME = float(np.iinfo(np.int64).min)  # what xarray writes for a missing duration


class ZarrArray(NamedTuple):
    """Where pixels are in a Zarr store: a variable of a group, at a position in its time axis."""

    variable: str
    group: str | None = None
    time: int | None = None


class ZarrGrid(NamedTuple):
    """A variable of a Zarr store, as its description says."""

    where: ZarrArray
    year: int | None
    crs: str
    transform: tuple[float, ...]
    shape: tuple[int, int, int]
    block: tuple[int, int]
    nodata: float | None
    names: tuple[str | None, ...] | None
    units: tuple[str | None, ...] | None
    scales: tuple[float, ...] | None
    offsets: tuple[float, ...] | None
    product: Product | None
    model: str | None


def read_grids(path: str, product: Product | None) -> list[ZarrGrid]:
    """Read what a Zarr store says about its pixels: of each group and year.

    What the ``geoemb:`` convention states (model, dimensions, quantization) is taken from the
    store, unless a product is given.

    Raises
    ------
    ImageError
        If it is not a Zarr store, has several variables that could be meant, or none, holds no
        numbers, or has no position.
    """
    of_root, groups = _groups(path)
    grids: list[ZarrGrid] = []
    for group in groups:
        data = _dataset(path, group, masked=product is None)
        described = from_attributes({**of_root, **data.attrs}, path, product)
        if described.product is not None and product is None:
            data = _dataset(path, group, masked=False)
        grids += _grids_of(data, group, described, path)
    return grids


def _groups(path: str) -> tuple[Mapping[str, Any], list[str | None]]:
    """Return the attributes of a store, and its groups that hold arrays; None is the store."""
    import zarr

    try:
        root = zarr.open_group(path, mode="r", use_consolidated=False)
        attributes = root.attrs.asdict()
        if any(True for _ in root.arrays()):
            return attributes, [None]
        names = sorted(name for name, _ in root.groups())
    except Exception:  # of the store, of its JSON, of any codec: the reader of the root says which
        return {}, [None]
    if attributes.get(f"{PREFIX}spatial_layout") == "utm_zones":
        names = [name for name in names if ZONE.fullmatch(name)]
    return attributes, [*names] or [None]


def _grids_of(data: Any, group: str | None, described: Described, path: str) -> Iterator[ZarrGrid]:
    """Yield what a group says about its pixels, year by year."""
    name = _variable(data, described, path)
    time = _time_axis(data[name])
    if time is None:
        yield _grid(data, data[name], ZarrArray(name, group), None, described, path)
        return
    for position, year in enumerate(_years(data, time, path)):
        array = data[name].isel({time: position})
        yield _grid(data, array, ZarrArray(name, group, position), year, described, path)


def _grid(
    data: Any, array: Any, where: ZarrArray, year: int | None, described: Described, path: str
) -> ZarrGrid:
    product = described.product
    array, (y, x) = _north_up(array)
    _check_numbers(array, product, path)
    bands = array.shape[0] if array.ndim == 3 else 1
    described = described.of_bands(bands, path)
    height, width = array.sizes[y], array.sizes[x]
    block = _block(array, (y, x), path)
    crs = crs_of(data, array, (y, x), path)
    (step_x, west), (step_y, first) = steps_of(array, (y, x), crs, path)
    own = [_of_each_band(array, key, bands, path) for key in ("scales", "offsets")]
    return ZarrGrid(
        where,
        year,
        crs.to_wkt(),
        (step_x, 0.0, west, 0.0, step_y, first),
        (bands, height, width),
        block,
        _nodata(array),
        _band_names(array),
        _units(array, bands),
        own[0] or described.scales,
        own[1] or described.offsets,
        product,
        described.model,
    )


@contextmanager
def zarr_reader(path: str, where: ZarrArray, masked: bool) -> Iterator[Read]:
    """Open a variable for reading; `masked` reads missing pixels as NaN, scaled as it says."""
    variable = where.variable
    found = _dataset(path, where.group, masked=masked)[variable]
    time = next((name for name in TIMES if name in found.dims), None)
    if where.time is not None and time is not None:
        found = found.isel({time: where.time})
    array, (y, x) = _north_up(found)

    def read(rows: slice, columns: slice) -> np.ndarray:
        try:
            part = array.isel({y: rows, x: columns}).to_numpy()
        except Exception as error:  # every codec has errors of its own
            raise ImageError(
                f"{path} cannot be read: the chunk of variable {variable!r} in rows {rows.start} "
                f"to {rows.stop - 1} and columns {columns.start} to {columns.stop - 1} is damaged "
                f"({type(error).__name__}: {error}). Fetch or write the store again."
            ) from error
        return part if part.ndim == 3 else part[None]

    yield read


def _time_axis(array: Any) -> str | None:
    """Return the dimension of years, which is neither of bands, nor of y or x."""
    return next((name for name in TIMES if array.ndim == 4 and name in array.dims), None)


def _years(data: Any, time: str, path: str) -> list[int]:
    """Return the years of a time axis: numbers of years, or dates."""
    import xarray

    if time not in data.coords:
        raise ImageError(f"{path}: its dimension {time!r} has no coordinates, so no years.")
    axis = data[time]
    if " since " in str(axis.attrs.get("units", "")):
        decoded = xarray.decode_cf(axis.to_dataset(name="values").reset_coords(drop=True))
        axis = decoded[time if time in decoded.coords else "values"]
    values = axis.to_numpy()
    years = values
    if values.dtype.kind == "M":
        years = values.astype("datetime64[Y]").astype(int) + 1970
    if years.dtype.kind not in "iuf" or not ((years >= 1900) & (years < 2200)).all():
        raise ImageError(
            f"{path}: its dimension {time!r} has {str(values[:3])[:60]}, neither years nor dates."
        )
    return [int(year) for year in years]


def _dataset(path: str, group: str | None, masked: bool) -> Any:
    try:
        import xarray
    except ImportError as error:
        raise ImportError('Zarr stores need xarray: pip install "skgeo-embed[grids]"') from error
    try:
        # times stay numbers: xarray would turn durations of any unit into nanoseconds
        return xarray.open_dataset(
            path,
            engine="zarr",
            group=group,
            chunks=None,
            consolidated=None if is_address(path) else False,  # on a disk it saves nothing
            mask_and_scale=masked,
            decode_times=False,
            decode_timedelta=False,
        )
    except Exception as error:  # of the store, of its JSON, of any codec
        raise ImageError(f"{path} cannot be read as a Zarr store: {error}") from error


def _variable(data: Any, described: Described, path: str) -> str:
    """Find the variable of pixels. A product's companion variable is beside it."""
    product = described.product
    companion = None if product is None else product.companion
    found = [
        str(name)
        for name, values in data.data_vars.items()
        if name != companion
        and _axes(values) is not None
        and (values.ndim <= 3 or _time_axis(values) is not None)
    ]
    if described.dimensions is not None and EMBEDDINGS in found:
        found = [EMBEDDINGS]  # beside prefixes of it, and pictures
    listed = ", ".join(f"{name}{values.dims}" for name, values in data.data_vars.items()) or "none"
    if len(found) != 1:
        raise ImageError(
            f"{path} must have one variable with the dimensions y and x, or lat and lon, and "
            f"bands; it has {listed}."
        )
    if product is not None and companion is not None:
        pixels, beside = data[found[0]], data.data_vars.get(companion)
        time = {_time_axis(pixels)} - {None}
        if beside is None or set(beside.dims) not in (
            time | set(_axes(pixels) or ()),
            set(pixels.dims),
        ):
            raise ImageError(
                f"quantization={product.name!r} needs a variable {companion!r} with the dimensions "
                f"{' and '.join(_axes(pixels) or ())} in {path}; it has {listed}."
            )
    return found[0]


def _axes(array: Any) -> tuple[str, str] | None:
    return next((pair for pair in AXES if set(pair) <= set(array.dims)), None)


def _north_up(array: Any) -> tuple[Any, tuple[str, str]]:
    y, x = _axes(array) or AXES[0]
    return array.transpose(..., y, x), (y, x)


def _check_numbers(array: Any, product: Product | None, path: str) -> None:
    kind, unit = array.dtype.kind, str(array.attrs.get("units", ""))
    if kind not in "iufb":
        what = {"c": "complex numbers", "M": "dates", "m": "durations"}.get(kind, "no numbers")
        do = "write both parts as bands" if kind == "c" else "write numbers"
        raise ImageError(f"{path} holds {what} in {array.name!r} ({array.dtype}); {do}.")
    if " since " in unit:
        raise ImageError(
            f"{path} holds dates in {array.name!r} ({unit}), which other tiles may count from "
            "another day; write the time since one date as plain numbers, without that unit."
        )
    if product is not None:
        product.check_dtype(array.dtype, path)
    for dim in array.dims[:-2]:
        axis = array[dim]
        if axis.dtype.kind in "mM" or " since " in str(axis.attrs.get("units", "")):
            raise ImageError(
                f"{path} has times in its dimension {dim!r}, where bands are expected; write a "
                "store for each time, and pass a dict of years."
            )


def _block(array: Any, axes: tuple[str, str], path: str) -> tuple[int, int]:
    chunks = dict(zip(array.dims, array.shape, strict=True))
    preferred = array.encoding.get("preferred_chunks") or {}
    chunks |= {dim: size for dim, size in preferred.items() if dim in chunks}
    item = max(array.dtype.itemsize, np.dtype(array.encoding.get("dtype", "u1")).itemsize)
    y, x = axes
    layers = max([1, *(max(array.sizes[dim], chunks[dim]) for dim in array.dims[:-2])])
    check_block_bytes(path, chunks[y], chunks[x], layers * chunks[y] * chunks[x] * item)
    return min(chunks[y], array.sizes[y]), min(chunks[x], array.sizes[x])


def _nodata(array: Any) -> float | None:
    missing = array.attrs.get("_FillValue", array.attrs.get("nodata"))
    if isinstance(missing, (int, float, np.number)) and not isinstance(missing, bool):
        return float(missing)
    says_type = str(array.attrs.get("dtype", "")).startswith("timedelta64")
    # older versions of xarray wrote the unit alone
    is_duration = says_type or str(array.attrs.get("units")) in TIME_UNITS
    return NOT_A_TIME if is_duration and array.dtype.kind == "i" else None


def _band_names(array: Any) -> tuple[str | None, ...] | None:
    """Return the labels of the bands, or other texts that say what each is.

    Labels that only count the bands are no names. What is beside them is a name if it tells all
    bands apart; rioxarray writes the descriptions of a GeoTIFF's bands as "long_name".
    """
    if array.ndim < 3:
        return None
    dim, count = array.dims[0], np.arange(array.shape[0])
    if dim in array.coords:
        labels = array[dim].to_numpy()
        counts = labels.dtype.kind in "iuf" and any(
            np.array_equal(labels, count + n) for n in (0, 1)
        )
        if not counts:
            return tuple(map(str, labels))
    beside = [array.attrs.get("long_name")]
    beside += [c.to_numpy().tolist() for c in array.coords.values() if c.dims == (dim,)]
    for texts in beside:
        if not isinstance(texts, (list, tuple)) or len(texts) != len(count):
            continue
        if all(isinstance(text, str) for text in texts) and len(set(texts)) == len(count):
            return tuple(texts)
    return None


def _units(array: Any, bands: int) -> tuple[str | None, ...] | None:
    unit = array.attrs.get("units")
    if isinstance(unit, (list, tuple)) and len(unit) == bands:
        return tuple(str(each) if each else None for each in unit)
    return (str(unit),) * bands if unit else None


def _of_each_band(array: Any, key: str, bands: int, path: str) -> tuple[float, ...] | None:
    """Return the scales or the offsets that rioxarray writes where bands differ in them."""
    said = array.attrs.get(key)
    if said is None:
        return None
    numbers = said if isinstance(said, (list, tuple)) else [said]
    if len(numbers) != bands or not all(
        isinstance(number, (int, float)) and np.isfinite(number) for number in numbers
    ):
        raise ImageError(
            f"{path} has {key} {str(said)[:60]}, and must have a number for each of its {bands} "
            f"band(s); correct the attribute of {array.name!r}."
        )
    return tuple(map(float, numbers))
