"""Rasters and tables of embeddings: what RasterEncoder reads."""

from skgeo_embed.rasters.products import Product, register_product

__all__ = ["Product", "register_product"]
