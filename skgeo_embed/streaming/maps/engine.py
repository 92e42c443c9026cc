"""Computes the blocks of a map and makes the file of them, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs

from skgeo_embed._errors import UsageError, warn_caller
from skgeo_embed._files import replace_durably, replace_folder
from skgeo_embed.streaming.files import check_output, only_writer
from skgeo_embed.streaming.maps.dataset import to_dataset
from skgeo_embed.streaming.maps.geotiff import write_geotiff
from skgeo_embed.streaming.maps.grids import Block, MapGrid
from skgeo_embed.streaming.maps.jobs import BlockValues, MapJob
from skgeo_embed.streaming.maps.netcdf import write_netcdf
from skgeo_embed.streaming.maps.store import MapStore
from skgeo_embed.streaming.maps.zarr_folder import write_zarr
from skgeo_embed.streaming.progress import Progress

WRITERS: dict[str, Callable[[MapStore, Mapping[str, str], Path], None]] = {
    ".tif": write_geotiff,
    ".tiff": write_geotiff,
    ".zarr": write_zarr,
    ".nc": write_netcdf,
}
MOST_MEMORY = 0.8  # of the machine's, for a map that is not written to a file


def check_map_output(output: Any, *, overwrite: bool, also: tuple[str, ...] = ()) -> Path:
    """Return the path that is going to be written, or say why it cannot be."""
    path = Path(output).expanduser()
    if path.name.lower().endswith(".zarr") and path.is_dir():
        if not overwrite:
            raise FileExistsError(
                f"{output} exists; pass overwrite=True (--overwrite) to replace it."
            )
        if not any((path / name).exists() for name in (".zgroup", "zarr.json", ".zarray")):
            raise UsageError(f"{output} is a folder that holds no Zarr store; choose another name.")
        return path
    return check_output(output, overwrite=overwrite, suffixes=[*WRITERS, *also])


def check_room(grid: MapGrid, cell_bytes: int, output: Path | None) -> None:
    """Refuse a map that neither the disk nor the memory can hold, before anything is computed.

    Raises
    ------
    OSError
        If a file of it has no room on the disk; the message says how large it is.
    UsageError
        If there is no file, and the memory is too small.
    """
    cells = grid.height * grid.width
    size = cells * cell_bytes
    shown = f"a map of {grid.height:,} × {grid.width:,} cells needs {_in_units(size)}"
    if output is None:
        memory = (
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            if hasattr(os, "sysconf")
            else size
        )
        if size > MOST_MEMORY * memory:
            raise UsageError(
                f"{shown} of memory, and this machine has {_in_units(memory)}; name an output "
                "file, or choose a larger resolution or a smaller region."
            )
        return
    free = shutil.disk_usage(output.parent).free
    if size > free:
        raise OSError(
            errno.ENOSPC,
            f"{shown} on the disk, which has {_in_units(free)} left; choose a larger resolution or "
            "a smaller region",
            str(output),
        )


def _in_units(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.0f} TB"


def make_map(
    job: MapJob,
    grid: MapGrid,
    output: Path | None,
    *,
    of: Mapping[str, Any],
    facts: Mapping[str, Any],
    what: str,
    n_jobs: int | None = None,
    overwrite: bool = False,
    restart: bool = False,
    verbose: bool = True,
) -> Any:
    """Compute a map and write it, or return it as an ``xarray.Dataset`` if there is no output.

    Parameters
    ----------
    job : MapJob
        What computes a block.
    grid : MapGrid
        The cells.
    output : Path or None
        The file; its suffix says which format.
    of : dict
        Settings that must match to continue an earlier run.
    facts : dict
        How the map was made, for the file.
    what : str
        What is being done, for the progress bar.
    n_jobs, overwrite, restart, verbose
        As for :func:`skgeo_embed.predict_grid`.
    """
    if grid.is_rotated and (output is None or output.suffix.lower() not in (".tif", ".tiff")):
        raise UsageError("the rows of this grid do not run along an axis; name a .tif file.")
    cell_bytes = sum(layer.dtype.itemsize * layer.n_bands for layer in job.layers)
    check_room(grid, cell_bytes, output)
    if output is None:
        store = MapStore(grid, job.layers, None, None)
        store.open(of, job.values_of_sample(), restart=False)
        _compute(job, store, n_jobs, what, verbose)
        _warn_of_uncovered(store)
        return to_dataset(store, facts)
    folder = output.with_name(f"{output.name}.parts")
    with only_writer(folder, output):
        store = MapStore(grid, job.layers, folder, output)
        with _interruption_named(store, folder):
            done = store.open(of, job.values_of_sample(), restart=restart)
            if verbose and done:
                print(f"continuing with {done:,} of {len(store.blocks):,} blocks of an earlier run")
            _compute(job, store, n_jobs, what, verbose)
        _publish(store, facts, folder, output, overwrite)
        store.close()
        shutil.rmtree(folder)
    _warn_of_uncovered(store)
    return output


def _compute(job: MapJob, store: MapStore, n_jobs: int | None, what: str, verbose: bool) -> None:
    todo = [number for number in range(len(store.blocks)) if number not in store.done]
    n_cells = store.grid.height * store.grid.width
    before = sum(_n_cells(store.blocks[number]) for number in store.done)
    with Progress(what, "cells", n_cells, before, shown=verbose) as progress:
        for number, found in _computed(job, store, todo, n_jobs):
            store.add(number, *found)
            progress.update(_n_cells(store.blocks[number]))


def _n_cells(block: Block) -> int:
    rows, columns = block
    return (rows.stop - rows.start) * (columns.stop - columns.start)


def _computed(
    job: MapJob, store: MapStore, todo: list[int], n_jobs: int | None
) -> Iterator[tuple[int, BlockValues]]:
    """Yield blocks as they are computed: here, in other processes, or on a cluster."""
    if effective_n_jobs(n_jobs) == 1:
        for number in todo:
            yield number, job.compute(store.blocks[number])
        return
    with tempfile.TemporaryDirectory() as folder:
        source: Any = job
        if not _is_cluster():  # which may have no disk in common with this machine
            source = Path(folder) / "job.pkl"
            source.write_bytes(_cloudpickle().dumps(job))
        yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
            delayed(_compute_elsewhere)(source, number, store.blocks[number]) for number in todo
        )


def _is_cluster() -> bool:
    from joblib.parallel import get_active_backend

    return "dask" in type(get_active_backend()[0]).__name__.lower()


def _compute_elsewhere(source: Any, number: int, block: Block) -> tuple[int, BlockValues]:
    job = _load(source) if isinstance(source, Path) else source
    return number, job.compute(block)


@lru_cache(maxsize=1)
def _load(path: Path) -> Any:
    return _cloudpickle().loads(path.read_bytes())


def _cloudpickle() -> Any:
    """Return what pickles classes of scripts and notebooks too."""
    try:
        import cloudpickle  # type: ignore[import-untyped]
    except ImportError:  # joblib before 1.6 has a copy of its own
        from joblib.externals import cloudpickle
    return cloudpickle


@contextmanager
def _interruption_named(store: MapStore, folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt(
            f"{len(store.done):,} of {len(store.blocks):,} blocks are kept in {folder}; repeat "
            "the call to continue"
        ) from interruption


def _publish(
    store: MapStore, facts: Mapping[str, Any], folder: Path, output: Path, overwrite: bool
) -> None:
    """Write the file, and give it its name when it is complete."""
    suffix = output.suffix.lower()
    whole = folder / ("whole.zarr" if suffix == ".zarr" else "whole")
    if whole.is_dir():
        shutil.rmtree(whole)
    whole.unlink(missing_ok=True)
    try:
        WRITERS[suffix](store, facts, whole)
        if whole.is_dir():
            replace_folder(whole, output, overwrite=overwrite)
        else:
            replace_durably(whole, output, overwrite=overwrite)
    except BaseException as error:
        if whole.is_dir():
            shutil.rmtree(whole)
        whole.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, FileExistsError):
            raise OSError(
                error.errno,
                f"{error.strerror or error}; the computed blocks are kept in {folder}, so "
                "repeat the call when there is room",
                str(output),
            ) from error
        raise


def _warn_of_uncovered(store: MapStore) -> None:
    cells = store.grid.height * store.grid.width
    for name, count in store.uncovered().items():
        warn_caller(
            f"covariates[{name!r}] has no value in {count:,} of {cells:,} cells, which are missing "
            "in the map.",
            UserWarning,
        )
