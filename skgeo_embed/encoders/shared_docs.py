"""Docstrings of parameters that several classes or functions share, written once."""

from __future__ import annotations

import re
from textwrap import indent
from typing import TypeVar

Documented = TypeVar("Documented")

FRAGMENTS = {
    "normalize": """\
normalize : bool, default=False
    Scale every row to unit length.""",
    "device": """\
device : str or torch.device, default=None
    Device to compute on; None takes the first that is available of cuda, mps and cpu.""",
    "dtype": """\
dtype : {"float32", "float64"}, default="float32"
    Precision of the network and of the output.""",
    "batch_size": """\
batch_size : int, default=None
    Number of points encoded at a time; None chooses it for the device.""",
    "on_invalid": """\
on_invalid : {"raise", "nan"}, default="raise"
    What to do with NaN, infinite or out-of-range coordinates: raise an error that names the
    rows, or give NaN features for them.""",
    "columns": """\
lon, lat : str or int, default=None
    Names of the longitude and latitude columns, if they are not recognised, such as "x" and
    "y"; the input may then have other columns too.""",
    "areas": """\
area_points : int or str, default=64
    Points spread evenly over each polygon or along each line: their number, or the distance
    between them, such as "5km".
area_statistic : {"mean", "std"}, default="mean"
    Statistic of the sampled points' features; "std" of a point is 0.""",
    "hub": """\
revision, cache_dir, token, local_files_only
    As for :class:`SatCLIPEncoder`.""",
    "torchspatial": """\
scaling : {"degrees", "unit"}, default="degrees"
    What a grid's network is given: degrees, as it was trained, or longitude / 180 and
    latitude / 90, as later users of CSP (SatCLIP's notebook among them) did. Other encodings
    take "degrees" alone.
layer : {"embedding", "hidden"}, default="embedding"
    The encoder's output, or its last hidden layer.
{normalize}
{device}
dtype : {"float32", "float64"}, default="float32"
    Precision of the network and of the output; positions are encoded in float64.
{batch_size}
{places}""",
    "several_fits": """\
lon, lat : str or int, default=None
    Names of the longitude and latitude columns, if they are not recognised.
n_jobs : int, default=None
    Number of processes for the fits.
verbose : int, default=0
    With 1, a line after each fit says how many are done, and about how long the others take.""",
    "n_features_of_estimator": """\
n_features_in_, feature_names_in_
    Those of the estimator, if it has them.""",
    "conformal": """\
method : {"auto", "remoteness", "local"}, default="auto"
    "remoteness" uses bands alone, and "local" weights by distance too. "auto" weights by
    distance if the bounds then hold as well in blocks that are left out of the calibration,
    and lose at least 2 % less by the pinball loss.
cv : int, splitter, list of splitters or iterable of pairs, default=None
    Folds; splitters get X. Rows that no fold tests do not calibrate: with
    :class:`~skgeo_embed.model_selection.SpatioTemporalKFold` only the future does.
    None is five random folds that do not depend on the order of the rows, and hold about as
    many rows of each class of a classifier; five folds of blocks of a tenth of the extent of
    the places; and, if rows share places, five random folds of places.
    Around a `spatial_pipeline` of at least 500 rows, None takes the folds in which its learners
    are fitted in any case (``model[-1].held_out_``), so that bounds cost hardly more than its
    own fit. If most rows share places, it is fitted in five random folds of places too.
{several_fits}""",
    "csv": """\
delimiter : str, default=None
    Delimiter of CSV files; None takes the comma, semicolon or tab that is most frequent in the
    first line.
decimal : {".", ","}, default="."
    Decimal mark of a CSV file's numbers, and of those that are added to a CSV output.
encoding : str, default="utf-8"
    How a CSV file's text is encoded, such as "cp1252" or "latin-1". A CSV output of a CSV file
    is encoded alike; of UTF-16 or UTF-32 it is UTF-8.""",
    "resumable": """\
overwrite : bool, default=False
    Replace an existing output.
restart : bool, default=False
    Discard what an interrupted run has computed.
verbose : bool, default=True
    Show a bar on a terminal, or print a line every ten seconds.""",
    "encoder_info_": """\
encoder_info_ : dict
    What was loaded: name, source, path, revision, sha256, licence, training data, sizes.""",
    "n_features_in_": """\
n_features_in_ : int
    Number of columns of the input of `fit`.""",
}
FRAGMENTS["places"] = "\n".join(FRAGMENTS[name] for name in ("on_invalid", "columns", "areas"))
FRAGMENTS["network"] = "\n".join(
    FRAGMENTS[name] for name in ("normalize", "device", "dtype", "batch_size", "places")
)


def share_docs(documented: Documented) -> Documented:
    """Replace each line of a docstring that is a fragment's name in braces by its text."""
    if documented.__doc__:  # python -OO leaves none
        documented.__doc__ = _filled(documented.__doc__)
    return documented


def _filled(text: str) -> str:
    return re.sub(
        r"^( *)\{(\w+)\}$",
        lambda line: indent(_filled(FRAGMENTS[line[2]]), line[1]),
        text,
        flags=re.MULTILINE,
    )
