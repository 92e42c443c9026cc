"""The files that tables are read from and written to: their names say what they hold."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from skgeo_embed._errors import UsageError

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".csv.zst": "csv",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


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


def check_arrow(*paths: Path) -> None:
    """Say what to install where one of these files needs pyarrow and it is missing."""
    needed = [
        path for path in paths if format_of(path) == "parquet" or compression_of(path) == "zstd"
    ]
    if needed and find_spec("pyarrow") is None:
        raise ImportError(
            f"{needed[0].name}, as Parquet and .zst files, needs pyarrow: "
            'pip install "skgeo-embed[tables]"'
        )
