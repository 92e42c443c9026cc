"""A run that adds columns to a table: its input, its parts, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from skgeo_embed._errors import UsageError
from skgeo_embed._files import file_state
from skgeo_embed.streaming.files import (
    FORMATS,
    check_arrow,
    check_output,
    check_source,
    only_writer,
)
from skgeo_embed.streaming.fitted import digest_of
from skgeo_embed.streaming.parts import Parts
from skgeo_embed.streaming.sources import TableFile, check_decimal, open_table


class Unchanged:
    """A table that must not change while it is read.

    Parameters
    ----------
    path : Path
        The file, as it is now.
    else_what : str
        What follows from a change and what to do about it, for the message.
    """

    def __init__(self, path: Path, else_what: str) -> None:
        self._path, self._state, self._else_what = path, file_state(path), else_what
        self.size_and_time = list(self._state[1:3])  # of a copy, too

    def check(self) -> None:
        """Say that it has changed, if it has."""
        if not self._path.is_file() or file_state(self._path) != self._state:
            raise RuntimeError(
                f"{self._path}: the table changed while it was read, so {self._else_what} when no "
                "program writes to the table."
            )


class TableRun(NamedTuple):
    """A table that is read, and the parts of the output that are made of it."""

    table: TableFile
    as_begun: Unchanged
    parts: Parts


def begin(
    source: Any,
    output: Any,
    *,
    delimiter: str | None,
    decimal: str,
    encoding: str,
    overwrite: bool,
) -> TableRun:
    """Open a table and the parts of an output, or say why one of them cannot be used."""
    path = check_source(source)
    target = check_output(output, overwrite=overwrite, suffixes=FORMATS)
    if path.resolve() == target.resolve():
        raise UsageError(f"{output} is the input; choose another name for the output.")
    check_arrow(path, target)
    again = "no output was created. Repeat the call with restart=True (--restart)"
    as_begun = Unchanged(path, again)
    table = open_table(path, delimiter, encoding)
    check_decimal(decimal, table, target)
    parts = Parts(target, table.delimiter, decimal, table.written_encoding)
    return TableRun(table, as_begun, parts)


@contextmanager
def resumable(parts: Parts) -> Iterator[None]:
    """Hold the folder of the parts; an interruption says how many rows are kept there."""
    try:
        with only_writer(parts.folder, parts.output):
            yield
    except KeyboardInterrupt as interruption:
        kept = parts.rows
        raise KeyboardInterrupt(
            f"{kept:,} rows are kept in {parts.folder}; repeat the call to continue"
            if kept
            else "nothing was written yet"
        ) from interruption
    finally:
        parts.forget_if_empty()


def digests_of(described: dict[str, Any]) -> dict[str, str]:
    """Return a digest of each setting, since a setting may be secret."""
    return {name: digest_of(value) for name, value in described.items()}
