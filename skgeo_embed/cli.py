"""The command `skgeo-embed`."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skgeo_embed import SatCLIPPretrainer, __version__

Run = Callable[[Any], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, default=None
        What follows the command's name; None takes this process's.

    Returns
    -------
    code : int
        0, 1 where the work failed, 2 where the arguments are wrong, 130 after Ctrl-C.
    """
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog="skgeo-embed",
        description="Learned features for places; see `skgeo-embed COMMAND --help`.",
        version=__version__,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subcommands(metavar="COMMAND")
    runs: dict[str, Run] = {}
    for name, (help_text, make, run) in COMMANDS.items():
        commands.add_subcommand(name, make(), help=help_text)
        runs[name] = run
    try:
        chosen = parser.parse_args(None if arguments is None else list(arguments))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    if chosen.subcommand is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        runs[chosen.subcommand](parser.instantiate(chosen)[chosen.subcommand])
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if chosen.debug:
            traceback.print_exc()
        print(f"skgeo-embed {chosen.subcommand}: error: {error}", file=sys.stderr)
        return 1
    return 0


def pretrain_parser() -> Any:
    """Return the parser of `pretrain`: every argument of the pretrainer is a key and a flag."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        description=(
            "Pretrain a location encoder on images and coordinates. Every argument of "
            "SatCLIPPretrainer is a flag here and a key of the config file; flags after --config "
            "win. For example: skgeo-embed pretrain --config vit16-l40.yaml --images s2-100k "
            "--output my-encoder --checkpoint_dir run --resume auto"
        )
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
    parser.add_class_arguments(SatCLIPPretrainer)
    return parser


def run_pretrain(settings: Any) -> None:
    """Train as the settings say, and write the encoders."""
    given = dict(settings.as_dict() if hasattr(settings, "as_dict") else settings)
    given.pop("config", None)
    images, coords, output, licence, trained_on = (
        given.pop(key) for key in ("images", "coords", "output", "licence", "trained_on")
    )
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


COMMANDS: dict[str, tuple[str, Callable[[], Any], Run]] = {
    "pretrain": ("train an encoder on images", pretrain_parser, run_pretrain),
}
