"""`skgeo-embed map`: draw an encoder's map of the Earth."""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from skgeo_embed._errors import UsageError
from skgeo_embed._files import write_atomically
from skgeo_embed._region import WORLD
from skgeo_embed.cli._options import (
    add_encoder_arguments,
    add_overwrite_argument,
    add_region_arguments,
    new_parser,
    open_encoder,
)
from skgeo_embed.inspection._earth import import_pyplot
from skgeo_embed.streaming.files import check_output
from skgeo_embed.streaming.grid import grid_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from skgeo_embed.inspection import EmbeddingMapDisplay


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
    try:  # before a model is fetched
        grid_axes(settings.region, settings.resolution)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if globe and tuple(settings.region) != WORLD:
        raise UsageError("a .gif shows the whole world; leave --region out, or choose a .png.")
    lon, lat = settings.like or (0.0, 0.0)
    if not (-180 <= lon <= 360 and -90 <= lat <= 90):
        raise UsageError(f"--like takes a longitude, then a latitude, in degrees; got {lon} {lat}.")
    print(f"encoding cells of {settings.resolution:g}°", file=sys.stderr, flush=True)
    encoder = open_encoder(settings)
    options = {
        "region": tuple(settings.region),
        "resolution": settings.resolution,
        "land_only": not settings.ocean,
    }
    if settings.like:
        figure = SimilarityMapDisplay.from_estimator(encoder, [settings.like], **options).figure_
        picture = _drawn(figure, output.suffix)
    else:
        shown = EmbeddingMapDisplay.from_estimator(encoder, feature=settings.feature, **options)
        picture = _turning(shown) if globe else _drawn(shown.figure_, output.suffix)
    write_atomically(output, picture, overwrite=settings.overwrite)
    plt.close("all")
    print(f"drew {output}")


def _drawn(figure: Figure, suffix: str) -> bytes:
    page = io.BytesIO()
    figure.savefig(page, format=suffix[1:], dpi=150, bbox_inches="tight")
    return page.getvalue()


def _turning(display: EmbeddingMapDisplay) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return display.animate(Path(folder) / "globe.gif", verbose=True).read_bytes()
