"""Draws the pictures of docs/index.md and docs/how_it_works.md: python docs/pictures.py.

All that they show is computed here, by the library and by examples/air_temperature.py.
"""

import os
import runpy
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch

from skgeo_embed import PositionalEncoder, SatCLIPEncoder, SatCLIPImageEncoder
from skgeo_embed.datasets import land_mask, load_coastlines, load_earth_tiles

DOCS = Path(__file__).resolve().parent
EXAMPLE = DOCS.parent / "examples" / "air_temperature.py"
GREEN, GREY, SEA = "#147a6e", "#9aa5a8", "#e4ebee"
NAPA = (-122.3, 38.5)
PLACES = {
    "the Sahara": (10, 24),
    "the Congo basin": (22, 0.5),
    "Greenland": (-40, 72),
    "the Alps": (9, 46.6),
    "central Australia": (133, -24),
}
plt.rcParams.update({"font.size": 11, "font.family": "DejaVu Sans"})


def draw_landing():
    """A map from coordinates alone, and what it is worth: the figures that the example prints."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            found = runpy.run_path(str(EXAMPLE))
        finally:
            os.chdir(here)
    lon, lat, predicted = found["lon"], found["lat"], found["predicted"]
    scores = found["table"]["R², 10° blocks"]
    names = {
        "longitude, latitude + ridge": "longitude and latitude",
        "nearest stations (haversine)": "the nearest stations",
        "SatCLIPEncoder() + ridge": "SatCLIPEncoder()",
    }
    figure = plt.figure(figsize=(11, 3.9), layout="constrained")
    on_map, bars = figure.subplots(1, 2, width_ratios=(2.5, 1))
    on_map.pcolormesh(lon, lat, predicted, cmap="RdYlBu_r", vmin=-25, vmax=32, rasterized=True)
    for line in load_coastlines():
        on_map.plot(*line.T, color="0.35", linewidth=0.25)
    on_map.set(xlim=(-170, 180), ylim=(-56, 78), aspect=1.15, facecolor=SEA, xticks=[], yticks=[])
    on_map.spines[:].set_visible(False)
    on_map.set_title("Mean temperature, predicted from coordinates alone", loc="left")
    values = scores[list(names)].to_numpy()
    colours = [GREY, GREY, GREEN]
    bars.barh([2, 1, 0], values, color=colours, height=0.42)
    for y, (name, value) in zip([2, 1, 0], zip(names.values(), values, strict=True), strict=True):
        bars.text(0, y + 0.27, name, va="bottom", weight="bold" if y == 0 else None)
        bars.text(value - 0.02, y, f"{value:.2f}", va="center", ha="right", color="white")
    bars.set(xlim=(0, 1), ylim=(-0.45, 2.75), xticks=[], yticks=[])
    bars.spines[:].set_visible(False)
    bars.set_title("R² in regions left out", loc="left")
    figure.draw_without_rendering()
    for ax, name in (
        (on_map, "landing_map"),
        (bars, "landing_scores"),
    ):  # below each other on phones
        box = ax.get_tightbbox().transformed(figure.dpi_scale_trans.inverted()).padded(0.05)
        figure.savefig(DOCS / "images" / f"{name}.png", dpi=130, bbox_inches=box)


def thumbnails(km_per_pixel, tile_size, bands, place):
    """Cut one tile around a place, (bands, height, width)."""
    lon, lat = place
    around = (lon - 0.05, lat - 0.05, lon + 0.05, lat + 0.05)
    return load_earth_tiles(
        1,
        tile_size=tile_size,
        km_per_pixel=km_per_pixel,
        bands=bands,
        region=around,
        land_only=False,
        random_state=0,
    ).images[0]


def draw_reading():
    """What the encoder reads of one place: waves over the sphere, and layers around the place."""
    figure = plt.figure(figsize=(11, 4.6))

    def panel(left, bottom, width, height, image, label, **options):
        ax = figure.add_axes((left, bottom, width, height))
        ax.imshow(image, aspect="auto", **options)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.6")
        if label:
            ax.set_title(label, fontsize=10)
        return ax

    lon, lat = np.arange(-179, 180, 2.0), np.arange(89, -90, -2.0)
    earth = panel(0.01, 0.4, 0.2, 0.26, land_mask(lon, lat), "", cmap="Greys", vmin=-0.1, vmax=2)
    earth.plot((NAPA[0] + 179) / 2, (89 - NAPA[1]) / 2, "o", color="#c8102e", markersize=8)
    earth.set_title("−122.3, 38.5", weight="bold")
    waves = PositionalEncoder(legendre_polys=12).fit().transform_grid(lon, lat)
    for i, column in enumerate((6, 40, 110)):
        panel(0.29 + 0.115 * i, 0.68, 0.105, 0.15, waves[..., column], "", cmap="PuOr")
    figure.text(0.29, 0.88, "where it is: waves over the sphere", weight="bold")
    layers = thumbnails(5.0, 64, ("august", "lights", "elevation"), NAPA)
    panel(0.29, 0.17, 0.105, 0.24, layers[:3].transpose(1, 2, 0), "colour, 3 seasons")
    panel(0.405, 0.17, 0.105, 0.24, layers[3], "lights at night", cmap="magma")
    panel(0.52, 0.17, 0.105, 0.24, layers[4], "elevation", cmap="terrain")
    figure.text(0.29, 0.5, "what is there: stored summaries", weight="bold")
    figure.text(0.29, 0.1, "over 10 to 640 km around the place", color="0.35")
    features = SatCLIPEncoder().fit_transform([NAPA])[0]
    bits = np.clip(features / np.abs(features).max(), -1, 1).reshape(48, 16)
    panel(0.72, 0.3, 0.08, 0.42, bits, "768 numbers", cmap="RdBu_r", vmin=-0.7, vmax=0.7)
    figure.text(0.93, 0.5, "your\nmodel", ha="center", va="center", weight="bold", fontsize=13)
    for start, end in (
        ((0.215, 0.56), (0.28, 0.74)),
        ((0.215, 0.5), (0.28, 0.3)),
        ((0.635, 0.74), (0.71, 0.56)),
        ((0.635, 0.3), (0.71, 0.48)),
        ((0.81, 0.51), (0.885, 0.51)),
    ):
        figure.patches.append(
            FancyArrowPatch(
                start,
                end,
                transform=figure.transFigure,
                arrowstyle="-|>",
                mutation_scale=18,
                color=GREEN,
                linewidth=2,
            )
        )
    figure.savefig(DOCS / "images" / "what_it_reads.png", dpi=130)


def draw_matching():
    """What training matches: the cosine similarity of five images and five places, by a model."""
    seen = np.array([thumbnails(20.0, 16, ("august",), place) for place in PLACES.values()])
    pictures = [thumbnails(5.0, 64, ("august",), place) for place in PLACES.values()]
    images = SatCLIPImageEncoder("bluemarble-l10").fit_transform(seen)
    places = SatCLIPEncoder("bluemarble-l10", layer="embedding").fit_transform(
        list(PLACES.values())
    )
    images, places = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (images, places))
    similarity = images @ places.T
    figure = plt.figure(figsize=(9.5, 6.4))
    ax = figure.add_axes((0.25, 0.05, 0.52, 0.73))
    shown = ax.imshow(similarity, cmap="BrBG", vmin=-1, vmax=1)
    for row, picture in enumerate(pictures):
        side = figure.add_axes((0.145, 0.65 - 0.146 * row, 0.085, 0.122))
        side.imshow(picture.transpose(1, 2, 0))
        side.set(xticks=[], yticks=[])
        side.spines[:].set_color("0.6")
        for column in range(len(PLACES)):
            value = similarity[row, column]
            colour = "white" if abs(value) > 0.6 else "black"
            text = f"{value:.2f}".replace("-", "−")
            ax.text(column, row, text, ha="center", va="center", color=colour)
        corner = row - 0.5, row - 0.5
        ax.add_patch(plt.Rectangle(corner, 1, 1, fill=False, edgecolor="#c8102e", linewidth=3))
    names = [f"{name}\n{lon:g}, {lat:g}".replace("-", "−") for name, (lon, lat) in PLACES.items()]
    ax.set(xticks=range(len(PLACES)), yticks=[])
    ax.set_xticklabels(names, rotation=30, ha="left", rotation_mode="anchor")
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    figure.text(0.1, 0.415, "images", rotation=90, va="center", weight="bold", fontsize=13)
    figure.text(0.47, 0.955, "places", ha="center", weight="bold", fontsize=13)
    bar = figure.colorbar(shown, cax=figure.add_axes((0.86, 0.12, 0.02, 0.6)))
    bar.set_label("similarity of image and place")
    figure.savefig(DOCS / "images" / "what_training_matches.png", dpi=110)


if __name__ == "__main__":
    draw_reading()
    draw_matching()
    draw_landing()
