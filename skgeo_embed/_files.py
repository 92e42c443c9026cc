"""Files that are written whole or not at all, and the folder of cached ones."""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SAMPLED = 2**14  # bytes, at the beginning and at the end of a file


def write_atomically(path: Path, content: bytes | memoryview, *, overwrite: bool = True) -> None:
    """Write `content` to a temporary file beside `path`, then rename it.

    Raises
    ------
    FileExistsError
        If `overwrite` is False and there is a file, even one that has just appeared.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        # made with the permissions that a new file gets; nothing of the process is changed for it
        with errors_name(path), os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _give_name(temporary, path, overwrite)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_durably(temporary: Path, path: Path, *, overwrite: bool = True) -> None:
    """Rename a complete file so that a power cut loses neither its content nor its name.

    Raises
    ------
    FileExistsError
        If `overwrite` is False and there is a file, even one that has just appeared.
    """
    with errors_name(path):
        handle = os.open(temporary, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    _give_name(temporary, path, overwrite)


def replace_folder(temporary: Path, path: Path, *, overwrite: bool = True) -> None:
    """Give a complete folder its name; one that was there before goes only then.

    Raises
    ------
    FileExistsError
        If `overwrite` is False and there is one, even one that has just appeared.
    """
    earlier = None
    if path.exists():
        if not overwrite:
            raise FileExistsError(
                f"{path} has appeared during this run and was not replaced; pass "
                "overwrite=True (--overwrite) to replace it."
            )
        earlier = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        os.rename(path, earlier)
    try:
        os.rename(temporary, path)
    except BaseException:
        if earlier is not None:
            os.rename(earlier, path)
        raise
    _sync_folder(path.parent)
    if earlier is not None:
        shutil.rmtree(earlier)


def _give_name(temporary: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, path)
    else:
        _claim(temporary, path)
    _sync_folder(path.parent)


def _claim(temporary: Path, path: Path) -> None:
    """Rename a file, but never over another one, whoever makes it in the meantime."""
    try:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links; the name is taken by an empty file
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            try:
                os.replace(temporary, path)
            except OSError:
                path.unlink()
                raise
        else:
            temporary.unlink()
    except FileExistsError as error:
        raise FileExistsError(
            f"{path} has appeared during this run and was not replaced; pass "
            "overwrite=True (--overwrite) to replace it."
        ) from error


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Let an error of the system, such as a full disk, name the file that was being written."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error


def reserve(path: Path, size: int) -> None:
    """Make a file of a given size, with all of its space reserved on the disk.

    A memory map of a file with holes kills the process when the disk is full; here a full disk is
    an error of the system.
    """
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, size)
                return
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # not of this file system
                    raise
        zeros = bytes(2**20)
        for start in range(0, size, len(zeros)):
            file.write(zeros[: size - start])


def new_array_file(path: Path, dtype: np.dtype, shape: tuple[int, ...], name: Path) -> np.memmap:
    """Map a new .npy file whose space is reserved; `name` is what an error calls it."""
    import numpy as np

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    )
    size = len(header.getvalue()) + math.prod(shape) * np.dtype(dtype).itemsize
    try:
        reserve(path, size)
    except OSError as error:
        raise OSError(
            error.errno, f"{error.strerror}; {size:,} bytes are needed for this file", str(name)
        ) from error
    with path.open("r+b") as file:
        file.write(header.getvalue())
    return np.lib.format.open_memmap(path, "r+")


def file_state(path: Path) -> tuple[int, ...]:
    """Return what differs once a file is replaced, written to or given another time."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def beginning_and_end(path: str | Path) -> bytes:
    """Read a little of a file, in which one of the same size and time hardly ever is the same."""
    with open(path, "rb") as file:
        beginning = file.read(SAMPLED)
        file.seek(max(0, os.path.getsize(path) - SAMPLED))
        return beginning + file.read(SAMPLED)


def _sync_folder(folder: Path) -> None:
    """Put the rename itself on the disk, on systems that can open folders."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError:  # some network file systems refuse it; the file itself is whole
            return
        finally:
            os.close(handle)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder(*parts: str) -> Path:
    """Return the user's cache folder of skgeo_embed, or a folder in it; create it if missing.

    The environment variable SKGEO_EMBED_CACHE names it; the default is ``skgeo-embed`` in
    XDG_CACHE_HOME or ``~/.cache``.
    """
    base = os.environ.get("SKGEO_EMBED_CACHE")
    if not base:
        base = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "skgeo-embed")
    folder = Path(base).expanduser().joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
