"""Guess where Sentinel-2 images were taken, and see the probability over the whole Earth.

You learn how `ImageGeolocator` matches images with candidate places. Any model with two towers
will do; with the published weights (downloaded once, 100 MB) it sees all bands at their own
resolution:

    python examples/geolocate_image.py --model microsoft/SatCLIP-ViT16-L10

Without arguments it runs offline with the bundled model, which was trained on the colours of
320 km wide Blue Marble tiles. A Sentinel-2 patch is 2.6 km wide, so it is shown the patch's own
colours only: do not expect more than "desert", "ice" or "green and temperate".

Draws geolocation.png.
"""

import argparse

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from skgeo_embed import ImageGeolocator
from skgeo_embed.datasets import load_blue_marble, load_sentinel2_patches

TRUE_COLOUR = [3, 2, 1]  # B04, B03, B02
EARTH_RADIUS_KM = 6371.0088


def true_colour(images):
    """Red, green and blue between 0 and 1, without the offset that newer products carry."""
    colours = images[:, TRUE_COLOUR].astype(np.float32)
    offset = np.where(np.percentile(colours, 1, axis=(1, 2, 3)) > 900, 1000, 0)
    return np.clip((colours - offset[:, None, None, None]) / 4000, 0, 1)


def shrink(images, size):
    n, bands, height, width = images.shape
    blocks = images.reshape(n, bands, size, height // size, size, width // size)
    return blocks.mean(axis=(3, 5))


def great_circle_km(first, second):
    (lon1, lat1), (lon2, lat2) = np.deg2rad(first).T, np.deg2rad(second).T
    chord = (
        np.sin((lat2 - lat1) / 2) ** 2
        + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(chord))


def draw(pictures, coords, geolocator, probability, predicted, path):
    rows = len(pictures)
    figure, axes = plt.subplots(
        rows, 2, figsize=(9, 2.3 * rows), width_ratios=(1, 2.4), layout="constrained"
    )
    lon, lat = geolocator.candidates_.T
    for (left, right), picture, (true_lon, true_lat), share, guess in zip(
        axes, pictures, coords, probability, predicted, strict=True
    ):
        left.imshow(picture.transpose(1, 2, 0))
        left.set_axis_off()
        relative = np.log10(share / share.max()).clip(-3)
        order = np.argsort(relative)
        mesh = right.scatter(
            lon[order], lat[order], c=relative[order], s=2, cmap="cividis", linewidths=0
        )
        right.plot(true_lon, true_lat, "*", color="white", markeredgecolor="black", markersize=13)
        right.plot(*guess, "o", color="none", markeredgecolor="red", markersize=9)
        right.set(xlim=(-180, 180), ylim=(-90, 90), aspect="equal", facecolor="0.9")
        right.set_ylabel("Latitude (°)")
    axes[-1, 1].set_xlabel("Longitude (°)")
    axes[0, 1].set_title("star: truth, ring: best guess")
    figure.colorbar(
        mesh, ax=axes[:, 1], shrink=0.4, label="Probability relative to the best place (log10)"
    )
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bluemarble-l10", help="a model with both towers")
    parser.add_argument("--figure", default="geolocation.png", help="where the maps are drawn")
    arguments = parser.parse_args()
    images, frame = load_sentinel2_patches(return_X_y=True)
    coords = frame.to_numpy()
    pictures = true_colour(images)

    land = load_blue_marble(20_000, tile_size=1, random_state=1).coords
    geolocator = ImageGeolocator(arguments.model).fit(land)
    bundled = arguments.model == "bluemarble-l10"
    seen = shrink(pictures, 16) if bundled else images
    predicted = geolocator.predict(seen)
    errors = great_circle_km(predicted, coords)
    for truth, guess, error in zip(coords, predicted, errors, strict=True):
        print("({:7.1f}, {:5.1f})  guess ({:7.1f}, {:5.1f})".format(*truth, *guess), end="  ")
        print(f"{error:6.0f} km")
    chance = np.median([great_circle_km(land, np.tile(c, (len(land), 1))) for c in coords])
    print(f"median error {np.median(errors):.0f} km; a random place on land: {chance:.0f} km")

    if bundled:  # what it was trained to do, on tiles it has not seen
        images, places = load_blue_marble(
            500, tile_size=16, km_per_pixel=20, random_state=2, return_X_y=True
        )
        median = -geolocator.score(images, places)
        print(f"500 unseen Blue Marble tiles: median error {median:.0f} km")
    draw(pictures, coords, geolocator, geolocator.predict_proba(seen), predicted, arguments.figure)
    print(f"maps drawn to {arguments.figure}")


if __name__ == "__main__":
    main()
