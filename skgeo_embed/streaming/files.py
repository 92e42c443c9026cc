"""Tables in files, batch by batch: CSV, plain or compressed, and Parquet."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skgeo_embed._errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

CSV_BLOCK_BYTES = 8 * 2**20
FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".csv.zst": "csv",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
DELIMITERS = (",", ";", "\t")


def format_of(path: Path) -> str | None:
    """Say how a table is written, by its file's name."""
    name = path.name.lower()
    return next((kind for suffix, kind in FORMATS.items() if name.endswith(suffix)), None)


def compression_of(path: Path) -> str | None:
    """Say how a file is compressed, by its name."""
    return COMPRESSIONS.get(path.suffix.lower())


def check_source(source: Any) -> Path:
    """Return the path of a table, or say why it cannot be read."""
    path = Path(source).expanduser()
    if format_of(path) is None:
        raise UsageError(f"{source} must end with {' or '.join(FORMATS)}.")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {source}.")
    return path


def check_output(output: Any, *, overwrite: bool, suffixes: Collection[str] = ()) -> Path:
    """Return the path that is going to be written, or say why it cannot be."""
    path = Path(output).expanduser()
    if suffixes and not path.name.lower().endswith(tuple(suffixes)):
        raise UsageError(f"{output} must end with {' or '.join(suffixes)}.")
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} of {output} does not exist; make it first.")
    if path.is_dir():
        raise UsageError(f"{output} is a folder; name a file in it.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{output} exists; pass overwrite=True (--overwrite) to replace it.")
    return path


def import_arrow() -> None:
    """Say what to install where pyarrow is missing."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError('tables need pyarrow: pip install "skgeo-embed[tables]"') from error


class TableFile:
    """A table in a file.

    Parameters
    ----------
    path : Path
        The file.
    delimiter : str, default=None
        Between the columns of a CSV file; None takes what its first line has most of.
    """

    def __init__(self, path: Path, delimiter: str | None = None) -> None:
        self.path = path
        self.kind = format_of(path)
        self.delimiter = delimiter
        if self.kind == "csv":
            self.delimiter = delimiter or self._sniffed()
        self.names = self._column_names()

    def _sniffed(self) -> str:
        with self._opened() as (stream, _), self._errors_named():
            first = stream.read(2**16).split(b"\n")[0].decode("utf-8", errors="replace")
        return max(DELIMITERS, key=first.count)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        """The decompressed stream, and the file itself, whose position says how far it is."""
        import pyarrow as pa

        compression = compression_of(self.path)
        with self.path.open("rb") as file:
            if compression is None:
                yield file, file
            else:
                yield pa.CompressedInputStream(pa.PythonFile(file, mode="r"), compression), file

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        """Name the file in pyarrow's errors."""
        import pyarrow as pa

        between = {",": "comma", ";": "semicolon", "\t": "tab"}.get(self.delimiter or "", "")
        separated = f"{between}-separated" if between else f"separated by {self.delimiter!r}"
        kind = "Parquet" if self.kind == "parquet" else f"CSV, {separated} and in UTF-8"
        try:
            yield
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{self.path} cannot be read as {kind}: {error}") from error

    def _parse_options(self) -> Any:
        import pyarrow.csv as csv

        return csv.ParseOptions(newlines_in_values=True, delimiter=self.delimiter)

    def _column_names(self) -> list[str]:
        if self.kind == "csv":
            import pyarrow.csv as csv

            with (
                self._errors_named(),
                self._opened() as (stream, _),
                csv.open_csv(stream, parse_options=self._parse_options()) as reader,
            ):
                return list(reader.schema.names)
        import pyarrow.parquet as parquet

        with self._errors_named():
            return list(parquet.read_schema(self.path).names)

    def metadata(self) -> dict[bytes, bytes]:
        """What a Parquet file says of itself."""
        if self.kind == "csv":
            return {}
        import pyarrow.parquet as parquet

        return dict(parquet.read_schema(self.path).metadata or {})

    def batches(
        self, n_rows: int, skip: int, columns: list[str] | None = None
    ) -> Iterator[tuple[pa.Table, int]]:
        """Yield tables of `n_rows` rows after the first `skip`, with the file's rows, or so.

        `columns` are those to read, by default all.
        """
        import pyarrow as pa

        pending: list[Any] = []
        if self.kind == "csv":
            read = self._read_csv(skip, columns)
        else:
            read = self._read_parquet(n_rows, skip, columns)
        for batch, total in read:
            pending.append(batch)
            while sum(len(piece) for piece in pending) >= n_rows:
                whole = pa.Table.from_batches(pending)
                yield whole.slice(0, n_rows), total
                pending = whole.slice(n_rows).to_batches()
        if pending and sum(len(piece) for piece in pending):
            yield pa.Table.from_batches(pending), 0

    def _read_csv(self, skip: int, columns: list[str] | None) -> Iterator[tuple[Any, int]]:
        """Read columns as the text that they are: guessed types lose zeros, digits and Namibia."""
        import pyarrow as pa
        import pyarrow.csv as csv

        convert = csv.ConvertOptions(
            column_types=dict.fromkeys(self.names, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
            include_columns=columns,
        )
        size, seen = self.path.stat().st_size, 0
        with self._opened() as (stream, file), self._errors_named():
            blocks = csv.open_csv(
                stream,
                read_options=csv.ReadOptions(block_size=CSV_BLOCK_BYTES),
                parse_options=self._parse_options(),
                convert_options=convert,
            )
            for batch in blocks:
                first = min(len(batch), max(0, skip - seen))
                seen += len(batch)
                yield batch.slice(first), round(seen * size / max(1, file.tell()))

    def _read_parquet(
        self, n_rows: int, skip: int, columns: list[str] | None
    ) -> Iterator[tuple[Any, int]]:
        import pyarrow.parquet as parquet

        with self._errors_named(), parquet.ParquetFile(self.path) as file:
            before, first = 0, 0
            groups = file.metadata.num_row_groups
            while first < groups and before + file.metadata.row_group(first).num_rows <= skip:
                before += file.metadata.row_group(first).num_rows
                first += 1
            skip -= before
            wanted = list(range(first, groups))
            for batch in file.iter_batches(n_rows, row_groups=wanted, columns=columns):
                yield batch.slice(min(skip, len(batch))), file.metadata.num_rows
                skip -= min(skip, len(batch))
