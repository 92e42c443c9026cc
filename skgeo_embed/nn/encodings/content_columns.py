"""From averages over boxes to the columns that users read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from skgeo_embed.nn.encodings.content_boxes import Key
from skgeo_embed.nn.encodings.content_layer import ContentLayer


class ContentColumns:
    """Computes means, deviations and contrasts of layers from averages.

    Row numbers are prepared once: to make them takes longer than to compute the columns of a place.

    Parameters
    ----------
    layers : sequence of ContentLayer
        The layers, in the order of their columns.
    contrasts : mapping of str to (str, str)
        Layers that are compared.
    centres : mapping of str to float
        What was subtracted from values of each layer before they were squared.
    keys : sequence of (str, str, float)
        The averages, in the order in which they are read.
    device : torch.device
        Where they are read.
    """

    def __init__(
        self,
        layers: Sequence[ContentLayer],
        contrasts: Mapping[str, Sequence[str]],
        centres: Mapping[str, float],
        keys: Sequence[Key],
        device: torch.device,
    ) -> None:
        row_of = {key: row for row, key in enumerate(keys)}
        columns = [(layer.name, what, km) for layer in layers for _, what, km in layer.columns()]
        deviating = [(name, km) for name, what, km in columns if what == "std"]
        means_km = {layer.name: layer.means_km for layer in layers}
        pairs = [(a, b, km) for a, b in contrasts.values() for km in means_km[a]]
        # values are numbered as `of` joins them: averages, deviations, contrasts, logarithms
        numbers = row_of | {(name, "std", km): len(keys) + number
                            for number, (name, km) in enumerate(deviating)}  # fmt: skip
        values = [numbers[key] for key in columns]
        first_pair = len(keys) + len(deviating)
        order = [*values, *range(first_pair, first_pair + len(pairs))]
        with_logarithm = {layer.name for layer in layers if layer.logarithm}
        logarithms = [row for row, (name, *_) in enumerate(columns) if name in with_logarithm]
        for number, row in enumerate(logarithms):
            order[row] = first_pair + len(pairs) + number

        def rows(numbers: Sequence[int]) -> Tensor | None:
            return torch.tensor(numbers, device=device) if numbers else None

        self._means = rows([row_of[name, "mean", km] for name, km in deviating])
        self._squares = rows([row_of[name, "square", km] for name, km in deviating])
        shifts = [centres[name] for name, _ in deviating]
        self._shifts = torch.tensor(shifts, device=device)[:, None]
        self._first = rows([row_of[a, "mean", km] for a, _, km in pairs])
        self._second = rows([row_of[b, "mean", km] for _, b, km in pairs])
        self._logarithms = rows([values[row] for row in logarithms])
        self._order = torch.tensor(order, device=device)

    def of(self, averages: Tensor) -> Tensor:
        """Compute the columns (n, columns) of averages (keys, n)."""
        parts = [averages]
        if self._means is not None and self._squares is not None:
            apart = averages.index_select(0, self._means) - self._shifts
            squares = averages.index_select(0, self._squares)
            parts.append((squares - apart**2).clamp_min(0).sqrt())
        if self._first is not None and self._second is not None:
            a, b = (averages.index_select(0, rows) for rows in (self._first, self._second))
            parts.append((a - b) / (a + b).clamp_min(1.0))
        if self._logarithms is not None:
            parts.append(torch.cat(parts).index_select(0, self._logarithms).log1p())
        return torch.cat(parts).index_select(0, self._order).T
