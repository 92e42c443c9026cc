"""Tables of patches: a vector, an outline or a centre, and maybe a year in each row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed._errors import ImageError
from skgeo_embed._sphere import EARTH_RADIUS_KM, great_circle_km, unit_vectors
from skgeo_embed.rasters.conventions import Described, from_attributes
from skgeo_embed.rasters.products import Product

VECTORS = ("embedding", "embeddings", "vector", "vectors", "features")  # where several are lists
DESCRIPTION = b"geoemb"  # the key of a Parquet file's metadata under which encode_table writes
OWN = "skgeo_embed:"
PLACES_AT_ONCE = 65_536
SAME_KM = 1e-3  # two notations of one place


@dataclass(frozen=True, eq=False)
class Patches:
    """Embeddings of patches, in memory.

    Attributes
    ----------
    vectors : ndarray of shape (n, d)
        The embeddings, float32.
    centres : ndarray of shape (n, 2)
        Longitude and latitude.
    outlines : ndarray of shapely geometries, or None
        In degrees; None if the patches are points.
    years : ndarray of shape (n,), or None
        The year of each, NaN if unknown.
    names : tuple of str, or None
        Names of the columns.
    model : str or None
        What made them, if the file says so.
    path : str
        The file.
    """

    vectors: np.ndarray
    centres: np.ndarray
    outlines: np.ndarray | None
    years: np.ndarray | None
    names: tuple[str, ...] | None
    model: str | None
    path: str

    @property
    def files(self) -> list[str]:
        """A digest of the embeddings and of where they are: the file is read whole."""
        whole = hashlib.sha256(np.ascontiguousarray(self.vectors).data)
        whole.update(np.ascontiguousarray(self.centres).data)
        return [whole.hexdigest()]

    def sample(
        self, lonlat: np.ndarray, years: np.ndarray | None, method: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield row numbers of places and their vectors, NaN where there is no patch."""
        find = self._containing if method == "containing" else self._nearest
        for start in range(0, len(lonlat), PLACES_AT_ONCE):
            rows = np.arange(start, min(start + PLACES_AT_ONCE, len(lonlat)))
            patch = np.full(len(rows), -1)
            if years is None or self.years is None:
                patch = find(lonlat[rows], np.arange(len(self.vectors)))
            else:
                for year in np.unique(years[rows]):
                    mine = np.flatnonzero(years[rows] == year)
                    patch[mine] = find(lonlat[rows[mine]], np.flatnonzero(self.years == year))
            values = self.vectors[patch]
            values[patch < 0] = np.nan
            yield rows, values

    def _nearest(self, lonlat: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Find the nearest centre, if it is not farther than neighbouring centres are."""
        from scipy.spatial import cKDTree

        if not len(among):
            return np.full(len(lonlat), -1)
        points = unit_vectors(self.centres[among])
        distance, nearest = cKDTree(points).query(unit_vectors(lonlat))
        angle = 2 * np.arcsin(np.clip(distance / 2, 0, 1))
        there = angle * EARTH_RADIUS_KM <= self._reach_km(points)
        return np.where(there, among[nearest], -1)

    def _reach_km(self, points: np.ndarray) -> float:
        """Median distance from a centre to the next one, or to a corner of its patch."""
        from scipy.spatial import cKDTree

        reach = SAME_KM
        distinct = np.unique(points, axis=0)
        if len(distinct) > 1:
            step = np.median(cKDTree(distinct).query(distinct, k=2)[0][:, 1])
            reach = max(reach, 2 * np.arcsin(min(step / 2, 1)) * EARTH_RADIUS_KM)
        if self.outlines is not None:
            import shapely

            west, south, *_ = shapely.bounds(self.outlines).T
            corners = great_circle_km(self.centres, np.column_stack([west, south]))
            reach = max(reach, float(np.median(corners)))
        return float(reach)

    def _containing(self, lonlat: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Find the patch in which a place lies; of several, that with the nearest centre."""
        import shapely

        found = np.full(len(lonlat), -1)
        if self.outlines is None:
            raise ValueError(
                f'{self.path} holds points, which cannot contain a place; use method="nearest".'
            )
        tree = shapely.STRtree(self.outlines[among])
        pairs = [  # an outline may extend beyond the antimeridian
            tree.query(shapely.points(lonlat[:, 0] + turn, lonlat[:, 1]), predicate="intersects")
            for turn in (0.0, 360.0, -360.0)
        ]
        place, patch = np.concatenate(pairs, axis=1)
        patch = among[patch]
        away = great_circle_km(lonlat[place], self.centres[patch])
        order = np.lexsort((away, place))  # the nearest of each place first
        first = order[np.flatnonzero(np.diff(place[order], prepend=-1))]
        found[place[first]] = patch[first]
        return found


def is_patch_table(path: str, path_columns: tuple[str, ...]) -> bool:
    """Say whether a file is Parquet with vectors, and not a table of paths."""
    if not path.lower().endswith(".parquet") or not Path(path).is_file():
        return False
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        schema = parquet.read_schema(path)
    except (pa.ArrowInvalid, OSError):
        return False  # the reader of tables raises the error
    if any(name.lower() in path_columns for name in schema.names):
        return False
    return DESCRIPTION in (schema.metadata or {}) or bool(_lists(schema))


def read_patches(
    path: str, year: int | None, product: Product | None, described: Described | None
) -> Patches:
    """Read a Parquet file with a column of vectors, or with the features of `encode_table`.

    Raises
    ------
    ImageError
        If it has no places, no vectors or several, or vectors of different lengths.
    ImportError
        If geopandas is missing.
    """
    import pyarrow.parquet as parquet

    schema = parquet.read_schema(path)
    own = _own_description(schema, path)
    table = parquet.read_table(path)
    if own:
        described = from_attributes(own, path, product)
        names = tuple(own.get(f"{OWN}columns") or ())
        lacking = [name for name in names if name not in table.column_names]
        if lacking or not names:
            raise ImageError(f"{path} has no column {lacking[0] if lacking else 'of features'!r}.")
        raw = np.column_stack([_numbers(table, name) for name in names])
        vectors = raw.astype(np.float32)
    else:
        names = ()
        described = described or Described()
        vectors = _decoded(table, _vector_column(schema, path), product, described, path)
    centres, outlines = _places(table, path, own)
    years = _numbers(table, "year") if "year" in table.column_names else None
    if years is None and year is not None:
        years = np.full(len(vectors), float(year))
    there = np.isfinite(vectors).all(axis=1) & np.isfinite(centres).all(axis=1)
    if not there.any():
        raise ImageError(f"{path} has no row with a place and a vector.")
    return Patches(
        vectors[there],
        centres[there],
        None if outlines is None else outlines[there],
        None if years is None else years[there],
        names or None,
        described.model,
        path,
    )


def join_patches(parts: list[Patches]) -> Patches:
    """Make one table of several.

    Raises
    ------
    ImageError
        If their vectors have different lengths or names.
    """
    first = parts[0]
    for part in parts[1:]:
        if part.vectors.shape[1] != first.vectors.shape[1] or part.names != first.names:
            raise ImageError(
                f"tables differ in their columns: {first.path} has {first.vectors.shape[1]}, "
                f"{part.path} {part.vectors.shape[1]}, or other names."
            )
    outlined = all(part.outlines is not None for part in parts)
    dated = any(part.years is not None for part in parts)
    return Patches(
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.centres for part in parts]),
        np.concatenate([part.outlines for part in parts]) if outlined else None,
        np.concatenate(
            [
                np.full(len(part.vectors), np.nan) if part.years is None else part.years
                for part in parts
            ]
        )
        if dated
        else None,
        first.names,
        next((part.model for part in parts if part.model is not None), None),
        first.path,
    )


def _lists(schema: Any) -> list[str]:
    """Return the columns of lists of numbers."""
    import pyarrow.types as types

    return [
        field.name
        for field in schema
        if (
            types.is_list(field.type)
            or types.is_large_list(field.type)
            or types.is_fixed_size_list(field.type)
        )
        and (types.is_floating(field.type.value_type) or types.is_integer(field.type.value_type))
    ]


def _vector_column(schema: Any, path: str) -> str:
    lists = _lists(schema)
    named = [name for name in lists if name.lower() in VECTORS]
    chosen = lists if len(lists) == 1 else named
    if len(chosen) != 1:
        raise ImageError(
            f"{path} must have one column of vectors ({', '.join(VECTORS)}); its columns of lists "
            f"are {', '.join(lists) or 'none'}."
        )
    return chosen[0]


def _decoded(
    table: Any, column: str, product: Product | None, described: Described, path: str
) -> np.ndarray:
    """Return the vectors of a column as float32, NaN where they are missing."""
    values = table.column(column).combine_chunks()
    lengths = np.asarray(values.value_lengths().fill_null(0), dtype=np.int64)
    present = lengths > 0
    if not present.any() or len(set(lengths[present].tolist())) > 1:
        raise ImageError(f"{path}: the vectors of column {column!r} are empty or differ in length.")
    width = int(lengths[present][0])
    raw = np.asarray(values.drop_null().flatten()).reshape(-1, width)
    described = described.of_bands(width, path)
    product = product or described.product
    if product is not None:
        beside = None
        if product.companion is not None:
            if product.companion not in table.column_names:
                raise ImageError(f"{path} has no column {product.companion!r} to decode vectors.")
            beside = _numbers(table, product.companion)[present]
        made = product.values(raw, beside, path)
    else:
        made = raw.astype(np.float32)
        if described.scales is not None:
            made = made * np.asarray(described.scales, dtype=np.float32)
        if described.offsets is not None:
            made = made + np.asarray(described.offsets, dtype=np.float32)
    out = np.full((len(lengths), width), np.nan, dtype=np.float32)
    out[present] = made
    return out


def _places(table: Any, path: str, own: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return centres in degrees, longitudes in [-180, 180), and outlines if there are areas."""
    lonlat = own.get(f"{OWN}places")
    if isinstance(lonlat, list):
        centres = np.column_stack([_numbers(table, name) for name in lonlat])
        return _within_turn(centres), None
    if b"geo" not in (table.schema.metadata or {}):
        raise ImageError(
            f"{path} states no geometries; write GeoParquet, for example by geopandas' to_parquet."
        )
    try:
        import geopandas
        import shapely
    except ImportError as error:
        raise ImportError(
            'GeoParquet needs geopandas: pip install "skgeo-embed[geo,tables]"'
        ) from error
    frame = geopandas.read_parquet(path, columns=[_geometry_column(table)])
    if frame.crs is None:
        raise ImageError(f"{path} has no CRS; write it with geopandas' set_crs.")
    shapes = frame.geometry.to_crs(4326).to_numpy()
    areas = shapely.get_dimensions(shapes) == 2
    centroids = shapely.centroid(shapes)
    centres = np.column_stack([shapely.get_x(centroids), shapely.get_y(centroids)])
    return _within_turn(centres), shapes if areas.any() else None


def _geometry_column(table: Any) -> str:
    return str(json.loads(table.schema.metadata[b"geo"])["primary_column"])


def _within_turn(centres: np.ndarray) -> np.ndarray:
    return np.column_stack([(centres[:, 0] + 180) % 360 - 180, centres[:, 1]])


def _numbers(table: Any, name: str) -> np.ndarray:
    return table.column(name).to_pandas().to_numpy(dtype=float, na_value=np.nan)


def _own_description(schema: Any, path: str) -> dict[str, Any]:
    text = (schema.metadata or {}).get(DESCRIPTION)
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ImageError(f"{path}: its description cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}
