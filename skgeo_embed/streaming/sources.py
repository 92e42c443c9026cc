"""Tables in files, batch by batch: CSV, plain or compressed, and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from skgeo_embed._errors import UsageError
from skgeo_embed.streaming.csv_file import CsvFile
from skgeo_embed.streaming.files import format_of
from skgeo_embed.streaming.parquet_file import ParquetFile

TableFile: TypeAlias = CsvFile | ParquetFile


def open_table(path: Path, delimiter: str | None, encoding: str) -> TableFile:
    """Open a table by its name; `delimiter` and `encoding` are for CSV files."""
    return CsvFile(path, delimiter, encoding) if format_of(path) == "csv" else ParquetFile(path)


def check_decimal(decimal: str, table: TableFile, output: Path) -> None:
    """Refuse a decimal mark that there is not, or that an output would mix with another."""
    if decimal not in (".", ","):
        raise UsageError(f'decimal must be "." or ",", got {decimal!r}.')
    if decimal == "," and table.kind != "csv" and format_of(output) == "csv":
        raise UsageError(
            f"{table.path} holds numbers and no text, which are written with points; leave out "
            'decimal="," (--decimal ,).'
        )
