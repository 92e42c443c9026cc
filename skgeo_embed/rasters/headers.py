"""Reads headers of rasters: GeoTIFFs and VRTs, Zarr stores, arrays of Tessera."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed.rasters.conventions import Described, comparable
from skgeo_embed.rasters.crs import check_crs
from skgeo_embed.rasters.geotiff import check_beside, is_address, opened_raster
from skgeo_embed.rasters.network import version_of
from skgeo_embed.rasters.products import Product
from skgeo_embed.rasters.stamps import stamps_of
from skgeo_embed.rasters.tiles import Stored, Tile, open_npy
from skgeo_embed.rasters.vrt import checked_vrt, files_of, is_vrt
from skgeo_embed.rasters.zarr_store import read_grids

BLOCK_ROWS = 256  # of an array file, which has no blocks
BLOCK_BYTES = 2**26


def headers(
    path: str,
    *,
    year: int | None,
    product: Product | None,
    remote: bool,
    described: Described | None = None,
) -> list[Tile]:
    """Read the header of a raster, and ask the server for the version of a remote one.

    A Zarr store may hold several rasters, of zones and years. `described` is what a STAC item says
    about the raster.

    Raises
    ------
    ImageError
        If it cannot be opened, has no position, or does not hold what the product expects.
    """
    described = described or Described()
    product = product or described.product
    if is_zarr(path):
        tiles = _zarr_headers(path, year, product)
    elif path.lower().endswith(".npy"):
        tiles = [_npy_header(path, year, product)]
    else:
        tiles = [_gdal_header(path, year, product, remote)]
    for tile in tiles:
        check_crs(tile.crs, path)
        _check_transform(tile)
    return [_with_description(tile, described) for tile in tiles]


def _with_description(tile: Tile, described: Described) -> Tile:
    """Add what a catalogue says about a raster; what the raster says about itself counts first."""
    described = described.of_bands(tile.shape[0], tile.path)
    return replace(
        tile,
        model=tile.model or described.model,
        scales=tile.scales or described.scales,
        offsets=tile.offsets or described.offsets,
    )


def _check_transform(tile: Tile) -> None:
    """Raise if the pixels of a raster have no area."""
    a, b, _, d, e, _ = tile.transform
    if not (np.isfinite(tile.transform).all() and np.isfinite(1 / (a * e - b * d or np.nan))):
        raise ImageError(
            f"{tile.path} has no position: its transform is {tile.transform}, by which its pixels "
            "have no area."
        )


def is_zarr(path: str) -> bool:
    """Say whether a path leads to a Zarr store."""
    folder = Path(path)
    try:
        return path.rstrip("/").lower().endswith(".zarr") or any(
            (folder / name).exists() for name in ("zarr.json", ".zgroup", ".zarray")
        )
    except OSError as error:  # no file can have such a name
        raise ImageError(f"{path[:200]}… cannot be read as a raster: {error.strerror}.") from error


def _gdal_header(path: str, year: int | None, product: Product | None, remote: bool) -> Tile:
    pixels = _stored(path, remote)
    with opened_raster(path, pixels.document) as file:
        if file.crs is None or file.transform.is_identity:
            raise ImageError(f"{path} has no position: its CRS or its transform is missing.")
        if any(str(kind).startswith("complex") for kind in file.dtypes):
            raise ImageError(f"{path} holds complex numbers; write both parts as bands.")
        for kind in file.dtypes:
            if product is not None:
                product.check_dtype(kind, path)
        unscaled = all(scale == 1 for scale in file.scales)
        shape = file.count, file.height, file.width
        return Tile(
            pixels,
            file.crs.to_wkt(),
            tuple(file.transform)[:6],
            shape,
            tuple(max(side) for side in zip(*file.block_shapes, strict=True)),
            file.nodata,
            None if unscaled else tuple(file.scales),
            None if not any(file.offsets) else tuple(file.offsets),
            _stated(file.descriptions),
            _stated(file.units),
            product,
            None if product is None else _gdal_companion(path, shape, product, remote),
            year,
            model=_model_of(file.tags()),
        )


def _stored(path: str, remote: bool, masked: bool = False) -> Stored:
    """Check that a raster leads only to allowed files, and note what they are now."""
    document, files, kept = None, [], False
    if is_vrt(path):
        document = checked_vrt(path, remote=remote)
        files = [*([] if is_address(path) else [path]), *files_of(document)]
    elif is_address(path):
        kept = True  # sources of a VRT may change
    else:
        check_beside(path)
        files = [path]
    version = version_of(path) if kept else None
    return Stored(
        path,
        "gdal",
        masked,
        document=document,
        version=version,
        stamps=stamps_of(files),
        keeps_blocks=version is not None,
    )


def _model_of(tags: dict[str, str]) -> str | None:
    """Return the model that a GeoTIFF's tags name; geotessera writes the version of Tessera's."""
    version = tags.get("TESSERA_DATASET_VERSION")
    return comparable(f"Tessera {version}" if version else tags.get("geoemb_model"))


def _stated(texts: tuple[str | None, ...]) -> tuple[str | None, ...] | None:
    stated = tuple(text or None for text in texts)
    return stated if any(stated) else None


def _gdal_companion(
    path: str, shape: tuple[int, int, int], product: Product, remote: bool
) -> Stored | None:
    beside = _beside(path, product)
    if beside is None:
        return None
    companion = _stored(beside, remote, masked=True)
    with opened_raster(beside, companion.document) as file:
        _check_companion(beside, (file.count, file.height, file.width), path, shape)
    return companion


def _check_companion(
    beside: str, found: tuple[int, ...], path: str, shape: tuple[int, int, int]
) -> None:
    bands, height, width = shape
    if found[-2:] != (height, width) or found[0] not in (1, bands):
        raise ImageError(f"{beside} has shape {found}, which does not fit {path} of shape {shape}.")


def _beside(path: str, product: Product) -> str | None:
    """Return the path of a product's companion; at an address the suffix goes before the query."""
    if product.suffix is None:
        return None
    before, mark, query = path.partition("?") if "://" in path else (path, "", "")
    stem, dot, ending = before.rpartition(".")
    beside = f"{stem}{product.suffix}{dot}{ending}{mark}{query}"
    if is_address(path):
        return beside
    other = _in_any_case(Path(beside))
    if other is None:
        raise ImageError(
            f"quantization={product.name!r} needs the {product.companion} of each pixel, but there "
            f"is no {Path(beside).name} beside {path}."
        )
    return str(other)


def _in_any_case(path: Path) -> Path | None:
    """Return a file of this name, or of one that differs in the case of its letters."""
    if path.exists():
        return path
    name = path.name.lower()
    return next((file for file in path.parent.iterdir() if file.name.lower() == name), None)


def _npy_header(path: str, year: int | None, product: Product | None) -> Tile:
    """Read the header of an array, which a GeoTIFF gives its position, and of its companion."""
    file = Path(path)
    pixels = open_npy(path)
    if pixels.ndim != 3:
        raise ImageError(f"{path} must have shape (height, width, bands), got {pixels.shape}.")
    if pixels.dtype.kind not in "iufb":
        raise ImageError(f"{path} holds {pixels.dtype}, not real numbers.")
    if product is not None:
        product.check_dtype(pixels.dtype, path)
    placed = [file.with_suffix(suffix) for suffix in (".tiff", ".tif")]
    place = next((found for p in placed if (found := _in_any_case(p)) is not None), None)
    if place is None:
        raise ImageError(
            f"{path} has no position; put the GeoTIFF of its land mask, which Tessera publishes, "
            f"beside it as {placed[0].name}."
        )
    landmask = _gdal_header(str(place), year, None, remote=False)
    height, width, bands = pixels.shape
    if landmask.shape[1:] != (height, width):
        raise ImageError(f"{path} has {height} × {width} pixels, {place} has {landmask.shape[1:]}.")
    rows = min(BLOCK_ROWS, max(1, BLOCK_BYTES // max(1, pixels[0].nbytes)))
    beside, companion = None if product is None else _beside(path, product), None
    if beside is not None:
        values = np.atleast_3d(open_npy(beside))
        _check_companion(beside, np.moveaxis(values, 2, 0).shape, path, (bands, height, width))
        companion = Stored(beside, "npy", stamps=stamps_of([beside]))
    return Tile(
        Stored(path, "npy", stamps=stamps_of([path, str(place)])),
        landmask.crs,
        landmask.transform,
        (bands, height, width),
        (rows, width),
        product=product,
        companion_of=companion,
        year=year,
    )


def _zarr_headers(path: str, year: int | None, product: Product | None) -> list[Tile]:
    stamps = stamps_of([path])
    tiles = []
    for grid in read_grids(path, product):
        if year is not None and grid.year not in (None, year):
            continue
        companion = None
        if grid.product is not None and grid.product.companion is not None:
            where = grid.where._replace(variable=grid.product.companion)
            companion = Stored(path, "zarr", True, where)
        tiles.append(
            Tile(
                Stored(path, "zarr", grid.product is None, grid.where, stamps=stamps),
                grid.crs,
                grid.transform,
                grid.shape,
                grid.block,
                None if grid.product is not None else grid.nodata,
                grid.scales,
                grid.offsets,
                names=grid.names,
                units=grid.units,
                product=grid.product,
                companion_of=companion,
                year=year if grid.year is None else grid.year,
                model=grid.model,
            )
        )
    if not tiles:
        raise ImageError(f"{path} holds no raster of the year {year}.")
    return tiles
