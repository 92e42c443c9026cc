"""`skgeo-embed pretrain`: train an encoder on images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skgeo_embed import SatCLIPPretrainer
from skgeo_embed.pretraining.recipe import RECIPES, Recipe


def parse(prog: str, arguments: list[str]) -> dict[str, Any]:
    """Read the arguments: every one of the pretrainer is a key of the file and a flag."""
    import lightning.pytorch as lightning
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog=prog,
        description=(
            "Pretrain a location encoder on images and coordinates. Every argument of "
            "SatCLIPPretrainer and of its Recipe is a flag and a key of the config file; flags "
            "after --config win. For example: skgeo-embed pretrain --config vit16-l40.yaml "
            "--images s2-100k --output my-encoder --recipe.temperature 0.1 --checkpoint_dir run "
            "--resume auto"
        ),
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the keys below")
    parser.add_argument(
        "--images",
        type=str,
        required=True,
        help="folder in the layout of S2-100K (index.csv with fn, lon, lat; images/ or "
        "data/*.tar), or a .npy file of shape (n, bands, height, width)",
    )
    parser.add_argument(
        "--coords", type=str | None, default=None, help="CSV file with lon and lat, for a .npy file"
    )
    parser.add_argument(
        "--output", type=str, required=True, help="folder to write the encoders to; must be new"
    )
    parser.add_argument("--licence", type=str, default="other", help="SPDX name for the weights")
    parser.add_argument(
        "--trained_on", type=str | None, default=None, help="what the images are, and their credit"
    )
    parser.add_argument(
        "--callbacks",
        type=list[lightning.Callback] | None,
        default=None,
        help="Lightning's, by class_path and init_args, for trainer_options",
    )
    parser.add_class_arguments(SatCLIPPretrainer, skip={"recipe"})
    parser.add_class_arguments(Recipe, "recipe")
    parser.set_defaults({f"recipe.{key}": value for key, value in RECIPES["episodes"].items()})
    settings = parser.instantiate(parser.parse_args(arguments))
    return {key: value for key, value in settings.as_dict().items() if key != "config"}


def run(settings: dict[str, Any]) -> None:
    """Train as the settings say, and write the encoders."""
    given = dict(settings)
    images, coords, output, licence, trained_on, callbacks = (
        given.pop(key)
        for key in ("images", "coords", "output", "licence", "trained_on", "callbacks")
    )
    if callbacks:
        given["trainer_options"] = {**(given["trainer_options"] or {}), "callbacks": callbacks}
    folder = Path(output).expanduser()
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"--output {output} is not empty; choose a new folder.")
    source: Any = images
    if images.endswith(".npy"):
        if coords is None:
            raise ValueError(f"--images {images} needs --coords, a CSV file with lon and lat.")
        source = np.load(images, mmap_mode="r")
    elif coords is not None:
        raise ValueError(f"--coords goes with a .npy file; {images} has its own index.csv.")
    places = None if coords is None else pd.read_csv(coords)
    pretrainer = SatCLIPPretrainer(**given).fit(source, _lon_lat(places, coords))
    if len(pretrainer.bad_images_):
        print(f"left out {len(pretrainer.bad_images_)} images:\n{pretrainer.bad_images_}")
    written = pretrainer.save_pretrained(folder, licence=licence, trained_on=trained_on)
    print(f"wrote {written}; open it with SatCLIPEncoder({str(written)!r})")


def _lon_lat(table: pd.DataFrame | None, name: str | None) -> pd.DataFrame | None:
    if table is None:
        return None
    if not {"lon", "lat"} <= set(table.columns):
        raise ValueError(
            f"{name} needs the columns lon and lat; it has {', '.join(map(str, table.columns))}."
        )
    return table[["lon", "lat"]]
