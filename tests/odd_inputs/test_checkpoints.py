"""Odd SatCLIP checkpoints, and files that are none."""

import numpy as np
import pytest
import torch

from skgeo_embed import CSPEncoder, GeoCLIPEncoder, SatCLIPEncoder, SatCLIPImageEncoder
from tests.odd_inputs.bad_files import (
    NO_CHECKPOINTS,
    checkpoint,
    open_with_code,
    write_bytes,
    write_torch,
)
from tests.odd_inputs.checking import BAD_FILE, by_name, check, check_file
from tests.odd_inputs.encoders import PLACES

pytestmark = pytest.mark.slow
FIRST = "model.location.nnet.layers.0.weight"
SUFFIXES = {
    SatCLIPEncoder: ".ckpt", SatCLIPImageEncoder: ".ckpt", CSPEncoder: ".pth.tar",
    GeoCLIPEncoder: ".pth",
}  # fmt: skip
every_class = pytest.mark.parametrize("encoder", SUFFIXES, ids=lambda encoder: encoder.__name__)


@every_class
@by_name("content", NO_CHECKPOINTS)
def test_files_that_are_no_checkpoint(encoder, content, tmp_path):
    path = write_bytes(tmp_path / f"file{SUFFIXES[encoder]}", content)
    check_file(path, lambda: encoder(path).fit())


@every_class
def test_code_in_a_pickle_does_not_run(encoder, tmp_path):
    path = tmp_path / "code.ckpt"
    check_file(path, lambda: open_with_code(encoder, path))


def encode(path):
    return SatCLIPEncoder(path).fit_transform(PLACES)


def test_a_small_checkpoint(small_model, tmp_path):
    path = write_torch(tmp_path / "good.ckpt", checkpoint())
    check(lambda: encode(path), lambda: small_model[1])


def test_a_checkpoint_named_like_a_published_one(tmp_path):
    path = write_torch(tmp_path / "satclip-vit16-l40.ckpt", checkpoint())
    check(lambda: encode(path), words=("named like",), kinds=BAD_FILE)


def state_with(change):
    content = checkpoint()
    change(content["state_dict"])
    return content


BAD_CHECKPOINTS = {
    "integer keys": lambda: checkpoint(state_dict={1: torch.zeros(2)}),
    "keys None": lambda: checkpoint(state_dict={None: torch.zeros(2)}),
    "integer keys beside right ones": lambda: state_with(lambda s: s.update({1: torch.ones(1)})),
    "no tensors": lambda: checkpoint(state_dict={FIRST: "x"}),
    "nested": lambda: checkpoint(state_dict={"model": {"location": {}}}),
    "a list": lambda: [1, 2],
    "a tensor": lambda: torch.zeros(3),
    "state_dict a list": lambda: checkpoint(state_dict=[1]),
    "no state_dict": lambda: {"x": 1},
    "no dimension": lambda: state_with(lambda s: s.update({FIRST: torch.tensor(1.0)})),
    "one dimension": lambda: state_with(lambda s: s.update({FIRST: torch.zeros(16)})),
    "no square": lambda: state_with(lambda s: s.update({FIRST: torch.zeros(6, 15)})),
    "no column": lambda: state_with(lambda s: s.update({FIRST: torch.zeros(6, 0)})),
    "NaN": lambda: state_with(lambda s: s.update({FIRST: torch.full((6, 16), np.nan)})),
    "sparse": lambda: state_with(lambda s: s.update({FIRST: s[FIRST].to_sparse()})),
    "4 TB of one number": lambda: state_with(
        lambda s: s.update({FIRST: torch.zeros(1).expand(2**20, 2**20)})
    ),
    "complex": lambda: state_with(lambda s: s.update({FIRST: s[FIRST] + 1j})),
    "integers": lambda: state_with(lambda s: s.update({FIRST: s[FIRST].int()})),
    "hyper_parameters a list": lambda: checkpoint(hyper_parameters=[1]),
    "hyper_parameters a text": lambda: checkpoint(hyper_parameters="x"),
    "hyper_parameters disagree": lambda: checkpoint(hyper_parameters={"legendre_polys": 5}),
    "le_type unknown": lambda: checkpoint(hyper_parameters={"le_type": "nope"}),
    "le_type a number": lambda: checkpoint(hyper_parameters={"le_type": 5}),
    "le_type None": lambda: checkpoint(hyper_parameters={"le_type": None}),
    "harmonics unknown": lambda: checkpoint(hyper_parameters={"harmonics_calculation": "x"}),
    "harmonics a list": lambda: checkpoint(hyper_parameters={"harmonics_calculation": [1]}),
    "min_radius 0": lambda: checkpoint(hyper_parameters={"le_type": "grid", "min_radius": 0}),
}


@by_name("make", BAD_CHECKPOINTS)
def test_checkpoints_that_are_wrong(make, tmp_path):
    path = write_torch(tmp_path / "bad.ckpt", make())
    check_file(path, lambda: encode(path))
