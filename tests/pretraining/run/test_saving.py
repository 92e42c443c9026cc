"""Folders hold no path of a machine, and half precision where it suffices."""

import json
from functools import partial

import numpy as np

from skgeo_embed import SatCLIPEncoder
from tests.pretraining.common import small_pretrainer

small = partial(small_pretrainer, max_epochs=1)


def test_no_path_of_a_machine_is_saved(pairs, tmp_path):
    words = {"max_epochs": 1, "checkpoint_dir": tmp_path / "run"}
    trained = small(**words, feature_cache=None).fit(*pairs)
    folder = trained.save_pretrained(tmp_path / "saved")
    for path in folder.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
    assert (
        json.loads((folder / "config.json").read_text())["training"]["recipe"]["hidden_dim"] == 32
    )


def test_half_precision_on_disk(pairs, tmp_path):
    pretrainer = small().fit(*pairs)
    full = pretrainer.save_pretrained(tmp_path / "full")
    half = pretrainer.save_pretrained(tmp_path / "half", dtype="float16")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (full, half)]
    assert sizes[1] < 0.6 * sizes[0]
    found = [SatCLIPEncoder(folder).fit_transform(pairs[1]) for folder in (full, half)]
    assert found[1].dtype == np.float32
    rms = np.sqrt((found[0] ** 2).mean())
    assert np.abs(found[1] - found[0]).max() < 0.02 * rms
