"""`skgeo-embed grid`: encode a whole grid of longitudes and latitudes."""

from __future__ import annotations

import argparse
import io
import os
from pathlib import Path

import numpy as np

from skgeo_embed._files import write_atomically
from skgeo_embed.cli._options import (
    UsageError,
    add_encoder_arguments,
    add_overwrite_argument,
    add_region_arguments,
    check_output,
    new_parser,
    open_encoder,
)
from skgeo_embed.inspection._earth import grid_axes, grid_blocks


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "Encode the centres of a grid's cells into a NumPy file (n_lat, n_lon, features), rows\n"
        "from north to south. The file is filled a few rows at a time and may be larger than\n"
        "memory; the axes are written beside it as OUTPUT.lon.npy and OUTPUT.lat.npy.",
        f"  {prog} world.npy --resolution 0.5\n"
        f"  {prog} alps.npy --region 5 44 16 48 --resolution 0.05 --layer embedding",
    )
    parser.add_argument("output", type=Path, help="a .npy file; numpy.load(..., mmap_mode='r')")
    add_encoder_arguments(parser)
    add_region_arguments(parser)
    add_overwrite_argument(parser)
    return parser.parse_args(arguments)


def run(settings: argparse.Namespace) -> None:
    """Encode the grid."""
    from tqdm import tqdm

    output = check_output(settings.output, overwrite=settings.overwrite, suffixes=[".npy"])
    axis_files = [output.with_suffix(f".{name}.npy") for name in ("lon", "lat")]
    for path in axis_files:
        check_output(path, overwrite=settings.overwrite)
    try:
        lon, lat = grid_axes(settings.region, settings.resolution)
    except ValueError as error:
        raise UsageError(str(error)) from error
    encoder = open_encoder(settings)
    shape = (len(lat), len(lon), len(encoder.get_feature_names_out()))
    temporary = output.with_name(f".{output.name}.new")
    try:
        grid = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        with tqdm(total=len(lat), desc="encoding", unit=" rows", disable=None) as progress:
            for rows, features in grid_blocks(encoder, lon, lat):
                grid[rows] = features
                progress.update(len(features))
        grid.flush()
        for path, axis in zip(axis_files, (lon, lat), strict=True):
            content = io.BytesIO()
            np.save(content, axis)
            write_atomically(path, content.getvalue())
        os.replace(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)
    print(f"wrote {shape[0]} x {shape[1]} places with {shape[2]} features to {output}")
