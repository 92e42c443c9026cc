"""The columns of a table that say where a row is, as an encoder wants them."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd

from skgeo_embed._errors import CoordinateError, UsageError
from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.places.cells import cells_of
from skgeo_embed.places.columns import classify_column
from skgeo_embed.places.reading import read_coordinates
from skgeo_embed.streaming.sources import TableFile

NULL_HINT = (
    'on_invalid="nan" (--on-invalid nan) leaves the features of such rows null. The first row is 0.'
)
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
        self._reader: Any = encoder._reader
        self.decimal = decimal
        self.time = getattr(self._reader, "time", None)
        lon, lat = lon or self._reader.lon, lat or self._reader.lat
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

    def of(self, rows: pd.DataFrame, first_row: int) -> Any:
        """Return what the encoder's `transform` is given of the columns of these rows."""
        if self.geometry is not None:
            return self._geometries(rows, first_row)
        on_invalid = self._reader.on_invalid
        lonlat = _read_degrees(rows, self.columns, self.decimal, on_invalid, first_row)  # type: ignore[arg-type]
        frame = pd.DataFrame(
            lonlat, columns=[self._reader.lon or "lon", self._reader.lat or "lat"], copy=False
        )
        if self.time is not None:
            frame[self.time] = to_numbers(rows[self.time], self.decimal)[0]
        return frame

    def _geometries(self, rows: pd.DataFrame, first_row: int) -> Any:
        values = rows[self.geometry].reset_index(drop=True)
        first = next(iter(values[values.notna()]), b"")
        time = None if self.time is None else to_numbers(rows[self.time], self.decimal)[0]
        # H3 cells as numbers, in a CSV file; all hexadecimal ones have an f in them
        if isinstance(first, str) and first.isdigit():
            numbers = [int(v) if isinstance(v, str) and v.isdigit() else v for v in values]
            values = pd.Series(numbers, dtype=object)
        if cells_of(values) is not None:
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
    columns = table.names
    chosen = []
    for kind, given in (("lon", lon), ("lat", lat)):
        if given is not None and given not in columns:
            raise UsageError(
                f"{kind}={given!r} (--{kind} {given}): {table.path} has the columns "
                f"{', '.join(columns)}."
            )
        matches = [given] if given else [c for c in columns if classify_column(c) == kind]
        if len(matches) != 1:
            found = f"several: {', '.join(map(str, matches))}" if matches else "none"
            raise UsageError(
                f"which column of {table.path} is the {kind}? Recognised: {found}; say it with "
                f"{kind}= (--{kind}). The columns are {', '.join(columns)}."
            )
        chosen.append(str(matches[0]))
    if chosen[0] == chosen[1]:
        raise UsageError(f"lon and lat (--lon and --lat) are both {chosen[0]!r}.")
    return chosen[0], chosen[1]


def _read_degrees(
    rows: pd.DataFrame, names: tuple[str, str], decimal: str, on_invalid: str, first_row: int
) -> np.ndarray:
    """Read and check both coordinates, (n, 2); what is missing or, if it may be, text is NaN."""
    columns = []
    for name in names:
        numbers, text = to_numbers(rows[name], decimal)
        if len(text) and on_invalid == "raise":
            row = text[0]
            found = rows[name].iloc[row]
            comma = ' Are there decimal commas? decimal="," (--decimal ,).' * ("," in str(found))
            raise CoordinateError(
                f"column {name!r} must hold numbers in degrees, got {found!r} in row "
                f"{first_row + row}.{comma} {NULL_HINT}"
            )
        columns.append(numbers)
    lonlat = np.column_stack(columns)
    try:
        read_coordinates(lonlat, on_invalid=on_invalid, first_row=first_row)
    except CoordinateError as error:
        raise CoordinateError(f"{error} {NULL_HINT}") from error
    return lonlat


def to_numbers(column: pd.Series, decimal: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a column as float64, and which of its rows hold text that is no number."""
    if decimal == "," and pd.api.types.infer_dtype(column) == "string":
        column = column.str.replace(",", ".", regex=False)
    numbers = pd.to_numeric(column, errors="coerce")
    text = np.flatnonzero(column.notna() & numbers.isna())
    return numbers.to_numpy(dtype=float, na_value=np.nan), text
