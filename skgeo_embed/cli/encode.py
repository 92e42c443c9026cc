"""`skgeo-embed encode`: add features to a table that may be larger than memory."""

from __future__ import annotations

import argparse
from pathlib import Path

from skgeo_embed.cli._options import (
    add_csv_arguments,
    add_encoder_arguments,
    add_overwrite_argument,
    add_restart_argument,
    csv_settings,
    new_parser,
    open_encoder,
)
from skgeo_embed.streaming.files import FORMATS, check_arrow, check_output, check_source
from skgeo_embed.streaming.table import encode_table


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "Add an encoder's features to the rows of a Parquet or CSV table, and keep its other\n"
        "columns. The table may be larger than memory. Repeat the command to resume a run that\n"
        "was interrupted. The output file is created only when it is complete.\n"
        "Values of a CSV file stay text: type inference drops leading zeros and reads Namibia's\n"
        '"NA" as missing.',
        f"  {prog} points.parquet features.parquet\n"
        f"  {prog} stations.csv features.parquet --lon x --lat y --on-invalid nan\n"
        f"  {prog} parcels.parquet out.parquet --geometry geometry\n"
        f"  {prog} points.parquet out.parquet --model satclip-vit16-l40 --layer embedding",
    )
    parser.add_argument("input", type=Path, help="a .parquet, .csv, .csv.gz or .csv.zst file")
    parser.add_argument("output", type=Path, help="the file to write, of one of these kinds")
    parser.add_argument("--lon", help="name of the longitude column (default: recognised)")
    parser.add_argument("--lat", help="name of the latitude column (default: recognised)")
    parser.add_argument(
        "--geometry",
        help="column of geometries (WKB or WKT) or H3 cells, in place of longitude and latitude "
        "(default: GeoParquet's own)",
    )
    add_csv_arguments(parser)
    add_encoder_arguments(parser)
    parser.add_argument(
        "--on-invalid",
        choices=["raise", "nan"],
        default="raise",
        help="what to do with rows of missing or impossible coordinates: stop with an error, or "
        "leave their features null and report them (default: %(default)s)",
    )
    add_overwrite_argument(parser)
    add_restart_argument(parser)
    return parser.parse_args(arguments)


def run(settings: argparse.Namespace) -> None:
    """Encode the table."""
    source = check_source(settings.input)  # before a model is fetched
    output = check_output(settings.output, overwrite=settings.overwrite, suffixes=FORMATS)
    check_arrow(source, output)
    print(f"encoding {source} with {settings.model}", flush=True)  # before torch is imported
    written = encode_table(
        open_encoder(settings, on_invalid=settings.on_invalid),
        settings.input,
        settings.output,
        lon=settings.lon,
        lat=settings.lat,
        geometry=settings.geometry,
        **csv_settings(settings),
        overwrite=settings.overwrite,
        restart=settings.restart,
    )
    print(f"wrote {written.rows:,} rows with {written.features} features to {settings.output}")
    if written.bad:
        more = ", ..." if written.bad > len(written.first_bad) else ""
        print(
            f"left the features of {written.bad:,} rows null: their coordinates are missing or "
            f"impossible: rows {', '.join(map(str, written.first_bad))}{more} (the first row is 0)"
        )
