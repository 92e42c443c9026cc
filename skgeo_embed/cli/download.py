"""`skgeo-embed download`: fetch encoders into the hub's cache."""

from __future__ import annotations

import argparse

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.cli._options import new_parser


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "Fetch encoders into the hub's cache, compare them with their hashes and open them. They\n"
        "then work without a network.",
        f"  {prog} satclip-vit16-l40\n  {prog} microsoft/SatCLIP-ResNet50-L10 me/my-encoder",
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="a name that `models` lists, or a repository"
    )
    parser.add_argument("--revision", help="branch, tag or commit (default: the registry's)")
    parser.add_argument("--cache-dir", help="where to keep the files (default: the hub's cache)")
    return parser.parse_args(arguments)


def run(settings: argparse.Namespace) -> None:
    """Fetch the encoders one after another."""
    for model in settings.models:
        encoder = SatCLIPEncoder(
            model, revision=settings.revision, cache_dir=settings.cache_dir
        ).fit()
        info = encoder.encoder_info_
        where = info["path"] or "inside the package"
        commit = f", commit {info['revision']}" if info["revision"] else ""
        print(f"{info['name']}: {where}{commit}, sha256 {info['sha256']}, {info['licence']}")
