"""Tables in CSV files, plain or compressed, as the text that they are."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skgeo_embed._errors import UsageError
from skgeo_embed.streaming.files import compression_of

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = (",", ";", "\t")
MOST_COLUMNS = 2**16
LONGEST_LINE = 2**26  # characters; outlines are longer than the 128 kB that Python reads by itself
MOST_TEXT = 2**27  # characters of a batch, whatever its rows; a compressed MB may hold a GB
WRITTEN_ROWS = 1024  # at a time, since their features are held as text


class CsvFile:
    """A table in a CSV file.

    Values stay text: type inference drops leading zeros and reads Namibia's "NA" as missing.

    Parameters
    ----------
    path : Path
        The file.
    delimiter : str, default=None
        Between the columns; None takes what its first line has most of.
    encoding : str, default="utf-8"
        How its text is encoded.
    """

    kind = "csv"

    def __init__(self, path: Path, delimiter: str | None = None, encoding: str = "utf-8") -> None:
        self.path = path
        self.encoding = _known_encoding(encoding)
        if delimiter is not None and len(delimiter) != 1:
            raise UsageError(f"delimiter must be one character, got {delimiter!r}.")
        self.delimiter = delimiter or self._sniffed()
        with self._records() as (records, _):
            self.names: list[str] = next(filter(None, records), [])
        if not self.names:
            raise ValueError(f"{path} is empty; its first line must name the columns.")
        if len(self.names) > MOST_COLUMNS:
            raise ValueError(
                f"{path} names {len(self.names):,} columns; at most {MOST_COLUMNS:,} are allowed. "
                "Pass its delimiter if it was guessed wrongly."
            )

    @property
    def written_encoding(self) -> str:
        """How its rows are encoded in an output: alike, but for UTF-8 of any other Unicode."""
        return "utf-8" if self.encoding.startswith("utf") else self.encoding

    def _sniffed(self) -> str:
        self.delimiter = ","
        with self._opened() as (text, _), self._errors_named():
            first = text.readline(2**16)
        return max(DELIMITERS, key=first.count)

    def metadata(self) -> dict[bytes, bytes]:
        """What the file says about itself."""
        return {}

    def type_of(self, name: str) -> str:
        """What a column holds, in pyarrow's words."""
        return "string"

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        """Open the decompressed text and the file itself; the file's position measures progress."""
        compression = compression_of(self.path)
        with self.path.open("rb") as file:
            stream: Any = file
            if compression == "gzip":
                stream = gzip.GzipFile(fileobj=file)
            elif compression == "zstd":
                import pyarrow as pa

                stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
            # Excel begins UTF-8 with a mark, which belongs to no column's name
            encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
            yield io.TextIOWrapper(stream, encoding=encoding, newline=""), file

    @contextmanager
    def _records(self) -> Iterator[tuple[Any, Any]]:
        """The lines' columns, and the file."""
        csv.field_size_limit(LONGEST_LINE)
        with self._opened() as (text, file), self._errors_named():
            yield csv.reader(_lines(text), delimiter=self.delimiter, strict=True), file

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        between = {",": "comma", ";": "semicolon", "\t": "tab"}.get(self.delimiter, "")
        separated = f"{between}-separated" if between else f"separated by {self.delimiter!r}"
        encoding = self.encoding.upper()
        try:
            yield
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self.path} is not encoded in {encoding}: it holds the byte "
                f"0x{error.object[error.start]:02x} where that encoding does not allow it. Pass "
                'the file\'s own encoding, such as encoding="cp1252" (--encoding cp1252) for what '
                "Excel writes in western Europe."
            ) from error
        except (csv.Error, UnicodeError, EOFError, zlib.error, OSError) as error:
            raise ValueError(
                f"{self.path} cannot be read as CSV, {separated} and in {encoding}: {error}"
            ) from error

    def batches(
        self, n_rows: int, skip: int, columns: list[str] | None = None
    ) -> Iterator[tuple[pd.DataFrame, int]]:
        """Yield frames of `n_rows` rows after the first `skip`, with the file's rows, or so.

        Frames of very long rows have fewer. `columns` are those to read, by default all.
        """
        size, seen = self.path.stat().st_size, skip
        with self._records() as (records, file):
            rows = self._whole_rows(records)
            next(rows)  # the names
            for _ in islice(rows, skip):
                pass
            while batch := _next_rows(rows, n_rows):
                seen += len(batch)
                frame = pd.DataFrame(batch, dtype=object)
                frame.columns = pd.Index(self.names, dtype=object)
                yield (
                    frame if columns is None else frame[columns],
                    round(seen * size / max(1, file.tell())),
                )

    def _whole_rows(self, records: Any) -> Iterator[list[str]]:
        """Leave empty lines out, and accept no row that has not every column."""
        n_columns = len(self.names)
        for record in records:
            if len(record) == n_columns:
                yield record
            elif record:
                raise csv.Error(
                    f"the row that ends in line {records.line_num} has {len(record)} column(s), "
                    f"the first line names {n_columns}; mend it, or quote values that hold the "
                    "delimiter"
                )

    def frame(self, rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
        """Return some columns of a batch, with empty cells as missing values."""
        frame = rows[columns]
        return frame.where(frame != "", None)

    def text(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return a batch as text."""
        return rows

    def arrow(self, rows: pd.DataFrame) -> pa.Table:
        """Return a batch as pyarrow's table."""
        import pyarrow as pa

        columns = [rows.iloc[:, i] for i in range(rows.shape[1])]  # names may be there twice
        arrays = [
            pa.array([value or None for value in column], pa.string())
            if column.dtype == object
            else pa.array(column, from_pandas=True)
            for column in columns
        ]
        return pa.Table.from_arrays(arrays, names=list(map(str, rows.columns)))


def _known_encoding(encoding: str) -> str:
    """Return Python's name of an encoding of text, or say that there is no such."""
    try:
        "".encode(encoding)
        return codecs.lookup(encoding).name
    except LookupError as error:
        raise UsageError(
            f'encoding {encoding!r} is not known; name one such as "utf-8", "cp1252" or "latin-1".'
        ) from error


def _lines(text: Any) -> Iterator[str]:
    """Yield lines, and raise before one of them takes all memory."""
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and line[-1] not in "\r\n":
            raise csv.Error(f"a line is longer than {LONGEST_LINE:,} characters")
        yield line


def _next_rows(rows: Iterator[list[str]], n_rows: int) -> list[list[str]]:
    """Take the next rows, fewer than so many where their text is long."""
    batch: list[list[str]] = []
    room = MOST_TEXT
    for row in rows:
        batch.append(row)
        room -= sum(map(len, row))
        if len(batch) == n_rows or room <= 0:
            break
    return batch


def write_csv(
    rows: pd.DataFrame,
    features: np.ndarray,
    path: Path,
    *,
    names: list[str] | None,
    delimiter: str,
    decimal: str = ".",
    encoding: str = "utf-8",
    compression: str | None,
) -> None:
    """Write rows of text with their features, and before them `names`, if there are any.

    Numbers have as many digits as tell them apart; features that are NaN are left empty.
    """
    lines: list[str] = []
    # with the end of a line, which has such in a value quoted
    writer = csv.writer(SimpleNamespace(write=lines.append), delimiter=delimiter)
    with _written(path, compression, encoding) as file:
        if names is not None:
            writer.writerow([*rows.columns, *names])
            file.write(f"{lines.pop()[:-2]}\n")
        for start in range(0, len(rows), WRITTEN_ROWS):
            block = slice(start, start + WRITTEN_ROWS)
            writer.writerows(rows.iloc[block].to_numpy())
            added = _number_texts(features[block], delimiter, decimal)
            for line, numbers in zip(lines, added, strict=True):
                file.write(f"{line[:-2]}{numbers}\n")
            lines.clear()


def _number_texts(features: np.ndarray, delimiter: str, decimal: str) -> list[str]:
    """Return the numbers of each row as text, with a delimiter before each; NaN is left empty."""
    if not features.shape[1]:
        return [""] * len(features)
    floats = features.dtype.name in ("float32", "float64")
    if floats and decimal == "." and delimiter.isascii() and find_spec("pyarrow"):
        return _by_arrow(features, delimiter)
    number = "%.9g" if features.dtype == np.float32 else "%r"
    if decimal == delimiter:
        number = f'"{number}"'
    template, nothing = (f"\0{text}" * features.shape[1] for text in (number, ""))
    texts = [
        template % tuple(numbers) if numbers[0] == numbers[0] else nothing  # and no NaN
        for numbers in features.tolist()
    ]
    return [text.replace(".", decimal).replace("\0", delimiter) for text in texts]


def _by_arrow(features: np.ndarray, delimiter: str) -> list[str]:
    """Return the same by pyarrow, which takes half the time."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    nothing = pa.nulls(len(features))  # a delimiter comes before the first number too
    columns = [pa.array(column, from_pandas=True) for column in np.ascontiguousarray(features.T)]
    table = pa.Table.from_arrays([nothing, *columns], list(map(str, range(len(columns) + 1))))
    written = pa.BufferOutputStream()
    options = arrow_csv.WriteOptions(include_header=False, delimiter=delimiter)
    arrow_csv.write_csv(table, written, options)
    return written.getvalue().to_pybytes().decode("ascii").splitlines()


@contextmanager
def _written(path: Path, compression: str | None, encoding: str) -> Iterator[IO[str]]:
    """A new file of text; compressed ones, one after the other, are a compressed file."""
    with path.open("wb") as file:
        stream: Any = file
        if compression == "gzip":
            # without the time and its name: the same rows make the same file
            stream = gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0)
        elif compression == "zstd":
            import pyarrow as pa

            stream = pa.CompressedOutputStream(pa.PythonFile(file, mode="w"), "zstd")
        with io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
            yield text
