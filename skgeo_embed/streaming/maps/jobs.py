"""How the values of a block of cells are computed; a job can be sent to other processes."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from skgeo_embed._errors import UsageError
from skgeo_embed.encoders.base import CoordinateTransformer
from skgeo_embed.streaming.maps.grids import Block, MapGrid
from skgeo_embed.streaming.maps.inputs import TableOfCells
from skgeo_embed.streaming.maps.layers import Layer
from skgeo_embed.streaming.maps.masks import Mask
from skgeo_embed.streaming.maps.values import ModelValues

SAMPLED_CELLS = 2000  # some of them are predicted before the map is begun
PREDICTED_CELLS = 32


class BlockValues(NamedTuple):
    """What was computed of a block.

    Attributes
    ----------
    values : list of ndarray of shape (bands, height, width), or None
        Of each layer; None if no cell has a value.
    uncovered : dict of str to int
        How many of its cells each covariate does not cover.
    """

    values: list[np.ndarray] | None
    uncovered: dict[str, int]


class MapJob(Protocol):
    """What computes a map."""

    layers: list[Layer]

    def compute(self, block: Block) -> BlockValues:
        """Compute the values of a block."""

    def values_of_sample(self) -> np.ndarray:
        """Return values at some cells, by which a resumed run recognises its model."""


class PredictJob:
    """Predictions of a model.

    Parameters
    ----------
    grid, mask
        The cells, and which of them are wanted.
    table : TableOfCells
        Makes what the model reads.
    values : ModelValues
        Predicts.

    Raises
    ------
    UsageError
        If no cell can be predicted.
    """

    def __init__(self, grid: MapGrid, mask: Mask, table: TableOfCells, values: ModelValues) -> None:
        self._grid, self._mask, self._table, self._values = grid, mask, table, values
        self._sample = self._predict_sample()
        self.layers = values.layers(self._sample)

    def compute(self, block: Block) -> BlockValues:
        """Predict the cells of a block."""
        lonlat, wanted = self._cells(self._grid.centres(block))
        found, there, uncovered = self._predict(lonlat, wanted)
        if found is None:
            return BlockValues(None, uncovered)
        parts = zip(self.layers, found, strict=True)
        return BlockValues([_spread(layer, part, there, block) for layer, part in parts], uncovered)

    def values_of_sample(self) -> np.ndarray:
        """Return the predictions of some cells."""
        return np.concatenate([part.astype(np.float64).ravel() for part in self._sample])

    def _predict(
        self, lonlat: np.ndarray, wanted: np.ndarray
    ) -> tuple[list[np.ndarray] | None, np.ndarray, dict[str, int]]:
        if not wanted.any():
            return None, wanted, {}
        others, lost = self._table.others_at(lonlat[wanted])
        uncovered = {str(name): int(count) for name, count in lost.sum().items() if count}
        covered = ~lost.any(axis=1).to_numpy(dtype=bool)
        there = wanted.copy()
        there[wanted] = covered
        if not there.any():
            return None, there, uncovered
        table = self._table.table(lonlat[there], others[covered].reset_index(drop=True))
        return self._values.compute(table, lonlat[there]), there, uncovered

    def _cells(self, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lonlat = self._grid.lonlat(centres)
        return lonlat, self._mask.wanted(centres, lonlat)

    def _predict_sample(self) -> list[np.ndarray]:
        """Predict some cells; if the map has few, take them from the first block that has any."""
        lonlat, wanted = self._cells(self._grid.sample_of_centres(SAMPLED_CELLS))
        few = np.zeros(len(wanted), dtype=bool)
        few[np.flatnonzero(wanted)[:: max(1, wanted.sum() // PREDICTED_CELLS)]] = True
        found = self._predict(lonlat, few)[0]
        if found is not None:
            return found
        for block in self._grid.blocks():
            found = self._predict(*self._cells(self._grid.centres(block)))[0]
            if found is not None:
                return [part[:PREDICTED_CELLS] for part in found]
        raise UsageError(
            "no cell of the map can be predicted: all are outside the mask, off the Earth, or "
            "where a covariate has no value."
        )


class EncodeJob:
    """Features of an encoder.

    Parameters
    ----------
    grid, mask
        The cells, and which of them are wanted.
    encoder : CoordinateTransformer
        Fitted.
    """

    def __init__(self, grid: MapGrid, mask: Mask, encoder: CoordinateTransformer) -> None:
        self._grid, self._mask, self._encoder = grid, mask, encoder
        names = tuple(str(name) for name in encoder.get_feature_names_out())
        self.layers = [
            Layer("features", encoder.output_dtype, "features of the place", bands=names)
        ]

    def compute(self, block: Block) -> BlockValues:
        """Encode the cells of a block."""
        centres = self._grid.centres(block)
        lonlat = self._grid.lonlat(centres)
        there = self._mask.wanted(centres, lonlat)
        if not there.any():
            return BlockValues(None, {})
        if there.all() and self._grid.has_axes_of_degrees:
            width = block[1].stop - block[1].start
            grid = self._encoder.transform_grid(lonlat[:width, 0], lonlat[::width, 1])
            return BlockValues([np.moveaxis(grid, 2, 0)], {})
        reader = self._encoder.reader_
        features = self._encoder.encode_places(reader.read(lonlat[there]))
        return BlockValues([_spread(self.layers[0], features, there, block)], {})

    def values_of_sample(self) -> np.ndarray:
        """Return features of some cells."""
        lonlat = self._grid.lonlat(self._grid.sample_of_centres(PREDICTED_CELLS))
        lonlat = lonlat[np.isfinite(lonlat[:, 0])]
        if not len(lonlat):
            return np.empty(0)
        return self._encoder.encode_places(self._encoder.reader_.read(lonlat))[:, :8]


def _spread(layer: Layer, found: np.ndarray, there: np.ndarray, block: Block) -> np.ndarray:
    """Put the values of some cells into a block, (bands, height, width)."""
    rows, columns = block
    whole = np.full((layer.n_bands, len(there)), layer.nodata, layer.dtype)
    with np.errstate(over="ignore"):
        values = np.asarray(found).astype(layer.dtype)
    if layer.dtype.kind == "f" and (np.isinf(values) & np.isfinite(found)).any():
        raise UsageError(
            f"{layer.name} has values as large as {np.abs(found).max():.3g}, which {layer.dtype} "
            'does not hold; pass dtype="float64".'
        )
    whole[:, there] = values.T
    return whole.reshape(layer.n_bands, rows.stop - rows.start, columns.stop - columns.start)
