"""The command `skgeo-embed`."""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from skgeo_embed import __version__

# each is a module of this folder, with `parse(prog, arguments)` and `run(settings)`
COMMANDS = {
    "encode": "add features to a Parquet or CSV table with coordinates",
    "grid": "encode a whole grid of longitudes and latitudes",
    "predict": "make a map or a table of a fitted model's predictions",
    "map": "draw an encoder's map of the Earth",
    "geolocate": "estimate where images were taken",
    "pretrain": "train an encoder on images",
    "models": "list the encoders that have a name",
    "download": "fetch an encoder into the hub's cache",
    "check": "compare an encoder's output with published numbers",
}
USAGE = """usage: skgeo-embed [--debug] COMMAND ...

Compute learned features of places.

commands:
{commands}

`skgeo-embed COMMAND --help` explains a command with examples.
--debug shows the traceback of an error; --version prints the version.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, default=None
        What follows the command's name; None takes the arguments of this process.

    Returns
    -------
    code : int
        0 after success, 1 if the work failed, 2 if the arguments are wrong, 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    width = max(len(name) for name in COMMANDS)
    usage = USAGE.format(
        commands="\n".join(f"  {name:{width}}  {what}" for name, what in COMMANDS.items())
    )
    if not given:
        print(usage, file=sys.stderr)
        return 2
    name, *rest = given
    if name in ("-h", "--help"):
        print(usage)
        return 0
    if name == "--version":
        print(f"skgeo-embed {__version__}")
        return 0
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS)
        hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(COMMANDS)}."
        print(f"skgeo-embed: error: there is no command {name!r}; {hint}", file=sys.stderr)
        return 2
    try:
        command = import_module(f"skgeo_embed.cli.{name}")
        command.run(command.parse(f"skgeo-embed {name}", rest))
    except SystemExit as stop:  # the parser's: --help, or wrong arguments
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt as interruption:
        said = [str(argument) for argument in interruption.args]  # `map` is a command here
        print("; ".join(["interrupted", *said]), file=sys.stderr)
        return 130
    except Exception as error:
        from sklearn.utils._param_validation import InvalidParameterError

        from skgeo_embed._errors import UsageError

        if debug:
            traceback.print_exc()
        print(f"skgeo-embed {name}: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, (UsageError, InvalidParameterError)) else 1
    return 0
