"""`skgeo-embed pretrain`: train an encoder on images."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pandas as pd

from skgeo_embed import SatCLIPPretrainer
from skgeo_embed._errors import UsageError
from skgeo_embed.cli._options import read_array
from skgeo_embed.pretraining.recipe import RECIPES, Recipe


def parse(prog: str, arguments: list[str]) -> dict[str, Any]:
    """Read the arguments: each one of the pretrainer is a flag and a key of the config file."""
    import lightning.pytorch as lightning
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog=prog,
        description=(
            "Pretrain a location encoder on images and coordinates. Every argument of "
            "SatCLIPPretrainer and of its Recipe is a flag and a key of the config file; flags "
            "after --config override the file. For example: skgeo-embed pretrain --config "
            "vit16-l40.yaml --images s2-100k --output my-encoder --recipe.temperature 0.1 "
            "--checkpoint_dir run --resume auto"
        ),
    )
    parser.add_argument(
        "--config", action="config", help="YAML file with any of the arguments below"
    )
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
        "--output", type=str, required=True, help="new or empty folder for the encoders"
    )
    parser.add_argument(
        "--licence", type=str, default="other", help="SPDX name of the weights' licence"
    )
    parser.add_argument(
        "--trained_on",
        type=str | None,
        default=None,
        help="one sentence that describes the images and gives the credit that they require",
    )
    parser.add_argument(
        "--callbacks",
        type=list[lightning.Callback] | None,
        default=None,
        help="callbacks of Lightning for trainer_options, each with class_path and init_args",
    )
    parser.add_class_arguments(SatCLIPPretrainer, skip={"recipe"})
    parser.add_class_arguments(Recipe, "recipe")
    parser.set_defaults({f"recipe.{key}": value for key, value in RECIPES["episodes"].items()})
    settings = parser.instantiate(parser.parse_args(arguments))
    return {key: value for key, value in settings.as_dict().items() if key != "config"}


def run(settings: dict[str, Any]) -> None:
    """Train with the given settings, and write the encoders."""
    parameters = dict(settings)
    images, coords, output, licence, trained_on, callbacks = (
        parameters.pop(key)
        for key in ("images", "coords", "output", "licence", "trained_on", "callbacks")
    )
    if callbacks:
        options = parameters["trainer_options"] or {}
        parameters["trainer_options"] = {**options, "callbacks": callbacks}
    folder = Path(output).expanduser()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {output} is a file; name a new folder.")
    if _is_taken(folder):
        raise FileExistsError(f"--output {output} is not empty; choose a new folder.")
    source: Any = images
    places = None
    if images.endswith(".npy"):
        if coords is None:
            raise UsageError(f"--images {images} needs --coords, a CSV file with lon and lat.")
        source = read_array(images, mmap_mode="r")
        places = _read_places(coords)
    elif coords is not None:
        raise UsageError(f"--coords is only for a .npy file; {images} has its own index.csv.")
    pretrainer = SatCLIPPretrainer(**parameters).fit(source, places)
    if len(pretrainer.bad_images_):
        print(f"left out {len(pretrainer.bad_images_)} images:\n{pretrainer.bad_images_}")
    if _is_taken(folder):  # by another run; the trained encoder is saved beside it
        folder = _free_beside(folder)
        print(f"{output} has been filled in the meantime")
    written = pretrainer.save_pretrained(folder, licence=licence, trained_on=trained_on)
    print(f"wrote {written}; open it with SatCLIPEncoder({str(written)!r})")


def _is_taken(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())


def _free_beside(folder: Path) -> Path:
    names = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    return next(path for path in names if not path.exists())


def _read_places(path: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {path}.") from error
    except (OSError, ValueError) as error:  # parser's errors among them
        raise ValueError(f"{path} cannot be read as CSV: {error}") from error
    if not {"lon", "lat"} <= set(table.columns):
        raise ValueError(
            f"{path} needs the columns lon and lat; it has {', '.join(map(str, table.columns))}."
        )
    return table[["lon", "lat"]]
