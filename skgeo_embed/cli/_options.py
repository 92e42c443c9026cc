"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import Any, Literal

import numpy as np

from skgeo_embed import SatCLIPEncoder
from skgeo_embed._region import WORLD

NPY_MAGIC = b"\x93NUMPY"


def new_parser(prog: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Return a parser whose help ends with examples."""
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_encoder_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that `open_encoder` reads."""
    parser.add_argument(
        "--model",
        default=SatCLIPEncoder().model,
        help="a name that `skgeo-embed models` lists, a hub repository, a folder or a .ckpt file "
        "(default: %(default)s, which needs no network)",
    )
    parser.add_argument(
        "--layer",
        choices=["auto", "embedding", "hidden", "content"],
        default="auto",
        help="embedding: comparable with images; hidden: usually the better features; content: "
        "what the place looks like, in named columns; auto: the encoder's own choice (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--n-components",
        type=int,
        help="number of columns to keep: 256 score almost as well as the default's 768, and 64 "
        "lose more (default: all)",
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the first that is available)")


def open_encoder(settings: argparse.Namespace, **parameters: Any) -> SatCLIPEncoder:
    """Return the fitted encoder that the flags name."""
    return SatCLIPEncoder(
        settings.model,
        layer=settings.layer,
        n_components=settings.n_components,
        device=settings.device,
        **parameters,
    ).fit()


def add_csv_arguments(parser: Any) -> None:
    """Add the flags for the format of CSV files; a flag that is not given is None."""
    parser.add_argument(
        "--delimiter", help="delimiter of CSV files: , or ; or a tab (default: recognised)"
    )
    parser.add_argument(
        "--decimal",
        choices=[".", ","],
        help="decimal mark of a CSV file's numbers; what is added to a CSV output has it too "
        "(default: .)",
    )
    parser.add_argument(
        "--encoding",
        help="encoding of CSV files, such as cp1252 or latin-1; a CSV output has it too (default: "
        "utf-8)",
    )


def csv_settings(settings: argparse.Namespace) -> dict[str, Any]:
    """Return what those flags say, as the functions take it."""
    return {
        "delimiter": settings.delimiter,
        "decimal": settings.decimal or ".",
        "encoding": settings.encoding or "utf-8",
    }


def add_overwrite_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that lets a command replace a file."""
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")


def add_region_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that describe a grid."""
    parser.add_argument(
        "--region",
        type=float,
        nargs=4,
        default=list(WORLD),
        metavar=("WEST", "SOUTH", "EAST", "NORTH"),
        help="degrees; across the antimeridian EAST is above 180, or less than WEST (default: the "
        "world)",
    )
    parser.add_argument(
        "--resolution",
        type=float,
        default=1.0,
        help="size of a cell in degrees, rounded so that whole cells fill the region (default: 1)",
    )


def add_restart_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that lets a command forget an interrupted run."""
    parser.add_argument(
        "--restart",
        action="store_true",
        help="discard what an interrupted run has made, and start again",
    )


def add_grid_arguments(parser: Any) -> None:
    """Add the flags that describe the cells of a map, which may be in a projected system."""
    parser.add_argument(
        "--region",
        type=float,
        nargs=4,
        metavar=("WEST", "SOUTH", "EAST", "NORTH"),
        help="degrees; across the antimeridian EAST is above 180, or less than WEST (default: the "
        "world, or the area of use of --crs)",
    )
    parser.add_argument(
        "--resolution",
        help="size of a cell: degrees (default: 1), rounded so that whole cells fill the region, "
        "or a length such as 1km with --crs",
    )
    parser.add_argument("--crs", help="coordinate reference system, such as EPSG:3035")
    parser.add_argument("--like", help="a raster; the map has the same grid")
    parser.add_argument("--mask", help="land, a file of polygons, or a raster")


def number_or_text(text: str | None) -> Any:
    """Read a number, or return a text that is not a number."""
    if text is None:
        return None
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def read_array(path: str, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """Read the array in a .npy file."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(NPY_MAGIC))
        if start != NPY_MAGIC:
            raise ValueError(f"it begins with {start!r}")
        return np.load(path, mmap_mode=mmap_mode)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {path}.") from error
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as a .npy file of numbers: {error}") from error
