"""Location encoders as torch modules: a positional encoding and a network on top of it."""

from __future__ import annotations

from skgeo_embed.nn.location.encoder import EncodedNetwork, Layer, LocationEncoder

__all__ = ["EncodedNetwork", "Layer", "LocationEncoder"]
