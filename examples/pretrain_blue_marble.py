"""Pretrain a location encoder on real satellite imagery, then use it in a pipeline.

Tiles are cut from NASA's Blue Marble (August 2004, ships with the package), an image tower and a
location tower learn to match each tile with its coordinates, and the location tower becomes the
features of a temperature model. The bundled encoder `bluemarble-l10` is what this script writes
with its default arguments:

    python examples/pretrain_blue_marble.py --save bluemarble-l10

About two minutes on 2 CPU cores; `--tiles 2000 --epochs 3` shows the idea in seconds.
"""

import argparse
import time

from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgeo_embed import SatCLIPEncoder, SatCLIPPretrainer
from skgeo_embed.datasets import load_air_temperature, load_blue_marble

CREDIT = (
    "NASA Blue Marble Next Generation, August 2004 (public domain; credit: NASA Earth "
    "Observatory, Reto Stöckli)"
)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=30_000, help="number of image tiles")
    parser.add_argument("--epochs", type=int, default=15, help="passes over the tiles")
    parser.add_argument("--save", metavar="FOLDER", help="write both towers to this folder")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    tiles = load_blue_marble(arguments.tiles, tile_size=16, km_per_pixel=20, random_state=0)
    print(f"{len(tiles.images)} tiles of {tiles.images.shape[1:]}, 320 km wide")

    started = time.perf_counter()
    pretrainer = SatCLIPPretrainer(
        legendre_polys=10,
        max_epochs=arguments.epochs,
        batch_size=min(512, arguments.tiles // 2),
        random_state=0,
        verbose=2,
    ).fit(tiles.images, tiles.coords)
    print(f"pretrained in {time.perf_counter() - started:.0f} s")

    unseen = load_blue_marble(1000, tile_size=16, km_per_pixel=20, random_state=1)
    top1 = pretrainer.score(unseen.images, unseen.coords)
    print(f"1,000 unseen tiles: {top1:.1%} find their own place, {top1 * 1000:.0f} times chance")

    X, y = load_air_temperature(return_X_y=True)
    encoder = SatCLIPEncoder(pretrainer.model_.location, layer="hidden")
    model = make_pipeline(encoder, StandardScaler(), RidgeCV(alphas=[0.1, 1, 10, 100]))
    folds = KFold(5, shuffle=True, random_state=0)
    r2 = cross_val_score(model, X, y, cv=folds).mean()
    print(f"station temperature, R² on random folds: {r2:.3f}")

    if arguments.save:
        folder = pretrainer.save_pretrained(
            arguments.save, licence="MIT", trained_on=CREDIT, default_layer="hidden"
        )
        print(f"saved to {folder}")


if __name__ == "__main__":
    main()
