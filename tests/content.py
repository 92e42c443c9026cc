"""A small location tower with the layer that its feature grid was made of."""

import numpy as np
import torch

from skgeo_embed.nn.encodings.content_layers import ContentLayers
from skgeo_embed.nn.location import LocationEncoder

RAIN = {
    "name": "rain",
    "unit": "mm",
    "height": 64,
    "means_km": [313.0],
    "deviations_km": [625.0],
    "logarithm": False,
}


def rain(seed=0):
    """One layer of pixels of 313 km."""
    content = ContentLayers([RAIN])
    codes = np.random.RandomState(seed).randint(0, 256, (64, 128)).astype(np.uint8)
    content.fill("rain", torch.from_numpy(codes), torch.linspace(0, 2000, 256))
    return content


def small_tower(seed=0):
    """A location encoder that is the same whenever it is made."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = LocationEncoder(
            4, 8, 16, feature_grid={"height": 5, "width": 8, "channels": 2}
        ).eval()
    tower.posenc.grid.fill(torch.arange(80.0).view(5, 8, 2))
    tower.posenc.grid.keep_content(rain(seed))
    return tower
