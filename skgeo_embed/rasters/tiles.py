"""One raster: its header, and a reader of its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache as once
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed.rasters.cache import BlockCache, Read, version_of
from skgeo_embed.rasters.geotiff import check_beside, has_masks, is_address, opened_raster
from skgeo_embed.rasters.vrt import checked_vrt, is_vrt

SCALES = "_scales"
LONLAT = "EPSG:4326"


@dataclass(frozen=True)
class Tile:
    """A raster's header.

    Attributes
    ----------
    path : str
        The file, store or address.
    kind : {"gdal", "zarr", "npy"}
        The reader of its pixels.
    crs : str
        Its coordinate reference system.
    transform : tuple of float
        (a, b, c, d, e, f): x = a·column + b·row + c, y = d·column + e·row + f, of pixel corners.
    shape : tuple of int
        Bands, height, width.
    block : tuple of int
        Height and width of the blocks in which pixels are stored and read.
    nodata : float or None
        The value of missing pixels.
    scales, offsets : tuple of float, or None
        Those of each band, if they change values.
    names : tuple of str, or None
        Names of the bands.
    scales_path : str or None
        The raster that holds a scale for each pixel.
    versions : tuple of str or None
        Versions of a raster at an address and of its scales, if the server tells them.
    year : int or None
        The year that the raster describes.
    documents : tuple of str or None
        Checked documents that stand for a VRT, and for the VRT of its scales.
    """

    path: str
    kind: str
    crs: str
    transform: tuple[float, ...]
    shape: tuple[int, int, int]
    block: tuple[int, int]
    nodata: float | None = None
    scales: tuple[float, ...] | None = None
    offsets: tuple[float, ...] | None = None
    names: tuple[str, ...] | None = None
    scales_path: str | None = None
    versions: tuple[str | None, str | None] = (None, None)
    year: int | None = None
    documents: tuple[str | None, str | None] = (None, None)

    def pixels(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns, with fractions, of coordinates in the tile's system."""
        a, b, c, d, e, f = self.transform
        determinant = a * e - b * d
        columns = (e * (x - c) - b * (y - f)) / determinant
        return (a * (y - f) - d * (x - c)) / determinant, columns

    def corners(self) -> tuple[np.ndarray, np.ndarray]:
        """Return coordinates along the outline, in the tile's system."""
        a, b, c, d, e, f = self.transform
        _, height, width = self.shape
        steps = np.linspace(0, 1, 21)
        ones = np.ones_like(steps)
        columns = np.concatenate([steps, ones, steps, 0 * ones]) * width
        rows = np.concatenate([0 * ones, steps, ones, steps]) * height
        return a * columns + b * rows + c, d * columns + e * rows + f

    @contextmanager
    def opened(self, cache: BlockCache | None) -> Iterator[tuple[Read, Read | None]]:
        """Open the raster and its scales for reading, through the cache if versions are known."""
        with ExitStack() as files:

            def reader(path: str, version: str | None, document: str | None) -> Read:
                def opened() -> Read:
                    if document is not None:
                        return files.enter_context(_gdal_reader(path, document))
                    return files.enter_context(READERS[self.kind](path))

                if cache is None or version is None:
                    return opened()
                raster = f"{path} {version}"
                return cache.reader(once(opened), raster, self.shape[1:], self.block)

            read = reader(self.path, self.versions[0], self.documents[0])
            if self.scales_path is None:
                yield read, None
            else:
                yield read, reader(self.scales_path, self.versions[1], self.documents[1])


def header(
    path: str,
    *,
    year: int | None,
    with_scales: bool,
    decoded: bool,
    versioned: bool,
    remote: bool,
) -> Tile:
    """Read the header of a raster, and if `versioned` ask the server for its version.

    Raises
    ------
    ImageError
        If it cannot be opened, or has no position.
    """
    if _is_zarr(path):
        return _zarr_header(path, year, decoded)
    if path.endswith(".npy"):
        return _npy_header(path, year)
    return _gdal_header(path, year, with_scales, versioned, remote)


def _is_zarr(path: str) -> bool:
    folder = Path(path)
    return path.rstrip("/").endswith(".zarr") or any(
        (folder / name).exists() for name in ("zarr.json", ".zgroup", ".zarray")
    )


def _gdal_header(
    path: str,
    year: int | None,
    with_scales: bool = False,
    versioned: bool = False,
    remote: bool = False,
) -> Tile:
    scales = _scales_beside(path) if with_scales else None
    documents = _checked(path, remote), None if scales is None else _checked(scales, remote)
    with opened_raster(path, documents[0]) as file:
        if file.crs is None or file.transform.is_identity:
            raise ImageError(f"{path} has no position: its CRS or its transform is missing.")
        if any(str(kind).startswith("complex") for kind in file.dtypes):
            raise ImageError(f"{path} holds complex numbers; write both parts as bands.")
        names = tuple(str(name) for name in file.descriptions if name)
        kept = versioned and file.driver == "GTiff"  # sources of a VRT may change
        unscaled = all(scale == 1 for scale in file.scales)
        return Tile(
            path,
            "gdal",
            file.crs.to_wkt(),
            tuple(file.transform)[:6],
            (file.count, file.height, file.width),
            tuple(max(side) for side in zip(*file.block_shapes, strict=True)),
            file.nodata,
            None if unscaled else tuple(file.scales),
            None if not any(file.offsets) else tuple(file.offsets),
            names if len(set(names)) == file.count else None,
            scales,
            tuple(version_of(p) if p and kept else None for p in (path, scales)),  # type: ignore[arg-type]
            year,
            documents,
        )


def _checked(path: str, remote: bool) -> str | None:
    """Check that a raster leads only to allowed files; return the document for a VRT."""
    if is_vrt(path):
        return checked_vrt(path, remote=remote)
    if not is_address(path):
        check_beside(path)
    return None


def _scales_beside(path: str) -> str:
    """Return the path of the scales; at an address the suffix goes before the query."""
    before, mark, query = path.partition("?") if "://" in path else (path, "", "")
    stem, dot, suffix = before.rpartition(".")
    beside = f"{stem}{SCALES}{dot}{suffix}{mark}{query}"
    if not is_address(path) and not Path(beside).exists():
        raise ImageError(
            f'quantization="tessera" needs the scale of each pixel, but there is no '
            f"{Path(beside).name} beside {path}."
        )
    return beside


@contextmanager
def _gdal_reader(path: str, document: str | None = None) -> Iterator[Read]:
    from rasterio.windows import Window

    with opened_raster(path, document) as file, _mask_of_address(path, document) as mask:
        masked = has_masks(file)

        def read(rows: slice, columns: slice) -> np.ndarray:
            window = Window.from_slices(rows, columns)
            pixels: np.ndarray = file.read(window=window, masked=masked)
            if mask is None:
                return pixels
            hidden = np.broadcast_to(mask.read(window=window) == 0, pixels.shape)
            return np.ma.MaskedArray(pixels, hidden)

        yield read


@contextmanager
def _mask_of_address(path: str, document: str | None) -> Iterator[Any]:
    """Open the mask beside a GeoTIFF at an address, or None: GDAL may not look for it itself."""
    with ExitStack() as files:
        mask = None
        if document is None and is_address(path):
            before, mark, query = path.partition("?")
            with suppress(ImageError):  # most have none
                mask = files.enter_context(opened_raster(f"{before}.msk{mark}{query}"))
        yield mask


def _npy_header(path: str, year: int | None) -> Tile:
    """Read the header of a Tessera tile: an array, its scales, and a GeoTIFF with its position."""
    file = Path(path)
    try:
        pixels = np.load(file, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise ImageError(f"{path} is not an array of numbers: {error}") from error
    if pixels.ndim != 3:
        raise ImageError(f"{path} must have shape (height, width, bands), got {pixels.shape}.")
    placed = [file.with_suffix(suffix) for suffix in (".tiff", ".tif")]
    place = next((p for p in placed if p.exists()), None)
    if place is None:
        raise ImageError(
            f"{path} has no position; put the GeoTIFF of its land mask, which Tessera publishes, "
            f"beside it as {placed[0].name}."
        )
    landmask = _gdal_header(str(place), year)
    height, width, bands = pixels.shape
    if landmask.shape[1:] != (height, width):
        raise ImageError(f"{path} has {height} × {width} pixels, {place} has {landmask.shape[1:]}.")
    return Tile(
        path, "npy", landmask.crs, landmask.transform, (bands, height, width), (256, width),
        scales_path=_scales_beside(path), year=year,
    )  # fmt: skip


@contextmanager
def _npy_reader(path: str) -> Iterator[Read]:
    pixels = np.load(path, mmap_mode="r")

    def read(rows: slice, columns: slice) -> np.ndarray:
        part = np.asarray(pixels[rows, columns])
        return part if part.ndim == 2 else np.moveaxis(part, 2, 0)

    yield read


def _zarr_header(path: str, year: int | None, decoded: bool) -> Tile:
    array, (y, x) = _zarr_array(path, decoded)
    for dim in set(array.dims) - {x, y}:
        if array[dim].dtype.kind == "M":
            raise ImageError(
                f"{path} has times in its dimension {dim!r}, where bands are expected; write a "
                "store for each time, and pass a dict of years."
            )
    bands = array.sizes[next(d for d in array.dims if d not in (y, x))] if array.ndim == 3 else 1
    steps = []
    for axis in (x, y):
        if axis not in array.coords:
            raise ImageError(f"{path} has no position: its dimension {axis!r} has no coordinates.")
        values = np.asarray(array[axis], dtype=float)
        step = (values[-1] - values[0]) / max(1, len(values) - 1)
        if len(values) < 2 or not np.allclose(np.diff(values), step, rtol=1e-3):
            raise ImageError(f"{path}: the coordinate {axis!r} is not evenly spaced.")
        steps.append((step, values[0] - step / 2))
    (width_x, west), (height_y, first) = steps
    chunks = dict(zip(array.dims, array.encoding.get("chunks") or array.shape, strict=True))
    missing = array.attrs.get("_FillValue", array.attrs.get("nodata"))
    if not isinstance(missing, (int, float, np.number)):
        missing = None
    return Tile(
        path, "zarr" if decoded else "raw zarr", _zarr_crs(array, path, x),
        (width_x, 0.0, west, 0.0, height_y, first), (bands, array.sizes[y], array.sizes[x]),
        (chunks[y], chunks[x]), None if missing is None else float(missing), year=year,
    )  # fmt: skip


def _zarr_array(path: str, decoded: bool) -> tuple[Any, tuple[str, str]]:
    try:
        import xarray
    except ImportError as error:
        raise ImportError('Zarr stores need xarray: pip install "skgeo-embed[grids]"') from error
    try:
        data = xarray.open_dataset(path, engine="zarr", chunks=None, mask_and_scale=decoded)
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise ImageError(f"{path} cannot be read as a Zarr store: {error}") from error
    pairs = (("y", "x"), ("lat", "lon"), ("latitude", "longitude"))
    found = [
        (values, pair)
        for values in data.data_vars.values()
        for pair in pairs
        if set(pair) <= set(values.dims) and values.ndim <= 3
    ]
    if len(found) != 1:
        raise ImageError(
            f"{path} must have one variable with the dimensions y and x, or lat and lon, and "
            f"bands; it has {', '.join(f'{k}{v.dims}' for k, v in data.data_vars.items())}."
        )
    values, (y, x) = found[0]
    return values.transpose(..., y, x), (y, x)


def _zarr_crs(array: Any, path: str, x: str) -> str:
    if x != "x":
        return LONLAT
    reference = array.coords.get("spatial_ref")
    if reference is not None and "crs_wkt" in reference.attrs:
        return str(reference.attrs["crs_wkt"])
    code = array.attrs.get("proj:code") or array.attrs.get("proj:epsg") or array.attrs.get("crs")
    if code is None:
        raise ImageError(f"{path} has no CRS: neither spatial_ref nor proj:code.")
    return f"EPSG:{code}" if str(code).isdigit() else str(code)


@contextmanager
def _zarr_reader(path: str, decoded: bool = True) -> Iterator[Read]:
    array, (y, x) = _zarr_array(path, decoded)

    def read(rows: slice, columns: slice) -> np.ndarray:
        part = array.isel({y: rows, x: columns}).to_numpy()
        return part if part.ndim == 3 else part[None]

    yield read


READERS: dict[str, Any] = {
    "gdal": _gdal_reader,
    "npy": _npy_reader,
    "zarr": _zarr_reader,
    "raw zarr": partial(_zarr_reader, decoded=False),
}
