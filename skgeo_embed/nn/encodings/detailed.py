"""A positional encoding with details: content of places, and fine waves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.encodings.feature_grid import FeatureGrid
from skgeo_embed.nn.encodings.fine_waves import FineWaves


class DetailedEncoding(nn.Module):
    """The columns of a positional encoding, then those of a feature grid and of fine waves.

    Parameters
    ----------
    position : torch.nn.Module
        Maps (n, 2) degrees in float64 to features.
    grid : FeatureGrid, default=None
        Tells what places look like.
    waves : FineWaves, default=None
        Tell places of one city apart.
    content : ContentLayers, default=None
        Columns for a later layer of the network. They come last and do not count in
        `embedding_dim`.
    """

    takes_dtype = True

    def __init__(
        self,
        position: nn.Module,
        grid: FeatureGrid | None = None,
        waves: FineWaves | None = None,
        content: ContentLayers | None = None,
    ) -> None:
        super().__init__()
        self.position = position
        self.grid = grid
        self.waves = waves
        self.content = content
        self.embedding_dim = int(position.embedding_dim) + sum(  # type: ignore[arg-type]
            part.embedding_dim for part in (grid, waves) if part is not None
        )

    def forward(self, lonlat: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Encode (n, 2) degrees to (n, columns of all), returned as `dtype`."""
        dtype = dtype or lonlat.dtype
        encoded = encode_positions(self.position, lonlat, dtype)
        return torch.cat([encoded, self.details(lonlat, dtype)], dim=1)

    def details(self, lonlat: Tensor, dtype: torch.dtype) -> Tensor:
        """Encode (n, 2) degrees to all columns but the position's, as `dtype`."""
        parts = [part for part in (self.grid, self.waves, self.content) if part is not None]
        return torch.cat([part(lonlat, dtype=dtype) for part in parts], dim=1)

    def column_names(self) -> list[str]:
        """Return the names of the columns."""
        parts = [part for part in (self.position, self.grid, self.waves) if part is not None]
        return [name for part in parts for name in part.column_names()]  # type: ignore[operator]


def encode_positions(posenc: nn.Module, lonlat: Tensor, dtype: torch.dtype) -> Tensor:
    """Run a positional encoding in float64, unless it takes care of the precision itself."""
    if getattr(posenc, "takes_dtype", False):
        return posenc(lonlat, dtype=dtype)
    return posenc(lonlat.double()).to(dtype)
