"""`skgeo-embed geolocate`: estimate where images were taken."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from skgeo_embed import ImageGeolocator
from skgeo_embed._errors import UsageError
from skgeo_embed._files import write_atomically
from skgeo_embed.cli._options import add_overwrite_argument, new_parser, read_array
from skgeo_embed.streaming.files import check_output


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "Match images with places all over the Earth and print the most probable places as CSV:\n"
        "image, rank, lon, lat, probability. The probabilities of all candidates sum to 1.",
        f"  {prog} patch1.tif patch2.tif --model satclip-vit16-l40\n"
        f"  {prog} tiles.npy --top 3 --output places.csv",
    )
    parser.add_argument(
        "images",
        nargs="+",
        help="GeoTIFF files, or one .npy file of shape (n, bands, height, width), with the bands "
        "that the model was trained on",
    )
    parser.add_argument(
        "--model",
        default=ImageGeolocator().model,
        help="a model with an image tower (default: %(default)s)",
    )
    parser.add_argument(
        "--top", type=int, default=1, help="number of places for each image (default: 1)"
    )
    parser.add_argument(
        "--candidates",
        type=int,
        default=ImageGeolocator().n_candidates,
        help="number of places to compare, spread evenly over the Earth (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, help="write to this .csv file instead of printing")
    add_overwrite_argument(parser)
    return parser.parse_args(arguments)


def run(settings: argparse.Namespace) -> None:
    """Geolocate the images."""
    output = None
    if settings.output is not None:
        output = check_output(settings.output, overwrite=settings.overwrite)
    if not 1 <= settings.top <= settings.candidates:
        raise UsageError(
            f"--top {settings.top} must be from 1 to the number of places that are compared, "
            f"--candidates {settings.candidates}."
        )
    arrays = [name for name in settings.images if name.endswith(".npy")]
    images: np.ndarray | list[str] = settings.images
    names = settings.images
    if arrays and len(settings.images) > 1:
        raise UsageError(
            f"pass one .npy file or GeoTIFFs; {arrays[0]} is one of {len(settings.images)} files."
        )
    missing = [name for name in settings.images if not Path(name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"there is no file {missing[0]} ({len(missing)} of the images are missing)."
        )
    if arrays:
        images = read_array(arrays[0])
        names = [str(index) for index in range(len(images))]
    geolocator = ImageGeolocator(settings.model, n_candidates=settings.candidates).fit()
    places, probability = geolocator.predict_top_k(images, k=settings.top)
    table = pd.DataFrame(
        {
            "image": np.repeat(names, settings.top),
            "rank": np.tile(np.arange(1, settings.top + 1), len(names)),
            "lon": places[..., 0].ravel().round(4),
            "lat": places[..., 1].ravel().round(4),
            "probability": probability.ravel(),
        }
    )
    if output is None:
        table.to_csv(sys.stdout, index=False, float_format="%.6g")
        return
    content = table.to_csv(index=False, float_format="%.6g").encode()
    write_atomically(output, content, overwrite=settings.overwrite)
    print(f"wrote {len(table)} places to {output}")
