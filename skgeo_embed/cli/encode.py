"""`skgeo-embed encode`: add features to a table that may be larger than memory.

The table is read in batches of rows. Each is encoded and written to a part of its own in a
folder beside the output; when all are there they are joined, and the whole is renamed. A run
that was interrupted goes on after the parts it finds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skgeo_embed import SatCLIPEncoder, __version__
from skgeo_embed._errors import CoordinateError, InvalidCoordinateWarning
from skgeo_embed.cli._options import (
    UsageError,
    add_encoder_arguments,
    add_overwrite_argument,
    check_output,
    new_parser,
    open_encoder,
)
from skgeo_embed.places.columns import classify_column
from skgeo_embed.places.reading import read_coordinates

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_BYTES = 64 * 2**20  # of features
MIN_BATCH_ROWS = 10_000  # fewer would keep encoders with L = 40 from using their tables
CSV_BLOCK_BYTES = 8 * 2**20
ROWS_NAMED = 10
NULL_HINT = "--on-invalid nan leaves the features of such rows null. The first row is 0."
FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv"}


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "Add an encoder's features to the rows of a Parquet or CSV table, keeping its other\n"
        "columns. Tables larger than memory are streamed; an interrupted run goes on where it\n"
        "stopped when the same command is given again; the output appears when it is whole.\n"
        "Other columns of a CSV file stay the text that they are.",
        f"  {prog} points.parquet features.parquet\n"
        f"  {prog} stations.csv features.parquet --lon x --lat y --on-invalid nan\n"
        f"  {prog} points.parquet out.parquet --model satclip-vit16-l40 --layer embedding",
    )
    parser.add_argument("input", type=Path, help="a .parquet or .csv file")
    parser.add_argument("output", type=Path, help="a .parquet or .csv file to write")
    parser.add_argument("--lon", help="name of the longitude column (default: recognised)")
    parser.add_argument("--lat", help="name of the latitude column (default: recognised)")
    add_encoder_arguments(parser)
    parser.add_argument(
        "--on-invalid",
        choices=["raise", "nan"],
        default="raise",
        help="rows with missing or impossible coordinates: stop with an error, or leave their "
        "features null and report them (default: %(default)s)",
    )
    add_overwrite_argument(parser)
    parser.add_argument(
        "--restart", action="store_true", help="forget what an interrupted run has written"
    )
    return parser.parse_args(arguments)


def run(settings: argparse.Namespace) -> None:
    """Encode the table."""
    source = _check_input(settings.input)
    output = check_output(settings.output, overwrite=settings.overwrite, suffixes=FORMATS)
    if source.resolve() == output.resolve():
        raise UsageError(f"{output} is the input; choose another name for the output.")
    _import_arrow()
    from filelock import FileLock, Timeout

    encoder = open_encoder(settings, on_invalid=settings.on_invalid)
    parts = Parts(output)
    parts.folder.mkdir(exist_ok=True)
    try:
        with FileLock(parts.folder / ".lock", timeout=0):
            parts.open(_description(source, settings, encoder), restart=settings.restart)
            _encode_parts(source, settings, encoder, parts)
            parts.join(encoder.get_feature_names_out().tolist())
    except Timeout as error:
        raise RuntimeError(f"another process is writing {output}.") from error
    except KeyboardInterrupt as interruption:
        kept = sum(parts.state.get("rows", []))
        raise KeyboardInterrupt(
            f"{kept:,} rows are kept in {parts.folder}; give the same command again to go on"
            if kept
            else "nothing was written yet"
        ) from interruption
    finally:
        if parts.state and not parts.state["rows"]:  # nothing worth keeping
            shutil.rmtree(parts.folder, ignore_errors=True)
    n_features = len(encoder.get_feature_names_out())
    print(f"wrote {sum(parts.state['rows']):,} rows with {n_features} features to {output}")
    n_bad, first = parts.state["bad"], parts.state["first_bad"]
    if n_bad:
        more = ", ..." if n_bad > len(first) else ""
        print(
            f"left the features of {n_bad:,} rows null, whose coordinates are missing or "
            f"impossible: rows {', '.join(map(str, first))}{more} (the first row is 0)"
        )


class Parts:
    """The parts of an output that is being written, with what they were made from.

    Parameters
    ----------
    output : Path
        The file that they become; they are kept in a folder of its name and ".parts".

    Attributes
    ----------
    state : dict
        "of", what the parts were made from; "rows", the rows of each part; "bad", how many rows
        had no usable coordinates; "first_bad", the first of them.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.kind = FORMATS[output.suffix.lower()]
        self.folder = output.with_name(f"{output.name}.parts")
        self.state: dict[str, Any] = {}
        self._record = self.folder / "progress.json"

    def open(self, description: dict[str, Any], *, restart: bool) -> None:
        """Go on with the folder's parts, or begin; refuse parts of another table."""
        if self._record.exists() and not restart:
            self.state = json.loads(self._record.read_text())
            known = self.state["of"]
            other = [key for key in description if known.get(key) != description[key]]
            if other:
                raise FileExistsError(
                    f"{self.folder} holds parts of a run with another {', '.join(other)}; add "
                    "--restart to begin again, or finish that run first."
                )
            return
        self.state = {"of": description, "rows": [], "bad": 0, "first_bad": []}
        self._save()

    def add(self, table: pa.Table, feature_names: list[str], bad: np.ndarray) -> None:
        """Write the next part; `bad` numbers the file's rows without usable coordinates."""
        index = len(self.state["rows"])
        path = self._path(index)
        temporary = path.with_suffix(".new")
        if self.kind == "csv":
            import pyarrow.csv as csv

            csv.write_csv(table, temporary, csv.WriteOptions(include_header=index == 0))
        else:
            import pyarrow.parquet as parquet

            parquet.write_table(table, temporary, **_parquet_options(table.schema, feature_names))
        temporary.replace(path)
        self.state["rows"].append(len(table))
        self.state["bad"] += len(bad)
        room = ROWS_NAMED - len(self.state["first_bad"])
        self.state["first_bad"] += bad[:room].tolist()
        self._save()

    def join(self, feature_names: list[str]) -> None:
        """Make the output of all parts, whole or not at all."""
        temporary = self.folder / f"whole.{self.kind}"
        paths = [self._path(index) for index in range(len(self.state["rows"]))]
        if len(paths) == 1:
            shutil.copyfile(paths[0], temporary)  # the part stays until the output is there
        elif self.kind == "csv":
            with temporary.open("wb") as whole:
                for path in paths:
                    with path.open("rb") as part:
                        shutil.copyfileobj(part, whole)
        else:
            import pyarrow.parquet as parquet

            schema = parquet.read_schema(paths[0])
            options = _parquet_options(schema, feature_names)
            with parquet.ParquetWriter(temporary, schema, **options) as writer:
                for path in paths:
                    writer.write_table(parquet.ParquetFile(path, memory_map=True).read())
        os.replace(temporary, self.output)
        shutil.rmtree(self.folder)

    def _path(self, index: int) -> Path:
        return self.folder / f"part-{index:06d}.{self.kind}"

    def _save(self) -> None:
        temporary = self._record.with_suffix(".new")
        temporary.write_text(json.dumps(self.state))
        temporary.replace(self._record)


def _encode_parts(
    source: Path, settings: argparse.Namespace, encoder: SatCLIPEncoder, parts: Parts
) -> None:
    from tqdm import tqdm

    names = encoder.get_feature_names_out().tolist()
    n_rows = max(MIN_BATCH_ROWS, BATCH_BYTES // (4 * len(names)))
    done = sum(parts.state["rows"])
    lon, lat = _coordinate_columns(source, settings.lon, settings.lat)
    if done:
        print(f"going on after {done:,} rows that an earlier run has encoded")
    with tqdm(
        desc="encoding", unit=" rows", unit_scale=True, initial=done, smoothing=0.05, disable=None
    ) as progress:
        for table, total in _read_batches(source, n_rows, skip=done):
            clash = sorted(set(names) & set(table.column_names))
            if clash:
                raise ValueError(
                    f"{source} already has columns named like the features: {', '.join(clash[:4])}"
                    "; rename or drop them first."
                )
            lonlat = _read_degrees(table, (lon, lat), settings.on_invalid, first_row=done)
            if parts.kind == "parquet" and FORMATS[source.suffix.lower()] == "csv":
                table = _with_numbers(table, (lon, lat), lonlat)
            encoded, bad = _with_features(table, lonlat, encoder, names)
            bad += done
            parts.add(encoded, names, bad)
            done += len(table)
            progress.total = max(total, done)
            progress.update(len(table))
    if not done:
        raise ValueError(f"{source} has no rows.")


def _parquet_options(schema: pa.Schema, feature_names: list[str]) -> dict[str, Any]:
    """How columns are stored; features hardly ever repeat and cannot be compressed."""
    features = set(feature_names)
    others = [name for name in schema.names if name not in features]
    return {
        "use_dictionary": others,
        "write_statistics": others,
        "compression": {name: "snappy" if name in others else "none" for name in schema.names},
    }


def _read_degrees(
    table: pa.Table, names: tuple[str, str], on_invalid: str, first_row: int
) -> np.ndarray:
    """Read and check both coordinates, (n, 2); what is missing or, if it may be, text is NaN."""
    columns = []
    for name in names:
        numbers, text = _to_numbers(table, name)
        if len(text) and on_invalid == "raise":
            row = text[0]
            raise CoordinateError(
                f"column {name!r} must hold numbers in degrees, got "
                f"{table.column(name)[row].as_py()!r} in row {first_row + row}. {NULL_HINT}"
            )
        columns.append(numbers)
    lonlat = np.column_stack(columns)
    try:
        read_coordinates(lonlat, on_invalid=on_invalid, first_row=first_row)
    except CoordinateError as error:
        raise CoordinateError(f"{error} {NULL_HINT}") from error
    return lonlat


def _to_numbers(table: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a column as float64, and which of its rows hold text that is no number."""
    import pyarrow as pa

    kind = table.column(name).type
    if pa.types.is_temporal(kind) or pa.types.is_boolean(kind):
        raise CoordinateError(f"column {name!r} must hold numbers in degrees, it holds {kind}.")
    column = table.column(name).to_pandas()
    numbers = pd.to_numeric(column, errors="coerce")
    text = np.flatnonzero(column.notna() & numbers.isna())
    return numbers.to_numpy(dtype=float, na_value=np.nan), text


def _with_numbers(table: pa.Table, names: tuple[str, str], lonlat: np.ndarray) -> pa.Table:
    """Replace the text of a CSV file's coordinates by numbers."""
    import pyarrow as pa

    for name, numbers in zip(names, lonlat.T, strict=True):
        column = pa.array(np.ascontiguousarray(numbers), from_pandas=True)
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _with_features(
    table: pa.Table, lonlat: np.ndarray, encoder: SatCLIPEncoder, names: list[str]
) -> tuple[pa.Table, np.ndarray]:
    """Append the features as columns; also return the rows that have none."""
    import pyarrow as pa

    with warnings.catch_warnings():  # counted over the file, and said at its end
        warnings.simplefilter("ignore", InvalidCoordinateWarning)
        features = encoder.transform(lonlat)
    bad = np.isnan(features[:, 0])
    columns = np.ascontiguousarray(features.T)
    mask = bad if bad.any() else None
    arrays = [*table.columns, *(pa.array(column, mask=mask) for column in columns)]
    fields = [*table.schema, *(pa.field(name, pa.float32()) for name in names)]
    schema = pa.schema(fields, metadata=table.schema.metadata)  # an index, a CRS
    return pa.Table.from_arrays(arrays, schema=schema), np.flatnonzero(bad)


def _read_batches(source: Path, n_rows: int, skip: int) -> Iterator[tuple[pa.Table, int]]:
    """Yield tables of `n_rows` rows after the first `skip`, with the file's (estimated) rows."""
    import pyarrow as pa

    pending: list[Any] = []
    if FORMATS[source.suffix.lower()] == "csv":
        batches = _read_csv(source, skip)
    else:
        batches = _read_parquet(source, n_rows, skip)
    for batch, total in batches:
        pending.append(batch)
        while sum(len(piece) for piece in pending) >= n_rows:
            whole = pa.Table.from_batches(pending)
            yield whole.slice(0, n_rows), total
            pending = whole.slice(n_rows).to_batches()
    if pending and sum(len(piece) for piece in pending):
        yield pa.Table.from_batches(pending), 0


def _read_csv(source: Path, skip: int) -> Iterator[tuple[Any, int]]:
    """Read every column as the text that it is: guessed types lose zeros, digits and Namibia."""
    import pyarrow as pa
    import pyarrow.csv as csv

    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(_column_names(source), pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    size, seen = source.stat().st_size, 0
    with source.open("rb") as file, _said_of(source, "CSV, comma-separated and in UTF-8"):
        blocks = csv.open_csv(
            file,
            read_options=csv.ReadOptions(block_size=CSV_BLOCK_BYTES),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=convert,
        )
        for batch in blocks:
            first = min(len(batch), max(0, skip - seen))
            seen += len(batch)
            yield batch.slice(first), round(seen * size / max(1, file.tell()))


def _read_parquet(source: Path, n_rows: int, skip: int) -> Iterator[tuple[Any, int]]:
    import pyarrow.parquet as parquet

    with _said_of(source, "Parquet"), parquet.ParquetFile(source) as file:
        before, first = 0, 0
        groups = file.metadata.num_row_groups
        while first < groups and before + file.metadata.row_group(first).num_rows <= skip:
            before += file.metadata.row_group(first).num_rows
            first += 1
        skip -= before
        for batch in file.iter_batches(batch_size=n_rows, row_groups=list(range(first, groups))):
            yield batch.slice(min(skip, len(batch))), file.metadata.num_rows
            skip -= min(skip, len(batch))


@contextmanager
def _said_of(source: Path, kind: str) -> Iterator[None]:
    """Name the file in pyarrow's errors."""
    import pyarrow as pa

    try:
        yield
    except pa.ArrowInvalid as error:
        raise ValueError(f"{source} cannot be read as {kind}: {error}") from error


def _coordinate_columns(source: Path, lon: str | None, lat: str | None) -> tuple[str, str]:
    """Find the two columns by the names given, or by what names mean."""
    columns = _column_names(source)
    chosen = []
    for flag, given in (("lon", lon), ("lat", lat)):
        if given is not None and given not in columns:
            raise UsageError(f"--{flag} {given}: {source} has the columns {', '.join(columns)}.")
        matches = [given] if given else [c for c in columns if classify_column(c) == flag]
        if len(matches) != 1:
            found = f"several: {', '.join(map(str, matches))}" if matches else "none"
            raise UsageError(
                f"which column of {source} is the {flag}? Recognised: {found}; say it with "
                f"--{flag}. The columns are {', '.join(columns)}."
            )
        chosen.append(str(matches[0]))
    if chosen[0] == chosen[1]:
        raise UsageError(f"--lon and --lat are both {chosen[0]!r}.")
    return chosen[0], chosen[1]


def _column_names(source: Path) -> list[str]:
    if FORMATS[source.suffix.lower()] == "csv":
        import pyarrow.csv as csv

        whole_lines = csv.ParseOptions(newlines_in_values=True)
        with (
            _said_of(source, "CSV, comma-separated and in UTF-8"),
            csv.open_csv(source, parse_options=whole_lines) as reader,
        ):
            return list(reader.schema.names)
    import pyarrow.parquet as parquet

    with _said_of(source, "Parquet"):
        return list(parquet.read_schema(source).names)


def _description(
    source: Path, settings: argparse.Namespace, encoder: SatCLIPEncoder
) -> dict[str, Any]:
    """What makes the output what it is."""
    stat = source.stat()
    return {
        "input": str(source.resolve()),
        "version of skgeo-embed": __version__,
        "input's size or time": [stat.st_size, stat.st_mtime_ns],
        "model": [encoder.encoder_info_["name"], encoder.encoder_info_["sha256"]],
        "--layer": encoder.encoder_info_["layer"],
        "--lon or --lat": [settings.lon, settings.lat],
        "--on-invalid": settings.on_invalid,
    }


def _check_input(path: Path) -> Path:
    source = path.expanduser()
    if source.suffix.lower() not in FORMATS:
        raise UsageError(f"{path} must end with {' or '.join(FORMATS)}.")
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    return source


def _import_arrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError('encode needs pyarrow: pip install "skgeo-embed[tables]"') from error
