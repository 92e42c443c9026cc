"""Odd ways to save an encoder; what is saved says again what it is."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from skgeo_embed import ImageGeolocator, SatCLIPEncoder, SatCLIPImageEncoder
from skgeo_embed.models.registry import WEIGHTS_FOLDER
from tests.odd_inputs.checking import REFUSALS, by_name, check
from tests.odd_inputs.encoders import ENCODERS, make
from tests.odd_inputs.test_model_folders import write_model
from tests.odd_inputs.test_modules import OwnForward

pytestmark = pytest.mark.slow


def test_another_licence(small_model, tmp_path):
    encoder = SatCLIPEncoder(small_model[0]).fit()
    found = []
    for licence in ("MIT", "CC0-1.0"):
        encoder.save_pretrained(tmp_path / "licence", licence=licence)
        found.append(SatCLIPEncoder(tmp_path / "licence").fit().encoder_info_["licence"])
    assert found == ["MIT", "CC0-1.0"]


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


KEPT = [
    (name, key)
    for name in ("bluemarble-l10", "bluemarble-l20")
    for key in sorted(
        config_of(WEIGHTS_FOLDER / name).keys()
        - {"name", "image", "location", "made_from", "sha256"}
    )
]


@pytest.mark.parametrize(("name", "key"), KEPT)
def test_facts_are_kept(name, key, tmp_path):
    SatCLIPEncoder(name).fit().save_pretrained(tmp_path / "facts")
    assert config_of(tmp_path / "facts").get(key) == config_of(WEIGHTS_FOLDER / name)[key]


def test_over_a_model_of_two_towers(small_model, tmp_path):
    path = write_model(WEIGHTS_FOLDER / "bluemarble-l10", tmp_path / "both")
    encoder = SatCLIPEncoder(small_model[0]).fit()
    check(lambda: encoder.save_pretrained(path), words=("image tower",))


def test_where_a_file_is(small_model, tmp_path):
    path = tmp_path / "taken"
    path.touch()
    encoder = SatCLIPEncoder(small_model[0]).fit()
    check(lambda: encoder.save_pretrained(path), words=("taken",), kinds=(*REFUSALS, OSError))


NOT_SAVED = {
    "before fit": (lambda path: SatCLIPEncoder(path), {}, "not fitted"),
    "a class of its own": (
        lambda path: SatCLIPEncoder(OwnForward(4, 5, 6)).fit(),
        {},
        "OwnForward",
    ),
    "a licence that is no text": (
        lambda path: SatCLIPEncoder(path).fit(),
        {"licence": 5},
        "licence",
    ),
}


@by_name("encoder, options, word", NOT_SAVED)
def test_what_cannot_be_saved(encoder, options, word, small_model, tmp_path):
    encoder = encoder(small_model[0])
    check(lambda: encoder.save_pretrained(tmp_path / "x", **options), words=(word,))


MAKERS = {
    **{name: partial(make, name) for name in ENCODERS},
    "SatCLIPImageEncoder": partial(SatCLIPImageEncoder, "bluemarble-l10"),
    "ImageGeolocator": partial(ImageGeolocator, n_candidates=50),
}


@pytest.mark.parametrize("make_estimator", MAKERS.values(), ids=list(MAKERS))
def test_fit_draws_no_random_number(make_estimator):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    make_estimator().fit()
    after = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
