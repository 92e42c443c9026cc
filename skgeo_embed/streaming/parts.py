"""The parts of an output that is being written, each whole or made again."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skgeo_embed._errors import UsageError
from skgeo_embed._files import replace_durably, write_atomically
from skgeo_embed.streaming.files import compression_of, format_of

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_NAMED = 10
PART = {"rows", "size", "crc32", "bad"}
READ_BYTES = 2**22


class Parts:
    """The parts of an output, with what they were made from.

    Parameters
    ----------
    output : Path
        The file that they become; they are kept in a folder of its name and ".parts".
    delimiter : str, default=None
        Between the columns of a CSV file.

    Attributes
    ----------
    state : dict
        "of", what the parts were made from; "parts", the rows, the size, the check sum, and the
        number of rows without usable coordinates of each; "first_bad", the first of those.
    """

    def __init__(self, output: Path, delimiter: str | None = None) -> None:
        self.output = output
        self.kind = format_of(output)
        self.delimiter = delimiter or ","
        self.folder = output.with_name(f"{output.name}.parts")
        self.state: dict[str, Any] = {}
        self._record = self.folder / "progress.json"

    @property
    def rows(self) -> int:
        """Rows that are written."""
        return sum(part["rows"] for part in self.state.get("parts", []))

    @property
    def bad(self) -> int:
        """Rows of these without usable coordinates."""
        return sum(part["bad"] for part in self.state["parts"])

    def open(self, description: dict[str, Any], *, restart: bool) -> int:
        """Go on with the folder's parts, or begin; return how many were damaged.

        Raises
        ------
        FileExistsError
            If they are of another table, encoder or settings.
        """
        own = {self._record.name, ".lock"}
        if not self._record.exists() and {path.name for path in self.folder.iterdir()} - own:
            raise FileExistsError(
                f"{self.folder} is where parts would be kept, and holds something else; move it."
            )
        known = None if restart else self._read_record()
        if known is None:
            self.state = {"of": description, "parts": [], "first_bad": []}
            self._save()
            return 0
        other = [key for key in description if known["of"].get(key) != description[key]]
        if other:
            raise FileExistsError(
                f"{self.folder} holds parts of a run with another {', '.join(other)}; pass "
                "restart=True (--restart) to begin again, or finish that run first."
            )
        self.state = known
        whole = 0
        while whole < len(known["parts"]) and self._is_whole(whole):
            whole += 1
        damaged = len(known["parts"]) - whole
        del known["parts"][whole:]
        known["first_bad"] = [row for row in known["first_bad"] if row < self.rows]
        return damaged

    def _read_record(self) -> dict[str, Any] | None:
        """What the folder says of its parts; nothing where that is missing or damaged."""
        try:
            known = json.loads(self._record.read_text())
        except (FileNotFoundError, ValueError):
            return None
        kinds = {"of": dict, "parts": list, "first_bad": list}
        if not isinstance(known, dict) or known.keys() != kinds.keys():
            return None
        whole = all(isinstance(known[key], kind) for key, kind in kinds.items())
        return (
            known
            if whole
            and all(isinstance(part, dict) and part.keys() >= PART for part in known["parts"])
            else None
        )

    def _is_whole(self, index: int) -> bool:
        path, part = self._path(index), self.state["parts"][index]
        if not path.is_file() or path.stat().st_size != part["size"]:
            return False
        return _checksum(path) == part["crc32"]

    def add(self, table: pa.Table, bad: np.ndarray) -> None:
        """Write the next part; `bad` numbers the file's rows without usable coordinates."""
        index = len(self.state["parts"])
        path = self._path(index)
        temporary = path.with_name(f"{path.name}.new")
        if self.kind == "csv":
            self._write_csv(table, temporary, header=index == 0)
        else:
            _write_arrow(table, temporary)
        size, crc32 = temporary.stat().st_size, _checksum(temporary)
        replace_durably(temporary, path)
        self.state["parts"].append(
            {"rows": len(table), "size": size, "crc32": crc32, "bad": len(bad)}
        )
        room = ROWS_NAMED - len(self.state["first_bad"])
        self.state["first_bad"] += bad[:room].tolist()
        self._save()

    def _write_csv(self, table: pa.Table, path: Path, *, header: bool) -> None:
        import pyarrow as pa
        import pyarrow.csv as csv

        for field in table.schema:
            if pa.types.is_nested(field.type) or "binary" in str(field.type):
                raise UsageError(
                    f"column {field.name!r} holds {field.type}, which a CSV file cannot; name a "
                    ".parquet file as the output, or drop the column."
                )
        options = csv.WriteOptions(include_header=header, delimiter=self.delimiter)
        # compressed parts, one after the other, are a compressed file
        with pa.output_stream(path, compression=compression_of(self.output)) as stream:
            csv.write_csv(table, stream, options)

    def join(self, feature_names: list[str]) -> None:
        """Make the output of all parts, whole or not at all."""
        temporary = self.folder / "whole"
        paths = [self._path(index) for index in range(len(self.state["parts"]))]
        if self.kind == "csv":
            with temporary.open("wb") as whole:
                for path in paths:
                    with path.open("rb") as part:
                        shutil.copyfileobj(part, whole, READ_BYTES)
        else:
            _join_arrow(paths, temporary, feature_names)
        replace_durably(temporary, self.output)
        shutil.rmtree(self.folder)

    def forget_if_empty(self) -> None:
        """Leave no folder where nothing is worth keeping."""
        if self.state and not self.state["parts"]:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        suffix = "csv" if self.kind == "csv" else "arrow"
        return self.folder / f"part-{index:06d}.{suffix}"

    def _save(self) -> None:
        write_atomically(self._record, json.dumps(self.state).encode())


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _write_arrow(table: pa.Table, path: Path) -> None:
    """Write a part as it is in memory, which is read without a copy and coded once, at the end."""
    import pyarrow as pa

    table = table.unify_dictionaries()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _join_arrow(paths: list[Path], output: Path, feature_names: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    with pa.memory_map(str(paths[0])) as file:
        schema = pa.ipc.open_file(file).schema
    options = _parquet_options(schema, feature_names)
    with parquet.ParquetWriter(output, schema, **options) as writer:
        for path in paths:
            with pa.memory_map(str(path)) as file:
                writer.write_table(pa.ipc.open_file(file).read_all())


def _parquet_options(schema: pa.Schema, feature_names: list[str]) -> dict[str, Any]:
    """How columns are stored; features hardly ever repeat and cannot be compressed."""
    features = set(feature_names)
    others = [name for name in schema.names if name not in features]
    return {
        "use_dictionary": others,
        "write_statistics": others,
        "compression": {name: "snappy" if name in others else "none" for name in schema.names},
    }
