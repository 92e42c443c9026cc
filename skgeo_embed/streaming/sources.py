"""Tables in files, batch by batch: CSV, plain or compressed, and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from skgeo_embed.streaming.csv_file import CsvFile
from skgeo_embed.streaming.files import format_of
from skgeo_embed.streaming.parquet_file import ParquetFile

TableFile: TypeAlias = CsvFile | ParquetFile


def open_table(path: Path, delimiter: str | None) -> TableFile:
    """Open a table by its name; a delimiter is of a CSV file."""
    return CsvFile(path, delimiter) if format_of(path) == "csv" else ParquetFile(path)
