"""`skgeo-embed encode`: add features to a table that may be larger than memory."""

from __future__ import annotations

import argparse
from pathlib import Path

from skgeo_embed.cli._options import (
    add_encoder_arguments,
    add_overwrite_argument,
    new_parser,
    open_encoder,
)
from skgeo_embed.streaming.files import FORMATS, check_arrow, check_output, check_source
from skgeo_embed.streaming.table import encode_table


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "Add an encoder's features to the rows of a Parquet or CSV table, keeping its other\n"
        "columns. Tables larger than memory are streamed; an interrupted run goes on where it\n"
        "stopped when the same command is given again; the output appears when it is whole.\n"
        "Other columns of a CSV file stay the text that they are.",
        f"  {prog} points.parquet features.parquet\n"
        f"  {prog} stations.csv features.parquet --lon x --lat y --on-invalid nan\n"
        f"  {prog} parcels.parquet out.parquet --geometry geometry\n"
        f"  {prog} points.parquet out.parquet --model satclip-vit16-l40 --layer embedding",
    )
    parser.add_argument("input", type=Path, help="a .parquet, .csv, .csv.gz or .csv.zst file")
    parser.add_argument("output", type=Path, help="such a file, to be written")
    parser.add_argument("--lon", help="name of the longitude column (default: recognised)")
    parser.add_argument("--lat", help="name of the latitude column (default: recognised)")
    parser.add_argument(
        "--geometry",
        help="column of geometries (WKB or WKT) or H3 cells instead (default: GeoParquet's own)",
    )
    parser.add_argument("--delimiter", help="of CSV files: , or ; or a tab (default: recognised)")
    parser.add_argument(
        "--decimal",
        choices=[".", ","],
        default=".",
        help="decimal mark of a CSV file's coordinates (default: %(default)s)",
    )
    add_encoder_arguments(parser)
    parser.add_argument(
        "--on-invalid",
        choices=["raise", "nan"],
        default="raise",
        help="rows with missing or impossible coordinates: stop with an error, or leave their "
        "features null and report them (default: %(default)s)",
    )
    add_overwrite_argument(parser)
    parser.add_argument(
        "--restart", action="store_true", help="forget what an interrupted run has written"
    )
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
        delimiter=settings.delimiter,
        decimal=settings.decimal,
        overwrite=settings.overwrite,
        restart=settings.restart,
    )
    print(f"wrote {written.rows:,} rows with {written.features} features to {settings.output}")
    if written.bad:
        more = ", ..." if written.bad > len(written.first_bad) else ""
        print(
            f"left the features of {written.bad:,} rows null, whose coordinates are missing or "
            f"impossible: rows {', '.join(map(str, written.first_bad))}{more} (the first row is 0)"
        )
