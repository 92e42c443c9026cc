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
from skgeo_embed.places.kinds.h3 import Cells
from skgeo_embed.places.reading import Coordinates, read_coordinates
from skgeo_embed.streaming.sources import TableFile

NULL_HINT = (
    'on_invalid="nan" (--on-invalid nan) leaves the features of such rows null. The first row is 0.'
)
NAME_THEM = "name them with lon=... and lat=... (--lon and --lat on the command line)"
NO_NUMBERS = ("timestamp", "date", "time", "duration", "bool")  # as pyarrow names types
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
        self.geometry = geometry or (None if lon or lat else self._geoparquet(table))
        self.crs = self._crs(table)
        self.columns: tuple[str, str] | None = None
        if self.geometry is None:
            self.columns = _coordinate_columns(table, lon, lat)
        for name in (self.geometry, self.time):
            if name is not None and name not in table.names:
                raise UsageError(f"{table.path} has no column {name!r}: {', '.join(table.names)}.")
        self._check_types(table)

    def _geoparquet(self, table: TableFile) -> str | None:
        """The column of a GeoParquet file's geometries, whose CRS it says."""
        text = table.metadata().get(b"geo")
        return None if text is None else str(json.loads(text)["primary_column"])

    def _crs(self, table: TableFile) -> Any:
        """What GeoParquet says of the column; by default degrees, WGS84."""
        columns = json.loads(table.metadata().get(b"geo", b'{"columns": {}}'))["columns"]
        return columns.get(self.geometry, {}).get("crs", "EPSG:4326")

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
        """Read and check the places of these rows, the first of which has a number in messages."""
        if self.geometry is not None:
            return self.reader.read(self._geometries(rows, first_row))
        lonlat = self._degrees(rows, first_row)
        if self.time is None:
            return self._checked(lonlat, first_row)
        frame = pd.DataFrame(lonlat, columns=[self.reader.lon or "lon", self.reader.lat or "lat"])
        frame[self.time] = to_numbers(rows[self.time], self.decimal)[0]
        return self.reader.read(frame)

    def _degrees(self, rows: pd.DataFrame, first_row: int) -> np.ndarray:
        """Read both coordinates, (n, 2); what is missing or, if it may be, text is NaN."""
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
        # H3 cells as numbers, in a CSV file; all hexadecimal ones have an f in them
        if isinstance(first, str) and first.isdigit():
            numbers = [int(v) if isinstance(v, str) and v.isdigit() else v for v in values]
            values = pd.Series(numbers, dtype=object)
        if Cells.recognise(values) is not None:
            return values if time is None else pd.DataFrame({"cell": values, self.time: time})
        try:
            from geopandas import GeoDataFrame, GeoSeries
            from shapely.errors import GEOSException
        except ImportError as error:
            raise ImportError(
                'geometries need geopandas: pip install "skgeo-embed[geo]"'
            ) from error
        if re.match("SRID=", str(first)):
            raise UsageError(
                f"column {self.geometry!r} holds EWKT ({str(first)[:40]!r}); write it without "
                "SRID=...;, in degrees."
            )
        is_text = "(" in str(first) and not isinstance(first, bytes)
        read = GeoSeries.from_wkt if is_text else GeoSeries.from_wkb  # which takes hexadecimals
        try:
            series = read(values.where(values.notna(), None), crs=self.crs)
        except (GEOSException, TypeError) as error:
            raise CoordinateError(
                f"column {self.geometry!r} holds what is no geometry (WKB or WKT) and no H3 cell: "
                f"{error} (in the rows from {first_row} on)"
            ) from error
        return series if time is None else GeoDataFrame({self.time: time}, geometry=series)


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
    """Return a column as float64, and which of its rows hold text that is no number."""
    if decimal == "," and pd.api.types.infer_dtype(column) == "string":
        column = column.str.replace(",", ".", regex=False)
    numbers = pd.to_numeric(column, errors="coerce")
    text = np.flatnonzero(column.notna() & numbers.isna())
    return numbers.to_numpy(dtype=float, na_value=np.nan), text
