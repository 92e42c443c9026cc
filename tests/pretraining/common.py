"""What tests of pretraining share: a pretrainer that trains in a second, data, a frozen tower."""

import rasterio
import torch
from sklearn.base import clone

from skgeo_embed import Recipe, SatCLIPPretrainer

SMALL = SatCLIPPretrainer(
    Recipe(legendre_polys=4, embed_dim=16, hidden_dim=32, learning_rate=1e-3),
    max_epochs=4,
    batch_size=16,
    random_state=0,
    verbose=0,
)


def small_pretrainer(**changes):
    """A pretrainer with other parameters, by scikit-learn's names, such as recipe__dropout."""
    return clone(SMALL).set_params(**changes)


def weights_of(pretrainer):
    return torch.cat([p.flatten() for p in pretrainer.model_.parameters()])


class PairsDataset(torch.utils.data.Dataset):
    def __init__(self, images, coords):
        self.images, self.coords = images, coords

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"image": self.images[index], "point": self.coords[index]}


class CountingTower(torch.nn.Module):
    """A frozen network with a head; counts the images that it sees."""

    seen = 0

    def __init__(self, scale=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 6, 3)
        self.norm = torch.nn.BatchNorm2d(6)
        self.head = torch.nn.Linear(6, 16)
        with torch.no_grad():
            self.conv.weight *= scale
        self.conv.requires_grad_(False)
        self.norm.requires_grad_(False)

    def forward(self, image):
        type(self).seen += len(image)
        return self.head(torch.relu(self.norm(self.conv(image))).mean(dim=(2, 3)))


def write_tif(path, pixels):
    bands, height, width = pixels.shape
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width}
    profile["transform"] = rasterio.Affine.scale(10)
    with rasterio.open(path, "w", **profile, dtype=pixels.dtype) as file:
        file.write(pixels)
