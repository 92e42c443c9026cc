"""Odd names of models: no file is opened by accident, and nobody is asked."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from skgeo_embed.nn.location import LocationEncoder
from tests.odd_inputs.checking import BAD_FILE, check, shown
from tests.odd_inputs.encoders import CLASSES

pytestmark = pytest.mark.slow
NAMED = sorted(
    {kind for kind in CLASSES.values() if kind.__name__ != "PositionalEncoder"},
    key=lambda kind: kind.__name__,
)
every_class = pytest.mark.parametrize("encoder", NAMED, ids=lambda kind: kind.__name__)
MODEL_NAMES = [
    "../../etc/passwd", "/etc/passwd", "", ".", "/", "~", "..", "/dev/null", "bluemarble",
    "Bluemarble-L10", " bluemarble-l10", "bluemarble-l10/", "bluemarble-l10\n", "a\0b", "a" * 5000,
    "a/" + "b" * 5000, "https://huggingface.co/microsoft/SatCLIP-ViT16-L40", "file:///etc/passwd",
    "nobody/nothing", "a/b/c", "microsoft/SatCLIP-ViT16-L50", "\udcff", "hf://nobody/nothing",
]  # fmt: skip
NOT_NAMES = [
    5, b"bluemarble-l10", [], {}, object, LocationEncoder, Ridge(), np.zeros(3),
    torch.nn.Linear(2, 4),
]  # fmt: skip


@every_class
@pytest.mark.parametrize("name", MODEL_NAMES, ids=shown)
def test_names(encoder, name):
    said = name.rpartition("/")[2].strip()[:10] if name.isprintable() and name != "~" else ""
    check(lambda: encoder(name).fit(), words=(said,), kinds=BAD_FILE)


@every_class
@pytest.mark.parametrize("model", NOT_NAMES, ids=shown)
def test_what_is_no_name(encoder, model):
    word = "database" if encoder.__name__ == "RANGEEncoder" else "model"
    check(lambda: encoder(model).fit(), words=(word,))
