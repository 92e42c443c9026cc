"""Opens GeoTIFFs by GDAL's driver for them, and by no other driver.

GDAL chooses a driver by content, and some of its drivers read other files or contact servers. So
the content of a file, or the answer of a server, could make it do so.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed.rasters.cache import Read
from skgeo_embed.rasters.network import beginning_of, gdal_limits, url_of, version_of
from skgeo_embed.rasters.stamps import OPENED_BESIDE

TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
LARGEST_BLOCK = 2**29  # bytes; a megabyte of a file may unpack to gigabytes
# with this option GDAL looks for files beside one by exactly these names
EXACT_NAMES = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
ON_DISK = {**EXACT_NAMES, "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".nothing"}
AT_ADDRESSES = {
    # GDAL would open files beside one on a server by any driver
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    # GDAL would reuse what it has read of an address after the file there has changed
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",
}
HDF_BEGINNINGS = (b"CDF", b"\x89HDF")  # of NetCDF 3 and 4


def is_address(path: str) -> bool:
    """Say whether GDAL would read a path over the network, or as one of its virtual files."""
    return "://" in path or path.startswith("/vsi")


def import_rasterio() -> Any:
    """Return rasterio, or raise an error that says what to install."""
    try:
        import rasterio
        import rasterio.errors
    except ImportError as error:
        raise ImportError('rasters need rasterio: pip install "skgeo-embed[rasters]"') from error
    return rasterio


@contextmanager
def opened_raster(path: str, document: str | None = None) -> Iterator[Any]:
    """Open a GeoTIFF, or the checked `document` that stands for a VRT.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    rasterio = import_rasterio()
    if document is None:
        options = AT_ADDRESSES if is_address(path) else ON_DISK
        target = {"fp": path, "driver": "GTiff"}
    else:
        options = {**AT_ADDRESSES, **EXACT_NAMES} if "/vsi" in document else ON_DISK
        target = {"fp": document, "driver": "VRT"}
    if document is None:
        version_of(path)  # for its redirects: GDAL follows them to servers of other kinds
    try:
        with rasterio.Env(**options, **gdal_limits()), rasterio.open(**target) as file:
            check_blocks(file, path)
            yield file
    except (rasterio.errors.RasterioError, OSError, UnicodeDecodeError) as error:
        shown = str(error) if document is None else str(error).replace(document, path)
        shown = f"{path} cannot be read as a raster: {shown.rstrip('.')}.{_hint(path)}"
        raise ImageError(shown) from error


def _hint(path: str) -> str:
    """Say what to do with a raster of another kind."""
    if is_address(path):
        return " Rasters at an address must be GeoTIFFs."
    with suppress(OSError), open(path, "rb") as file:
        if file.read(4).startswith(HDF_BEGINNINGS):
            return (
                " It is NetCDF or HDF5; write it as Zarr, with xarray: "
                "open_dataset(..., decode_coords='all').to_zarr(...)."
            )
    return ""


def check_blocks(file: Any, path: Any) -> None:
    """Raise if the header of a raster declares blocks that need much memory.

    Raises
    ------
    ImageError
        If a block of all bands has more than 512 MiB.
    """
    height, width = (max(side) for side in zip(*file.block_shapes, strict=True))
    largest = max(np.dtype(_numpy_type(kind)).itemsize for kind in file.dtypes)
    check_block_bytes(path, height, width, file.count * height * width * largest)


def check_block_bytes(path: Any, height: int, width: int, size: int) -> None:
    """Refuse blocks of more than 512 MiB."""
    if size > LARGEST_BLOCK:
        raise ImageError(
            f"{path} is stored in blocks of {height} × {width} pixels, {size / 2**20:,.0f} MiB "
            f"with all bands, and a block is read whole; write it again in blocks of at most "
            f"{LARGEST_BLOCK >> 20} MiB, such as 256 × 256 pixels."
        )


def _numpy_type(kind: str) -> str:
    return "complex64" if kind == "complex_int16" else kind


@contextmanager
def gdal_reader(path: str, document: str | None = None, masked: bool = False) -> Iterator[Read]:
    """Open a raster for reading; `masked` reads missing pixels as masked ones in any case."""
    from rasterio.windows import Window

    with opened_raster(path, document) as file, _mask_of_address(path, document) as mask:
        masked = masked or has_masks(file)

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
            beside = f"{before}.msk{mark}{query}"
            if url_of(beside) is None:  # we cannot ask: most have none
                with suppress(ImageError):
                    mask = files.enter_context(opened_raster(beside))
            elif beginning_of(beside) in TIFF_BEGINNINGS:  # servers may send a page instead
                mask = files.enter_context(opened_raster(beside))
        yield mask


def has_masks(file: Any) -> bool:
    """Say whether masks, or different values for each band, mark missing pixels."""
    flags = {flag.name for band in file.mask_flag_enums for flag in band}
    return bool(flags & {"per_dataset", "alpha"}) or len(set(map(str, file.nodatavals))) > 1


def check_geotiff(path: str) -> None:
    """Check that a file, and masks and overviews beside it, are GeoTIFFs that lead to no others.

    Raises
    ------
    ImageError
        If one is not; the message says what was found.
    """
    rasterio = import_rasterio()
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as error:
        raise ImageError(f"{path} cannot be read as a raster: {error}") from error
    if start not in TIFF_BEGINNINGS:
        raise ImageError(
            f"{path} cannot be read as a raster: it is not a GeoTIFF, but begins with {start!r}."
        )
    check_beside(path)
    with warnings.catch_warnings():  # masks may lack a position
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with opened_raster(path) as raster:
            elsewhere = raster.tags(ns="OVERVIEWS").get("OVERVIEW_FILE")
    if elsewhere is not None:
        raise ImageError(
            f"{path} takes its overviews from another file, {elsewhere}; remove that entry "
            "(OVERVIEW_FILE) from the file, or from the .aux.xml beside it."
        )


def check_beside(path: str) -> None:
    """Check that masks and overviews beside a GeoTIFF are GeoTIFFs themselves.

    Raises
    ------
    ImageError
        If one is not.
    """
    for suffix in OPENED_BESIDE:
        if os.path.exists(path + suffix):
            check_geotiff(path + suffix)
