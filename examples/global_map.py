"""
A map of the Earth
==================

You learn how to encode every piece of land at 0.2°, four hundred thousand places, into a Zarr
store that may be larger than memory, and how to look at the result: three principal components as
red, green and blue. Bands of ten rows are encoded one after the other, so memory does not grow
with the resolution.

Works offline, a quarter of a minute on 2 CPU cores; ``--degrees 0.1`` takes four times as long.
"""

# sphinx_gallery_start_ignore
import argparse

# sphinx_gallery_end_ignore
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import zarr
from sklearn.decomposition import PCA

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.datasets import land_mask, load_air_temperature, load_coastlines

# sphinx_gallery_start_ignore
parser = argparse.ArgumentParser()
parser.add_argument("--degrees", type=float, default=0.2, help="distance of the grid's points")
parser.add_argument("--model", default="bluemarble-l10")
parser.add_argument("--store", type=Path, help="where to keep the Zarr store")
parser.add_argument("--figure", default="global_map.png")
arguments = parser.parse_args()
# sphinx_gallery_end_ignore

# %%
# An encoder, and the axes of the map. The store holds half precision, an eighth of what float64
# takes, in chunks of ten rows; ocean stays empty and costs nothing.

encoder = SatCLIPEncoder(arguments.model, layer="embedding").fit()
width = len(encoder.get_feature_names_out())
step = arguments.degrees
lon = np.arange(-180 + step / 2, 180, step)
lat = np.arange(90 - step / 2, -60, -step)  # the bundled imagery ends at 60°S

folder = tempfile.TemporaryDirectory()
store = zarr.create_array(
    arguments.store or Path(folder.name) / "earth.zarr",
    shape=(len(lat), len(lon), width),
    chunks=(10, 600, width),
    dtype="float16",
    fill_value=np.nan,
    compressors=None,
    dimension_names=("lat", "lon", "feature"),
    overwrite=True,
)
store.attrs.update(model=encoder.encoder_info_["name"], lon=lon.tolist(), lat=lat.tolist())

# %%
# The colours are three principal components of the embeddings of places on land.

sample = load_air_temperature(return_X_y=True)[0].to_numpy()
components = PCA(3, whiten=True, random_state=0).fit(encoder.transform(sample))

# %%
# Band by band: the points on land are encoded, stored and coloured.

picture = np.full((len(lat), len(lon), 3), 255, dtype=np.uint8)
n_places = 0
print(f"encoding the land every {step:g}°, band by band", flush=True)
for start in range(0, len(lat), 10):
    rows = slice(start, start + 10)
    on_land = land_mask(lon, lat[rows])
    if not on_land.any():
        continue
    row, column = np.nonzero(on_land)
    features = encoder.transform(np.column_stack([lon[column], lat[rows][row]]))
    band = np.full((*on_land.shape, width), np.nan, dtype=np.float16)
    band[on_land] = features
    store[rows] = band
    colours = 128 + 55 * components.transform(features)
    picture[rows][on_land] = colours.clip(0, 255).astype(np.uint8)
    n_places += len(features)
print(f"{n_places:,} places, {store.shape[0]} rows of {store.shape[1]} columns")

# %%
# Similar colours are similar places: deserts, forests, ice.

figure, axis = plt.subplots(figsize=(10, 4.6), layout="constrained")
axis.imshow(picture, extent=(-180, 180, lat[-1] - step / 2, 90), interpolation="antialiased")
for line in load_coastlines():
    axis.plot(*line.T, color="black", linewidth=0.3)
axis.set(xlim=(-180, 180), ylim=(-60, 90))
axis.xaxis.set_major_formatter("{x:g}°")
axis.yaxis.set_major_formatter("{x:g}°")
axis.set_title(f"{arguments.model}: three principal components of the embedding", loc="left")
figure.savefig(arguments.figure, dpi=150)
