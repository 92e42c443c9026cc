"""Docstrings of parameters that several encoders share, written once."""

from __future__ import annotations

import re
from textwrap import indent
from typing import TypeVar

Class = TypeVar("Class", bound=type)

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


def share_docs(cls: Class) -> Class:
    """Replace each line of a class's docstring that is a fragment's name in braces by its text."""
    if cls.__doc__:  # python -OO leaves none
        cls.__doc__ = re.sub(
            r"^( *)\{(\w+)\}$",
            lambda line: indent(FRAGMENTS[line[2]], line[1]),
            cls.__doc__,
            flags=re.MULTILINE,
        )
    return cls
