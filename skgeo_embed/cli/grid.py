"""`skgeo-embed grid`: encode a whole grid of longitudes and latitudes."""

from __future__ import annotations

import argparse
from pathlib import Path

from skgeo_embed.cli._options import (
    add_encoder_arguments,
    add_overwrite_argument,
    add_region_arguments,
    new_parser,
    open_encoder,
)
from skgeo_embed.streaming.files import check_output
from skgeo_embed.streaming.grid import encode_grid


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "Encode the centres of a grid's cells into a NumPy file (n_lat, n_lon, features), rows\n"
        "from north to south. The file may be larger than memory. The axes are written beside it\n"
        "as OUTPUT.lon.npy and OUTPUT.lat.npy.",
        f"  {prog} world.npy --resolution 0.5\n"
        f"  {prog} alps.npy --region 5 44 16 48 --resolution 0.05 --layer embedding",
    )
    parser.add_argument(
        "output", type=Path, help="a .npy file, to be opened by numpy.load(..., mmap_mode='r')"
    )
    add_encoder_arguments(parser)
    add_region_arguments(parser)
    add_overwrite_argument(parser)
    return parser.parse_args(arguments)


def run(settings: argparse.Namespace) -> None:
    """Encode the grid."""
    check_output(settings.output, overwrite=settings.overwrite, suffixes=[".npy"])
    # before torch is imported
    print(f"encoding cells of {settings.resolution:g}° with {settings.model}", flush=True)
    n_lat, n_lon, width = encode_grid(
        open_encoder(settings),
        settings.output,
        region=settings.region,
        resolution=settings.resolution,
        overwrite=settings.overwrite,
    )
    print(f"wrote {n_lat} x {n_lon} places with {width} features to {settings.output}")
