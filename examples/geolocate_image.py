"""
Where was this image taken?
===========================

You learn how `ImageGeolocator` matches images with candidate places. Any model with two towers
will do; with the published weights (downloaded once, 100 MB) it sees all bands at their own
resolution::

    python examples/geolocate_image.py --model microsoft/SatCLIP-ViT16-L10

Without arguments it runs offline with the bundled model, which was trained on the colours of
320 km wide Blue Marble tiles. A Sentinel-2 patch is 2.6 km wide, so it is shown the patch's own
colours only: do not expect more than "desert", "ice" or "green and temperate".
"""

# sphinx_gallery_start_ignore
import argparse

# sphinx_gallery_end_ignore
import matplotlib.pyplot as plt
import numpy as np

from skgeo_embed import ImageGeolocator
from skgeo_embed.datasets import load_blue_marble, load_sentinel2_patches
from skgeo_embed.inspection import GeolocationDisplay

TRUE_COLOUR = [3, 2, 1]  # B04, B03, B02


def true_colour(images):
    """Red, green and blue between 0 and 1, without the offset that newer products carry."""
    colours = images[:, TRUE_COLOUR].astype(np.float32)
    offset = np.where(np.percentile(colours, 1, axis=(1, 2, 3)) > 900, 1000, 0)
    return np.clip((colours - offset[:, None, None, None]) / 4000, 0, 1)


def shrink(images, size):
    n, bands, height, width = images.shape
    blocks = images.reshape(n, bands, size, height // size, size, width // size)
    return blocks.mean(axis=(3, 5))


# sphinx_gallery_start_ignore
parser = argparse.ArgumentParser()
parser.add_argument("--model", default="bluemarble-l10", help="a model with both towers")
parser.add_argument("--figure", default="geolocation.png", help="where the maps are drawn")
arguments = parser.parse_args()
# sphinx_gallery_end_ignore

# %%
# Six Sentinel-2 patches with the places that they are from; the candidates are 20,000 places on
# land.

images, frame = load_sentinel2_patches(return_X_y=True)
coords = frame.to_numpy()
pictures = true_colour(images)
land = load_blue_marble(20_000, tile_size=1, random_state=1).coords
geolocator = ImageGeolocator(arguments.model).fit(land)
bundled = arguments.model == "bluemarble-l10"
seen = shrink(pictures, 16) if bundled else images

# %%
# The best place for each, and how far it is off.

display = GeolocationDisplay.from_estimator(geolocator, seen, coords)
for truth, guess, error in zip(coords, display.predicted, display.errors_km, strict=True):
    print("({:7.1f}, {:5.1f})  guess ({:7.1f}, {:5.1f})".format(*truth, *guess), end="  ")
    print(f"{error:6.0f} km")
chance = [GeolocationDisplay(land, np.tile(place, (len(land), 1))).errors_km for place in coords]
print(
    f"median {np.median(display.errors_km):.0f} km; of any place on land {np.median(chance):.0f} km"
)

# %%
# What the bundled model was trained to do, on Blue Marble tiles it has not seen.

if bundled:
    tiles, places = load_blue_marble(
        500, tile_size=16, km_per_pixel=20, random_state=2, return_X_y=True
    )
    median = -geolocator.score(tiles, places)
    print(f"500 unseen Blue Marble tiles: median error {median:.0f} km")

# %%
# Each patch with the probability of every candidate.

figure = plt.figure(figsize=(11, 2.9 * len(pictures)), layout="constrained")
for row, picture, image, place in zip(
    figure.subfigures(len(pictures), 1), pictures, seen, coords, strict=True
):
    left, right = row.subplots(1, 2, width_ratios=(1, 2.6))
    left.imshow(picture.transpose(1, 2, 0))
    left.set_axis_off()
    GeolocationDisplay.from_estimator(geolocator, image[None], [place], ax=right)
figure.savefig(arguments.figure, dpi=90)
print(f"maps drawn to {arguments.figure}")
