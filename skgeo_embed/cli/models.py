"""`skgeo-embed models`: list the encoders that have a name."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from skgeo_embed.cli._options import new_parser
from skgeo_embed.models import folder as folders
from skgeo_embed.models.registry import BUNDLED, OTHERS, PUBLISHED, WEIGHTS_FOLDER

COLUMNS = ("name", "L", "features", "images", "licence", "where", "size")


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "List the encoders that can be named: those inside the package, the published SatCLIPs,\n"
        "those of other authors with the class that opens them; and what is in the hub's cache.\n"
        "Any hub repository or folder written by save_pretrained can be named as well.",
        f"  {prog}\n  {prog} --csv",
    )
    parser.add_argument("--csv", action="store_true", help="print comma-separated values")
    parser.add_argument("--cache-dir", help="the hub's cache to look into (default: its own)")
    return parser.parse_args(arguments)


def run(settings: argparse.Namespace) -> None:
    """Print the table."""
    rows = [*_bundled(), *_published(settings.cache_dir), *_others(settings.cache_dir)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    print(table.to_csv(index=False) if settings.csv else table.to_string(index=False))


def _bundled() -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for name, folder in BUNDLED.items():
        path = WEIGHTS_FOLDER / folder
        config = folders.read_config(path)
        location = config["location"]
        layer = config.get("default_layer", "embedding")
        width = location["embed_dim" if layer == "embedding" else "hidden_dim"]
        images = "yes" if config.get("image") else "no"
        size = _megabytes(path / folders.WEIGHTS_NAME)
        rows.append(
            (name, location["legendre_polys"], width, images, config["licence"], "package", size)
        )
    return rows


def _published(cache_dir: str | None) -> list[tuple[object, ...]]:
    from huggingface_hub import try_to_load_from_cache

    rows: list[tuple[object, ...]] = []
    for model in PUBLISHED.values():
        found = try_to_load_from_cache(
            model.repository, model.file, cache_dir, revision=model.revision
        )
        cached = isinstance(found, str)
        where = "cache" if cached else f"hub: {model.repository}"
        size = _megabytes(Path(str(found))) if cached else "-"
        rows.append((model.name, model.legendre_polys, 256, "yes", model.licence, where, size))
    return rows


def _others(cache_dir: str | None) -> list[tuple[object, ...]]:
    from huggingface_hub import try_to_load_from_cache

    rows: list[tuple[object, ...]] = []
    for other in OTHERS.values():
        found = try_to_load_from_cache(other.repository, other.file, cache_dir)
        where = "cache" if isinstance(found, str) else f"hub: {other.repository}"
        name, licence = f"{other.encoder}: {other.name}", other.licence or "unknown"
        size = f"{other.megabytes:.1f} MB"
        rows.append((name, "-", other.columns, "no", licence, where, size))
    return rows


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"
