"""The computed blocks of a map, in a folder beside the output; a killed run continues from them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from skgeo_embed._files import errors_name, new_array_file, write_atomically
from skgeo_embed.streaming.fitted import digest_of
from skgeo_embed.streaming.maps import grids
from skgeo_embed.streaming.maps.grids import Block, MapGrid
from skgeo_embed.streaming.maps.layers import Layer

RECORD, JOURNAL = "progress.json", "blocks.txt"
CLOSE = {"rtol": 1e-5, "atol": 1e-8}  # of values that one model gives in two processes


class MapStore:
    """Values of all layers, block by block: in a folder, or in memory.

    Parameters
    ----------
    grid : MapGrid
        The cells.
    layers : list of Layer
        What is stored of each.
    folder : Path or None
        Where blocks are kept; None keeps them in memory.
    output : Path or None
        The file that is made, for messages.
    """

    def __init__(
        self, grid: MapGrid, layers: Sequence[Layer], folder: Path | None, output: Path | None
    ) -> None:
        self.grid, self.layers = grid, list(layers)
        self.blocks = grid.blocks()
        self.done: dict[int, dict[str, Any]] = {}
        self._folder = folder
        self._arrays: list[np.ndarray] = []
        self._output = output

    def size(self) -> int:
        """Bytes of all layers."""
        cells = len(self.blocks) * grids.BLOCK * grids.BLOCK
        return cells * sum(layer.dtype.itemsize * layer.n_bands for layer in self.layers)

    def open(self, of: Mapping[str, Any], values: np.ndarray, *, restart: bool) -> int:
        """Begin, or continue what an earlier run has computed; return how many blocks there are.

        Parameters
        ----------
        of : dict
            What the map is made from: settings that must match to continue.
        values : ndarray
            What the model gives at some cells, which must match too.
        restart : bool
            Whether to begin again.

        Raises
        ------
        FileExistsError
            If the folder holds blocks of another map, or something else.
        OSError
            If the disk has no room for the blocks.
        """
        if self._folder is None:
            self._arrays = [np.empty(self._shape(layer), layer.dtype) for layer in self.layers]
            return 0
        digests = {name: digest_of(value) for name, value in of.items()}
        known = self._known()
        if known is not None and not restart:
            other = [name for name in digests if known["of"].get(name) != digests[name]]
            if not other and not _are_close(known["values"], values):
                other = ["model (its predictions differ)"]
            if other:
                raise FileExistsError(
                    f"{self._folder} holds blocks of a map with another {', '.join(other)}; pass "
                    "restart=True (--restart) to start again, or finish that map first."
                )
            self._arrays = [self._map(number) for number in range(len(self.layers))]
            self._read_journal()
            return len(self.done)
        self._forget()
        record = {"of": digests, "values": np.asarray(values, dtype=float).ravel().tolist()}
        self._arrays = []
        for number, layer in enumerate(self.layers):
            path = self._path(number)
            self._arrays.append(
                new_array_file(path, layer.dtype, self._shape(layer), self._output or path)
            )
        write_atomically(self._folder / RECORD, json.dumps(record).encode())
        return 0

    def add(
        self, number: int, values: Sequence[np.ndarray] | None, uncovered: dict[str, int]
    ) -> None:
        """Keep the values of a block, (bands, height, width) of each layer; None has no values."""
        checksum = 0
        for position, (layer, array) in enumerate(zip(self.layers, self._arrays, strict=True)):
            target = array[number]
            target[...] = layer.nodata
            if values is not None:
                part = values[position]
                target[:, : part.shape[1], : part.shape[2]] = part
            checksum = zlib.crc32(memoryview(target), checksum)
        self.done[number] = {"crc32": checksum, "uncovered": uncovered}
        if self._folder is not None:
            line = json.dumps({"block": number, **self.done[number]}) + "\n"
            journal = self._folder / JOURNAL
            with errors_name(journal), journal.open("a") as file:
                file.write(line)

    def read(self, layer: int, rows: slice, columns: slice) -> np.ndarray:
        """Return a window of a layer, (bands, height, width)."""
        across = -(-self.grid.width // grids.BLOCK)
        bands = self.layers[layer].n_bands
        shape = bands, rows.stop - rows.start, columns.stop - columns.start
        window = np.empty(shape, self.layers[layer].dtype)
        for down in range(rows.start // grids.BLOCK, -(-rows.stop // grids.BLOCK)):
            for right in range(columns.start // grids.BLOCK, -(-columns.stop // grids.BLOCK)):
                block: Block = self.blocks[down * across + right]
                row, column = (
                    slice(max(part.start, wanted.start), min(part.stop, wanted.stop))
                    for part, wanted in zip(block, (rows, columns), strict=True)
                )
                window[
                    :,
                    row.start - rows.start : row.stop - rows.start,
                    column.start - columns.start : column.stop - columns.start,
                ] = self._arrays[layer][down * across + right][
                    :,
                    row.start - block[0].start : row.stop - block[0].start,
                    column.start - block[1].start : column.stop - block[1].start,
                ]
        return window

    def uncovered(self) -> dict[str, int]:
        """Count the cells that each covariate does not cover."""
        total: dict[str, int] = {}
        for block in self.done.values():
            for name, count in block["uncovered"].items():
                total[name] = total.get(name, 0) + count
        return total

    def close(self) -> None:
        """Let the files go, so that they can be removed."""
        self._arrays = []

    def _shape(self, layer: Layer) -> tuple[int, int, int, int]:
        return len(self.blocks), layer.n_bands, grids.BLOCK, grids.BLOCK

    def _path(self, number: int) -> Path:
        assert self._folder is not None
        return self._folder / f"layer-{number:03d}.npy"

    def _map(self, number: int) -> np.ndarray:
        path = self._path(number)
        array: np.ndarray = np.load(path, mmap_mode="r+")
        layer = self.layers[number]
        if array.shape != self._shape(layer) or array.dtype != layer.dtype:
            raise FileExistsError(
                f"{path} was changed after it was written; pass restart=True (--restart) to start "
                "again."
            )
        return array

    def _known(self) -> dict[str, Any] | None:
        """Return what the folder says about its blocks; None if it holds none."""
        assert self._folder is not None
        own = {RECORD, JOURNAL, ".lock", "whole", "whole.zarr", "plain.tif"}
        others = {
            path.name
            for path in self._folder.iterdir()
            if path.name not in own and not path.name.startswith(("layer-", f".{RECORD}"))
        }
        if others:
            raise FileExistsError(
                f"{self._folder} is where the map would be made, and holds something else "
                f"({', '.join(sorted(others)[:4])}); move it."
            )
        with suppress(FileNotFoundError, ValueError, LookupError, TypeError):  # none, or damaged
            known = json.loads((self._folder / RECORD).read_text())
            whole = all(self._path(number).is_file() for number in range(len(self.layers)))
            if whole and isinstance(known["of"], dict) and isinstance(known["values"], list):
                return dict(known)
        return None

    def _read_journal(self) -> None:
        """Take those blocks that are what was written."""
        assert self._folder is not None
        try:
            lines = (self._folder / JOURNAL).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                entry = json.loads(line)
                number, checksum = entry["block"], entry["crc32"]
                counts = {str(name): int(count) for name, count in entry["uncovered"].items()}
                whole = 0
                for array in self._arrays:
                    whole = zlib.crc32(memoryview(array[number]), whole)
            except (ValueError, LookupError, TypeError, AttributeError):
                continue  # the line that was being written, or a damaged one
            if whole == checksum and 0 <= number < len(self.blocks):
                self.done[number] = {"crc32": checksum, "uncovered": counts}

    def _forget(self) -> None:
        assert self._folder is not None
        for path in self._folder.iterdir():
            if path.name in (RECORD, JOURNAL) or path.name.startswith("layer-"):
                path.unlink()


def _are_close(known: list[Any], values: np.ndarray) -> bool:
    found = np.asarray(values, dtype=float).ravel()
    return len(known) == len(found) and np.allclose(
        np.array(known, dtype=float), found, equal_nan=True, **CLOSE
    )
