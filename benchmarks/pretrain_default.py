"""Train the default encoder, earth-l20, from the layers that ship with the package.

    python benchmarks/pretrain_default.py earth-l20    # about 16 minutes on 2 CPU cores

A feature grid of three seasons, lights and elevation and fine waves beside harmonics of L = 20, two
sine layers of 1,024; contrastive matching with tiles of the same layers at four scales, and ridge
episodes on the hidden layer. Then the hidden layers, and those of a wide untrained network, are
distilled to 768 principal components, among which the night lights of 5 km stand as they are: the
grid is too coarse for them. Writes a folder that `SatCLIPEncoder` opens, the one in
skgeo_embed/weights.
"""

import argparse
import time

from skgeo_embed import Recipe, SatCLIPPretrainer
from skgeo_embed.datasets import load_earth_tiles
from skgeo_embed.pretraining.content import earth_grid

CREDIT = (
    "NASA Blue Marble Next Generation of August, May and autumn and city lights (public domain; "
    "credit: NASA Earth Observatory, Reto Stöckli), and NOAA ETOPO1 (public domain)"
)
SCALES = (5, 20, 80, 320)  # km a pixel: tiles 60 to 3,840 km wide


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="where to write the encoder")
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3000, help="of the distillation")
    arguments = parser.parse_args()
    started = time.perf_counter()
    grid = earth_grid()
    print(f"feature grid: {time.perf_counter() - started:.0f} s", flush=True)
    tiles = load_earth_tiles(arguments.tiles, tile_size=12, km_per_pixel=SCALES, random_state=0)
    print(f"tiles {tiles.images.shape}: {time.perf_counter() - started:.0f} s", flush=True)
    pretrainer = SatCLIPPretrainer(
        Recipe(
            legendre_polys=20,
            hidden_dim=1024,
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
        batch_size=2048,
        max_epochs=arguments.epochs,
        val_fraction=0.02,
        random_state=0,
        verbose=2,
    ).fit(tiles.images, tiles.coords)
    print(f"trained: {time.perf_counter() - started:.0f} s", flush=True)
    pretrainer.distill(tiles.coords, n_steps=arguments.steps, fine_layers=["lights"])
    print(f"distilled: {time.perf_counter() - started:.0f} s", flush=True)
    some = slice(0, 2000)
    top1 = pretrainer.score(tiles.images[some], tiles.coords[some])
    print(f"an image finds its place among 2,000: {top1:.3f}", flush=True)
    pretrainer.save_pretrained(
        arguments.folder,
        licence="MIT",
        trained_on=CREDIT,
        default_layer="hidden",
        dtype="float16",
    )
    print(f"wrote {arguments.folder}: {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
