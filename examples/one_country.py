"""
One country at 5 km
===================

You learn how to train an encoder of a region at the imagery's own resolution, and whether it is
worth it.

The bundled encoder holds the whole Earth on a grid of a quarter of a degree, 28 km, and its
features are scaled to the variety of the whole Earth. A grid of the United States alone has room
for 5 km. Both are asked what the counties of 1980 earned, how they voted, who had gone to college
and who owned a home, on random counties and on held-out blocks of them.

The table is ``elect80`` of the R package spData (CC0), in ``examples/data``.
"""

# sphinx_gallery_start_ignore
import argparse

# sphinx_gallery_end_ignore
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgeo_embed import Recipe, SatCLIPEncoder, SatCLIPPretrainer
from skgeo_embed.datasets import load_earth_tiles
from skgeo_embed.model_selection import SpatialBlockKFold
from skgeo_embed.pretraining.content import earth_grid

# sphinx_gallery_start_ignore
parser = argparse.ArgumentParser(description="One country at 5 km")
parser.add_argument("--tiles", type=int, default=8_000)
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--figure", default="one_country.png")
parser.add_argument("--save", help="folder to write the encoder to")
arguments = parser.parse_args()
# sphinx_gallery_end_ignore

# %%
# What places look like, every 0.05°: summaries of three seasons, lights and elevation, as a grid
# of the country alone. Tiles of the same layers are what the two towers are trained on.

COUNTRY = (-125.0, 24.0, -66.5, 49.5)  # west, south, east, north
print("building the grid of the country", flush=True)
grid = earth_grid(step=0.05, bounds=COUNTRY)
tiles = load_earth_tiles(
    arguments.tiles, tile_size=12, km_per_pixel=(5, 20, 80), region=COUNTRY, random_state=0
)
pretrainer = SatCLIPPretrainer(
    Recipe(
        legendre_polys=20,
        hidden_dim=512,
        dropout=0.0,
        feature_grid=grid,
        fine_waves={"count": 128, "longest_km": 156.0, "shortest_km": 5.0},
        hidden_scale=0.1,
        temperature=0.2,
        learn_temperature=False,
        auxiliary_weight=30.0,
        learning_rate=1e-3,
        warmup_epochs=1,
        lr_schedule="cosine",
    ),
    vision_tower={"architecture": "small_cnn", "widths": [32, 64, 128]},
    batch_size=1024,
    max_epochs=arguments.epochs,
    val_fraction=0.0,
    random_state=0,
    verbose=2,
).fit(tiles.images, tiles.coords)
if arguments.save:
    credit = "NASA Blue Marble and city lights, NOAA ETOPO1 (public domain)"
    pretrainer.save_pretrained(arguments.save, licence="MIT", trained_on=credit)

# %%
# The same ridge on the features of both, 512 columns each.

folder = Path(__file__).parent if "__file__" in globals() else Path()
counties = pd.read_csv(folder / "data" / "us_counties_1980.csv")
places = counties[["lon", "lat"]]
encoders = {
    "longitude, latitude": None,
    "bundled": SatCLIPEncoder(n_components=512),
    "of the country": SatCLIPEncoder(pretrainer.model_.location, layer="hidden"),
}
splits = {
    "random counties": KFold(5, shuffle=True, random_state=0),
    "held-out blocks of 5°": SpatialBlockKFold(5, block_size=5),
}
TARGETS = ["income", "turnout", "college", "home_ownership"]
rows = []
for name, encoder in encoders.items():
    features = places if encoder is None else encoder.fit_transform(places)
    ridge = RidgeCV(np.logspace(0, 5, 11), alpha_per_target=True)
    model = make_pipeline(StandardScaler(), ridge)
    for split, cv in splits.items():
        folds = list(cv.split(places))  # blocks are of places, whatever the features
        predicted = cross_val_predict(model, features, counties[TARGETS], cv=folds)
        r2 = r2_score(counties[TARGETS], predicted, multioutput="raw_values")
        rows += [(split, target, name, score) for target, score in zip(TARGETS, r2, strict=True)]
scores = pd.DataFrame(rows, columns=["split", "target", "encoder", "R²"])
scores = scores.pivot_table(index=["split", "target"], columns="encoder", values="R²", sort=False)
print(scores.round(3).to_string())
print(scores.groupby(level="split", sort=False).mean().round(3).to_string())

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for axis, (split, part) in zip(axes, scores.groupby(level="split", sort=False), strict=True):
    bars = part.droplevel("split").rename(index={"home_ownership": "home\nownership"})
    bars.plot.bar(ax=axis, rot=0, legend=False, title=split)
    axis.set(xlabel="", ylabel="R²")
    axis.axhline(0, color="black", linewidth=0.8)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
figure.savefig(arguments.figure, dpi=110)
