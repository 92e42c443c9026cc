"""`skgeo-embed check`: compare encoders with numbers printed from their real weights."""

from __future__ import annotations

import argparse

from skgeo_embed._errors import ModelFormatError
from skgeo_embed.cli._options import new_parser


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "Open published weights, after downloading them if necessary, and compare their output on\n"
        "this machine with published numbers: sizes, names of tensors, similarities of places,\n"
        "features. The exit code is 0 if all agree, and 1 otherwise.\n"
        "Include the output in bug reports.",
        f"  {prog} satclip-vit16-l40\n  {prog} geoclip\n"
        f"  {prog} pre_trained_models/xyz/model_yfcc_xyz.pth.tar",
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="a name that `models` lists, or a file"
    )
    parser.add_argument("--revision", help="branch, tag or commit (default: the registry's)")
    parser.add_argument("--cache-dir", help="the hub's cache to use (default: its own)")
    return parser.parse_args(arguments)


def run(settings: argparse.Namespace) -> None:
    """Compare the encoders one after another, and fail if a number differs."""
    from skgeo_embed.models.fingerprints import check_model
    from skgeo_embed.models.hub import HubOptions

    options = HubOptions(settings.revision, settings.cache_dir)
    wrong, total = 0, 0
    for model in settings.models:
        loaded, source, findings = check_model(model, options)
        info = loaded.info
        commit = f", commit {info['revision']}" if info["revision"] else ""
        print(f"{info['name']}: {info['path']}{commit}\nsha256 {info['sha256']}")
        print(f"compared with {source}")
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            sign = "ok  " if finding.agrees else "FAIL"
            expected = "" if finding.agrees else f"   expected {finding.expected}"
            print(f"  {sign} {finding.what:{width}}  {finding.found}{expected}")
        wrong += sum(not finding.agrees for finding in findings)
        total += len(findings)
    if wrong:
        raise ModelFormatError(
            f"{wrong} of {total} numbers differ from those of the published weights. Fetch the "
            "files again; if they still differ, report it with this output."
        )
    print(f"all {total} numbers agree")
