"""The columns of a table that say where a row is, as an encoder wants them."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd

from skgeo_embed._errors import CoordinateError, UsageError
from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.places.columns import find_lonlat, unclear_columns
from skgeo_embed.places.kinds import Cells, recognise
from skgeo_embed.places.reading import Coordinates, read_coordinates
from skgeo_embed.streaming.sources import TableFile

NULL_HINT = (
    'on_invalid="nan" (--on-invalid nan) leaves the features of such rows null. The first row is 0.'
)
NAME_THEM = "name them with lon=... and lat=... (--lon and --lat on the command line)"
# how GEOS before 3.13, which does not read curves, calls them
CURVES = re.compile(
    r"Unknown type: '\w*CURVE\w*'|Unknown type: 'CIRCULARSTRING'|WKB type (8|9|1[0-2])\b"
)
NO_NUMBERS = ("timestamp", "date", "time", "duration", "bool")  # as pyarrow names types
DEGREES = "EPSG:4326"
DIGITS_OF_A_CELL = 20  # at most, of a number of 64 bits; hexadecimal bytes have more
NOT_STATED = object()  # since None means an unknown CRS
NESTED = ("list", "large_list", "fixed_size_list", "struct", "map")


class PlacesOfTable:
    """Which columns of a table are places, and how an encoder wants them."""

    def __init__(
        self,
        table: TableFile,
        encoder: CoordinateTransformer,
        lon: str | None,
        lat: str | None,
        geometry: str | None,
        decimal: str,
    ) -> None:
        self.reader: Any = encoder.reader_
        self.decimal = decimal
        self.time = getattr(self.reader, "time", None)
        lon, lat = lon or self.reader.lon, lat or self.reader.lat
        primary, systems = _geoparquet(table)
        self.geometry = geometry or (None if lon or lat else primary)
        self.crs = _system_of(table, systems.get(self.geometry, NOT_STATED))
        self.columns: tuple[str, str] | None = None
        if self.geometry is None:
            self.columns = _coordinate_columns(table, lon, lat)
        for name in (self.geometry, self.time):
            if name is not None and name not in table.names:
                raise UsageError(f"{table.path} has no column {name!r}: {', '.join(table.names)}.")
        self._check_types(table)

    def _check_types(self, table: TableFile) -> None:
        for name in self.all_columns:
            if table.names.count(name) > 1:
                raise UsageError(f"{table.path} has several columns {name!r}; rename all but one.")
            kind = table.type_of(name)
            if name != self.geometry and kind.startswith(NO_NUMBERS + NESTED):
                unit = "" if name == self.time else " in degrees"
                raise CoordinateError(f"column {name!r} must hold numbers{unit}, it holds {kind}.")
            if name == self.geometry and kind.startswith(NESTED):
                raise UsageError(
                    f"column {name!r} holds {kind}, as GeoArrow does; write the geometries as WKB "
                    '(geopandas: to_parquet(..., geometry_encoding="WKB")).'
                )

    @property
    def all_columns(self) -> list[str]:
        """The columns that say where, and when, a row is."""
        where = [self.geometry] if self.columns is None else list(self.columns)
        return [str(name) for name in (*where, self.time) if name is not None]

    def read(self, rows: pd.DataFrame, first_row: int) -> Coordinates:
        """Read and check the places of rows; messages count from `first_row`."""
        if self.geometry is not None:
            return self.reader.read(self._geometries(rows, first_row))
        lonlat = self.degrees(rows, first_row)
        if self.time is None:
            return self._checked(lonlat, first_row)
        frame = pd.DataFrame(lonlat, columns=[self.reader.lon or "lon", self.reader.lat or "lat"])
        frame[self.time] = to_numbers(rows[self.time], self.decimal)[0]
        return self.reader.read(frame)

    def degrees(self, rows: pd.DataFrame, first_row: int) -> np.ndarray:
        """Read both coordinates, (n, 2), with NaN for missing values, and for text if it may be."""
        columns = []
        for name in self.columns or ():
            numbers, text = to_numbers(rows[name], self.decimal)
            if len(text) and self.reader.on_invalid == "raise":
                row = text[0]
                found = rows[name].iloc[row]
                comma = ' If it has a decimal comma, pass decimal="," (--decimal ,).'
                raise CoordinateError(
                    f"column {name!r} must hold numbers in degrees, got {found!r} in row "
                    f"{first_row + row}.{comma if ',' in str(found) else ''} {NULL_HINT}"
                )
            columns.append(numbers)
        return np.column_stack(columns)

    def _checked(self, lonlat: np.ndarray, first_row: int) -> Coordinates:
        try:
            return read_coordinates(lonlat, on_invalid=self.reader.on_invalid, first_row=first_row)
        except CoordinateError as error:
            raise CoordinateError(f"{error} {NULL_HINT}") from error

    def _geometries(self, rows: pd.DataFrame, first_row: int) -> Any:
        values = rows[self.geometry].reset_index(drop=True)
        first = next(iter(values[values.notna()]), b"")
        time = None if self.time is None else to_numbers(rows[self.time], self.decimal)[0]
        # cells as numbers, in a CSV file; all hexadecimal ones of H3 have an f in them
        if isinstance(first, str) and first.isdigit() and len(first) <= DIGITS_OF_A_CELL:
            numbers = [int(v) if isinstance(v, str) and v.isdigit() else v for v in values]
            values = pd.Series(numbers, dtype=object)
        if isinstance(recognise(values), Cells):
            return values if time is None else pd.DataFrame({"cell": values, self.time: time})
        try:
            from geopandas import GeoDataFrame, GeoSeries
        except ImportError as error:
            raise ImportError(
                'geometries need geopandas: pip install "skgeo-embed[geo]"'
            ) from error
        if re.match("SRID=", str(first)):
            raise UsageError(
                f"column {self.geometry!r} holds EWKT ({str(first)[:40]!r}); write it without "
                "SRID=...;, in degrees."
            )
        read = values.to_numpy(object, copy=True)
        read[values.isna().to_numpy()] = None  # a column of text says NaN, which is no geometry
        shapes = self._shapes(read, first_row)
        series = GeoSeries(shapes, crs=self._system(shapes, first_row))
        return series if time is None else GeoDataFrame({self.time: time}, geometry=series)

    def _shapes(self, values: np.ndarray, first_row: int) -> np.ndarray:
        """Read well-known texts, or well-known bytes, also as hexadecimal digits."""
        import shapely

        first = next((value for value in values if value is not None), b"")
        # hexadecimal bytes begin with the order of bytes, 00 or 01; texts with a word
        is_text = isinstance(first, str) and re.match(r"\s*[A-Za-z]", first) is not None
        of_rows = f"(in the rows from {first_row} on)"
        try:
            return shapely.from_wkt(values) if is_text else shapely.from_wkb(values)
        except (NotImplementedError, shapely.errors.GEOSException) as error:
            if not isinstance(error, NotImplementedError) and not CURVES.search(str(error)):
                raise self._no_geometry(error, of_rows) from error
            raise CoordinateError(
                f"column {self.geometry!r} holds curves, of which areas are not computed: {error} "
                f"{of_rows}. Turn them into straight lines first, by PostGIS's ST_CurveToLine or "
                "ogr2ogr -nlt CONVERT_TO_LINEAR."
            ) from error
        except TypeError as error:
            raise self._no_geometry(error, of_rows) from error

    def _no_geometry(self, error: Exception, of_rows: str) -> CoordinateError:
        return CoordinateError(
            f"column {self.geometry!r} holds a value that is neither a geometry (WKB or WKT) "
            f"nor an H3 cell: {error} {of_rows}"
        )

    def _system(self, shapes: np.ndarray, first_row: int) -> Any:
        """Return the CRS of geometries: what the file says, or else what EWKB says about each."""
        import shapely

        numbers = shapely.get_srid(shapes)[~shapely.is_missing(shapes)]
        found = sorted(set(numbers.tolist()))
        stated = self.crs is not NOT_STATED
        if found in ([], [0]):
            return self.crs if stated else DEGREES
        where = f"column {self.geometry!r}, in the rows from {first_row} on,"
        if len(found) > 1:
            raise CoordinateError(
                f"{where} holds geometries of several systems: their SRIDs are "
                f"{', '.join(map(str, found[:5]))} (0 states none). Transform them to one first "
                "(PostGIS: ST_Transform)."
            )
        import pyproj

        try:
            system = pyproj.CRS.from_epsg(found[0])
        except pyproj.exceptions.CRSError as error:
            raise CoordinateError(
                f"{where} holds geometries of SRID {found[0]}, which is not a known EPSG code "
                f"({error}). Transform them to 4326 first (PostGIS: ST_Transform)."
            ) from error
        if stated and self.crs not in (None, system):
            raise CoordinateError(
                f"{where} holds geometries of SRID {found[0]}, and the file says that they are "
                "in another CRS; correct one of the two."
            )
        return system


def _geoparquet(table: TableFile) -> tuple[str | None, dict[str | None, Any]]:
    """Return the column of a GeoParquet file's geometries, and the CRS that each column states."""
    text = table.metadata().get(b"geo")
    if text is None:
        return None, {}
    try:
        found = json.loads(text)
        primary, columns = found["primary_column"], found["columns"]
        systems = {name: of["crs"] for name, of in columns.items() if "crs" in of}
        if not isinstance(primary, str):
            raise TypeError(f"primary_column is {primary!r}")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        cause = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{table.path} says that it is GeoParquet, and its 'geo' cannot be read ({cause[:200]})"
            "; write it again, or name columns of longitude and latitude after the metadata are "
            "gone (pyarrow: table.replace_schema_metadata())."
        ) from error
    return primary, systems


def _system_of(table: TableFile, stated: Any) -> Any:
    """Read the CRS that GeoParquet states; None where it says that it is unknown."""
    if stated is NOT_STATED or stated is None:
        return stated
    import pyproj

    try:
        system = pyproj.CRS.from_user_input(stated)
        pyproj.Transformer.from_crs(system, DEGREES)  # a local system cannot be transformed
        return system
    except pyproj.exceptions.ProjError as error:
        raise ValueError(
            f"{table.path} states a CRS of its geometries that cannot be used: {str(error)[:300]}. "
            "Write it with another one (geopandas: set_crs(..., allow_override=True))."
        ) from error


def _coordinate_columns(table: TableFile, lon: str | None, lat: str | None) -> tuple[str, str]:
    """Find the two columns by the names given, or by what names mean."""
    try:
        found = find_lonlat(table.names, lon, lat)
    except CoordinateError as error:
        raise UsageError(f"{table.path}: {error}") from error
    if found is None:
        raise UsageError(f"{table.path}: {unclear_columns(table.names, lon, lat, NAME_THEM)}")
    return table.names[found[0]], table.names[found[1]]


def to_numbers(column: pd.Series, decimal: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a column as float64, and which of its rows hold text that is not a number."""
    if decimal == "," and pd.api.types.infer_dtype(column) == "string":
        column = column.str.replace(",", ".", regex=False)
    numbers = pd.to_numeric(column, errors="coerce")
    text = np.flatnonzero(column.notna() & numbers.isna())
    return numbers.to_numpy(dtype=float, na_value=np.nan), text
