"""`skgeo-embed grid`: encode a whole grid of longitudes and latitudes."""

from __future__ import annotations

import argparse
from pathlib import Path

from skgeo_embed.cli._options import (
    add_encoder_arguments,
    add_grid_arguments,
    add_overwrite_argument,
    add_restart_argument,
    new_parser,
    number_or_text,
    open_encoder,
)
from skgeo_embed.streaming.grid import encode_grid
from skgeo_embed.streaming.maps.engine import check_map_output


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "Encode the centres of a grid's cells into a GeoTIFF, a Zarr store or a NetCDF file, or\n"
        "into a NumPy file (n_lat, n_lon, features), rows from north to south, with the axes\n"
        "beside it as OUTPUT.lon.npy and OUTPUT.lat.npy. The file may be larger than memory.",
        f"  {prog} world.npy --resolution 0.5\n"
        f"  {prog} europe.tif --crs EPSG:3035 --resolution 50km --mask land\n"
        f"  {prog} alps.npy --region 5 44 16 48 --resolution 0.05 --layer embedding",
    )
    parser.add_argument(
        "output",
        type=Path,
        help="a .tif, .zarr or .nc file, or a .npy file for numpy.load(..., mmap_mode='r')",
    )
    add_encoder_arguments(parser)
    add_grid_arguments(parser)
    add_overwrite_argument(parser)
    add_restart_argument(parser)
    return parser.parse_args(arguments)


def run(settings: argparse.Namespace) -> None:
    """Encode the grid."""
    check_map_output(settings.output, overwrite=settings.overwrite, also=(".npy",))
    print(f"encoding a grid with {settings.model}", flush=True)  # before torch is imported
    n_lat, n_lon, width = encode_grid(
        open_encoder(settings),
        settings.output,
        region=settings.region,
        resolution=number_or_text(settings.resolution),
        crs=settings.crs,
        like=settings.like,
        mask=settings.mask,
        overwrite=settings.overwrite,
        restart=settings.restart,
    )
    print(f"wrote {n_lat} x {n_lon} places with {width} features to {settings.output}")
