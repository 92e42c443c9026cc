"""`skgeo-embed map`: draw an encoder's map of the Earth."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from skgeo_embed._errors import UsageError
from skgeo_embed._files import write_atomically
from skgeo_embed.cli._options import (
    add_encoder_arguments,
    add_overwrite_argument,
    add_region_arguments,
    new_parser,
    open_encoder,
)
from skgeo_embed.inspection._earth import import_pyplot
from skgeo_embed.streaming.files import check_output


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "Draw an encoder's features on a map: three principal components as colours, one column,\n"
        "or the similarity to a place. A .gif shows a turning globe.",
        f"  {prog} earth.png\n"
        f"  {prog} globe.gif --model satclip-vit16-l40\n"
        f"  {prog} europe.png --region -12 34 40 72 --resolution 0.1\n"
        f"  {prog} napa.png --like -122.3 38.5",
    )
    parser.add_argument("output", type=Path, help="an image file: .png, .pdf, .svg, .jpg, or .gif")
    add_encoder_arguments(parser)
    add_region_arguments(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--feature", type=int, help="number of the column to draw")
    what.add_argument(
        "--like", type=float, nargs=2, metavar=("LON", "LAT"), help="draw the similarity to a place"
    )
    parser.add_argument("--ocean", action="store_true", help="draw the ocean too")
    add_overwrite_argument(parser)
    return parser.parse_args(arguments)


def run(settings: argparse.Namespace) -> None:
    """Draw the map."""
    from skgeo_embed.inspection import EmbeddingMapDisplay, SimilarityMapDisplay

    plt = import_pyplot()
    plt.switch_backend("agg")
    output = check_output(settings.output, overwrite=settings.overwrite)
    globe = output.suffix == ".gif"
    if not globe and output.suffix[1:] not in plt.gcf().canvas.get_supported_filetypes():
        raise UsageError(
            f"matplotlib cannot write {output.name}; choose a name that ends in .png, .pdf or .svg."
        )
    if globe and settings.like:
        raise UsageError("a .gif cannot show the similarity to a place (--like); choose a .png.")
    print(f"encoding cells of {settings.resolution:g}°", file=sys.stderr, flush=True)
    encoder = open_encoder(settings)
    options = {
        "region": tuple(settings.region),
        "resolution": settings.resolution,
        "land_only": not settings.ocean,
    }
    display: EmbeddingMapDisplay | SimilarityMapDisplay
    if settings.like:
        display = SimilarityMapDisplay.from_estimator(encoder, [settings.like], **options)
    else:
        display = EmbeddingMapDisplay.from_estimator(encoder, feature=settings.feature, **options)
    if globe:
        assert isinstance(display, EmbeddingMapDisplay)
        display.animate(output, verbose=True)
    else:
        picture = io.BytesIO()
        display.figure_.savefig(picture, format=output.suffix[1:], dpi=150, bbox_inches="tight")
        write_atomically(output, picture.getvalue(), overwrite=settings.overwrite)
    plt.close("all")
    print(f"drew {output}")
