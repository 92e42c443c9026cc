"""Images in GeoTIFF files, read within limits of kind and size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from os import PathLike, fspath
from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed.images.crop import centre_of
from skgeo_embed.rasters.geotiff import (
    EXACT_NAMES,
    TIFF_BEGINNINGS,
    check_beside,
    check_blocks,
    is_address,
)

LARGEST_BYTES = 2**29  # of one image; a sparse file of kilobytes may claim to be gigabytes


def is_path_list(images: Any) -> bool:
    """Say whether `images` is a collection of file paths."""
    if isinstance(images, (str, PathLike)):
        return True
    if hasattr(images, "to_list"):  # a pandas or polars column
        images = images.to_list()
    kind = getattr(getattr(images, "dtype", None), "kind", None)
    if not isinstance(images, (list, tuple)) and kind not in ("O", "U"):
        return False
    return len(images) > 0 and all(isinstance(image, (str, PathLike)) for image in images)


def read_geotiff(path: Any, content: bytes | None = None, side: int | None = None) -> np.ndarray:
    """Read all bands of a GeoTIFF, or of its content, (bands, height, width).

    Only files that are TIFFs are opened, by GDAL's driver for them: a VRT, an address or one of
    GDAL's virtual paths would make it read other files or use the network.

    Parameters
    ----------
    path : str or path-like
        The file; in errors also the name of `content`.
    content : bytes, default=None
        The bytes of the file, if they are read already.
    side : int, default=None
        Height and width of the square at the centre to read, if the image is larger.

    Raises
    ------
    ImageError
        If it is not a GeoTIFF, has pixels without data, or is larger than 512 MiB.
    """
    try:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError
    except ImportError as error:
        raise ImportError(
            'reading image files needs rasterio: pip install "skgeo-embed[images]"'
        ) from error
    try:
        _check_tiff(path, content)
        with warnings.catch_warnings():  # images may lack a position
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            if content is None:
                check_beside(fspath(path))
                with (
                    rasterio.Env(**EXACT_NAMES),
                    rasterio.open(fspath(path), driver="GTiff") as file,
                ):
                    return _read(file, path, side)
            with (
                rasterio.MemoryFile(content, ext=".tif") as memory,
                memory.open(driver="GTiff") as file,
            ):
                return _read(file, path, side)
    except (RasterioError, OSError, UnicodeDecodeError) as error:  # text in its tags
        raise ImageError(f"{path} cannot be read as an image: {error}") from error


def _check_tiff(path: Any, content: bytes | None) -> None:
    if content is not None:
        start = content[:4]
    else:
        if is_address(fspath(path)):
            raise ImageError(f"{path} is an address; download it, and pass the file.")
        with open(path, "rb") as file:
            start = file.read(4)
    if start not in TIFF_BEGINNINGS:
        raise ImageError(f"{path} is not a GeoTIFF: it begins with {start!r}.")


def _read(file: Any, path: Any, side: int | None) -> np.ndarray:
    from rasterio.windows import Window

    height, width = file.height, file.width
    if side is not None:
        height, width = min(height, side), min(width, side)
    top, left = centre_of((file.height, file.width), (height, width))
    size = file.count * height * width * np.dtype(file.dtypes[0]).itemsize
    if size > LARGEST_BYTES:
        raise ImageError(
            f"{path} has {file.count} band(s) of {file.height} × {file.width} pixels, "
            f"{size / 2**20:,.0f} MiB; cut it into images of at most {LARGEST_BYTES >> 20} MiB."
        )
    _check_meaning(file, path)
    check_blocks(file, path)
    window = Window(left, top, width, height)
    image = np.asarray(file.read(window=window))
    flags = {flag.name for band in file.mask_flag_enums for flag in band}
    if "per_dataset" in flags and "alpha" not in flags:
        masked = int((file.dataset_mask(window=window) == 0).sum())
        if masked:
            raise ImageError(
                f"{path} has {masked} pixels without data (masked); fill them, or leave the "
                "file out."
            )
    if file.nodata:  # missing pixels of Sentinel-2 are 0, which does no harm
        missing = int(np.isclose(image, file.nodata).sum())
        if missing:
            raise ImageError(
                f"{path} has {missing} pixels without data ({file.nodata:g}); fill them or leave "
                "the file out."
            )
    return image


def _check_meaning(file: Any, path: Any) -> None:
    """Refuse pixels that are complex, or that need a scale or an offset."""
    if np.dtype(file.dtypes[0]).kind not in "iuf":
        raise ImageError(f"{path} has pixels of type {file.dtypes[0]}; real numbers are expected.")
    if set(file.scales) != {1.0} or set(file.offsets) != {0.0}:
        raise ImageError(
            f"{path} has scales {file.scales[:3]} and offsets {file.offsets[:3]}; apply them to "
            "the pixels and write the file again without them."
        )


def image_batches(
    images: Any, batch_size: int, side: int | None = None
) -> Iterator[list[np.ndarray]]:
    """Yield lists of (bands, height, width) images from an array, a list of them or of paths."""
    from_files = is_path_list(images)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        yield [read_geotiff(path, side=side) for path in batch] if from_files else list(batch)
