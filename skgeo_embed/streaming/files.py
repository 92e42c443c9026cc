"""Files that tables are read from and written to. Their suffixes say their format."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
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


@contextmanager
def only_writer(folder: Path, output: Path) -> Iterator[None]:
    """Hold the folder in which an output is made; no other process, and no other thread, may.

    Raises
    ------
    FileExistsError
        If a file stands where the folder would be.
    RuntimeError
        If another run makes the same output.
    """
    from filelock import FileLock, Timeout

    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is where parts would be kept; move that file.")
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    busy = f"another process is writing {output}."
    try:
        lock.acquire()
    except Timeout as error:
        raise RuntimeError(busy) from error
    except FileNotFoundError as error:  # its folder has just gone
        raise RuntimeError(f"{busy[:-1]}, and has just finished.") from error
    try:
        if not (folder / ".lock").exists():  # the locked file was deleted by the run before
            raise RuntimeError(f"{busy[:-1]}, and has just finished.")
        yield
    finally:
        lock.release()
