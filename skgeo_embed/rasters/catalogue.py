"""Lists the tiles of what a user passes: files, folders, STAC collections, tables of footprints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed.rasters.geotiff import is_address
from skgeo_embed.rasters.tiles import SCALES, Tile, header

OPENERS = 8
PATH_COLUMNS = ("path", "location", "href", "url", "file", "filename")
FOOTPRINTS = {  # and their first bytes: GDAL may follow other content to a server
    ".gpkg": b"SQLite format 3\0",
    ".parquet": b"PAR1",
    ".fgb": b"fgb\x03fgb",
    ".shp": b"\0\0\x27\x0a",
}
Named = tuple[str, int | None]


def open_catalogue(
    source: Any, *, remote: bool, quantization: str | None, versioned: bool = False
) -> list[Tile]:
    """Read the headers of all tiles of a source, and if `versioned` the versions of remote ones.

    Raises
    ------
    FileNotFoundError
        If a path does not exist, or holds no raster.
    ImageError
        If a tile cannot be opened, is at an address though `remote` is False, or if tiles differ
        in their bands.
    """
    named = list(_named(source, None, quantization))
    if not named:
        raise FileNotFoundError(f"there is no raster in {source!r}.")
    for path, _ in named:
        if is_address(path) and not remote:
            raise ImageError(f"{path} is an address; pass remote=True to read over the network.")

    def read(path: str, year: int | None) -> Tile:
        return header(
            path,
            year=year,
            with_scales=quantization == "tessera",
            decoded=quantization is None,
            versioned=versioned and is_address(path),
            remote=remote,
        )

    with ThreadPoolExecutor(OPENERS) as pool:
        tiles = list(pool.map(read, *zip(*named, strict=True)))
    widths = {tile.shape[0] for tile in tiles}
    if len(widths) > 1:
        other = next(tile for tile in tiles if tile.shape[0] != tiles[0].shape[0])
        raise ImageError(
            f"rasters differ in their bands: {tiles[0].path} has {tiles[0].shape[0]}, "
            f"{other.path} {other.shape[0]}."
        )
    return tiles


def _named(source: Any, year: int | None, quantization: str | None) -> Iterator[Named]:
    """Yield paths and years."""
    if isinstance(source, Mapping):
        for key, part in source.items():
            yield from _named(part, int(key), quantization)
        return
    if not isinstance(source, (str, PathLike)):
        if not isinstance(source, (list, tuple)):
            raise TypeError(
                "source must be a path, a list of paths or a dict of the paths of each year; got "
                f"{source!r}."
            )
        for part in source:
            yield from _named(part, year, quantization)
        return
    path = fspath(source)
    if is_address(path):
        yield path, year
        return
    file = Path(path).expanduser().absolute()
    if not file.exists():
        raise FileNotFoundError(f"there is no file or folder {path}.")
    suffix = file.suffix.lower()
    if suffix in (".json", ".geojson"):
        yield from _items(file, year)
    elif suffix in FOOTPRINTS:
        yield from _footprints(file, year)
    elif file.is_dir() and suffix != ".zarr" and not (file / "zarr.json").exists():
        yield from ((str(found), year) for found in _in_folder(file, quantization))
    else:
        yield str(file), year


def _in_folder(folder: Path, quantization: str | None) -> list[Path]:
    """Find all GeoTIFFs; of Tessera the arrays, whose GeoTIFFs give only their position."""
    arrays = folder.rglob("*.npy") if quantization == "tessera" else []
    found = sorted(path for path in arrays if not path.stem.endswith(SCALES))
    if found:
        return found
    files = [path for pattern in ("*.tif", "*.tiff") for path in folder.rglob(pattern)]
    return sorted(path for path in files if not path.stem.endswith(SCALES))


def _items(file: Path, year: int | None) -> Iterator[Named]:
    """Yield the GeoTIFF of each item of a STAC collection, and the year of the item's time."""
    try:
        collection = json.loads(file.read_text())
    except ValueError as error:
        raise ImageError(f"{file} is not a STAC item collection: {error}") from error
    for item in _entry(collection, "features", list, file):
        assets = list(_entry(item, "assets", dict, file).values())
        hrefs = [_entry(asset, "href", str, file) for asset in assets]
        tiffs = [
            (asset, href)
            for asset, href in zip(assets, hrefs, strict=True)
            if len(assets) == 1 or "tiff" in str(asset.get("type", href))
        ]
        data = [pair for pair in tiffs if "data" in _roles(pair[0])] or tiffs
        if len(data) != 1:
            raise ImageError(
                f"item {item.get('id')!r} of {file} has {len(data)} assets that are GeoTIFFs; keep "
                "the one that holds the embeddings."
            )
        properties = _entry(item, "properties", dict, file)
        time = properties.get("start_datetime") or properties.get("datetime")
        taken = year if year is not None or not time else _year_of(time, file)
        yield _beside(file, data[0][1]), taken


def _roles(asset: dict[str, Any]) -> list[Any]:
    roles = asset.get("roles")
    return roles if isinstance(roles, list) else []


def _entry(holder: Any, key: str, kind: type, file: Path) -> Any:
    """Return an entry of a STAC document, after checking its kind."""
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, kind):
        raise ImageError(
            f"{file} is not a STAC item collection: {key!r} must be a {kind.__name__}, got "
            f"{str(value)[:60]}."
        )
    return value


def _year_of(time: Any, file: Path) -> int:
    if not (isinstance(time, str) and re.match(r"[12]\d{3}(-|$)", time)):
        raise ImageError(f"an item of {file}: the time {time!r} does not begin with a year.")
    return int(time[:4])


def _footprints(file: Path, year: int | None) -> Iterator[Named]:
    import geopandas

    _check_beginning(file)
    read = geopandas.read_parquet if file.suffix.lower() == ".parquet" else geopandas.read_file
    try:
        table = read(file)
    except ValueError as error:
        raise ImageError(f"{file} is not a table of footprints: {error}") from error
    columns = [name for name in table.columns if str(name).lower() in PATH_COLUMNS]
    if len(columns) != 1:
        raise ImageError(
            f"{file} must have one column of paths ({', '.join(PATH_COLUMNS)}); it has "
            f"{', '.join(map(str, table.columns))}."
        )
    years = table["year"] if "year" in table.columns else [year] * len(table)
    for row, (path, taken) in enumerate(zip(table[columns[0]], years, strict=True)):
        if not isinstance(path, str):
            raise ImageError(f"{file} has no path in row {row} of its column {columns[0]!r}.")
        known = isinstance(taken, (int, float, np.number)) and taken == taken
        yield _beside(file, path), int(taken) if known else None


def _check_beginning(file: Path) -> None:
    """Refuse tables whose content is of another kind; Parquet may be a folder of files."""
    suffix = file.suffix.lower()
    if file.is_dir() and suffix == ".parquet":
        return
    beginning = FOOTPRINTS[suffix]
    found = b""
    if file.is_file():
        with file.open("rb") as opened:
            found = opened.read(len(beginning))
    if found != beginning:
        raise ImageError(
            f"{file} is not a table of footprints: it begins with {found!r}, but a {suffix} file "
            f"begins with {beginning!r}."
        )


def _beside(file: Path, path: str) -> str:
    """Return a path relative to the file that names it."""
    return path if "://" in path or Path(path).is_absolute() else str(file.parent / path)
