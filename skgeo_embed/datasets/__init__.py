"""Real data, small enough to ship or fetched on request."""

from __future__ import annotations

from skgeo_embed.datasets._air_temperature import load_air_temperature
from skgeo_embed.datasets._blue_marble import load_blue_marble

__all__ = ["load_air_temperature", "load_blue_marble"]
