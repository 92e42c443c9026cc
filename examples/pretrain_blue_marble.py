"""
Pretraining on your own imagery
===============================

You learn how to train an encoder with `SatCLIPPretrainer` and how to see whether it has learned
something.

Tiles at four scales are cut from NASA's Blue Marble and city lights, which ship with the package.
An image tower and a location tower learn to match each tile with its coordinates, while small
ridge regressions on the location tower's hidden layer learn to predict what tiles look like. That
layer becomes the features of a temperature model.

``--full`` is the recipe of the bundled encoder `bluemarble-l20`, about five minutes on 2 CPU
cores::

    python examples/pretrain_blue_marble.py --full --save bluemarble-l20

Without it, a smaller run shows the idea in about a minute.
"""

# sphinx_gallery_start_ignore
import argparse

# sphinx_gallery_end_ignore
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgeo_embed import SatCLIPEncoder, SatCLIPPretrainer
from skgeo_embed.datasets import load_air_temperature, load_blue_marble
from skgeo_embed.inspection import EmbeddingMapDisplay, TrainingCurveDisplay
from skgeo_embed.model_selection import SpatialBlockKFold

CREDIT = (
    "NASA Blue Marble Next Generation, August 2004, and city lights (public domain; credit: NASA "
    "Earth Observatory, Reto Stöckli)"
)
SCALES = (5, 20, 80, 320)  # km a pixel: 60 to 3,840 km wide


# sphinx_gallery_start_ignore
parser = argparse.ArgumentParser()
parser.add_argument("--full", action="store_true", help="the bundled encoder's recipe")
parser.add_argument("--save", metavar="FOLDER", help="write both towers to this folder")
parser.add_argument("--figure", default="pretrain_blue_marble.png", help="where to draw")
arguments = parser.parse_args()
# sphinx_gallery_end_ignore


def cut(n_tiles, seed):
    return load_blue_marble(
        n_tiles, tile_size=12, km_per_pixel=SCALES, night_lights=True, random_state=seed
    )


# %%
# The images, (n, bands, height, width), and their coordinates. Yours may be arrays, GeoTIFF
# paths, a folder, or a memory map larger than memory.

tiles = cut(100_000 if arguments.full else 8_000, seed=0)
print(f"{len(tiles.images)} tiles, {tiles.images.shape[1]} bands of 12 x 12 pixels")

# %%
# The recipe: "episodes" is the default. It matches images with places and, beside that, trains
# small ridge regressions on the hidden layer.

started = time.perf_counter()
pretrainer = SatCLIPPretrainer(
    "episodes",
    batch_size=2048 if arguments.full else 512,
    max_epochs=9 if arguments.full else 8,
    val_fraction=0.05 if arguments.full else 0.1,
    random_state=0,
    verbose=2,
).fit(tiles.images, tiles.coords)
print(f"pretrained in {time.perf_counter() - started:.0f} s")

# %%
# Tiles it has not seen, and temperatures it was not trained for.

unseen = cut(1000, seed=1)
top1 = pretrainer.score(unseen.images, unseen.coords)
print(f"1,000 unseen tiles: {top1:.1%} find their own place, {top1 * 1000:.0f} times chance")

X, y = load_air_temperature(return_X_y=True)
encoder = SatCLIPEncoder(pretrainer.model_.location, layer="hidden").fit()
model = make_pipeline(encoder, StandardScaler(), RidgeCV(alphas=np.logspace(-1, 4, 6)))
r2 = cross_val_score(model, X, y, cv=SpatialBlockKFold(5, block_size=10)).mean()
print(f"station temperature, R² on held-out 10° blocks: {r2:.3f}")

if arguments.save:
    folder = pretrainer.save_pretrained(
        arguments.save,
        licence="MIT",
        trained_on=CREDIT,
        default_layer="hidden",
        dtype="float16",
    )
    print(f"saved to {folder}")

# %%
# How the run went, and the Earth as the new encoder sees it.

figure = plt.figure(figsize=(12, 9), layout="constrained")
curves, world = figure.subfigures(2, 1, height_ratios=(1, 1.6))
TrainingCurveDisplay.from_estimator(pretrainer, axes=curves.subplots(1, 3))
EmbeddingMapDisplay.from_estimator(encoder, ax=world.subplots())
figure.savefig(arguments.figure, dpi=110)
