"""What encoders that run a loaded network have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions

from skgeo_embed.encoders.base import READING_CONSTRAINTS, CoordinateTransformer

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from skgeo_embed.nn.inference.options import EncodingOptions

NETWORK_CONSTRAINTS: dict[str, Any] = {
    "normalize": ["boolean"],
    "device": "no_validation",
    "dtype": [StrOptions({"float32", "float64"})],
    "batch_size": [Interval(Integral, 1, None, closed="left"), None],
    **READING_CONSTRAINTS,
}


class ChosenDtype(CoordinateTransformer):
    """Base of encoders with the parameter `dtype`, which a fit stores in `_options`."""

    dtype: Literal["float32", "float64"]
    _options: EncodingOptions

    @property
    def output_dtype(self) -> np.dtype:
        """Type of the output, as chosen with `dtype`."""
        return np.dtype(self._options.dtype)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        return tags


class NetworkTransformer(ChosenDtype):
    """Run a loaded network over coordinates: the base of encoders that have one.

    Subclasses set `normalize`, `device`, `dtype` and `batch_size` in their constructor, name
    their columns with `_feature_prefix`, and call `_use_network` when they prepare.
    """

    _feature_prefix: str
    normalize: bool
    device: Any
    batch_size: int | None

    def _use_network(self, encoder: Any, layer: Any, columns: int | None = None) -> None:
        from skgeo_embed.nn.inference.options import EncodingOptions, chosen_device

        width = encoder.engine.module.output_dim(layer)  # says whether there is such a layer
        if columns is not None and columns > width:
            raise ValueError(
                f"n_components={columns}, but the {layer} layer of {encoder.info['name']!r} has "
                f"{width} columns; ask for at most as many."
            )
        self._encoder = encoder
        self._options = EncodingOptions(
            layer, chosen_device(self.device), self.dtype, self.batch_size, self.normalize, columns
        )
        self.encoder_info_ = {**encoder.info, "layer": layer}

    def encode(self, lonlat: np.ndarray) -> Iterator[tuple[slice | Tensor, Tensor]]:
        """Run the network over places, batch after batch."""
        return self._encoder.engine.encode(lonlat, self._options)

    def encode_axes(
        self, lon: np.ndarray, lat: np.ndarray
    ) -> Iterator[tuple[slice, slice, Tensor]]:
        """Run the network over a grid, whose harmonics cost less than those of its points."""
        return self._encoder.engine.encode_grid(lon, lat, self._options)

    def place_function(self) -> tuple[Callable[[Tensor], Tensor], Module]:
        """Return the network on the CPU as a function of tensors."""
        engine = self._encoder.engine
        return engine.graph(self._options), engine.module

    def feature_names(self) -> list[str]:
        """Number the columns after the encoder's name."""
        return numbered_names(self._feature_prefix, self.n_features_out)

    @property
    def n_features_out(self) -> int:
        """Number of output columns."""
        return self._encoder.engine.width(self._options)


def numbered_names(prefix: str, count: int) -> list[str]:
    """Names with a number each, the same for a column however many there are."""
    return [f"{prefix}{i:03d}" for i in range(count)]
