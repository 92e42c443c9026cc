"""The parts of an output that is being written, each whole or made again."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed._files import errors_name, replace_durably, write_atomically
from skgeo_embed.streaming.csv_file import write_csv
from skgeo_embed.streaming.files import compression_of, format_of
from skgeo_embed.streaming.parquet_file import join_arrow, with_features, write_arrow

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
    decimal : {".", ","}, default="."
        Decimal mark of the features in a CSV file.
    encoding : str, default="utf-8"
        How a CSV file's text is encoded.

    Attributes
    ----------
    state : dict
        "of", what the parts were made from; "parts", the rows, the size, the checksum, and the
        number of rows without usable coordinates of each; "first_bad", the first of those.
    """

    def __init__(
        self,
        output: Path,
        delimiter: str | None = None,
        decimal: str = ".",
        encoding: str = "utf-8",
    ) -> None:
        self.output = output
        self.kind = format_of(output)
        self.delimiter = delimiter or ","
        self.decimal = decimal
        self.encoding = encoding
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
        """Continue with the folder's parts, or begin; return how many were damaged.

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
        """What the folder says about its parts; nothing where that is missing or damaged."""
        try:
            known = json.loads(self._record.read_text())
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        kinds = {"of": dict, "parts": list, "first_bad": list}
        if not isinstance(known, dict):
            return None
        # any bit may be damaged, such as one of a number of rows; version 0.1 wrote no check sum
        if "crc32" in known and known.pop("crc32") != _checksum_of(known):
            return None
        if known.keys() != kinds.keys():
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

    def add(
        self, rows: Any, features: np.ndarray, names: list[str], bad: np.ndarray | None = None
    ) -> None:
        """Write the next part, of text or of pyarrow's rows, as the output's kind is.

        `bad` are its rows without features, by default those whose first feature is NaN.
        """
        index = len(self.state["parts"])
        path = self._path(index)
        temporary = path.with_name(f"{path.name}.new")
        bad = self.rows + (np.flatnonzero(np.isnan(features[:, 0])) if bad is None else bad)
        with errors_name(path), _removed_if_cut(temporary):
            if self.kind == "csv":
                write_csv(
                    rows,
                    features,
                    temporary,
                    names=names if index == 0 else None,
                    delimiter=self.delimiter,
                    decimal=self.decimal,
                    encoding=self.encoding,
                    compression=compression_of(self.output),
                )
            else:
                write_arrow(with_features(rows, features, names), temporary)
        size, crc32 = temporary.stat().st_size, _checksum(temporary)
        replace_durably(temporary, path)
        self.state["parts"].append(
            {"rows": len(features), "size": size, "crc32": crc32, "bad": len(bad)}
        )
        room = ROWS_NAMED - len(self.state["first_bad"])
        self.state["first_bad"] += bad[:room].tolist()
        self._save()

    def join(
        self,
        feature_names: list[str],
        *,
        overwrite: bool,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the output of all parts, whole or not at all; Parquet holds the description too.

        Raises
        ------
        OSError
            If a part is not what was written, or the output cannot be.
        FileExistsError
            If the output has appeared and is not to be overwritten; the parts stay.
        """
        temporary = self.folder / "whole"
        paths = [self._path(index) for index in range(len(self.state["parts"]))]
        for index, path in enumerate(paths):
            if not self._is_whole(index):
                raise OSError(
                    f"{path} was damaged after it was written, so {self.output} was not created; "
                    "repeat the call, which writes that part and all later ones again."
                )
        with errors_name(self.output), _removed_if_cut(temporary):
            if self.kind == "csv":
                with temporary.open("wb") as whole:
                    for path in paths:
                        with path.open("rb") as part:
                            shutil.copyfileobj(part, whole, READ_BYTES)
            else:
                join_arrow(paths, temporary, feature_names, description)
        replace_durably(temporary, self.output, overwrite=overwrite)
        shutil.rmtree(self.folder)

    def forget_if_empty(self) -> None:
        """Leave no folder where nothing is worth keeping."""
        if self.state and not self.state["parts"]:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        suffix = "csv" if self.kind == "csv" else "arrow"
        return self.folder / f"part-{index:06d}.{suffix}"

    def _save(self) -> None:
        record = {**self.state, "crc32": _checksum_of(self.state)}
        write_atomically(self._record, json.dumps(record).encode())


@contextmanager
def _removed_if_cut(temporary: Path) -> Iterator[None]:
    """Leave the room of a file that could not be finished to others: the disk may be full."""
    try:
        yield
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _checksum_of(state: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(state, sort_keys=True).encode())


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum
