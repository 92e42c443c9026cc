"""Content of places: feature grids and readable columns, made of global layers."""

from skgeo_embed.pretraining.content.columns import content_layers, earth_content
from skgeo_embed.pretraining.content.grids import content_grid, earth_grid

__all__ = ["content_grid", "content_layers", "earth_content", "earth_grid"]
