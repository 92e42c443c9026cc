"""Lists the tiles of what a user passes: files, folders, STAC collections, tables of footprints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed.rasters.conventions import Described, from_stac
from skgeo_embed.rasters.geotiff import is_address
from skgeo_embed.rasters.headers import headers, is_zarr
from skgeo_embed.rasters.patches import Patches, is_patch_table, join_patches, read_patches
from skgeo_embed.rasters.products import Product
from skgeo_embed.rasters.tiles import Tile

OPENERS = 8
SCALES = "_scales"  # ends the names of files that are no embeddings, whatever the product
PICTURES = {"thumbnail", "overview", "visual", "metadata"}  # roles in STAC
PATH_COLUMNS = ("path", "location", "href", "url", "file", "filename")
FOOTPRINTS = {  # and their first bytes: GDAL may follow other content to a server
    ".gpkg": b"SQLite format 3\0",
    ".parquet": b"PAR1",
    ".fgb": b"fgb\x03fgb",
    ".shp": b"\0\0\x27\x0a",
}
EMBEDDINGS = "embeddings"  # the asset of STAC's embedding extension


class Named(NamedTuple):
    """A raster's path, its year, and what a STAC item says about it."""

    path: str
    year: int | None
    described: Described | None = None


def open_catalogue(source: Any, *, remote: bool, product: Product | None) -> list[Tile] | Patches:
    """Read the headers of all tiles of a source, their bands in the order of the first.

    Tables of patches are read whole.

    Raises
    ------
    FileNotFoundError
        If a path does not exist, or holds no raster.
    ImageError
        If a tile cannot be opened, is at an address though `remote` is False, or if tiles differ
        in their bands, or in the model that made them.
    """
    named = list(_named(source, None, product))
    if not named:
        raise FileNotFoundError(f"there is no raster in {source!r}.")
    for path, *_ in named:
        if is_address(path) and not remote:
            raise ImageError(f"{path} is an address; pass remote=True to read over the network.")

    tables = [each for each in named if is_patch_table(each.path, PATH_COLUMNS)]
    if tables and len(tables) < len(named):
        other = next(each.path for each in named if each not in tables)
        raise ImageError(
            f"{tables[0].path} is a table of patches and {other} a raster; use an encoder for each."
        )
    if tables:
        parts = [read_patches(t.path, t.year, product, t.described) for t in tables]
        check_models({part.model: part.path for part in parts})
        return join_patches(parts)

    def read(each: Named) -> list[Tile]:
        return headers(
            each.path, year=each.year, product=product, remote=remote, described=each.described
        )

    with ThreadPoolExecutor(OPENERS) as pool:
        tiles = [tile for found in pool.map(read, named) for tile in found]
    check_models({tile.model: tile.path for tile in tiles})
    return [_aligned(tile, tiles[0]) for tile in tiles]


def check_models(paths: Mapping[str | None, str]) -> None:
    """Refuse embeddings of several models, given a file of each: their columns differ in meaning.

    Files that name no model may be of any.
    """
    stated = [(model, path) for model, path in paths.items() if model is not None]
    if len(stated) > 1:
        (first, path), (second, other) = stated[:2]
        raise ImageError(
            f"embeddings of several models cannot be mixed: {path} is of {first}, {other} of "
            f"{second}. Use an encoder for each, or files of one model."
        )


def _aligned(tile: Tile, first: Tile) -> Tile:
    """Bring the bands of a tile into the order of the first one's, by their names."""
    if tile.shape[0] != first.shape[0]:
        raise ImageError(
            f"rasters differ in their bands: {first.path} has {first.shape[0]}, {tile.path} "
            f"{tile.shape[0]}."
        )
    if tile.names != first.names:
        tile = replace(tile, order=_order(tile, first))
    order = tile.order or tuple(range(tile.shape[0]))
    for band, theirs in enumerate(order):
        unit, other = (first.units or {band: None})[band], (tile.units or {theirs: None})[theirs]
        if unit and other and unit != other:
            raise ImageError(
                f"band {band + 1} of {first.path} is in {unit}, but that of {tile.path} in "
                f"{other}; convert one of them, or use an encoder for each."
            )
    return tile


def _order(tile: Tile, first: Tile) -> tuple[int, ...]:
    mine, theirs = first.names or (), tile.names or ()
    if None not in mine and len(set(mine)) == len(mine) and set(mine) == set(theirs):
        return tuple(theirs.index(name) for name in mine)
    band = next((n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), 0)
    shown = [repr(names[band]) if names else "without a name" for names in (mine, theirs)]
    raise ImageError(
        f"rasters differ in the names of their bands: band {band + 1} of {first.path} is "
        f"{shown[0]}, that of {tile.path} {shown[1]}, so they may hold other things. Give the "
        "bands the same names (in a GeoTIFF their descriptions), or use an encoder for each."
    )


def _named(source: Any, year: int | None, product: Product | None) -> Iterator[Named]:
    """Yield paths and years."""
    if isinstance(source, Mapping):
        for key, part in source.items():
            yield from _named(part, int(key), product)
        return
    if not isinstance(source, (str, PathLike)):
        if not isinstance(source, (list, tuple)):
            raise TypeError(
                "source must be a path, a list of paths or a dict of the paths of each year; got "
                f"{source!r}."
            )
        for part in source:
            yield from _named(part, year, product)
        return
    path = fspath(source)
    if is_address(path):
        yield Named(path, year)
        return
    file = Path(path).expanduser().absolute()
    if not file.exists():
        raise FileNotFoundError(f"there is no file or folder {path}.")
    suffix = file.suffix.lower()
    if suffix in (".json", ".geojson"):
        yield from _items(file, year, product)
    elif suffix in FOOTPRINTS and not is_patch_table(str(file), PATH_COLUMNS):
        yield from _footprints(file, year)
    elif file.is_dir() and not is_zarr(str(file)):
        yield from (Named(str(found), year) for found in _in_folder(file, product))
    else:
        yield Named(str(file), year)


def _in_folder(folder: Path, product: Product | None) -> list[Path]:
    """Find all GeoTIFFs, or a product's arrays, for which GeoTIFFs only give the position."""
    suffix = product.suffix if product is not None and product.suffix is not None else SCALES
    found: dict[str, list[Path]] = {".npy": [], ".tif": [], ".tiff": []}
    for path in folder.rglob("*"):
        if path.suffix.lower() in found and not path.stem.lower().endswith(suffix):
            found[path.suffix.lower()].append(path)
    arrays = found[".npy"] if product is not None and product.suffix is not None else []
    return sorted(arrays or found[".tif"] + found[".tiff"])


def _items(file: Path, year: int | None, product: Product | None) -> Iterator[Named]:
    """Yield the raster of each item of a STAC collection, and the year of the item's time.

    It is the asset "embeddings" of the embedding extension, or else the GeoTIFF.
    """
    try:
        collection = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{file} is not a STAC item collection: {error}") from error
    single = isinstance(collection, dict) and collection.get("type") == "Feature"
    for item in [collection] if single else _entry(collection, "features", list, file):
        named = _entry(item, "assets", dict, file)
        assets = [named[EMBEDDINGS]] if EMBEDDINGS in named else list(named.values())
        hrefs = [_entry(asset, "href", str, file) for asset in assets]
        tiffs = [
            (asset, href)
            for asset, href in zip(assets, hrefs, strict=True)
            if len(assets) == 1 or _is_tiff(asset, href)
        ]
        data = (
            [pair for pair in tiffs if "data" in _roles(pair[0])]
            or [pair for pair in tiffs if not PICTURES & set(map(str, _roles(pair[0])))]
            or tiffs
        )
        if len(data) != 1:
            raise ImageError(
                f"item {item.get('id')!r} of {file} has {len(data)} assets that are GeoTIFFs; keep "
                "the one that holds the embeddings, or give it the role 'data'."
            )
        properties = _entry(item, "properties", dict, file)
        time = properties.get("start_datetime") or properties.get("datetime")
        taken = year if year is not None or not time else _year_of(time, file)
        yield Named(_beside(file, data[0][1]), taken, from_stac(item, str(file), product))


def _is_tiff(asset: dict[str, Any], href: str) -> bool:
    """Say whether an asset is a GeoTIFF: by its type, or by its name where none is stated."""
    kind = str(asset.get("type") or "").lower()
    if kind and "octet-stream" not in kind:
        return "tiff" in kind
    return urlsplit(href).path.lower().endswith((".tif", ".tiff"))


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
    except Exception as error:  # of pyarrow, of pyogrio, of JSON in the file
        raise ImageError(f"{file} is not a table of footprints: {error}") from error
    columns = [name for name in table.columns if str(name).lower() in PATH_COLUMNS]
    if len(columns) != 1:
        raise ImageError(
            f"{file} must have one column of paths ({', '.join(PATH_COLUMNS)}), or be GeoParquet "
            f"with a column of vectors; it has {', '.join(map(str, table.columns))}."
        )
    years = table["year"] if "year" in table.columns else [year] * len(table)
    for row, (path, taken) in enumerate(zip(table[columns[0]], years, strict=True)):
        if not isinstance(path, str):
            raise ImageError(f"{file} has no path in row {row} of its column {columns[0]!r}.")
        known = isinstance(taken, (int, float, np.number)) and taken == taken
        yield Named(_beside(file, path), int(taken) if known else None)


def _check_beginning(file: Path) -> None:
    """Raise if a table's content is not of its kind. Parquet may be a folder of files."""
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
